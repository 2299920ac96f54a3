/* The wires: JSON lines, Varlink, HTTP/1.1, and as much of HTTP/2 as it takes to ask gRPC.
 *
 * A request is bytes that the caller has made; only HTTP/2 has something to fill in, the
 * number of the stream.  Of an answer nothing is understood but where it ends.
 */
#define _GNU_SOURCE
#include "wires.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static enum { LINES, NULS, HTTP, GRPC } wire;
bool has_banner;

static char *batch;         /* the request, as often as it is ever sent at once */
static size_t request_size;
static char buffer[1 << 18];
static size_t filled;

void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "not what was expected");
	exit(1);
}

double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

void send_all(int fd, const char *data, size_t size)
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

const char *last_read(size_t *size)
{
	*size = filled;
	return buffer;
}

void choose_wire(const char *name, char *request, size_t size, int most_at_once)
{
	if (!strcmp(name, "ndjson"))
		wire = LINES, has_banner = true;
	else if (!strcmp(name, "varlink"))
		wire = NULS;
	else if (!strcmp(name, "http"))
		wire = HTTP;
	else if (!strcmp(name, "grpc"))
		wire = GRPC;
	else {
		fprintf(stderr, "no such wire: %s\n", name);
		exit(2);
	}
	request_size = size;
	batch = malloc(size * most_at_once);
	if (!batch)
		die("malloc");
	for (int i = 0; i < most_at_once; i++)
		memcpy(batch + i * size, request, size);
}

/* HTTP/2, RFC 9113: what of it a client needs that sends short requests and takes short answers. */

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8 };
enum { ACK = 1, END_STREAM = 1 };

static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	"\0\0\0\4\0\0\0\0\0"                         /* SETTINGS: as they are */
	"\0\0\4\10\0\0\0\0\0\x7f\xfe\0\0";          /* WINDOW_UPDATE: more than one run ever takes */

static uint32_t big_endian(const char *p, int size)
{
	uint32_t value = 0;
	for (int i = 0; i < size; i++)
		value = value << 8 | (unsigned char)p[i];
	return value;
}

/* Write the number of the next stream into both frames of a request, HEADERS and DATA. */
static void number(struct conn *conn, char *request)
{
	for (size_t at = 0; at < request_size; at += 9 + big_endian(request + at, 3)) {
		for (int i = 0; i < 4; i++)
			request[at + 5 + i] = conn->stream >> (24 - 8 * i);
		if (request[at + 3] == DATA)
			conn->window -= big_endian(request + at, 3);
	}
	conn->stream += 2;
	errno = 0;
	if (conn->window < 0)
		die("the server's window is used up");
}

/* React to a frame whose header is in conn->head, and for a PING its payload, too. */
static int on_frame(struct conn *conn)
{
	char type = conn->head[3], flags = conn->head[4];
	char answer[17] = {0};
	errno = 0;
	switch (type) {
	case DATA:
		conn->got_data = true;
		return 0;
	case HEADERS:
		if (!(flags & END_STREAM))
			return 0;
		if (!conn->got_data)
			die("an answer without a message");
		return 1;
	case SETTINGS:
		if (!(flags & ACK)) {
			answer[3] = SETTINGS, answer[4] = ACK;
			send_all(conn->fd, answer, 9);
		}
		return 0;
	case PING:
		if (!(flags & ACK)) {
			answer[2] = 8, answer[3] = PING, answer[4] = ACK;
			memcpy(answer + 9, conn->head + 9, 8);
			send_all(conn->fd, answer, 17);
		}
		return 0;
	case WINDOW_UPDATE:
		if (!big_endian(conn->head + 5, 4))
			conn->window += big_endian(conn->head + 9, 4) & 0x7fffffff;
		return 0;
	case RST_STREAM:
	case GOAWAY:
		die("the server gives up");
	}
	return 0;
}

static int take_http2(struct conn *conn, const char *p, const char *end)
{
	int answers = 0;
	while (p < end) {
		if (conn->body) {
			size_t n = conn->body < (size_t)(end - p) ? conn->body : (size_t)(end - p);
			p += n;
			conn->body -= n;
			continue;
		}
		conn->head[conn->have++] = *p++;
		if (conn->have < 9)
			continue;
		size_t size = big_endian(conn->head, 3);
		char type = conn->head[3];
		size_t wanted = type == PING ? 8 : type == WINDOW_UPDATE ? 4 : 0;
		if (conn->have < 9 + wanted)
			continue;
		answers += on_frame(conn);
		conn->body = size - wanted;
		conn->have = 0;
	}
	return answers;
}

static int take_http(struct conn *conn, const char *p, const char *end)
{
	int answers = 0;
	while (p < end) {
		if (conn->body) {
			size_t n = conn->body < (size_t)(end - p) ? conn->body : (size_t)(end - p);
			p += n;
			conn->body -= n;
			answers += !conn->body;
			continue;
		}
		errno = 0;
		if (conn->have == sizeof conn->head - 1)
			die("a header without an end");
		conn->head[conn->have++] = *p++;
		if (conn->have < 4 || memcmp(conn->head + conn->have - 4, "\r\n\r\n", 4))
			continue;
		conn->head[conn->have] = 0;
		if (strncmp(conn->head, "HTTP/1.1 200", 12)) {
			fprintf(stderr, "%s", conn->head);
			die("the answer");
		}
		char *length = strcasestr(conn->head, "content-length:");
		if (!length)
			die("an answer without a length");
		conn->body = strtoul(length + 15, NULL, 10);
		conn->have = 0;
	}
	return answers;
}

void conn_open(struct conn *conn, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path)
		die("a path too long for a socket");
	strcpy(address.sun_path, path);
	conn->have = conn->body = 0;
	conn->stream = 1;
	conn->window = 65535;
	conn->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (conn->fd < 0)
		die("socket");
	/* A socket that blocks waits here for its place in the backlog. */
	if (connect(conn->fd, (struct sockaddr *)&address, sizeof address))
		die("connect");
	if (wire == GRPC)
		send_all(conn->fd, greeting, sizeof greeting - 1);
}

void ask(struct conn *conn, int count)
{
	if (wire == GRPC)
		for (int i = 0; i < count; i++)
			number(conn, batch + i * request_size);
	send_all(conn->fd, batch, request_size * count);
}

int take(struct conn *conn)
{
	ssize_t n;
	do
		n = read(conn->fd, buffer, sizeof buffer);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		if (!n)
			errno = 0;
		die("read");
	}
	filled = n;
	const char *end = buffer + n;
	if (wire == HTTP)
		return take_http(conn, buffer, end);
	if (wire == GRPC)
		return take_http2(conn, buffer, end);
	int answers = 0;
	for (const char *p = buffer; (p = memchr(p, wire == LINES ? '\n' : 0, end - p)); p++)
		answers++;
	return answers;
}
