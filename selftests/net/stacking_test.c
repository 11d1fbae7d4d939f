/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Stacked interfaces show one packet twice; it is charged and counted once.
 */
#include <stdio.h>
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

/* Half again of the rate is offered: charged twice, half the rate would arrive. */
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
	assert_rate(flow_rate(c, &bulk, 1, SECONDS - 0.1), 0.99 * RATE, 1.01 * RATE);
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

static void globs_choose_interfaces(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/bulk");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct json_object *status;
	int fd;

	stack(tb, tb->near);
	apply(tb, ATTACH(", interfaces: [\"*\", \"!mac*\", \"!lo\"]"));
	fd = udp_socket(&near, FAR4);
	assert_int_equal(send_to(fd, FAR4, 7000, 100), 0);
	await_packets(c, FLOW(.to_port = 7000), 1);
	judge(c, FLOW(.to_port = 7000), AF21, 1);
	status = hostqos_json(tb, 0, "status");
	assert_non_null(json_find(json_member(status, "attached"), "target", NEAR_IF));
	assert_null(json_find(json_member(status, "attached"), "target", MACVLAN));
	json_object_put(status);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(macvlan_and_its_lower_charge_once),
		NET_TEST(interfaces_that_are_no_others_upper_are_the_default),
		NET_TEST(container_on_a_macvlan_is_charged_at_its_lower),
		NET_TEST(globs_choose_interfaces),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
