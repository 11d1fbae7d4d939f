/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A container behind a veth: its packets pass through the near host, routed or
 * bridged, and are matched there by their headers.
 *
 *	inner0 ----veth---- outer0 | near | near0 ----veth---- far0
 */
#include <stdio.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <unistd.h>

#include "capture.h"
#include "container.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define AF11 10
#define AF21 18
#define AF41 34
#define EF   46

/* It is on far's own network: near0 and outer0 are the ports of a bridge. */
static int container_bridged(struct testbed *tb)
{
	struct place near = near_place(tb, NULL);
	int container = container_new(tb);
	struct place inner = {.netns = container};

	run(tb, &near, "ip link add bridge0 type bridge");
	run(tb, &near, "ip link set bridge0 up");
	run(tb, &near, "ip link set " NEAR_IF " master bridge0");
	run(tb, &near, "ip link set " OUTER_IF " master bridge0");
	run(tb, &inner, "ip address add 10.9.0.9/24 dev " INNER_IF);
	run(tb, &inner, "ip address add fd00:9::9/64 dev " INNER_IF " nodad");
	return container;
}

/* A socket in the container, of a governed cgroup or (NULL) of none. */
static struct place container_place(struct testbed *tb, int container, const char *cgroup)
{
	struct place place = near_place(tb, cgroup);

	place.netns = container;
	return place;
}

static void send_marked(const struct place *place, const char *to, int port, int dscp,
			size_t length)
{
	int fd = udp_socket(place, to);

	if (address_family(to) == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, dscp << 2);
	else
		set_option(fd, IPPROTO_IP, IP_TOS, dscp << 2);
	assert_int_equal(send_to(fd, to, port, length), 0);
	close(fd);
}

static long counted(struct testbed *tb, const char *what, const char *name, const char *counter)
{
	char verb[32];
	struct json_object *json, *found;
	long value;

	snprintf(verb, sizeof(verb), "show %s", what);
	json = hostqos_json(tb, 0, verb);
	found = json_find(json_member(json, what), "name", name);
	assert_non_null(found);
	value = json_object_get_int64(json_member(found, counter));
	json_object_put(json);
	return value;
}

#define CLASSES "classes: { hit: { dscp: EF }, other: { dscp: AF41 }, default: { dscp: AF11 } }\n"

static void headers_decide(void **state)
{
	static const struct {
		const char *to;
		int port, dscp, marked;
	} cases[] = {
		{FAR4, 7000, 0, EF},	  {FAR6, 7000, 0, EF},	    {FAR4, 7001, AF21, EF},
		{FAR6, 7001, AF21, EF},	  {FAR4, 7001, AF41, AF41}, {FAR4, 7001, 0, 0},
		{FAR4_B, 7001, 0, AF41},  {FAR6_B, 7001, 0, AF41},  {FAR4, 7002, 0, 0},
		{FAR6, 7002, AF21, AF21},
	};
	struct testbed *tb = *state;
	struct place inner = container_place(tb, container_routed(tb), NULL);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i;

	apply(tb,
	      CLASSES "rules:\n"
		      "  - { name: all-local, match: { protocol: udp }, class: other }\n"
		      "  - { match: { origin: forwarded, local: [" INNER4 ", \"" INNER6 "\"],\n"
		      "               protocol: udp, remote_port: 7000 }, class: hit }\n"
		      "  - { match: { origin: forwarded, local: [10.9.2.0/24, \"fd00:9:2::/64\"],\n"
		      "               inbound_dscp: AF21, remote_port: 7001 }, class: hit }\n"
		      "  - { name: b, match: { remote: [" FAR4_B ", \"" FAR6_B "\"],\n"
		      "               not: { origin: local } }, class: other }\n");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		capture_clear(c);
		send_marked(&inner, cases[i].to, cases[i].port, cases[i].dscp, 100);
		await_packets(c, FLOW(.protocol = IPPROTO_UDP), 1);
		judge(c, FLOW(.to = cases[i].to, .to_port = cases[i].port), cases[i].marked, 1);
	}
	/* A rule that does not say is for local sockets, and for these alone. */
	assert_int_equal(counted(tb, "rules", "all-local", "flows"), 0);
	assert_int_equal(counted(tb, "rules", "b", "flows"), 2);
	assert_int_equal(counted(tb, "classes", "other", "packets"), 2);
	assert_int_equal(counted(tb, "classes", "hit", "packets"), 4);
	assert_int_equal(counted(tb, "classes", "default", "packets"), 0);
	close(inner.netns);
}

