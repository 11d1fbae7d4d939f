/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A shadow policy changes nothing, and what it counts comes true when it is
 * promoted: judged by what arrives at the far side.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "container.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define AF11 10
#define CS2  16
#define AF31 26
#define AF41 34
#define EF   46

enum { REMARKED = 7000, SAME, UNMATCHED, DROPPED, REFUSED };

#define RULE(port, class) "  - { match: { cgroup: @/app, remote_port: " #port " }, " class " }\n"

static const char live[] =
	"classes: { voice: { dscp: EF }, media: { dscp: AF41 }, old: { dscp: CS2 }, bulk: { dscp: AF11 } }\n"
	"rules:\n" RULE(7000, "class: voice") RULE(7001, "class: media") RULE(7002, "class: old")
		RULE(7003, "class: bulk") RULE(7004, "class: bulk");

static const char shadow[] =
	"classes:\n"
	"  fresh: { dscp: AF21 }\n"
	"  voice: { dscp: AF31 }\n"
	"  media: { dscp: AF41 }\n"
	"  bulk: { dscp: AF11, egress: { rate: 8kbit, burst: 32kb } }\n"
	"rules:\n" RULE(7004, "refuse: true") RULE(7000, "class: voice") RULE(7001, "class: media")
		RULE(7003, "class: bulk") RULE(7009, "class: fresh");

#define FEW   20
#define MANY  60 /* of these not all fit in the burst */
#define SLACK 6
#define FRAME 1400

static void must_shadow(struct testbed *tb, const char *text)
{
	struct process *p = hostqos_start(tb, "shadow %s", policy_file(tb, text));

	if (process_wait(p))
		fail_msg("hostqos shadow: %s", process_errors(p));
}

/* A count of the shadow; its class's name and the member's. */
static size_t count_of(struct testbed *tb, const char *class, const char *member)
{
	struct json_object *json = hostqos_json(tb, 0, "shadow --show"), *o;
	size_t count;

	o = json_find(json_member(json, "classes"), "name", class);
	assert_non_null(o);
	count = json_object_get_int64(json_member(o, member));
	json_object_put(json);
	return count;
}

/* How many of so many datagrams to this port the kernel took. */
static size_t send_datagrams(struct testbed *tb, int port, size_t count, size_t length)
{
	static const char *const to[] = {FAR4, FAR6, MAPPED FAR4};
	struct place near = near_place(tb, "/app");
	size_t i, j, taken = 0;
	int fd;

	for (i = 0; i < count; i += j) {
		fd = udp_socket(&near, to[i / 10 % 3]);
		/* Of every other ten the socket is connected. */
		if (i / 10 % 2)
			connect_try(fd, to[i / 10 % 3], port);
		for (j = 0; j < 10; j++)
			taken += !send_to(fd, to[i / 10 % 3], port, length);
		close(fd);
	}
	return taken;
}

struct arrived {
	size_t port[REFUSED + 1 - REMARKED];
};

/* What is sent in each phase, and how much of it arrives. */
static struct arrived send_all(struct testbed *tb, struct capture *c)
{
	struct place other = near_place(tb, NULL);
	struct arrived arrived;
	int port;

	capture_clear(c);
	send_datagrams(tb, REMARKED, FEW, 100);
	send_datagrams(tb, REMARKED, FEW, 3000); /* in fragments */
	send_datagrams(tb, SAME, FEW, 100);
	send_datagrams(tb, UNMATCHED, FEW, 100);
	send_datagrams(tb, DROPPED, MANY, FRAME);
	send_datagrams(tb, REFUSED, FEW, 100);
	await_queue(c, &other, FAR4);
	for (port = REMARKED; port <= REFUSED; port++)
		arrived.port[port - REMARKED] = flow_count(c, FLOW(.to_port = port));
	return arrived;
}

#define OF(arrived, name) ((arrived).port[(name)-REMARKED])

static void open_sinks(struct testbed *tb)
{
	struct place far = far_place(tb);
	int port;

	for (port = REMARKED; port <= REFUSED; port++)
		udp_sink(&far, "::", port);
}

