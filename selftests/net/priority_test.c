/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * skb->priority, which schedulers go by, as it is behind hostqos. The wire does
 * not bear it: a program behind at tc egress leaves it in the link-layer source
 * address, for the capture at the far end.
 */
#include <errno.h>
#include <net/if.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "capture.h"
#include "filter.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define NONE (-1) /* no ancillary data */

#define INSN(c, d, s, o, i)                                                                        \
	{                                                                                          \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)                \
	}

static void attach_teller(void *unused)
{
	static const struct bpf_insn tell[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct __sk_buff, priority), 0),
		INSN(BPF_STX | BPF_MEM | BPF_B, 10, 2, -1, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 2 * ETH_ALEN - 1),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 3, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -1),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 1),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 5, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_store_bytes),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, TC_ACT_UNSPEC),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	int program = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "teller", "GPL", tell,
				    sizeof(tell) / sizeof(tell[0]), NULL);

	(void)unused;
	filter_add(program, 2);
	close(program);
}

/* 0 or -errno; to the socket's peer where port is 0. */
static int send_with(int fd, const char *to, int port, int priority)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SO_PRIORITY}};
	struct address a = address_of(to, port);
	struct iovec data = {"x", 1};
	struct msghdr message = {.msg_name = port ? &a.storage : NULL,
				 .msg_namelen = port ? a.length : 0,
				 .msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = priority == NONE ? NULL : &control,
				 .msg_controllen = priority == NONE ? 0 : sizeof(control)};

	memcpy(CMSG_DATA(&control.header), &priority, sizeof(priority));
	return sendmsg(fd, &message, 0) == 1 ? 0 : -errno;
}

static bool kernel_knows_it(struct testbed *tb)
{
	struct place far = far_place(tb);
	int fd = udp_socket(&far, NEAR4), err = send_with(fd, NEAR4, 7000, 3);

	close(fd);
	if (err && err != -EINVAL)
		fail_msg("SO_PRIORITY as ancillary data: %s", strerror(-err));
	return !err;
}

static void judge_priority(struct capture *c, int port, int priority)
{
	size_t i;

	await_packets(c, FLOW(.to_port = port), 1);
	for (i = 0; i < c->count; i++)
		if (c->packets[i].destination_port == port && c->packets[i].sender != priority)
			fail_msg("%s: priority %d, not %d", packet_text(&c->packets[i]),
				 c->packets[i].sender, priority);
}

/* A datagram with ancillary data that asks for 3, and one without any. */
static void expect_ancillary(struct testbed *tb, struct capture *c, const struct route *r,
			     bool connected, int three, int without)
{
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int fd = udp_socket(&near, r->own), sink = udp_sink(&far, "::", 7001);
	int port = connected ? 0 : 7001;

	if (connected)
		connect_to(fd, r->to, 7001);
	capture_clear(c);
	assert_int_equal(send_with(fd, r->to, port, 3), 0);
	judge_priority(c, 7001, three);
	capture_clear(c);
	assert_int_equal(send_with(fd, r->to, port, NONE), 0);
	judge_priority(c, 7001, without);
	close(fd);
	close(sink);
}

/* Linux has it since 6.14; selftests/skips says where it may be missing. */
static void priority_as_ancillary_data_counts_where_honored(void **state)
{
	static const struct {
		const char *policy;
		int three, without;
	} cases[] = {
		{"classes: { app: { cgroup: @/app, priority: 5 } }\n", 5, 5},
		{"classes: { app: { cgroup: @/app, priority: 5, app_dscp: deny } }\n", 5, 5},
		{"classes: { app: { cgroup: @/app, priority: 5, app_dscp: honor } }\n", 3, 5},
		{"classes: { app: { cgroup: @/app, priority: 5, dscp: AF41,"
		 " app_dscp: { honor: [EF] } } }\n",
		 5, 5},
		{"classes: { app: { cgroup: @/app, dscp: EF } }\n", 3, 0},
		{"classes: { app: { cgroup: @/app, dscp: EF, app_dscp: deny } }\n", 0, 0},
		{"classes: {}\n", 3, 0},
	};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i, k;

	if (!kernel_knows_it(tb))
		skip();
	netns_do(tb->near, attach_teller, NULL);
	for (k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		apply(tb, cases[k].policy);
		for (i = 0; i < 2 * ROUTES; i++)
			expect_ancillary(tb, c, &routes[i / 2], i & 1, cases[k].three,
					 cases[k].without);
	}
}

/* One socket's datagrams by turns: the priority that one class put on the socket is no other's. */
static void class_without_a_priority_has_the_sockets_own(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int own, sinks[] = {udp_sink(&far, "::", 7001), udp_sink(&far, "::", 7002)}, n;
	size_t i;

	netns_do(tb->near, attach_teller, NULL);
	apply(tb, "classes: { app: { cgroup: @/app, dscp: EF, priority: 5 }, bulk: { dscp: LE } }\n"
		  "rules:\n"
		  "  - { match: { remote_port: 7002 }, class: bulk }\n");
	for (i = 0; i < 2 * ROUTES; i++) {
		const struct route *r = &routes[i / 2];
		int fd = udp_socket(&near, r->own);

		own = i & 1 ? 2 : 0;
		if (own)
			set_option(fd, SOL_SOCKET, SO_PRIORITY, own);
		capture_clear(c);
		for (n = 0; n < 3; n++) {
			assert_int_equal(send_with(fd, r->to, 7001, NONE), 0);
			assert_int_equal(send_with(fd, r->to, 7002, NONE), 0);
		}
		await_packets(c, FLOW(.to_port = 7002), 3);
		judge_priority(c, 7001, 5);
		judge_priority(c, 7002, own);
		close(fd);
	}
	close(sinks[0]);
	close(sinks[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(class_without_a_priority_has_the_sockets_own),
		NET_TEST(priority_as_ancillary_data_counts_where_honored),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
