/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * TCP services of every family in the near namespace, and visits of clients
 * from the far one.
 */
#ifndef HOSTQOS_TEST_SERVICES_H
#define HOSTQOS_TEST_SERVICES_H

#include "capture.h"
#include "sockets.h"

/* How a server listens, and where its clients find it and come from. */
struct service {
	const char *listen, *connect, *from, *from_b;
};

#define SERVICES      4
#define SERVICE_PORTS 7000 /* port of the first, those of the others follow */

extern const struct service services[SERVICES];

/* The macro's argument is of int type and the loop's own. */
#define for_each_service(i) for (int i = 0; i < SERVICES; i++)

int service_listen(const struct place *place, int service);

/* In a policy's list: all clients; those that come from the second address. */
#define CLIENTS	  "[10.9.0.0/24, \"fd00:9::/64\"]"
#define CLIENTS_B "[" FAR4_B ", \"" FAR6_B "\"]"

/* A client's socket before it connects: where it comes from, the DSCP of all its packets. */
int visitor(const struct place *place, int service, const char *from, int dscp);

/*
 * A connection to the service from the address, with that DSCP on all of the
 * client's packets: a byte each way, closed by the server. Returns the client's port.
 */
int visit(struct testbed *tb, int listener, int service, const char *from, int dscp);

/* Packets of a service, more of them as for FLOW(). */
#define FROM_SERVICE(i, ...) FLOW(.from_port = SERVICE_PORTS + (i), __VA_ARGS__)
#define SYN_ACK		     .with = TCP_SYN | TCP_ACK
#define NO_SYN		     .without = TCP_SYN

#endif
