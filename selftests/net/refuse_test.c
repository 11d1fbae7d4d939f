/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What `refuse` says is refused to the caller, at the first operation at which
 * nothing more could decide, and nothing of it reaches the wire.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define AF11 10
#define AF21 18

static void connect_to_a_refused_port_fails(void **state)
{
	static const char *const servers[] = {FAR4, FAR6, MAPPED FAR4};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int listener = tcp_listener(&far, "::", 2500), fd;
	size_t i;

	apply(tb,
	      "rules:\n"
	      "  - { name: no-smtp, match: { cgroup: @/app, protocol: tcp, remote_port: 25 }, refuse: true }\n"
	      "  - { match: { cgroup: @/app, protocol: udp, remote_port: 53 }, refuse: true }\n");
	for (i = 0; i < sizeof(servers) / sizeof(servers[0]); i++) {
		fd = tcp_socket(&near, servers[i]);
		assert_int_equal(connect_try(fd, servers[i], 25), -EPERM);
		close(fd);
		fd = tcp_socket(&near, servers[i]);
		assert_int_equal(connect_try(fd, servers[i], 2500), 0);
		close(fd);
		fd = udp_socket(&near, servers[i]);
		assert_int_equal(connect_try(fd, servers[i], 53), -EPERM);
		assert_int_equal(connect_try(fd, servers[i], 5300), 0);
		send_bytes(fd, 1);
		close(fd);
	}
	await_packets(c, FLOW(.to_port = 5300), 3);
	assert_int_equal(flow_count(c, FLOW(.to_port = 25)), 0);
	assert_int_equal(flow_count(c, FLOW(.to_port = 53)), 0);
	close(listener);
}

static void datagram_to_a_refused_destination_fails(void **state)
{
	static const char *const hosts[][2] = {
		{FAR4, FAR4_B}, {FAR6, FAR6_B}, {MAPPED FAR4, MAPPED FAR4_B}};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app");
	size_t i;

	apply(tb, "rules:\n"
		  "  - match: { cgroup: @/app, remote: [" FAR4_B ", \"" FAR6_B "\"] }\n"
		  "    refuse: true\n");
	for (i = 0; i < 3; i++) {
		int fd = udp_socket(&near, hosts[i][0]);

		assert_int_equal(send_to(fd, hosts[i][1], 7000, 100), -EPERM);
		assert_int_equal(send_to(fd, hosts[i][0], 7000, 100), 0);
		close(fd);
	}
	await_packets(c, FLOW(.to_port = 7000), 3);
	assert_int_equal(flow_count(c, FLOW(.to = FAR4_B)), 0);
	assert_int_equal(flow_count(c, FLOW(.to = FAR6_B)), 0);
}

/* The kernel takes it for loopback, or for the address that the socket is bound to. */
static void wildcard_is_no_way_round(void **state)
{
	static const struct {
		const char *from, *to;
		int err;
	} ways[] = {
		{NULL, "0.0.0.0", -EPERM}, {NULL, MAPPED "0.0.0.0", -EPERM},
		{NULL, "::", -EPERM},	   {NEAR4, "0.0.0.0", 0},
		{NEAR6, "::", -EPERM},
	};
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	int listener, fd;
	size_t i;

	apply(tb, "rules: [{ match: { cgroup: @/app, remote: [127.0.0.0/8, \"::1\"],\n"
		  "  remote_port: 6379 }, refuse: true }]\n");
	listener = tcp_listener(&near, "::", 6379);
	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		fd = tcp_socket(&near, ways[i].to);
		if (ways[i].from)
			bind_to(fd, ways[i].from, 0);
		assert_int_equal(connect_try(fd, ways[i].to, 6379), ways[i].err);
		close(fd);
		fd = udp_socket(&near, ways[i].to);
		if (ways[i].from)
			bind_to(fd, ways[i].from, 0);
		assert_int_equal(send_to(fd, ways[i].to, 6379, 1), ways[i].err);
		close(fd);
	}
	close(listener);
}

static void socket_fails_where_nothing_more_could_decide(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), other = near_place(tb, "/other");

	apply(tb, "rules: [{ match: { cgroup: @/app, type: dgram }, refuse: true }]\n");
	assert_int_equal(socket_try(&near, AF_INET, SOCK_DGRAM, 0), -EPERM);
	assert_int_equal(socket_try(&near, AF_INET6, SOCK_DGRAM, 0), -EPERM);
	close(socket_at(&near, AF_INET, SOCK_STREAM));
	close(socket_at(&other, AF_INET, SOCK_DGRAM));
}