static void what_it_counts_comes_true(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct arrived before, after;
	size_t dropped;

	open_sinks(tb);
	apply(tb, live);
	must_shadow(tb, shadow);
	before = send_all(tb, c);
	/* Nothing changes. */
	judge(c, FLOW(.to_port = REMARKED), EF, 2 * FEW);
	judge(c, FLOW(.to_port = SAME), AF41, FEW);
	judge(c, FLOW(.to_port = UNMATCHED), CS2, FEW);
	judge(c, FLOW(.to_port = DROPPED), AF11, MANY);
	judge(c, FLOW(.to_port = REFUSED), AF11, FEW);
	/* Every packet is counted once. */
	assert_int_equal(count_of(tb, "voice", "remarked"), OF(before, REMARKED));
	assert_int_equal(count_of(tb, "voice", "packets"), OF(before, REMARKED));
	assert_int_equal(count_of(tb, "voice", "same"), 0);
	assert_int_equal(count_of(tb, "media", "same"), OF(before, SAME));
	assert_int_equal(count_of(tb, "default", "unmatched"), OF(before, UNMATCHED));
	assert_int_equal(count_of(tb, "default", "remarked"), OF(before, UNMATCHED));
	assert_int_equal(count_of(tb, "default", "refused"), OF(before, REFUSED));
	dropped = count_of(tb, "bulk", "dropped");
	assert_in_range(dropped, 1, MANY - 1);
	assert_int_equal(count_of(tb, "bulk", "same") + dropped, OF(before, DROPPED));
	assert_int_equal(count_of(tb, "fresh", "packets"), 0);

	assert_int_equal(hostqos(tb, "shadow --promote"), 0);
	after = send_all(tb, c);
	judge(c, FLOW(.to_port = REMARKED), AF31, 2 * FEW);
	judge(c, FLOW(.to_port = SAME), AF41, FEW);
	judge(c, FLOW(.to_port = UNMATCHED), 0, FEW);
	assert_int_equal(OF(after, REMARKED), OF(before, REMARKED));
	assert_int_equal(OF(after, SAME), OF(before, SAME));
	assert_int_equal(OF(after, UNMATCHED), OF(before, UNMATCHED));
	/* A frame is earned in 1.4 s, and a slow machine takes seconds for all that was sent. */
	assert_in_range(OF(after, DROPPED), MANY - dropped - SLACK, MANY - dropped + SLACK);
	assert_int_equal(OF(after, REFUSED), 0);
}

/* Connections too, both ways, segments and SYN-ACKs; and what the policy in force counts. */
static void connections_are_left_alone(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection out, in;
	struct json_object *flows;

	/* What it counts are the packets of the wire. */
	netns_no_segmentation(tb->near, NEAR_IF);
	apply(tb, "classes: { voice: { dscp: EF, cgroup: @/app } }\n");
	must_shadow(tb, "classes: { voice: { dscp: AF31, cgroup: @/app } }\n"
			"rules: [{ match: { protocol: tcp, remote_port: 25 }, refuse: true }]\n");
	out = tcp_connection(&near, &far, FAR4, 80);
	in = tcp_connection(&far, &near, NEAR6, 8080);
	send_bytes(out.client, 10000);
	receive_bytes(out.server, 10000);
	send_bytes(in.server, 10000);
	receive_bytes(in.client, 10000);
	await_packets(c, FLOW(.to_port = 80, .data = true), 1);
	await_packets(c, FLOW(.from_port = 8080, .data = true), 1);
	judge(c, FLOW(.protocol = IPPROTO_TCP), EF, 6);
	assert_int_equal(count_of(tb, "voice", "remarked"),
			 flow_count(c, FLOW(.protocol = IPPROTO_TCP)));
	/* The sockets' own decisions are those of the policy in force. */
	flows = hostqos_json(tb, 0, "show flows");
	assert_null(json_find(json_member(flows, "flows"), "reason", "stale generation"));
	json_object_put(flows);
	close(out.client);
	close(out.server);
	close(out.listener);
	close(in.client);
	close(in.server);
	close(in.listener);
}

/* A dropped packet is told of by the next on its CPU. Returns where one might run before. */
static cpu_set_t stay_on_this_cpu(void)
{
	cpu_set_t one, all;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	return all;
}