/* Without a rule for them, forwarded packets are none of hostqos's business. */
static void unasked_they_are_left_alone(void **state)
{
	struct testbed *tb = *state;
	struct place inner = container_place(tb, container_routed(tb), NULL);
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, CLASSES "rules:\n"
			  "  - { match: { remote_port: 7000 }, class: hit }\n"
			  "  - { match: { origin: local, remote_port: 7001 }, class: hit }\n"
			  "  - { match: { remote_port: 7002 }, refuse: true }\n");
	send_marked(&inner, FAR4, 7000, AF21, 100);
	send_marked(&inner, FAR4, 7001, AF21, 100);
	send_marked(&inner, FAR4, 7002, AF21, 100);
	send_marked(&inner, FAR4, 7003, AF21, 100);
	await_packets(c, FLOW(.from = INNER4, .protocol = IPPROTO_UDP), 4);
	judge(c, FLOW(.from = INNER4, .protocol = IPPROTO_UDP), AF21, 4);
	send_marked(&near, FAR4, 7001, 0, 100);
	await_packets(c, FLOW(.from = NEAR4, .protocol = IPPROTO_UDP), 1);
	judge(c, FLOW(.from = NEAR4, .protocol = IPPROTO_UDP), EF, 1);
	close(inner.netns);
}

/* Ports are in the first fragment alone. */
static void fragments_follow_the_first(void **state)
{
	static const char *const hosts[] = {FAR4, FAR6};
	struct testbed *tb = *state;
	struct place inner = container_place(tb, container_routed(tb), NULL);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i;

	apply(tb, CLASSES "rules:\n"
			  "  - { match: { origin: forwarded, remote_port: 7000 }, class: hit }\n"
			  "  - { match: { origin: forwarded, protocol: udp }, class: other }\n");
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		capture_clear(c);
		send_marked(&inner, hosts[i], 7000, 0, 4000);
		send_marked(&inner, hosts[i], 7001, 0, 4000);
		await_packets(c, FLOW(.to = hosts[i], .to_port = 7000), 3);
		await_packets(c, FLOW(.to = hosts[i], .to_port = 7001), 3);
		judge(c, FLOW(.to = hosts[i], .to_port = 7000), EF, 3);
		judge(c, FLOW(.to = hosts[i], .to_port = 7001), AF41, 3);
	}
	close(inner.netns);
}

static void refused_packets_are_dropped_and_counted(void **state)
{
	struct testbed *tb = *state;
	struct place inner = container_place(tb, container_routed(tb), NULL);
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, "rules: [{ name: no, match: { origin: forwarded, remote_port: 7000 }, "
		  "refuse: true }]\n");
	send_marked(&inner, FAR4, 7000, 0, 100);
	send_marked(&inner, FAR6, 7000, 0, 4000);
	send_marked(&inner, FAR4, 7001, 0, 100);
	send_marked(&inner, FAR6, 7001, 0, 100);
	await_packets(c, FLOW(.to_port = 7001), 2);
	assert_int_equal(flow_count(c, FLOW(.to_port = 7000)), 0);
	assert_int_equal(counted(tb, "rules", "no", "refused"), 4); /* three are fragments */
	/* A local socket's datagram to there is no forwarded one. */
	send_marked(&near, FAR4, 7000, 0, 100);
	await_packets(c, FLOW(.from = NEAR4, .to_port = 7000), 1);
	close(inner.netns);
}

#define RATE	(8 * MBIT)
#define SECONDS 3.0

/*
 * Half again of the rate is offered by the container, and a local flow goes beside
 * it. A stall of the machine takes from the rate, or adds what the bucket holds.
 */
static void a_containers_rate_is_held(void **state)
{
	struct flow forwarded = {.protocol = IPPROTO_UDP, .to_port = 7000};
	struct testbed *tb = *state;
	struct place inner = container_place(tb, container_routed(tb), NULL);
	struct place near = near_place(tb, "/app"), other = near_place(tb, NULL);
	struct place far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct udp_load loads[] = {{.rate = 1.5 * RATE}, {.rate = 2 * MBIT}};
	int sinks[] = {udp_sink(&far, FAR4, 7000), udp_sink(&far, FAR4, 7001)};

	apply(tb, "classes: { bulk: { dscp: AF21, egress: { rate: 8mbit, burst: 200ms } } }\n"
		  "rules: [{ match: { origin: forwarded, local: 10.9.2.0/24 }, class: bulk }]\n");
	loads[0].fd = udp_socket(&inner, FAR4);
	loads[1].fd = udp_socket(&near, FAR4);
	connect_to(loads[0].fd, FAR4, 7000);
	connect_to(loads[1].fd, FAR4, 7001);
	udp_send(loads, 2, SECONDS);
	await_queue(c, &other, FAR4);
	assert_rate(flow_rate(c, &forwarded, 1, SECONDS - 0.1), 0.85 * RATE, 1.15 * RATE);
	judge(c, &forwarded, AF21, 1);
	judge(c, FLOW(.to_port = 7001), 0, loads[1].sent);
	assert_int_equal(counted(tb, "classes", "bulk", "packets"), flow_count(c, &forwarded));
	assert_int_equal(counted(tb, "classes", "bulk", "bytes"), flow_wire_bytes(c, &forwarded));
	close(loads[0].fd), close(loads[1].fd);
	close(sinks[0]), close(sinks[1]);
	close(inner.netns);
}

