/* A load generator that is not the bottleneck: plain epoll, no parsing beyond where an answer ends.
 *
 * usage: load MODE WIRE SOCKET CONNECTIONS DEPTH SECONDS EXPECTED SERVER < REQUEST
 *
 *   flow    keeps DEPTH requests in flight on each of CONNECTIONS
 *   cycle   connects, takes the banner, asks once and closes, CONNECTIONS at once
 *   stream  asks on one connection, again and again, for DEPTH messages and a last one
 *   fanout  CONNECTIONS subscribe, one more publishes DEPTH events, again and again; the
 *           standard input has two lines, how to subscribe and how to publish
 *
 * EXPECTED has to occur in the first answer.  SERVER is the server's process, whose processor
 * time is taken, or 0.  Prints what it found as one line of JSON.
 */
#define _GNU_SOURCE
#include "wires.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MOST_TIMES 1000000

static const char *path, *expected;
static int connections, depth;
static double seconds;
static struct conn *conns;
static int poller;

static double times[MOST_TIMES]; /* how long single requests took */
static int timed;
static double begun;
static double cpu_begun;
static double server_begun;
static pid_t server;

static double cpu(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* How much processor time the server has used, all of its threads, those that have ended too. */
static double server_cpu(void)
{
	clockid_t clock;
	struct timespec t;
	if (!server || clock_getcpuclockid(server, &clock) || clock_gettime(clock, &t))
		return 0;
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void note_time(double value)
{
	if (timed < MOST_TIMES)
		times[timed++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void start(void)
{
	begun = now();
	cpu_begun = cpu();
	server_begun = server_cpu();
}

static void report(long count)
{
	double elapsed = now() - begun;
	printf("{\"count\": %ld, \"seconds\": %.6f, ", count, elapsed);
	printf("\"cpu\": %.6f, \"server_cpu\": %.6f", cpu() - cpu_begun, server_cpu() - server_begun);
	if (timed) {
		qsort(times, timed, sizeof *times, compare);
		printf(", \"least\": %.9f, \"p50\": %.9f", times[0], times[timed / 2]);
	}
	printf("}\n");
}

/* Take answers on one connection until there are so many; the first is looked at. */
static void take_all(struct conn *conn, int answers, const char *wanted)
{
	char *seen = NULL;
	size_t seen_size = 0;
	while (answers > 0) {
		size_t size;
		answers -= take(conn);
		const char *data = last_read(&size);
		if (wanted) {
			seen = realloc(seen, seen_size + size);
			memcpy(seen + seen_size, data, size);
			seen_size += size;
		}
	}
	if (wanted && !memmem(seen, seen_size, wanted, strlen(wanted))) {
		fprintf(stderr, "the answer was: %.*s\n", (int)seen_size, seen);
		errno = 0;
		die("the answer");
	}
	free(seen);
}

static void watch(struct conn *conn)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
	if (epoll_ctl(poller, EPOLL_CTL_ADD, conn->fd, &event))
		die("epoll_ctl");
}

/* Open a connection of which the banner has been taken. */
static void open_ready(struct conn *conn)
{
	conn_open(conn, path);
	if (has_banner)
		take_all(conn, 1, NULL);
}

/* With several connections or requests in flight, answers are counted; alone, they are timed. */
static void flow(void)
{
	for (int i = 0; i < connections; i++) {
		open_ready(&conns[i]);
		/* Whatever a server does for a new client is done by that. */
		ask(&conns[i], 1);
		take_all(&conns[i], 1, i ? NULL : expected);
		watch(&conns[i]);
	}
	bool alone = connections == 1 && depth == 1;
	long answers = 0, in_flight = (long)connections * depth;
	start();
	double end = begun + seconds, asked = begun, t = begun;
	for (int i = 0; i < connections; i++)
		ask(&conns[i], depth);
	while (t < end || !answers) {
		struct epoll_event events[256];
		int ready = epoll_wait(poller, events, 256, 10000);
		if (!ready) {
			errno = ETIMEDOUT;
			die("waiting for answers");
		}
		for (int i = 0; i < ready; i++) {
			struct conn *conn = events[i].data.ptr;
			int n = take(conn);
			answers += n;
			if (alone && n) {
				t = now();
				note_time(t - asked);
				asked = t;
			}
			if (n)
				ask(conn, n);
		}
		t = now();
	}
	report(answers);
	/* The server finishes what it has before another one is measured. */
	while (in_flight > 0) {
		struct epoll_event event;
		if (epoll_wait(poller, &event, 1, 10000) < 1)
			break;
		in_flight -= take(event.data.ptr);
	}
}

static void cycle(void)
{
	bool *greeted = calloc(connections, sizeof *greeted);
	open_ready(&conns[0]);
	ask(&conns[0], 1);
	take_all(&conns[0], 1, expected);
	close(conns[0].fd);
	long cycles = 0;
	start();
	for (int i = 0; i < connections; i++) {
		conn_open(&conns[i], path);
		watch(&conns[i]);
		if (!has_banner)
			ask(&conns[i], 1);
	}
	for (double end = begun + seconds; now() < end || !cycles;) {
		struct epoll_event events[256];
		int ready = epoll_wait(poller, events, 256, 10000);
		if (ready < 1)
			die("waiting for answers");
		for (int i = 0; i < ready; i++) {
			struct conn *conn = events[i].data.ptr;
			bool *knows = &greeted[conn - conns];
			if (!take(conn))
				continue;
			if (has_banner && !*knows) {
				*knows = true;
				ask(conn, 1);
				continue;
			}
			close(conn->fd);
			cycles++;
			*knows = false;
			conn_open(conn, path);
			watch(conn);
			if (!has_banner)
				ask(conn, 1);
		}
	}
	report(cycles);
}

static void stream(void)
{
	open_ready(&conns[0]);
	long messages = 0;
	start();
	do {
		double asked = now();
		int left = depth + 1;
		ask(&conns[0], 1);
		left -= take(&conns[0]);
		note_time(now() - asked);
		while (left > 0)
			left -= take(&conns[0]);
		size_t size;
		const char *data = last_read(&size);
		if (!memmem(data, size, expected, strlen(expected)))
			errno = 0, die("the last message");
		messages += depth + 1;
	} while (now() < begun + seconds);
	report(messages);
}

static void fanout(char *request, size_t size)
{
	char *second = memchr(request, '\n', size);
	if (!second++)
		errno = 0, die("two requests are needed");
	for (int i = 0; i < connections; i++) {
		open_ready(&conns[i]);
		send_all(conns[i].fd, request, second - request);
		take_all(&conns[i], 1, expected);
		watch(&conns[i]);
	}
	struct conn *publisher = &conns[connections];
	open_ready(publisher);
	long delivered = 0;
	start();
	do {
		double asked = now();
		long left = (long)connections * depth;
		send_all(publisher->fd, second, request + size - second);
		while (left > 0) {
			struct epoll_event events[256];
			int ready = epoll_wait(poller, events, 256, 10000);
			if (ready < 1)
				errno = ETIMEDOUT, die("waiting for events");
			for (int i = 0; i < ready; i++) {
				int n = take(events[i].data.ptr);
				left -= n;
				delivered += n;
			}
		}
		take_all(publisher, 1, NULL);
		note_time(now() - asked);
	} while (now() < begun + seconds);
	report(delivered);
}

int main(int argc, char **argv)
{
	static char request[1 << 20];
	if (argc != 9) {
		fprintf(stderr, "usage: load MODE WIRE SOCKET CONNECTIONS DEPTH SECONDS EXPECTED SERVER < REQUEST\n");
		return 2;
	}
	size_t size = fread(request, 1, sizeof request, stdin);
	path = argv[3];
	connections = atoi(argv[4]);
	depth = atoi(argv[5]);
	seconds = atof(argv[6]);
	expected = argv[7];
	server = atoi(argv[8]);
	conns = calloc(connections + 1, sizeof *conns);
	poller = epoll_create1(EPOLL_CLOEXEC);
	choose_wire(argv[2], request, size, strcmp(argv[1], "flow") ? 1 : depth);
	if (!strcmp(argv[1], "flow"))
		flow();
	else if (!strcmp(argv[1], "cycle"))
		cycle();
	else if (!strcmp(argv[1], "stream"))
		stream();
	else if (!strcmp(argv[1], "fanout"))
		fanout(request, size);
	else {
		fprintf(stderr, "no such mode: %s\n", argv[1]);
		return 2;
	}
	return 0;
}
