/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Stacked interfaces show one packet twice; it is charged and counted once.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define AF21	18
#define RATE	(24 * MBIT)
#define SECONDS 3.0

#define MACVLAN "mac0"
#define UPPER4	"10.9.1.1"
#define BEHIND4 "10.9.1.2"
#define CLASS                                                                                      \
	"classes: { bulk: { dscp: AF21, cgroup: @/bulk, egress: { rate: 24mbit, burst: 200ms } } }\n"
#define ATTACH(interfaces) "hostqos: 1\nattach: { cgroup: @" interfaces " }\n" CLASS

/* A macvlan on near0, and far's address in its network. */
static void stack(struct testbed *tb, int netns)
{
	struct place near = near_place(tb, NULL), far = far_place(tb), upper = {.netns = netns};

	run(tb, &near, "ip link add link " NEAR_IF " name " MACVLAN " type macvlan mode bridge");
	if (netns != tb->near)
		run(tb, &near, "ip link set " MACVLAN " netns /proc/%d/fd/%d", getpid(), netns);
	run(tb, &upper, "ip address add " UPPER4 "/24 dev " MACVLAN);
	run(tb, &upper, "ip link set " MACVLAN " up");
	run(tb, &far, "ip address add " BEHIND4 "/24 dev " FAR_IF);
}

static long counted(struct testbed *tb, const char *class, const char *counter)
{
	struct json_object *json = hostqos_json(tb, 0, "show classes");
	struct json_object *found = json_find(json_member(json, "classes"), "name", class);
	long value;

	if (!found)
		fail_msg("no class %s in %s", class, json_object_to_json_string(json));
	value = json_object_get_int64(json_member(found, counter));
	json_object_put(json);
	return value;
}

/*
 * Half again of the rate is offered: charged twice, half the rate would arrive. A
 * stall of the machine takes from it, or adds what the bucket holds.
 */
static void expect_full_rate(struct testbed *tb, const struct place *place)
{
	struct flow bulk = {.protocol = IPPROTO_UDP, .to_port = 7000};
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place far = far_place(tb), other = near_place(tb, "/other");
	int sink = udp_sink(&far, BEHIND4, 7000);
	struct udp_load load = {.rate = 1.5 * RATE};

	other.netns = place->netns;
	load.fd = udp_socket(place, BEHIND4);
	connect_to(load.fd, BEHIND4, 7000);
	udp_send(&load, 1, SECONDS);
	await_queue(c, &other, BEHIND4);
	assert_rate(flow_rate(c, &bulk, 1, SECONDS - 0.1), 0.85 * RATE, 1.15 * RATE);
	judge(c, &bulk, AF21, 1);
	assert_int_equal(counted(tb, "bulk", "packets"), flow_count(c, &bulk));
	assert_int_equal(counted(tb, "bulk", "bytes"), flow_wire_bytes(c, &bulk));
	close(load.fd);
	close(sink);
}

static void macvlan_and_its_lower_charge_once(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/bulk");

	stack(tb, tb->near);
	apply(tb, ATTACH(", interfaces: [" NEAR_IF ", " MACVLAN "]"));
	expect_full_rate(tb, &near);
}

static void interfaces_that_are_no_others_upper_are_the_default(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/bulk");
	struct process *apply;
	char *said;

	stack(tb, tb->near);
	apply = hostqos_start(tb, "apply %s", policy_file(tb, ATTACH("")));
	assert_int_equal(process_wait(apply), 0);
	said = process_output(apply);
	assert_non_null(strstr(said, NEAR_IF));
	assert_null(strstr(said, MACVLAN));
	expect_full_rate(tb, &near);
	free(said);
}

/* A container's macvlan: its socket is of another network namespace than near0. */
static void container_on_a_macvlan_is_charged_at_its_lower(void **state)
{
	struct testbed *tb = *state;
	struct place inside = near_place(tb, "/bulk");
	int container = netns_new();

	stack(tb, container);
	inside.netns = container;
	apply(tb, ATTACH(", interfaces: [" NEAR_IF "]"));
	expect_full_rate(tb, &inside);
	close(container);
}

static bool is_attached(struct testbed *tb, const char *interface)
{
	struct json_object *status = hostqos_json(tb, 0, "status");
	bool found = json_find(json_member(status, "attached"), "target", interface);

	json_object_put(status);
	return found;
}

static void globs_choose_interfaces(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/bulk");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd;

	stack(tb, tb->near);
	apply(tb, ATTACH(", interfaces: [\"*\", \"!mac*\", \"!lo\"]"));
	fd = udp_socket(&near, FAR4);
	assert_int_equal(send_to(fd, FAR4, 7000, 100), 0);
	await_packets(c, FLOW(.to_port = 7000), 1);
	judge(c, FLOW(.to_port = 7000), AF21, 1);
	assert_true(is_attached(tb, NEAR_IF) && !is_attached(tb, MACVLAN));
	close(fd);
	/* All that are chosen without a pattern, but these. */
	apply(tb, ATTACH(", interfaces: [\"!mac*\"]"));
	assert_true(is_attached(tb, NEAR_IF) && !is_attached(tb, "lo"));
	apply(tb, ATTACH(", interfaces: [\"!" NEAR_IF "\"]"));
	assert_false(is_attached(tb, NEAR_IF) || is_attached(tb, "lo"));
}

