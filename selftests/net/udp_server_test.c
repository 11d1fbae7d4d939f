/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Sockets that answer many: each reply is classified by the peer that it goes
 * to, and by what came from there.
 */
#include <errno.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"

#define AF11 10
#define AF41 34
#define EF   46

/* Where a server is bound, and how two clients reach it. */
static const struct service {
	const char *bound, *at, *client, *client_b;
} services[] = {
	{NEAR4, NEAR4, FAR4, FAR4_B}, {"0.0.0.0", NEAR4, FAR4, FAR4_B},
	{NEAR6, NEAR6, FAR6, FAR6_B}, {"::", NEAR6, FAR6, FAR6_B},
	{"::", NEAR4, FAR4, FAR4_B},
};

#define SERVICES (sizeof(services) / sizeof(services[0]))
#define PORT	 5060

static int server_at(struct testbed *tb, const struct service *s)
{
	struct place near = near_place(tb, "/app");
	int fd = udp_socket(&near, s->bound);

	bind_to(fd, s->bound, PORT);
	return fd;
}

static int client_at(struct testbed *tb, const char *address, int port)
{
	struct place far = far_place(tb);
	int fd = udp_socket(&far, address);

	bind_to(fd, address, port);
	return fd;
}

/* Ask with a mark; the server answers whomever it heard. */
static void exchange(int client, const struct service *s, int server, int dscp)
{
	bool ipv6 = address_family(s->client) == AF_INET6;
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	char byte;

	set_option(client, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ipv6 ? IPV6_TCLASS : IP_TOS,
		   dscp << 2);
	assert_int_equal(send_to(client, s->at, PORT, 1), 0);
	assert_int_equal(recvfrom(server, &byte, 1, 0, (void *)&peer, &size), 1);
	assert_int_equal(sendto(server, "x", 1, 0, (void *)&peer, size), 1);
	receive_bytes(client, 1);
}

static void reply_is_classified_by_the_peer_it_answers(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i, n;

	apply(tb,
	      "classes: { gold: { dscp: EF }, silver: { dscp: AF41 }, bronze: { dscp: AF11 } }\n"
	      "rules:\n"
	      "  - { match: { cgroup: @/app, remote: [" FAR4_B ", \"" FAR6_B
	      "\"], remote_port: 7002 }, class: bronze }\n"
	      "  - { match: { cgroup: @/app, remote: [" FAR4_B ", \"" FAR6_B
	      "\"], direction: inbound, local_port: 5060 }, class: silver }\n"
	      "  - { match: { cgroup: @/app, direction: inbound, local_port: 5060 }, class: gold }\n");
	for (i = 0; i < SERVICES; i++) {
		const struct service *s = &services[i];
		int clients[] = {client_at(tb, s->client, 7000), client_at(tb, s->client_b, 7001),
				 client_at(tb, s->client_b, 7002)};
		int server = server_at(tb, s);

		for (n = 0; n < 12; n++)
			exchange(clients[n % 3], s, server, 0);
		judge(c, FLOW(.from_port = PORT, .to_port = 7000), EF, 4);
		judge(c, FLOW(.from_port = PORT, .to_port = 7001), AF41, 4);
		judge(c, FLOW(.from_port = PORT, .to_port = 7002), AF11, 4);
		for (n = 0; n < 3; n++)
			close(clients[n]);
		close(server);
		capture_clear(c);
	}
}

/* Each of two peers by what it sent last; also of a connected socket. */
static void reply_is_classified_by_the_latest_inbound_dscp(void **state)
{
	static const int dscps[][2] = {{AF41, 0}, {0, AF41}, {AF41, AF11}, {AF41, AF41}};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int connected;
	size_t i, n;

	apply(tb, "classes: { hit: { dscp: EF } }\n"
		  "rules: [{ match: { cgroup: @/app, inbound_dscp: AF41 }, class: hit }]\n");
	for (i = 0; i < SERVICES * 2; i++) {
		const struct service *s = &services[i / 2];
		int a = client_at(tb, s->client, 7000), b = client_at(tb, s->client_b, 7001);
		int server = server_at(tb, s);

		connected = i % 2;
		for (n = 0; n < sizeof(dscps) / sizeof(dscps[0]); n++) {
			capture_clear(c);
			exchange(a, s, server, dscps[n][0]);
			judge(c, FLOW(.to_port = 7000), dscps[n][0] == AF41 ? EF : 0, 1);
			if (connected) {
				connect_to(server,
					   address_family(s->bound) == address_family(s->client)
						   ? s->client
						   : MAPPED FAR4,
					   7000);
				continue;
			}
			exchange(b, s, server, dscps[n][1]);
			judge(c, FLOW(.to_port = 7001), dscps[n][1] == AF41 ? EF : 0, 1);
		}
		close(a);
		close(b);
		close(server);
	}
}

