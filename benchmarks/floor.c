/* The floor: what the kernel and the load generator allow.  A server that understands nothing.
 *
 * usage: floor SOCKET ANSWER-TO-PING ANSWER-TO-ECHO
 *
 * It answers every line with the same bytes, short ones to short lines; it greets first, as
 * the others do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LONG_LINE 64

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void put(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
		if (n < 0)
			return; /* the next read tells that the peer is gone */
		data += n;
		size -= n;
	}
}

int main(int argc, char **argv)
{
	static char in[1 << 16], out[1 << 20];
	if (argc != 4) {
		fprintf(stderr, "usage: floor SOCKET ANSWER-TO-PING ANSWER-TO-ECHO\n");
		return 2;
	}
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), poller = epoll_create1(0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128))
		die(argv[1]);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct epoll_event events[256];
		int ready = epoll_wait(poller, events, 256, -1);
		for (int i = 0; i < ready; i++) {
			int fd = events[i].data.fd;
			if (fd == listener) {
				event.data.fd = accept(listener, NULL, NULL);
				put(event.data.fd, "{\"version\":\"1\"}\n", 16);
				epoll_ctl(poller, EPOLL_CTL_ADD, event.data.fd, &event);
				continue;
			}
			ssize_t n = read(fd, in, sizeof in);
			if (n <= 0) {
				close(fd);
				continue;
			}
			size_t size = 0;
			char *line = in, *end;
			while ((end = memchr(line, '\n', in + n - line))) {
				const char *answer = argv[end - line < LONG_LINE ? 2 : 3];
				size_t length = strlen(answer);
				memcpy(out + size, answer, length);
				size += length;
				out[size++] = '\n';
				line = end + 1;
			}
			put(fd, out, size);
		}
	}
}
