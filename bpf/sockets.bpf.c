// SPDX-License-Identifier: GPL-2.0-only
/*
 * Socket iterators, read by the loader after each flip: sockets older than
 * hostqos are given their identity, all are classified by the policy in force,
 * and TCP sockets are marked (bpf_setsockopt() is allowed in iter/tcp only;
 * others are marked by the loader, through pidfd_getfd(2)). Those of a cgroup
 * that is governed no more get their own marks back the same way, and lose
 * their flow. Each writes a struct hq_socket per socket.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "marks.h"
#include "mptcp.h"
#include "pacing.h"
#include "homes.h"

#define SOCK_BINDPORT_LOCK 8
#define S_IFMT		   0170000
#define S_IFREG		   0100000

/* As key_from_sock(), from the kernel's own struct. */
static __always_inline void key_from_kernel_sock(struct flow_key *key, const struct hq_flow *flow,
						 const struct sock *sk)
{
	__u16 dport = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	__u16 port = own_port(flow, BPF_CORE_READ(sk, __sk_common.skc_num));

	__builtin_memset(key, 0, sizeof(*key));
	kernel_address(sk, key->local, 0);
	kernel_address(sk, key->remote, 1);
	if (flow->family == AF_INET) {
		key->family = 4;
		key->known = HQ_BIT(HQ_DIM_FAMILY);
	}
	key_set_local(key, port);
	if (dport)
		key_set_remote(key, dport);
	if (flow->protocol != IPPROTO_TCP)
		key_set_direction(key, datagram_direction(flow, port, dport != 0));
	else if (flow->bits & HQ_FLOW_DIRECTED)
		key_set_direction(key, flow->bits & HQ_FLOW_INBOUND ? HQ_INBOUND : HQ_OUTBOUND);
	if (flow->protocol == IPPROTO_TCP && dport)
		key_set_inbound_dscp(key, flow->bits & HQ_FLOW_INBOUND ? flow->inbound_dscp
								       : HQ_DSCP_NONE);
}

/* Not a subflow: the socket that a process has. It has an identity, but neither class nor marks. */
static __always_inline int is_mptcp(const struct sock *sk)
{
	return bpf_core_type_exists(struct mptcp_sock) &&
	       BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP;
}

/*
 * An accepted connection notes by which interface its SYN came, where multicast
 * would go out (tcp_v4_syn_recv_sock(), tcp_v6_syn_recv_sock()); no other stream
 * socket can have one (IP_MULTICAST_IF, IPV6_MULTICAST_IF). An MPTCP socket
 * knows on which side it is.
 */
static __always_inline int was_accepted(const struct sock *sk)
{
	const struct inet_sock *inet = (const struct inet_sock *)sk;

	if (is_mptcp(sk))
		return BPF_CORE_READ((const struct mptcp_sock *)sk, pm.server_side);
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		return BPF_CORE_READ(inet, pinet6, mcast_oif) != 0;
	return BPF_CORE_READ(inet, mc_index) != 0;
}

/* What a new flow's bits are, of a socket that no hook has seen. */
static __always_inline void adopt_state(struct hq_flow *flow, const struct sock *sk)
{
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	flow->bits = HQ_FLOW_ADOPTED;
	flow->inbound_dscp = flow->latest_dscp = HQ_DSCP_NONE;
	flow->protocol = flow_protocol(BPF_CORE_READ(sk, sk_protocol));
	flow->type = BPF_CORE_READ(sk, sk_type);
	flow->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK)
		flow->bound_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (BPF_CORE_READ(sk, __sk_common.skc_dport))
		flow->bits |= HQ_FLOW_CONNECTED;
	if (flow->protocol != IPPROTO_TCP)
		return;
	if (state == TCP_LISTEN)
		flow->bits |= HQ_FLOW_LISTENER | HQ_FLOW_DIRECTED | HQ_FLOW_INBOUND;
	else if (flow->bits & HQ_FLOW_CONNECTED)
		flow->bits |= HQ_FLOW_DIRECTED | (was_accepted(sk) ? HQ_FLOW_INBOUND : 0);
}

/* Classify by the policy in force. The decision before is returned. */
static __always_inline struct hq_decision reclassify(struct hq_flow *flow, struct sock *sk,
						     __u32 generation)
{
	struct hq_decision before = flow_load_decision(flow), after;
	struct flow_key key;

	key_from_kernel_sock(&key, flow, sk);
	after = decide(flow, &key, generation);
	mirror_settle(flow, sk, after, key.remote);
	flow_keep(flow, after);
	flow_settle(flow, &key, after);
	return before;
}

/* A record's first part is built here, its flow follows: together they would fill the stack. */
#define HEAD_SIZE (sizeof(struct hq_socket) - sizeof(struct hq_flow))

