// SPDX-License-Identifier: GPL-2.0-only
/*
 * The application's own marks. setsockopt() of IP_TOS, IPV6_TCLASS and
 * SO_PRIORITY tells what it asks for; the socket gets what its class grants,
 * and getsockopt() answers what was asked, as if there were no hostqos.
 *
 * Both programs run under the socket's lock, and not for a bpf_setsockopt().
 * The kernel does not run them for 32-bit processes (do_sock_setsockopt());
 * what those set is noticed when the socket is marked the next time.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "marks.h"

/* What the kernel shows of an option's value at most, on any page size. */
#define SHOWN_MOST 4096

/* bpf_setsockopt() bypasses the capabilities that a higher priority takes (sk_setsockopt()). */
#define PRIORITY_FREE 6

#define ANSWERED (-1) /* optlen that spares the kernel the call */

static __always_inline __u32 mark_of(const struct bpf_sockopt *ctx)
{
	__s32 level = ctx->level, name = ctx->optname;

	if (level == SOL_IP && name == IP_TOS)
		return HQ_SAVED_TOS;
	if (level == SOL_IPV6 && name == IPV6_TCLASS)
		return HQ_SAVED_TCLASS;
	return level == SOL_SOCKET && name == SO_PRIORITY ? HQ_SAVED_PRIORITY : 0;
}

/*
 * Of a longer value a program sees the first page; unless it says optlen 0 for
 * "as it was", the kernel fails the call with EFAULT before Linux 6.5
 * (__cgroup_bpf_run_filter_setsockopt()).
 */
static __always_inline int leave_alone(struct bpf_sockopt *ctx)
{
	if (ctx->optlen > SHOWN_MOST)
		ctx->optlen = 0;
	return 1;
}

/* The class of a socket by all that is known of it now; the hooks settle it. */
static __always_inline struct hq_decision decide_now(struct hq_flow *flow, struct bpf_sock *sk,
						     __u32 generation)
{
	struct hq_decision decision = flow_load_decision(flow);
	struct flow_key key;

	if (decision.generation == generation && !decision.provisional)
		return decision;
	key_from_sock(&key, flow, sk);
	if (flow->protocol != IPPROTO_TCP && (sk->src_port || sk->dst_port))
		key_set_direction(&key, datagram_direction(flow, sk->src_port, sk->dst_port != 0));
	return decide(flow, &key, generation);
}

/* The value asked for. 0, or -1 where it is the kernel that should say what is wrong with it. */
static __always_inline int value_of(const struct bpf_sockopt *ctx, __u32 mark, __s32 *value)
{
	__u8 *octet = ctx->optval, *end = ctx->optval_end;
	__s32 *word = ctx->optval;

	if (ctx->optlen >= (__s32)sizeof(*word) && (void *)(word + 1) <= (void *)end)
		*value = *word;
	else if (mark == HQ_SAVED_TOS && !ctx->optlen)
		*value = 0; /* what do_ip_setsockopt() makes of no value */
	else if (mark == HQ_SAVED_TOS && ctx->optlen > 0 && octet + 1 <= end)
		*value = *octet; /* ip_setsockopt() takes a single one */
	else
		return -1;
	if (mark == HQ_SAVED_TCLASS && (*value < -1 || *value > 0xff))
		return -1;
	return mark == HQ_SAVED_PRIORITY && (*value < 0 || *value > PRIORITY_FREE) ? -1 : 0;
}

/*
 * The socket as the application has it, with its change as the kernel makes it
 * (IP_TOS changes the priority too); then the class's marks again. 0 or -errno.
 */
static __noinline int change_own(struct bpf_sockopt *ctx, struct hq_flow *flow,
				 const struct hq_class *class, __s32 value)
{
	struct bpf_sock *sk = ctx->sk;
	int err;

	if (!sk)
		return 0;
	give_marks_back(sk, flow);
	err = hq_option_set(sk, ctx->level, ctx->optname, value);
	hq_mark(sk, flow, class, socket_dscp(flow, class));
	return err;
}

