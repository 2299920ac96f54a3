/* A load generator that is not the bottleneck: plain epoll, no parsing.
 *
 * usage: load SOCKET CONNECTIONS DEPTH SECONDS REQUEST
 *
 * Keeps DEPTH requests in flight on each of CONNECTIONS connections, counts the newlines
 * that come back, and prints how many answers a second that were.  A banner is read first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			die("send");
		}
		data += n;
		size -= n;
	}
}

int main(int argc, char **argv)
{
	static char buffer[1 << 18];
	if (argc != 6) {
		fprintf(stderr, "usage: load SOCKET CONNECTIONS DEPTH SECONDS REQUEST\n");
		return 2;
	}
	int connections = atoi(argv[2]), depth = atoi(argv[3]);
	double seconds = atof(argv[4]);
	size_t size = strlen(argv[5]) + 1;
	char *request = malloc(size * depth);
	for (int i = 0; i < depth; i++) {
		memcpy(request + i * size, argv[5], size - 1);
		request[i * size + size - 1] = '\n';
	}
	int epoll = epoll_create1(0);
	int *fds = calloc(connections, sizeof *fds);
	for (int i = 0; i < connections; i++) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
		int fd = fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
			die("connect");
		if (read(fd, buffer, sizeof buffer) <= 0) /* the banner */
			die("banner");
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
			die("epoll_ctl");
	}
	for (int i = 0; i < connections; i++)
		send_all(fds[i], request, size * depth);
	long answers = 0;
	double start = now(), end = start + seconds, t = start;
	while (t < end) {
		struct epoll_event events[256];
		int ready = epoll_wait(epoll, events, 256, 1000);
		for (int i = 0; i < ready; i++) {
			ssize_t n = read(events[i].data.fd, buffer, sizeof buffer);
			if (n <= 0)
				die("read");
			int lines = 0;
			for (char *p = buffer; (p = memchr(p, '\n', buffer + n - p)); p++)
				lines++;
			answers += lines;
			if (lines)
				send_all(events[i].data.fd, request, size * lines);
		}
		t = now();
	}
	printf("%.1f\n", answers / (t - start));
	return 0;
}