struct record_head {
	__u8 bytes[HEAD_SIZE] __attribute__((aligned(8)));
};

static __always_inline void read_marks(struct hq_socket *r, struct sock *sk)
{
	struct inet_sock *inet = (struct inet_sock *)sk;

	r->tos = BPF_CORE_READ(inet, tos);
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		r->tclass = BPF_CORE_READ(inet, pinet6, tclass);
	r->priority = BPF_CORE_READ(sk, sk_priority);
}

static __always_inline void write_record(struct seq_file *seq, struct sock *sk,
					 struct hq_flow *flow, __u32 pid, __s32 fd, __s32 error,
					 struct hq_decision before)
{
	struct record_head head = {};
	struct hq_socket *r = (struct hq_socket *)&head;

	r->cookie = bpf_get_socket_cookie(sk);
	r->pid = pid;
	r->fd = fd;
	r->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	r->error = error;
	kernel_address(sk, r->local, 0);
	kernel_address(sk, r->remote, 1);
	r->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	r->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	r->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	r->before = before;
	read_marks(r, sk);
	bpf_seq_write(seq, &head, sizeof(head));
	bpf_seq_write(seq, flow, sizeof(*flow));
}

/* By the cgroup that it was made in: hooks run by that, wherever it is at home. */
static __always_inline int is_governed_socket(const struct sock *sk)
{
	return is_governed(BPF_CORE_READ(sk, sk_cgrp_data.cgroup));
}

/* The flow of any process's socket; made, with the holder's identity, where there is none. */
static __always_inline struct hq_flow *adopt_by_holder(struct sock *sk, struct task_struct *task)
{
	struct hq_flow *flow = flow_of(sk);

	if (flow)
		return flow;
	flow = bpf_sk_storage_get(&flows, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!flow) {
		fault(HQ_FAULT_STORAGE);
		return NULL;
	}
	identity_capture(&flow->id, task, BPF_CORE_READ(sk, sk_cgrp_data.cgroup));
	identity_set_user(&flow->id, BPF_CORE_READ(sk, sk_uid.val));
	flow->pid = task->tgid;
	adopt_state(flow, sk);
	return flow;
}

/* A socket that is bound but neither listens nor connects is in no hash that iter/tcp walks. */
static __always_inline int is_hashed_tcp(const struct hq_flow *flow, const struct sock *sk)
{
	return flow->protocol == IPPROTO_TCP &&
	       BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_CLOSE;
}

/*
 * A socket of a cgroup that is governed no more. Where it has marks to give back
 * the loader has that done, and its flow goes then (on_remark(), sockopt.bpf.c).
 */
static __always_inline void leave_by_holder(struct bpf_iter__task_file *ctx,
					    struct task_struct *task, struct sock *sk,
					    struct hq_flow *flow)
{
	int mptcp = is_mptcp(sk);

	if (mptcp)
		owner_forget(sk, BPF_CORE_READ((struct mptcp_sock *)sk, token));
	if (mptcp || !is_hashed_tcp(flow, sk))
		flow->bits |= HQ_FLOW_LEFT;
	write_record(ctx->meta->seq, sk, flow, task->tgid, ctx->fd, 0, flow_load_decision(flow));
	if (flow->bits & HQ_FLOW_LEFT && !(flow->saved.bits & HQ_SAVED_MARKS))
		bpf_sk_storage_delete(&flows, sk);
}

SEC("iter/task_file")
int process_sockets(struct bpf_iter__task_file *ctx)
{
	__u32 generation = active_generation();
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct hq_decision before;
	struct hq_flow *flow;
	struct socket *socket;
	struct sock *sk;
	__u16 family;
	int governed;

	socket = file ? bpf_sock_from_file(file) : NULL;
	sk = socket ? socket->sk : NULL;
	if (!task || !sk || !generation)
		return 0;
	family = sk->__sk_common.skc_family;
	if (family != AF_INET && family != AF_INET6)
		return 0;
	governed = is_governed_socket(sk);
	flow = governed ? adopt_by_holder(sk, task) : flow_of(sk);
	if (!flow)
		return 0;
	if (!governed) {
		leave_by_holder(ctx, task, sk, flow);
		return 0;
	}
	flow->bits &= ~HQ_FLOW_LEFT;
	go_home(flow, bpf_get_socket_cookie(sk), task);
	if (is_mptcp(sk)) {
		owner_remember(sk, BPF_CORE_READ((struct mptcp_sock *)sk, token), flow);
		if (sk->__sk_common.skc_state == TCP_CLOSE) /* has no subflow to be marked */
			return 0;
	}
	/* Hashed TCP sockets are left for tcp_sockets, which sees all of them and can mark them. */
	before = is_hashed_tcp(flow, sk) ? flow_load_decision(flow)
					 : reclassify(flow, sk, generation);
	write_record(ctx->meta->seq, sk, flow, task->tgid, ctx->fd, 0, before);
	return 0;
}