static __always_inline int on_mark(struct bpf_sockopt *ctx, __u32 mark)
{
	__u32 generation = active_generation();
	struct bpf_sock *sk = ctx->sk;
	const struct hq_class *class;
	struct hq_decision decision;
	struct hq_flow *flow;
	__s32 value;

	flow = sk ? flow_of(sk) : NULL;
	if (!flow || !generation || ctx->optlen == ANSWERED)
		return leave_alone(ctx);
	decision = decide_now(flow, sk, generation);
	class = policy_class_of(generation, decision.class);
	if (!class)
		return leave_alone(ctx);
	if (class->deny && !decision.provisional && !decision.refuse)
		return 0; /* EPERM */
	if (value_of(ctx, mark, &value))
		return leave_alone(ctx);
	flow->saved.asked |= mark;
	/* The subflows of MPTCP have the marks that the kernel sets on all of them. */
	if (!(flow->saved.bits & HQ_SAVED_MARKS) || sk->protocol == IPPROTO_MPTCP ||
	    change_own(ctx, flow, class, value))
		return leave_alone(ctx);
	ctx->optlen = ANSWERED;
	return 1;
}

/* For the loader, after it has had the socket classified; no harm if others call it. */
static __always_inline int on_remark(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct hq_decision decision;
	struct hq_flow *flow;
	int err = 0;

	flow = sk ? flow_of(sk) : NULL;
	if (!flow)
		return 1;
	decision = flow_load_decision(flow);
	ctx->optlen = ANSWERED;
	if (flow->bits & HQ_FLOW_LEFT) {
		err = let_go(sk, flow);
		bpf_sk_storage_delete(&flows, sk);
	} else if (decision.generation && decision.generation == active_generation()) {
		err = mark_socket(sk, flow, decision);
	}
	if (err)
		bpf_set_retval(err);
	return !err;
}

SEC("cgroup/setsockopt")
int setsockopt(struct bpf_sockopt *ctx)
{
	__u32 mark = mark_of(ctx);

	if (mark)
		return on_mark(ctx, mark);
	if (ctx->level == HQ_SOL_HOSTQOS && ctx->optname == HQ_SO_REMARK)
		return on_remark(ctx);
	return leave_alone(ctx);
}

/* The application's value in place of one that hostqos set. */
static __always_inline __s32 own_value(const struct hq_saved *saved, __u32 mark, __s32 current)
{
	__s32 was, set, bits = HQ_DSFIELD_MASK;

	if (!(saved->bits & mark))
		return current;
	if (mark == HQ_SAVED_TOS) {
		was = saved->tos;
		set = saved->set_tos;
	} else if (mark == HQ_SAVED_TCLASS) {
		was = saved->tclass;
		set = saved->set_tclass;
	} else {
		was = saved->priority;
		set = saved->set_priority;
		bits = ~0;
	}
	return (current ^ set) & bits ? current : (current & ~bits) | (was & bits);
}

SEC("cgroup/getsockopt")
int getsockopt(struct bpf_sockopt *ctx)
{
	__u32 mark = mark_of(ctx);
	__u8 *octet = ctx->optval, *end = ctx->optval_end;
	__s32 *word = ctx->optval;
	struct bpf_sock *sk = ctx->sk;
	struct hq_flow *flow;

	if (!mark || ctx->retval)
		return leave_alone(ctx);
	flow = sk ? flow_of(sk) : NULL;
	if (!flow)
		return leave_alone(ctx);
	if (ctx->optlen >= (__s32)sizeof(*word) && (void *)(word + 1) <= (void *)end)
		*word = own_value(&flow->saved, mark, *word);
	else if (ctx->optlen > 0 && octet + 1 <= end) /* ip_getsockopt() gives a single one too */
		*octet = own_value(&flow->saved, mark, *octet);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
