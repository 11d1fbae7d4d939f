/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket's own marks: IP_TOS, IPV6_TCLASS, SO_PRIORITY, SO_MAX_PACING_RATE.
 * Set on the socket they cost nothing per packet, reach what the kernel sends
 * in the connection's name (TIME_WAIT ACKs) and are inherited by tunnels. What
 * the socket had before is kept in its flow and given back when a class does
 * not want the option any more.
 *
 * `ctx` is whatever bpf_setsockopt() takes in the calling program type.
 */
#ifndef HOSTQOS_BPF_MARKS_H
#define HOSTQOS_BPF_MARKS_H

#include <hostqos/dscp.h>

#include "flow.h"

#define SOL_SOCKET	   1
#define SO_PRIORITY	   12
#define SO_MAX_PACING_RATE 47
#define SOL_TCP		   6
#define TCP_SAVE_SYN	   27
#define SOL_IP		   0
#define IP_TOS		   1
#define SOL_IPV6	   41
#define IPV6_TCLASS	   67

#define DSCP_MASK (__s32)(0xff & ~HQ_ECN_MASK)
#define UNLIMITED (~0U)

/*
 * Make one option `want` in the bits of `mask`, or give it back where !wanted.
 * *was and *set are the flow's memory of it, `bit` says whether they are used.
 * An application's own later change becomes what is given back; a change of
 * its own is never overwritten by giving back.
 */
static __always_inline int mark_option(void *ctx, struct hq_saved *saved, __u32 bit, int level,
				       int name, __s32 *was, __s32 *set, __s32 mask, int wanted,
				       __s32 want)
{
	__s32 current = 0;
	int err;

	if (!wanted && !(saved->bits & bit))
		return 0;
	err = bpf_getsockopt(ctx, level, name, &current, sizeof(current));
	if (err)
		return err;
	if (!(saved->bits & bit) || ((current ^ *set) & mask))
		*was = current;
	if (!wanted)
		want = *was;
	want = (current & ~mask) | (want & mask);
	if (want != current)
		err = bpf_setsockopt(ctx, level, name, &want, sizeof(want));
	if (err)
		return err;
	*set = want;
	saved->bits = wanted ? saved->bits | bit : saved->bits & ~bit;
	return 0;
}

/*
 * DS field and priority. Setting IP_TOS changes sk_priority as a side effect
 * (do_ip_setsockopt(), rt_tos2priority()); that is undone, or replaced by the
 * class's own priority.
 */
static __always_inline int mark_dsfield(void *ctx, struct hq_flow *flow,
					const struct hq_class *class, __u8 dscp)
{
	struct hq_saved *saved = &flow->saved;
	int wanted = dscp != HQ_KEEP, prio_wanted = class->priority != HQ_KEEP;
	__s32 before = 0, after = 0, ds = dscp << 2;
	int err = 0, tos_err = 0;

	if (!wanted && !prio_wanted && !saved->bits)
		return 0;
	bpf_getsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &before, sizeof(before));
	if (flow->family == AF_INET6)
		err = mark_option(ctx, saved, HQ_SAVED_TCLASS, SOL_IPV6, IPV6_TCLASS,
				  &saved->tclass, &saved->set_tclass, DSCP_MASK, wanted, ds);
	/* On an IPv6 socket: for its IPv4 peers. Where the kernel refuses, tc egress marks. */
	if (!(flow->bits & HQ_FLOW_IPV6_ONLY))
		tos_err = mark_option(ctx, saved, HQ_SAVED_TOS, SOL_IP, IP_TOS, &saved->tos,
				      &saved->set_tos, DSCP_MASK, wanted, ds);
	if (flow->family == AF_INET)
		err = tos_err;
	bpf_getsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &after, sizeof(after));
	if (after != before)
		bpf_setsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &before, sizeof(before));
	mark_option(ctx, saved, HQ_SAVED_PRIORITY, SOL_SOCKET, SO_PRIORITY, &saved->priority,
		    &saved->set_priority, ~0, prio_wanted, class->priority);
	return err;
}

/* Bytes of headers on the wire beside an MSS of payload: Ethernet, IP, TCP with time stamps. */
static __always_inline __u32 wire_overhead(__u8 family)
{
	return 14 + (family == 4 ? 20 : 40) + 32;
}

/*
 * Pace a TCP socket at its class's rate. The kernel paces payload
 * (tcp_update_skb_after_send()), the class's rate is of the wire.
 */
static __always_inline void mark_pacing(void *ctx, struct hq_flow *flow,
					const struct hq_class *class, __u32 mss, __u32 overhead)
{
	struct hq_saved *saved = &flow->saved;
	__u32 pace = (__u64) class->pace * mss / (mss + overhead);

	mark_option(ctx, saved, HQ_SAVED_PACING, SOL_SOCKET, SO_MAX_PACING_RATE,
		    (__s32 *)&saved->pacing, (__s32 *)&saved->set_pacing, ~0, pace != 0, pace);
}

/* Marks of the class that a decision names. 0, or -errno where the socket refused its DS field. */
static __always_inline int mark_socket(void *ctx, struct hq_flow *flow, struct hq_decision decision)
{
	const struct hq_class *class = policy_class_of(decision.generation, decision.class);
	__u8 dscp;

	if (!class || !class->defined) {
		fault(HQ_FAULT_CLASS);
		return 0;
	}
	/* A listener's DS field is its SYN-ACKs' (tcp_v4_send_synack()). */
	dscp = flow->bits & HQ_FLOW_LISTENER ? class->syn_ack : class->dscp;
	return mark_dsfield(ctx, flow, class, dscp);
}

/*
 * Let a listener keep SYNs (TCP_SAVE_SYN) while a rule asks for their DSCP. One
 * that keeps them for its application's sake is left alone.
 */
static __always_inline void mark_syns(void *ctx, struct hq_flow *flow, int wanted)
{
	int had = 0, value = wanted != 0, ours = flow->saved.bits & HQ_SAVED_SYN;

	if (!wanted == !ours || bpf_getsockopt(ctx, SOL_TCP, TCP_SAVE_SYN, &had, sizeof(had)) ||
	    (!ours && had) || bpf_setsockopt(ctx, SOL_TCP, TCP_SAVE_SYN, &value, sizeof(value)))
		return;
	flow->saved.bits ^= HQ_SAVED_SYN;
}

/* A hook's end: keep the decision on the socket, and mark the socket by it. */
static __always_inline void settle(void *ctx, struct hq_flow *flow, struct hq_decision decision)
{
	flow_store_decision(flow, decision);
	if (decision.refuse)
		return;
	if (!decision.provisional)
		count_decision(decision, 0);
	mark_socket(ctx, flow, decision);
}

#endif
