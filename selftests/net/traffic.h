/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Traffic of a known rate, and the rate of what arrived. All rates are in
 * bits per second of wire bytes: link header on, no FCS.
 */
#ifndef HOSTQOS_TEST_TRAFFIC_H
#define HOSTQOS_TEST_TRAFFIC_H

#include "capture.h"
#include "sockets.h"
#include "testbed.h"

#define MBIT 1e6

/* A full datagram on a wire of MTU 1500. */
#define FULL_FRAME 1514

/* A connected UDP socket and what it offers. */
struct udp_load {
	int fd;
	double rate;
	size_t sent;   /* datagrams that the kernel took, dropped or not */
	size_t length; /* of each; 0: such as fill a frame */
};

/* Something that receives and forgets, so that no ICMP error comes back. */
int udp_sink(const struct place *place, const char *address, int port);
/* Sends all loads side by side. */
void udp_send(struct udp_load *loads, size_t count, double seconds);
/* As many datagrams at once. */
void udp_burst(int fd, size_t count);
/* Fills a TCP connection and empties it at the other end. */
void tcp_fill(int sender, int receiver, double seconds);
/* The same of several, from the clients on. */
void tcp_fill_all(const struct connection *connections, size_t count, double seconds);

/* The DSCP with which a datagram to FAR4 arrives, sent now. */
int mark_now(struct capture *c, int fd);
/*
 * All that was sent so far has come: what an ungoverned socket at the place
 * sends after it in the same queue has.
 */
void await_queue(struct capture *c, const struct place *ungoverned, const char *address);

/* Rate of a flow's packets between two moments after its first packet. */
double flow_rate(struct capture *c, const struct flow *flow, double from, double to);
uint64_t flow_first_ns(struct capture *c, const struct flow *flow);

#define assert_rate(rate, least, most)                                                             \
	do {                                                                                       \
		double measured = (rate);                                                          \
		print_message("%s: %.3f mbit\n", #rate, measured / MBIT);                          \
		if (measured < (least) || measured > (most))                                       \
			fail_msg("%.3f mbit, not between %.3f and %.3f", measured / MBIT,          \
				 (least) / MBIT, (most) / MBIT);                                   \
	} while (0)

#endif