/*
 * Born in a governed cgroup, a socket of another network namespace has its
 * class and its mark from there; routing takes it off its packets, which the
 * host then knows by headers, the mark among them.
 */
static void a_containers_sockets_mark_and_the_host_meters(void **state)
{
	static const char *const hosts[] = {FAR4, FAR6};
	struct testbed *tb = *state;
	struct place inner = container_place(tb, container_routed(tb), "/app");
	struct place far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection tcp;
	size_t i;

	apply(tb, "classes: { app: { dscp: AF21 }, metered: { dscp: keep } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/app }, class: app }\n"
		  "  - { match: { origin: forwarded, inbound_dscp: AF21, protocol: tcp,\n"
		  "               local: [10.9.2.0/24, \"fd00:9:2::/64\"] }, class: metered }\n");
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		tcp = tcp_connection(&inner, &far, hosts[i], 7000);
		send_bytes(tcp.client, 10000);
		receive_bytes(tcp.server, 10000);
		judge(c, FLOW(.to = hosts[i], .to_port = 7000), AF21, 3);
		close(tcp.client), close(tcp.server), close(tcp.listener);
	}
	assert_in_range(counted(tb, "classes", "metered", "packets"), 6, 1000);
	assert_int_equal(counted(tb, "classes", "app", "packets"), 0);
	close(inner.netns);
}

/* A server in there answers with its own class's mark, from the SYN-ACK on. */
static void a_containers_server_answers_with_its_mark(void **state)
{
	struct testbed *tb = *state;
	struct place inner = container_place(tb, container_routed(tb), "/app");
	struct place far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection tcp;

	apply(tb, "classes: { app: { dscp: AF21, cgroup: @/app } }\n");
	tcp = tcp_connection(&far, &inner, INNER4, 7000);
	send_bytes(tcp.server, 1000);
	receive_bytes(tcp.client, 1000);
	judge(c, FLOW(.from = INNER4, .with = TCP_SYN | TCP_ACK), AF21, 1);
	judge(c, FLOW(.from = INNER4, .from_port = 7000), AF21, 2);
	close(tcp.client), close(tcp.server), close(tcp.listener);
	close(inner.netns);
}

/*
 * A bridge may leave the sender's socket on the packet (6.1 does): if it is not
 * governed, the packet is a forwarded one like any other.
 */
static void bridged_packets_are_forwarded_too(void **state)
{
	static const char *const hosts[] = {FAR4, FAR6};
	struct testbed *tb = *state;
	int container = container_bridged(tb);
	struct place app = container_place(tb, container, "/app");
	struct place other = container_place(tb, container, NULL), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection tcp;
	size_t i;

	apply(tb, CLASSES "rules:\n"
			  "  - { match: { cgroup: @/app }, class: other }\n"
			  "  - { match: { origin: forwarded, protocol: udp }, class: hit }\n");
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		send_marked(&other, hosts[i], 7001, AF21, 100);
		await_packets(c, FLOW(.to = hosts[i], .to_port = 7001), 1);
		judge(c, FLOW(.to = hosts[i], .to_port = 7001), EF, 1);
		tcp = tcp_connection(&app, &far, hosts[i], 7000);
		send_bytes(tcp.client, 10);
		receive_bytes(tcp.server, 10);
		judge(c, FLOW(.to = hosts[i], .to_port = 7000), AF41, 3);
		close(tcp.client), close(tcp.server), close(tcp.listener);
	}
	close(container);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(headers_decide),
		NET_TEST(unasked_they_are_left_alone),
		NET_TEST(fragments_follow_the_first),
		NET_TEST(refused_packets_are_dropped_and_counted),
		NET_TEST(a_containers_rate_is_held),
		NET_TEST(a_containers_sockets_mark_and_the_host_meters),
		NET_TEST(a_containers_server_answers_with_its_mark),
		NET_TEST(bridged_packets_are_forwarded_too),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
