/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Requests through a proxy at `near`: clients and the server behind it are at
 * `far`. A request names the DSCP that its connection is marked with, and the
 * server notes it by the port that the proxy's connection comes from.
 */
#ifndef HOSTQOS_TEST_PROXY_H
#define HOSTQOS_TEST_PROXY_H

#include "capture.h"
#include "testbed.h"

#define PROXY_PORT  8080
#define SERVER_PORT 9000

void server_start(struct testbed *tb, const char *address);

/* A proxy with a thread for each connection. */
void proxy_start(struct testbed *tb, const struct place *place, const char *listen,
		 const char *server);

/* So many clients side by side, each with so many requests, one after the other. */
void clients_run(struct testbed *tb, const char *from, const char *proxy, int clients, int rounds);

/*
 * How many connections to the server there were, and how many of their SYNs
 * bore the DSCP of the request that came through them. Forgets all.
 */
struct tally {
	size_t connections, right;
};
struct tally proxy_tally(struct capture *c);

#endif