static void refusal_waits_for_rules_that_are_undecided(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int listener = tcp_listener(&far, FAR4, 7000), other = tcp_listener(&far, FAR4_B, 7000), fd;

	apply(tb, "classes: { good: { dscp: AF21 } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/app, remote: " FAR4 " }, class: good }\n"
		  "  - { match: { cgroup: @/app }, refuse: true }\n");
	fd = tcp_socket(&near, FAR4);
	assert_int_equal(connect_try(fd, FAR4, 7000), 0);
	close(fd);
	fd = tcp_socket(&near, FAR4);
	assert_int_equal(connect_try(fd, FAR4_B, 7000), -EPERM);
	close(fd);
	close(listener);
	close(other);
}

/* The client asks twice and hears nothing: neither SYN-ACK nor RST. */
static void syn_to_a_refused_listener_is_dropped(void **state)
{
	static const struct {
		const char *listen, *connect;
	} services[] = {{NEAR4, NEAR4}, {NEAR6, NEAR6}, {"::", NEAR4}};
	struct testbed *tb = *state;
	struct capture *at_near = capture_start(tb, tb->near, NEAR_IF);
	struct capture *at_far = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int clients[3], listeners[3];
	size_t i;

	apply(tb,
	      "rules: [{ match: { cgroup: @/app, direction: inbound, local_port: 7000-7010 }, refuse: true }]\n");
	for (i = 0; i < 3; i++) {
		listeners[i] = tcp_listener(&near, services[i].listen, 7000 + i);
		clients[i] = tcp_socket(&far, services[i].connect);
		fcntl(clients[i], F_SETFL, O_NONBLOCK);
		assert_int_equal(connect_try(clients[i], services[i].connect, 7000 + i),
				 -EINPROGRESS);
	}
	for (i = 0; i < 3; i++) {
		await_packets(at_near, FLOW(.to_port = 7000 + i, .with = TCP_SYN), 2);
		assert_int_equal(flow_count(at_far, FLOW(.from_port = 7000 + i)), 0);
		close(clients[i]);
		close(listeners[i]);
	}
}

static void listener_beside_the_refused_one_answers(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct connection c;

	apply(tb,
	      "rules: [{ match: { cgroup: @/app, direction: inbound, local_port: 7000 }, refuse: true }]\n");
	c = tcp_connection(&far, &near, NEAR4, 7001);
	send_bytes(c.client, 1);
	receive_bytes(c.server, 1);
	close(c.client);
	close(c.server);
	close(c.listener);
}

/* A connected socket goes on to its peer; it may not connect there again. */
static void live_connected_socket_goes_on(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int sink = udp_sink(&far, FAR4, 7000), fd;

	apply(tb, "classes: { good: { dscp: AF21, cgroup: @/app } }\n");
	fd = udp_socket(&near, FAR4);
	connect_to(fd, FAR4, 7000);
	send_bytes(fd, 1);
	apply(tb, "rules: [{ match: { cgroup: @/app, remote_port: 7000 }, refuse: true }]\n");
	send_bytes(fd, 1);
	await_packets(c, FLOW(.to_port = 7000), 2);
	assert_int_equal(flow_count(c, FLOW(.to_port = 7000, .dsfield = DS_IS(AF21 << 2))), 1);
	assert_int_equal(flow_count(c, FLOW(.to_port = 7000, .dsfield = DS_IS(0))), 1);
	assert_int_equal(connect_try(fd, FAR4, 7000), -EPERM);
	close(fd);
	close(sink);
}

/*
 * A rule on the destination does not cut what sockets send that are older than
 * it, and refuses what younger ones do, whatever else changes later.
 */