/* What the policy in force drops, and the shadow would not. */
static void what_it_would_admit_is_counted(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t arrived;
	cpu_set_t all;

	open_sinks(tb);
	apply(tb,
	      "classes: { bulk: { dscp: AF11, cgroup: @/app, egress: { rate: 8kbit, burst: 32kb } } }\n");
	must_shadow(tb, "classes: { bulk: { dscp: AF11, cgroup: @/app } }\n");
	all = stay_on_this_cpu();
	send_datagrams(tb, DROPPED, MANY, FRAME);
	await_queue(c, &(struct place){.netns = tb->near}, FAR4);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	arrived = flow_count(c, FLOW(.to_port = DROPPED));
	assert_in_range(arrived, 1, MANY - 1);
	assert_int_equal(count_of(tb, "bulk", "packets"), MANY);
	assert_int_equal(count_of(tb, "bulk", "same"), arrived);
	assert_int_equal(count_of(tb, "bulk", "admitted"), MANY - arrived);
}

/* What the policy in force does to a container's packets, and the shadow would not. */
static void forwarded_packets_would_go_as_they_came(void **state)
{
	struct testbed *tb = *state;
	struct place inner = {.netns = container_routed(tb)};
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int port, sent, fd;
	cpu_set_t all;

	open_sinks(tb);
	apply(tb, "classes: { hit: { dscp: AF31 } }\n"
		  "rules:\n"
		  "  - { match: { origin: forwarded, remote_port: 7000 }, class: hit }\n"
		  "  - { match: { origin: forwarded, remote_port: 7001 }, refuse: true }\n");
	must_shadow(tb, "classes: { hit: { dscp: AF31 } }\n");
	fd = udp_socket(&inner, FAR4);
	all = stay_on_this_cpu();
	for (port = 7000; port <= 7002; port++)
		for (sent = 0; sent < 10; sent++)
			assert_int_equal(send_to(fd, FAR4, port, 100), 0);
	await_packets(c, FLOW(.to_port = 7002), 10);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	judge(c, FLOW(.to_port = 7000), AF31, 10);
	judge(c, FLOW(.to_port = 7002), 0, 10);
	assert_int_equal(flow_count(c, FLOW(.to_port = 7001)), 0);
	assert_int_equal(count_of(tb, "default", "remarked"), 10);
	assert_int_equal(count_of(tb, "default", "unmatched"), 10);
	assert_int_equal(count_of(tb, "default", "admitted"), 10);
	assert_int_equal(count_of(tb, "default", "same"), 0);
	close(fd);
	close(inner.netns);
}

/* Which policy `status` calls a shadow; false: none. */
static bool has_shadow(struct testbed *tb)
{
	struct json_object *status = hostqos_json(tb, 0, "status");
	bool has = json_member(status, "shadow") != NULL;

	/* Nor is it taken for a stranger on the hook. */
	assert_int_equal(json_object_array_length(json_member(status, "warnings")), 0);
	json_object_put(status);
	return has;
}

/* It outlives the command, is replaced and ended by itself, by apply and by detach. */
static void it_comes_and_goes(void **state)
{
	struct testbed *tb = *state;
	struct bpf_ids without, with, after;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4);

	apply(tb, live);
	apply(tb, live);
	assert_false(has_shadow(tb));
	bpf_ids_collect(tb, &without);
	must_shadow(tb, shadow);
	assert_true(has_shadow(tb));
	must_shadow(tb, live);
	bpf_ids_collect(tb, &with);
	assert_true(with.program_count > without.program_count);
	assert_int_equal(hostqos(tb, "shadow --discard"), 0);
	assert_false(has_shadow(tb));
	bpf_ids_collect(tb, &after);
	assert_int_equal(after.program_count, without.program_count);
	assert_int_equal(after.map_count, without.map_count);
	AWAIT(bpf_ids_alive(&with) == bpf_ids_alive(&after));
	must_shadow(tb, shadow);
	apply(tb, live);
	assert_false(has_shadow(tb));
	must_shadow(tb, shadow);
	assert_int_equal(mark_now(c, fd), EF);
	bpf_ids_collect(tb, &with);
	detach(tb);
	AWAIT(!bpf_ids_alive(&with));
	assert_int_equal(mark_now(c, fd), 0);
	close(fd);
}

static size_t warnings_of(struct testbed *tb, const char *text)
{
	struct json_object *o;
	char command[128];
	size_t n;

	snprintf(command, sizeof(command), "shadow %s", policy_file(tb, text));
	o = hostqos_json(tb, 0, command);
	n = json_object_array_length(json_member(o, "warnings"));
	json_object_put(o);
	return n;
}

#define MIRROR(of)                                                                                 \
	"classes:\n"                                                                               \
	"  a: { cgroup: @/app, mirror: { from: [10.9.0.0/16], allow: [AF41], of: " of " } }\n"

