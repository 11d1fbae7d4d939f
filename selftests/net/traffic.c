/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sockets.h"
#include "traffic.h"

int udp_sink(const struct place *place, const char *address, int port)
{
	int fd = udp_socket(place, address);

	bind_to(fd, address, port);
	set_option(fd, SOL_SOCKET, SO_RCVBUF, 1);
	return fd;
}

/* Payload that fills a frame, of the socket's family as it is on the wire. */
static size_t full_payload(int fd)
{
	struct sockaddr_in6 peer;
	socklen_t size = sizeof(peer);
	bool ipv6;

	if (getpeername(fd, (void *)&peer, &size))
		fail_msg("getpeername: %s", strerror(errno));
	ipv6 = peer.sin6_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr);
	return FULL_FRAME - 14 - (ipv6 ? 40 : 20) - 8;
}

static bool send_one(int fd, size_t length)
{
	static const char bytes[65536];

	if (send(fd, bytes, length, MSG_DONTWAIT) >= 0)
		return true;
	if (errno != EAGAIN && errno != ENOBUFS)
		fail_msg("send: %s", strerror(errno));
	return false;
}

void udp_burst(int fd, size_t count)
{
	size_t length = full_payload(fd);

	while (count--)
		send_one(fd, length);
}

/*
 * A sender that is kept off the CPU for longer than the burst lasts leaves
 * tokens unused, and what arrives is less than the rate: ahead of all others.
 */
static void schedule(int policy, int priority)
{
	if (sched_setscheduler(0, policy, &(struct sched_param){.sched_priority = priority}))
		fail_msg("sched_setscheduler: %s", strerror(errno));
}

void udp_send(struct udp_load *loads, size_t count, double seconds)
{
	uint64_t start = now_ns();
	double elapsed, due;
	size_t i;

	schedule(SCHED_FIFO, 1);
	while ((elapsed = (now_ns() - start) / 1e9) < seconds) {
		for (i = 0; i < count; i++) {
			size_t length = loads[i].length ?: full_payload(loads[i].fd);

			due = elapsed * loads[i].rate / 8 / (loads[i].length ?: FULL_FRAME);
			while (loads[i].sent < due && send_one(loads[i].fd, length))
				loads[i].sent++;
		}
		nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
	}
	schedule(SCHED_OTHER, 0);
}

void tcp_fill_all(const struct connection *connections, size_t count, double seconds)
{
	uint64_t end = now_ns() + seconds * 1e9;
	static char bytes[65536];
	struct pollfd ends[2 * count];
	size_t i;

	for (i = 0; i < count; i++) {
		ends[2 * i] = (struct pollfd){.fd = connections[i].client, .events = POLLOUT};
		ends[2 * i + 1] = (struct pollfd){.fd = connections[i].server, .events = POLLIN};
	}
	while (now_ns() < end && poll(ends, 2 * count, 100) >= 0) {
		for (i = 0; i < 2 * count; i++) {
			if (ends[i].revents & POLLOUT)
				send(ends[i].fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
			if (ends[i].revents & POLLIN)
				recv(ends[i].fd, bytes, sizeof(bytes), MSG_DONTWAIT);
			if (ends[i].revents & (POLLERR | POLLHUP))
				fail_msg("the connection broke");
		}
	}
}

void tcp_fill(int sender, int receiver, double seconds)
{
	tcp_fill_all(&(struct connection){.client = sender, .server = receiver}, 1, seconds);
}

int mark_now(struct capture *c, int fd)
{
	capture_clear(c);
	assert_int_equal(send_to(fd, FAR4, 7000, 100), 0);
	await_packets(c, FLOW(.to_port = 7000), 1);
	return DSCP(&c->packets[c->count - 1]);
}

void await_queue(struct capture *c, const struct place *ungoverned, const char *address)
{
	int fd = udp_socket(ungoverned, address);

	assert_int_equal(send_to(fd, address, 9, 1), 0);
	await_packets(c, FLOW(.to_port = 9), 1);
	close(fd);
}

uint64_t flow_first_ns(struct capture *c, const struct flow *flow)
{
	uint64_t first = UINT64_MAX;
	size_t i;

	capture_read(c);
	/* What two CPUs received at a time need not be in order. */
	for (i = 0; i < c->count; i++)
		if (flow_has(flow, &c->packets[i]) && c->packets[i].ns < first)
			first = c->packets[i].ns;
	if (first == UINT64_MAX)
		fail_msg("no packet of the flow");
	return first;
}

double flow_rate(struct capture *c, const struct flow *flow, double from, double to)
{
	uint64_t first = flow_first_ns(c, flow), bytes = 0;
	uint64_t begin = first + (uint64_t)(from * 1e9), end = first + (uint64_t)(to * 1e9);
	size_t i;

	for (i = 0; i < c->count; i++) {
		const struct packet *p = &c->packets[i];

		if (flow_has(flow, p) && p->ns >= begin && p->ns < end)
			bytes += p->wire;
	}
	return bytes * 8 / (to - from);
}