/* Bound on purpose is inbound; a bind() that failed is no bind(), and neither is autobind. */
static void failed_bind_leaves_no_trace(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), other = near_place(tb, "/other");
	size_t i;

	apply(tb, "classes: { hit: { dscp: EF } }\n"
		  "rules: [{ match: { cgroup: @/app, direction: inbound }, class: hit }]\n");
	for (i = 0; i < SERVICES; i++) {
		const struct service *s = &services[i];
		const char *to = address_family(s->bound) == address_family(s->client)
					 ? s->client
					 : MAPPED FAR4;
		int taken = udp_socket(&other, s->bound), fd = udp_socket(&near, s->bound);

		bind_to(taken, s->bound, PORT);
		assert_int_equal(bind_try(fd, s->bound, PORT), -EADDRINUSE);
		assert_int_equal(send_to(fd, to, 7000, 1), 0);
		close(fd);
		/* Bound, and a second bind() that fails: still bound. */
		fd = udp_socket(&near, s->bound);
		bind_to(fd, s->bound, PORT + 1);
		assert_int_equal(bind_try(fd, s->bound, PORT), -EINVAL);
		assert_int_equal(send_to(fd, to, 7001, 1), 0);
		/* The first fails, the second does not. */
		close(fd);
		fd = udp_socket(&near, s->bound);
		assert_int_equal(bind_try(fd, s->bound, PORT), -EADDRINUSE);
		bind_to(fd, s->bound, PORT + 1);
		assert_int_equal(send_to(fd, to, 7002, 1), 0);
		await_packets(c, FLOW(.to_port = 7002), 1);
		judge(c, FLOW(.to_port = 7000), 0, 1);
		judge(c, FLOW(.to_port = 7001), EF, 1);
		judge(c, FLOW(.to_port = 7002), EF, 1);
		close(fd);
		close(taken);
		capture_clear(c);
	}
}

/* A failed bind() to an IPv6 address does not make the socket IPv6's alone: IPv4 is marked too. */
static void failed_bind_leaves_both_families(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), other = near_place(tb, "/other");
	int taken = udp_socket(&other, NEAR6), fd;

	apply(tb, "classes: { hit: { dscp: EF, cgroup: @/app } }\n");
	fd = udp_socket(&near, NEAR6);
	bind_to(taken, NEAR6, PORT);
	assert_int_equal(bind_try(fd, NEAR6, PORT), -EADDRINUSE);
	connect_to(fd, MAPPED FAR4, 7000);
	assert_int_equal(flow_mark(tb, fd, "granted", "tos"), EF);
	send_bytes(fd, 1);
	await_packets(c, FLOW(.to_port = 7000), 1);
	judge(c, FLOW(.to_port = 7000), EF, 1);
	close(fd);
	close(taken);
}

/* bind() has marked the server's socket by the rule on its port. */
static void exempt_peer_gets_the_servers_own_mark(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int dscp, server;
	size_t i;

	apply(tb, "classes: { sip: { dscp: EF } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/app, remote: [" FAR4_B ", \"" FAR6_B
		  "\"] }, class: default }\n"
		  "  - { match: { cgroup: @/app, local_port: 5060 }, class: sip }\n");
	for (dscp = 0; dscp <= AF11; dscp += AF11) {
		for (i = 0; i < SERVICES; i++) {
			const struct service *s = &services[i];
			int a = client_at(tb, s->client, 7000), b;

			b = client_at(tb, s->client_b, 7001);
			server = server_at(tb, s);
			set_option(server, IPPROTO_IP, IP_TOS, dscp << 2);
			if (address_family(s->bound) == AF_INET6)
				set_option(server, IPPROTO_IPV6, IPV6_TCLASS, dscp << 2);
			exchange(a, s, server, 0);
			exchange(b, s, server, 0);
			judge(c, FLOW(.to_port = 7000), EF, 1);
			judge(c, FLOW(.to_port = 7001), dscp, 1);
			close(server);
			close(a);
			close(b);
			capture_clear(c);
		}
	}
}

/* A reply to a neighbour that has yet to be found leaves when its socket is closed. */
static void reply_outlives_its_server(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, NULL), far = far_place(tb);
	int server;
	size_t i;

	apply(tb, "classes: { in: { dscp: EF }, out: { dscp: AF41 } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/app, direction: inbound }, class: in }\n"
		  "  - { match: { cgroup: @/app }, class: out }\n");
	run(tb, &far, "ip link set " FAR_IF " arp off");
	run(tb, &near, "ip neigh flush dev " NEAR_IF);
	for (i = 0; i < SERVICES; i++) {
		bool mapped = address_family(services[i].bound) != address_family(services[i].at);

		server = server_at(tb, &services[i]);
		assert_int_equal(
			send_to(server, mapped ? MAPPED FAR4 : services[i].client, 7000 + i, 1), 0);
		close(server);
	}
	assert_int_equal(flow_count(c, FLOW(.from_port = PORT)), 0);
	run(tb, &far, "ip link set " FAR_IF " arp on");
	for (i = 0; i < SERVICES; i++) {
		await_packets(c, FLOW(.to_port = 7000 + i), 1);
		judge(c, FLOW(.to_port = 7000 + i), EF, 1);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(reply_is_classified_by_the_peer_it_answers),
		NET_TEST(reply_is_classified_by_the_latest_inbound_dscp),
		NET_TEST(failed_bind_leaves_no_trace),
		NET_TEST(failed_bind_leaves_both_families),
		NET_TEST(reply_outlives_its_server),
		NET_TEST(exempt_peer_gets_the_servers_own_mark),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