static void rule_refuses_datagrams_of_younger_sockets(void **state)
{
	static const char *const hosts[][2] = {
		{FAR4, FAR4_B}, {FAR6, FAR6_B}, {MAPPED FAR4, MAPPED FAR4_B}};
	static const char refusing[] = "classes: { good: { dscp: AF21 }, other: { dscp: AF11 } }\n"
				       "rules:\n"
				       "  - { name: no-b, match: { cgroup: @/app, remote: [" FAR4_B
				       ", \"" FAR6_B "\"] }, refuse: true }\n"
				       "  - { match: { cgroup: @/app }, class: %s }\n";
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app");
	int old[3], young[3];
	char policy[512];
	size_t i, n;

	apply(tb, "classes: { good: { dscp: AF21, cgroup: @/app } }\n");
	for (i = 0; i < 3; i++) {
		old[i] = udp_socket(&near, hosts[i][0]);
		assert_int_equal(send_to(old[i], hosts[i][1], 7000, 1), 0);
	}
	await_packets(c, FLOW(.to_port = 7000), 3);
	judge(c, FLOW(.to_port = 7000), AF21, 3);
	for (n = 0; n < 3; n++) {
		capture_clear(c);
		snprintf(policy, sizeof(policy), refusing, n % 2 ? "other" : "good");
		apply(tb, policy);
		for (i = 0; i < 3; i++) {
			if (!n)
				young[i] = udp_socket(&near, hosts[i][0]);
			assert_int_equal(send_to(old[i], hosts[i][1], 7000, 1), 0);
			assert_int_equal(send_to(old[i], hosts[i][0], 7001, 1), 0);
			assert_int_equal(send_to(young[i], hosts[i][1], 7002, 1), -EPERM);
			assert_int_equal(send_to(young[i], hosts[i][0], 7003, 1), 0);
		}
		await_packets(c, FLOW(.to_port = 7003), 3);
		judge(c, FLOW(.to_port = 7000), 0, 3);
		judge(c, FLOW(.to_port = 7001), n % 2 ? AF11 : AF21, 3);
		judge(c, FLOW(.to_port = 7003), n % 2 ? AF11 : AF21, 3);
		assert_int_equal(flow_count(c, FLOW(.to_port = 7002)), 0);
	}
	for (i = 0; i < 3; i++) {
		close(old[i]);
		close(young[i]);
	}
}

/* Sockets older than the refusal go on, without a class; new ones are refused. */
static void old_sockets_of_a_refused_cgroup_go_on(void **state)
{
	static const char *const hosts[] = {FAR4, FAR6};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int sink = udp_sink(&far, "::", 7000), connected[2], unconnected[2];
	size_t i;

	apply(tb, "classes: { good: { dscp: AF21, cgroup: @/app } }\n");
	for (i = 0; i < 2; i++) {
		connected[i] = udp_socket(&near, hosts[i]);
		unconnected[i] = udp_socket(&near, hosts[i]);
		set_option(connected[i], i ? IPPROTO_IPV6 : IPPROTO_IP, i ? IPV6_TCLASS : IP_TOS,
			   AF11 << 2);
		set_option(unconnected[i], i ? IPPROTO_IPV6 : IPPROTO_IP, i ? IPV6_TCLASS : IP_TOS,
			   AF11 << 2);
		connect_to(connected[i], hosts[i], 7000);
		send_bytes(connected[i], 1);
		assert_int_equal(send_to(unconnected[i], hosts[i], 7000, 1), 0);
	}
	await_packets(c, FLOW(.to_port = 7000), 4);
	judge(c, FLOW(.to_port = 7000), AF21, 4);
	apply(tb, "rules: [{ match: { cgroup: @/app }, refuse: true }]\n");
	capture_clear(c);
	for (i = 0; i < 2; i++) {
		send_bytes(connected[i], 1);
		assert_int_equal(send_to(unconnected[i], hosts[i], 7000, 1), 0);
		assert_int_equal(socket_try(&near, address_family(hosts[i]), SOCK_DGRAM, 0),
				 -EPERM);
	}
	await_packets(c, FLOW(.to_port = 7000), 4);
	judge(c, FLOW(.to_port = 7000), AF11, 4);
	for (i = 0; i < 2; i++) {
		close(connected[i]);
		close(unconnected[i]);
	}
	close(sink);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(connect_to_a_refused_port_fails),
		NET_TEST(datagram_to_a_refused_destination_fails),
		NET_TEST(wildcard_is_no_way_round),
		NET_TEST(socket_fails_where_nothing_more_could_decide),
		NET_TEST(refusal_waits_for_rules_that_are_undecided),
		NET_TEST(syn_to_a_refused_listener_is_dropped),
		NET_TEST(listener_beside_the_refused_one_answers),
		NET_TEST(live_connected_socket_goes_on),
		NET_TEST(rule_refuses_datagrams_of_younger_sockets),
		NET_TEST(old_sockets_of_a_refused_cgroup_go_on),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
