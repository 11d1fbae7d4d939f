/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Machines as they are: other installations, an operator's qdiscs, names with
 * dots, cgroups and mounts that go away.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>

#include "capture.h"
#include "filter.h"
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

/* A shell's script in mounts of its own, by `unshare` with this option, without this type. */
static struct process *start_elsewhere(struct testbed *tb, const char *option, const char *type,
				       const char *verbs)
{
	struct place near = near_place(tb, NULL);
	char script[1024];

	snprintf(script, sizeof(script), "H='%s --instance %s'; P=%s; umount -lat %s; %s",
		 hostqos_binary(), tb->instance, policy_file(tb, policy), type, verbs);
	return process_startv(tb, &near,
			      (char *[]){"unshare", "--mount", "--kill-child", (char *)option, "sh",
					 "-c", script, NULL});
}

/* Where the mounts are those of the first process, as on a host that mounts none itself. */
static void bpffs_is_mounted_where_it_is_not(void **state)
{
	struct process *p = start_elsewhere(
		*state, "--pid", "bpf",
		"mount -t proc none /proc && $H apply $P && $H status && $H detach");

	if (process_wait(p))
		fail_msg("%s%s", process_output(p), process_errors(p));
	assert_true(process_said(p, "is in force", 1));
}

/* Its pins would be gone at the end of the command, and nobody could detach. */
static void bpffs_that_would_vanish_is_not_mounted(void **state)
{
	struct testbed *tb = *state;
	struct process *p =
		start_elsewhere(tb, "--fork", "bpf", "$H apply $P; findmnt -t bpf; true");

	assert_int_equal(process_wait(p), 0);
	assert_true(process_complained(p, "would vanish with it; run hostqos outside", 1));
	assert_string_equal(process_output(p), "");
	p = start_elsewhere(tb, "--fork", "cgroup2", "$H apply $P");
	assert_int_equal(process_wait(p), 1);
	assert_true(process_complained(p, "no cgroup v2 is mounted in this mount namespace", 1));
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

/* A program of somebody else's that refuses TCP_MAXSEG with EPERM, and nothing else. */
static int attach_refuser(const char *cgroup, enum bpf_attach_type type)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = 2,
		 .src_reg = 1,
		 .off = offsetof(struct bpf_sockopt, level)},
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = 3,
		 .src_reg = 1,
		 .off = offsetof(struct bpf_sockopt, optname)},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1},
		{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 2, .off = 2, .imm = IPPROTO_TCP},
		{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 3, .off = 1, .imm = TCP_MAXSEG},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = type);
	char path[PATH_MAX];
	int program, target, link;

	snprintf(path, sizeof(path), "%s%s", cgroup_mount(), cgroup);
	target = open(path, O_RDONLY | O_DIRECTORY);
	program = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCKOPT, "refuser", "GPL", insns,
				sizeof(insns) / sizeof(insns[0]), &opts);
	link = bpf_link_create(program, target, type, NULL);
	if (link < 0)
		fail_msg("cannot attach to %s: %s", path, strerror(errno));
	close(program);
	close(target);
	return link;
}

/* Nearer to the socket and farther from it: both programs have their say. */
static void sockopt_programs_of_others_work(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	const char *cgroups[] = {tb->cgroup, near.cgroup};
	int fd, set, get, mss = 1000;
	socklen_t size = sizeof(mss);
	size_t i;

	cgroup_make(near.cgroup);
	for (i = 0; i < 2; i++) {
		set = attach_refuser(cgroups[i], BPF_CGROUP_SETSOCKOPT);
		get = attach_refuser(cgroups[i], BPF_CGROUP_GETSOCKOPT);
		apply(tb, "classes: { voice: { dscp: EF, cgroup: @/app } }\n");
		fd = tcp_socket(&near, FAR4);
		bind_to(fd, NEAR4, 0);
		set_option(fd, IPPROTO_IP, IP_TOS, AF21 << 2);
		assert_int_equal(get_option(fd, IPPROTO_IP, IP_TOS), AF21 << 2);
		assert_int_equal(flow_mark(tb, fd, "granted", "tos"), EF);
		assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, size), -1);
		assert_int_equal(errno, EPERM);
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &size), -1);
		assert_int_equal(errno, EPERM);
		close(fd);
		close(set);
		close(get);
		detach(tb);
	}
}

/* A program at tc egress that ends the chain with every packet, ahead of all others or behind. */
struct ender {
	bool ahead;
	int link; /* tcx, or -1: a filter of clsact, on kernels without */
};

#define TCX_EGRESS 47
#define F_BEFORE   (1U << 3)

static void attach_ender(void *arg)
{
	static const struct bpf_insn end[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TC_ACT_OK},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int ifindex = if_nametoindex(NEAR_IF);
	struct ender *e = arg;
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = e->ahead ? F_BEFORE : 0);
	int program = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "ender", "GPL", end, 2, NULL);

	e->link = bpf_link_create(program, ifindex, TCX_EGRESS, &opts);
	if (e->link < 0)
		filter_add(program, e->ahead ? 1 : 2);
	close(program);
}

static bool status_warns(struct testbed *tb)
{
	struct json_object *json = hostqos_json(tb, 0, "status");
	bool warns = strstr(json_object_to_json_string(json_member(json, "warnings")), "ahead");

	json_object_put(json);
	return warns;
}

/* hostqos is ahead of what ends the chain; what is put ahead of it later is reported. */
static void programs_that_end_the_chain(void **state)
{
	struct ender before = {}, after = {.ahead = true};
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&app, FAR4);

	libbpf_set_print(NULL);
	netns_do(tb->near, attach_ender, &before);
	/* A datagram's port is known at tc egress only. */
	apply(tb, "classes: { voice: { dscp: EF } }\n"
		  "rules: [{ match: { remote_port: 7000 }, class: voice }]\n");
	assert_int_equal(mark_now(c, fd), EF);
	assert_false(status_warns(tb));
	netns_do(tb->near, attach_ender, &after);
	assert_int_equal(mark_now(c, fd), 0);
	assert_true(status_warns(tb));
	close(before.link);
	close(after.link);
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(instances_do_not_disturb_each_other),
		NET_TEST(clsact_of_the_operator_stays),
		NET_TEST(programs_that_end_the_chain),
		NET_TEST(interface_names_may_have_dots),
		NET_TEST(bpffs_is_mounted_where_it_is_not),
		NET_TEST(bpffs_that_would_vanish_is_not_mounted),
		NET_TEST(sockets_of_containers_get_their_own_back),
		NET_TEST(sockopt_programs_of_others_work),
		NET_TEST(cgroup_that_went_away_is_noticed),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