/* It is attached where the policy in force is, wherever its own text would be. */
static void what_it_cannot_see_is_said(void **state)
{
	struct testbed *tb = *state;

	apply(tb, live);
	assert_int_equal(warnings_of(tb, "classes: { a: { dscp: AF11, cgroup: @/app } }\n"), 0);
	assert_int_equal(warnings_of(tb, "hostqos: 1\n"
					 "attach: { cgroup: @, interfaces: [lo] }\n"
					 "classes: { a: { dscp: AF11, cgroup: @/app } }\n"),
			 1);
	assert_int_equal(warnings_of(tb, "hostqos: 1\n"
					 "attach: { cgroup: @/app, interfaces: [near0] }\n"
					 "classes: { a: { dscp: AF11, cgroup: @/app } }\n"),
			 1);
	assert_int_equal(warnings_of(tb, MIRROR("syn")), 1);
	apply(tb, MIRROR("syn"));
	assert_int_equal(warnings_of(tb, MIRROR("syn")), 0);
	assert_int_equal(warnings_of(tb, MIRROR("latest")), 1);
	assert_int_equal(warnings_of(tb, MIRROR("upstream")), 1);
}

/* No process leads back to the namespace, whose interfaces have their numbers elsewhere too. */
static void it_is_attached_in_its_own_namespace(void **state)
{
	struct testbed *tb = *state;
	struct place far = far_place(tb);
	struct process *p;

	apply(tb, "hostqos: 1\n"
		  "attach: { cgroup: @ }\n"
		  "classes: { a: { dscp: AF11, cgroup: @/app } }\n");
	p = process_start(tb, &far, "%s --instance %s shadow %s", hostqos_binary(), tb->instance,
			  policy_file(tb, live));
	assert_int_equal(process_wait(p), 1);
	assert_non_null(strstr(process_errors(p), "no process is left"));
	assert_false(has_shadow(tb));
	must_shadow(tb, shadow);
}

/* The verbs of a shadow say under -j, too, which policy is compared with which. */
static void it_says_of_which_policy(void **state)
{
	static const char *const actions[] = {"--show", "--discard"};
	struct testbed *tb = *state;
	char command[128];
	size_t i;

	apply(tb, live);
	snprintf(command, sizeof(command), "shadow %s", policy_file(tb, shadow));
	for (i = 0; i < 3; i++) {
		struct json_object *o = hostqos_json(tb, 0, command);

		assert_non_null(json_object_get_string(json_member(o, "policy")));
		assert_non_null(json_object_get_string(json_member(o, "of")));
		json_object_put(o);
		if (i < 2)
			snprintf(command, sizeof(command), "shadow %s", actions[i]);
	}
}

static void mistakes_change_nothing(void **state)
{
	struct testbed *tb = *state;
	char file[64];

	strcpy(file, policy_file(tb, shadow));
	assert_int_equal(hostqos(tb, "shadow %s", file), 1); /* of what? */
	assert_int_equal(hostqos(tb, "shadow"), 2);
	assert_int_equal(hostqos(tb, "shadow %s --show", file), 2);
	assert_int_equal(hostqos(tb, "shadow --show --discard"), 2);
	apply(tb, live);
	assert_int_equal(hostqos(tb, "shadow --show"), 1);
	assert_int_equal(hostqos(tb, "shadow --promote"), 1);
	assert_int_equal(hostqos(tb, "shadow --discard"), 1);
	must_shadow(tb, shadow);
	assert_int_equal(
		hostqos(tb, "shadow %s", policy_file(tb, "classes: { a: { dscp: XX } }\n")), 1);
	assert_true(has_shadow(tb));
	assert_int_equal(hostqos(tb, "try %s --for 600s", file), 0);
	assert_false(has_shadow(tb));
	assert_int_equal(hostqos(tb, "shadow %s", file), 1);
	assert_int_equal(hostqos(tb, "keep"), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(what_it_counts_comes_true),
		NET_TEST(connections_are_left_alone),
		NET_TEST(what_it_would_admit_is_counted),
		NET_TEST(it_comes_and_goes),
		NET_TEST(forwarded_packets_would_go_as_they_came),
		NET_TEST(what_it_cannot_see_is_said),
		NET_TEST(it_says_of_which_policy),
		NET_TEST(it_is_attached_in_its_own_namespace),
		NET_TEST(mistakes_change_nothing),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