/* A subflow has its owner's identity, which process_sockets has noted; NULL for any other socket.
 */
static __always_inline struct hq_flow *adopt_subflow(struct tcp_sock *tp, struct sock *sk)
{
	struct mptcp_subflow_context *subflow;
	struct hq_flow *flow, *owner;

	if (!bpf_core_type_exists(struct mptcp_sock) || !BPF_CORE_READ(tp, is_mptcp))
		return NULL;
	subflow = BPF_CORE_READ(tp, inet_conn.icsk_ulp_data);
	owner = owner_find(BPF_CORE_READ(subflow, conn), BPF_CORE_READ(subflow, token));
	flow = owner ? bpf_sk_storage_get(&flows, tp, owner, BPF_SK_STORAGE_GET_F_CREATE) : NULL;
	if (flow)
		subflow_begin(flow, BPF_CORE_READ(sk, __sk_common.skc_family),
			      BPF_CORE_READ(sk, __sk_common.skc_state),
			      BPF_CORE_READ(sk, __sk_common.skc_dport));
	return flow;
}

/* A connection without a holder (closed by its process, not accepted yet): what its socket tells.
 */
static __always_inline struct hq_flow *adopt_alone(struct tcp_sock *tp, struct sock *sk)
{
	struct hq_flow *flow = flow_of(tp);

	if (flow)
		return flow;
	flow = adopt_subflow(tp, sk);
	if (flow)
		return flow;
	flow = bpf_sk_storage_get(&flows, tp, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!flow) {
		fault(HQ_FAULT_STORAGE);
		return NULL;
	}
	identity_set_cgroup(&flow->id, BPF_CORE_READ(sk, sk_cgrp_data.cgroup));
	identity_set_user(&flow->id, BPF_CORE_READ(sk, sk_uid.val));
	adopt_state(flow, sk);
	return flow;
}

static __always_inline int mark_tcp(struct tcp_sock *tp, struct hq_flow *flow, __u32 generation)
{
	struct hq_decision decision = flow_load_decision(flow);
	const struct hq_class *class = policy_class_of(generation, decision.class);
	const struct hq_header *h = policy_header_of(generation);

	if (!class || !h)
		return 0;
	if (flow->bits & HQ_FLOW_LISTENER)
		mark_syns(tp, flow, h->features & HQ_FEATURE_INBOUND_DSCP);
	else if (flow->bits & HQ_FLOW_CONNECTED)
		pace_live(tp, flow, class);
	return mark_socket(tp, flow, decision);
}

/* As leave_by_holder(), of one that can be marked here. */
static __always_inline void leave(struct bpf_iter__tcp *ctx, struct tcp_sock *tp, struct sock *sk)
{
	struct hq_flow *flow = flow_of(tp);

	if (!flow)
		return;
	flow->bits |= HQ_FLOW_LEFT;
	write_record(ctx->meta->seq, sk, flow, 0, -1, let_go(tp, flow), flow_load_decision(flow));
	bpf_sk_storage_delete(&flows, tp);
}

SEC("iter/tcp")
int tcp_sockets(struct bpf_iter__tcp *ctx)
{
	__u32 generation = active_generation();
	struct sock_common *common = ctx->sk_common;
	struct hq_decision before;
	struct hq_flow *flow;
	struct tcp_sock *tp;
	struct sock *sk;

	tp = common ? bpf_skc_to_tcp_sock(common) : NULL;
	if (!tp || !generation)
		return 0;
	sk = (struct sock *)tp;
	if (!is_governed_socket(sk)) {
		leave(ctx, tp, sk);
		return 0;
	}
	flow = adopt_alone(tp, sk);
	if (!flow)
		return 0;
	before = reclassify(flow, sk, generation);
	write_record(ctx->meta->seq, sk, flow, 0, -1, mark_tcp(tp, flow, generation), before);
	return 0;
}

/* For `show flows`: as they are. */
SEC("iter/bpf_sk_storage_map")
int flow_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct hq_flow *flow = ctx->value;
	struct sock *sk = ctx->sk;

	if (sk && flow && !is_mptcp(sk))
		write_record(ctx->meta->seq, sk, flow, 0, -1, 0, flow_load_decision(flow));
	return 0;
}

/* An open file as sock_create would see it as an executable. For the loader. */
SEC("iter/task_file")
int exe_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct hq_exe_file record = {};

	if (!task || !file || (file->f_inode->i_mode & S_IFMT) != S_IFREG)
		return 0;
	record.pid = task->tgid;
	record.fd = ctx->fd;
	record.device = file->f_inode->i_sb->s_dev;
	record.inode = file->f_inode->i_ino;
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
