/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Machines as they are: other installations, an operator's qdiscs, names with
 * dots, cgroups and mounts that go away.
 */
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"
#include "traffic.h"

#define AF21 18
#define EF   46

static const char policy[] = "classes: { voice: { dscp: EF, cgroup: @/app } }\n";

/* Each instance has a cgroup of its own, on one interface. */
static void instances_do_not_disturb_each_other(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/a/app"), web = near_place(tb, "/b/web");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int in_app = udp_socket(&app, FAR4), in_web = udp_socket(&web, FAR4);
	char first[sizeof(tb->instance)];

	apply(tb, "hostqos: 1\nattach: { cgroup: @/a, interfaces: [near0] }\n"
		  "classes: { voice: { dscp: EF, cgroup: @/a/app } }\n");
	strcpy(first, tb->instance);
	strcat(tb->instance, "b");
	apply(tb, "hostqos: 1\nattach: { cgroup: @/b, interfaces: [near0] }\n"
		  "classes: { web: { dscp: AF21, cgroup: @/b/web } }\n");
	assert_int_equal(mark_now(c, in_app), EF);
	assert_int_equal(mark_now(c, in_web), AF21);
	detach(tb);
	assert_int_equal(mark_now(c, in_app), EF);
	assert_int_equal(mark_now(c, in_web), 0);
	strcpy(tb->instance, first);
	assert_int_equal(hostqos(tb, "status"), 0);
	close(in_app);
	close(in_web);
}

/* What hostqos did not make it does not remove. */
static void clsact_of_the_operator_stays(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct process *tc;

	run(tb, &near, "tc qdisc add dev " NEAR_IF " clsact");
	apply(tb, policy);
	detach(tb);
	tc = process_start(tb, &near, "tc qdisc show dev " NEAR_IF);
	assert_int_equal(process_wait(tc), 0);
	assert_non_null(strstr(process_output(tc), "clsact"));
}

static void interface_names_may_have_dots(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL), app = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&app, FAR4);

	run(tb, &near, "ip link set " NEAR_IF " down");
	run(tb, &near, "ip link set " NEAR_IF " name eth0.100");
	run(tb, &near, "ip link set eth0.100 up");
	apply(tb, "hostqos: 1\nattach: { cgroup: @, interfaces: [eth0.100] }\n"
		  "classes: { voice: { dscp: EF, cgroup: @/app } }\n");
	assert_int_equal(mark_now(c, fd), EF);
	close(fd);
}

static void bpffs_is_mounted_where_it_is_not(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&app, FAR4);

	/* The tests' own, and in this mount namespace the host's below it. */
	while (!umount2("/sys/fs/bpf", MNT_DETACH))
		;
	apply(tb, policy);
	assert_int_equal(mark_now(c, fd), EF);
	close(fd);
}

/* The kernel detaches what was attached to a cgroup when that goes, whoever holds the links. */
static void cgroup_that_went_away_is_noticed(void **state)
{
	struct testbed *tb = *state;
	char gone[128];

	snprintf(gone, sizeof(gone), "%s/gone", tb->cgroup);
	cgroup_make(gone);
	apply(tb,
	      "hostqos: 1\nattach: { cgroup: @/gone, interfaces: [near0] }\n"
	      "classes: { voice: { dscp: EF } }\nrules: [{ match: { protocol: udp }, class: voice }]\n");
	assert_int_equal(hostqos(tb, "status"), 0);
	cgroup_remove(gone);
	/* cgroup_bpf_release() is deferred work. */
	AWAIT(hostqos(tb, "status") == 1);
	detach(tb);
}

/* A container's sockets are in a network namespace other than that of `apply`. */
static void sockets_of_containers_get_their_own_back(void **state)
{
	struct testbed *tb = *state;
	struct place inside = near_place(tb, "/app"), init;
	int i, container = netns_new(), fd[4];

	inside.netns = container;
	init = (struct place){.netns = container};
	run(tb, &init, "ip link set lo up");
	fd[0] = tcp_listener(&inside, "127.0.0.1", 7000);
	apply(tb, policy);
	fd[1] = tcp_listener(&inside, "127.0.0.1", 7001);
	fd[2] = tcp_client(&inside, "127.0.0.1", 7001);
	fd[3] = udp_socket(&inside, "127.0.0.1");
	connect_to(fd[3], "127.0.0.1", 7002);
	for (i = 0; i < 4; i++)
		assert_int_equal(flow_mark(tb, fd[i], "granted", "tos"), EF);
	apply(tb, "classes: { voice: { dscp: AF21, cgroup: @/app } }\n");
	for (i = 0; i < 4; i++)
		assert_int_equal(flow_mark(tb, fd[i], "granted", "tos"), AF21);
	detach(tb);
	for (i = 0; i < 4; i++) {
		assert_int_equal(get_option(fd[i], IPPROTO_IP, IP_TOS), 0);
		close(fd[i]);
	}
	close(container);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(instances_do_not_disturb_each_other),
		NET_TEST(clsact_of_the_operator_stays),
		NET_TEST(interface_names_may_have_dots),
		NET_TEST(bpffs_is_mounted_where_it_is_not),
		NET_TEST(sockets_of_containers_get_their_own_back),
		NET_TEST(cgroup_that_went_away_is_noticed),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
