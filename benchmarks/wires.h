/* How the load generator speaks: it asks, and counts the answers. */
#ifndef WIRES_H
#define WIRES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One connection, and where in an answer its reader is. */
struct conn {
	int fd;
	char head[8192];   /* HTTP: the header so far; HTTP/2: the frame header, then a PING's payload */
	size_t have;       /* how much of that is there */
	size_t body;       /* what is still to come of a body or payload */
	uint32_t stream;   /* HTTP/2: the next one */
	int64_t window;    /* HTTP/2: what the server still takes from us */
	bool got_data;     /* HTTP/2: whether the answer had a message */
};

extern bool has_banner;

void die(const char *what);
double now(void);
void choose_wire(const char *name, char *request, size_t size, int most_at_once);
void conn_open(struct conn *conn, const char *path);
void ask(struct conn *conn, int count);
void send_all(int fd, const char *data, size_t size);
int take(struct conn *conn);               /* reads once; returns how many answers are complete by that */
const char *last_read(size_t *size);       /* what `take` has read */

#endif