#define VXLAN	  "vx0"
#define VXLAN_UDP 4789
#define NEAR_MAC  "02:00:00:00:00:01"
#define FAR_MAC	  "02:00:00:00:00:02"

/*
 * One end of a VXLAN whose outer header takes the inner one's DSCP. The other
 * end's address is known to it: what it sends are the test's packets only.
 */
static void vxlan_end(struct testbed *tb, const struct place *place, const char *local,
		      const char *remote, const char *mac, const char *address,
		      const char *peer_mac, const char *peer)
{
	run(tb, place,
	    "ip link add " VXLAN
	    " address %s mtu 1400 type vxlan id 7 local %s remote %s dstport %d tos inherit",
	    mac, local, remote, VXLAN_UDP);
	run(tb, place, "ip address add %s/24 dev " VXLAN, address);
	run(tb, place, "ip link set " VXLAN " up");
	run(tb, place, "ip neighbour replace %s lladdr %s dev " VXLAN " nud permanent", peer,
	    peer_mac);
}

static void tunnel(struct testbed *tb)
{
	struct place near = near_place(tb, NULL), far = far_place(tb);

	vxlan_end(tb, &near, NEAR4, FAR4, NEAR_MAC, UPPER4, FAR_MAC, BEHIND4);
	vxlan_end(tb, &far, FAR4, NEAR4, FAR_MAC, BEHIND4, NEAR_MAC, UPPER4);
}

/* By the address inside; whoever took the outer one for the flow's would find the class `wrong`. */
#define TUNNELLED                                                                                  \
	"rules:\n"                                                                                 \
	"  - { match: { cgroup: @/bulk, remote: " BEHIND4 " }, class: bulk }\n"                    \
	"  - { match: { cgroup: @/bulk, remote: " FAR4 " }, class: wrong }\n"

static void outer_header_of_a_tunnel_bears_the_mark(void **state)
{
	struct flow outer = {.protocol = IPPROTO_UDP, .to_port = VXLAN_UDP};
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/bulk"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection tcp;
	int sink, fd;

	tunnel(tb);
	apply(tb, "classes: { bulk: { dscp: AF21 }, wrong: { dscp: EF } }\n" TUNNELLED);
	tcp = tcp_connection(&near, &far, BEHIND4, 7000);
	send_bytes(tcp.client, 10000);
	receive_bytes(tcp.server, 10000);
	judge(c, &outer, AF21, 3);
	capture_clear(c);
	sink = udp_sink(&far, BEHIND4, 7001);
	fd = udp_socket(&near, BEHIND4);
	connect_to(fd, BEHIND4, 7001);
	udp_burst(fd, 10);
	await_packets(c, &outer, 10);
	judge(c, &outer, AF21, 10);
	close(fd);
	close(sink);
	close(tcp.client), close(tcp.server), close(tcp.listener);
}

/* 20 datagrams at once into a burst that is soon spent. */
static void expect_burst_only(struct testbed *tb, const char *attach)
{
	struct flow inner = {.protocol = IPPROTO_UDP, .to_port = 7000};
	struct place near = near_place(tb, "/bulk"), other = near_place(tb, "/other");
	struct capture *c = capture_start(tb, tb->far, VXLAN);
	struct place far = far_place(tb);
	static const char datagram[500];
	char text[1024];
	size_t arrived;
	int sink, fd, i;

	snprintf(text, sizeof(text),
		 "hostqos: 1\nattach: { cgroup: @, interfaces: [%s] }\n"
		 "classes:\n"
		 "  bulk: { dscp: AF21, egress: { rate: 8kbit, burst: 1kb } }\n"
		 "  wrong: { dscp: EF }\n" TUNNELLED,
		 attach);
	apply(tb, text);
	sink = udp_sink(&far, BEHIND4, 7000);
	fd = udp_socket(&near, BEHIND4);
	connect_to(fd, BEHIND4, 7000);
	for (i = 0; i < 20; i++)
		send(fd, datagram, sizeof(datagram), 0);
	await_queue(c, &other, BEHIND4);
	arrived = flow_count(c, &inner);
	print_message("%zu of 20 datagrams arrived by way of %s\n", arrived, attach);
	assert_in_range(arrived, 1, 4);
	assert_int_equal(counted(tb, "bulk", "packets"), arrived);
	assert_int_equal(counted(tb, "bulk", "exceed_packets"), 20 - arrived);
	assert_int_equal(counted(tb, "wrong", "packets"), 0);
	close(fd);
	close(sink);
}

static void flow_in_a_tunnel_is_metered_by_its_own_class(void **state)
{
	tunnel(*state);
	expect_burst_only(*state, NEAR_IF);
}

static void tunnel_and_its_lower_charge_once(void **state)
{
	tunnel(*state);
	expect_burst_only(*state, NEAR_IF ", " VXLAN);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(macvlan_and_its_lower_charge_once),
		NET_TEST(interfaces_that_are_no_others_upper_are_the_default),
		NET_TEST(container_on_a_macvlan_is_charged_at_its_lower),
		NET_TEST(globs_choose_interfaces),
		NET_TEST(outer_header_of_a_tunnel_bears_the_mark),
		NET_TEST(flow_in_a_tunnel_is_metered_by_its_own_class),
		NET_TEST(tunnel_and_its_lower_charge_once),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
