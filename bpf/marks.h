/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A socket gets the marks of its class.
 */
#ifndef HOSTQOS_BPF_MARKS_H
#define HOSTQOS_BPF_MARKS_H

#include "mirror.h"
#include "option.h"

/* A listener's DS field is its SYN-ACKs' (tcp_v4_send_synack()). */
static __always_inline __u8 socket_dscp(const struct hq_flow *flow, const struct hq_class *class)
{
	return flow->bits & HQ_FLOW_LISTENER ? class->syn_ack : hq_connection_dscp(class, flow);
}

/* Marks of the class that a decision names. 0, or -errno where the socket refused its DS field. */
static __always_inline int mark_socket(void *ctx, struct hq_flow *flow, struct hq_decision decision)
{
	const struct hq_class *class = policy_class_of(decision.generation, decision.class);

	if (!class || !class->defined) {
		fault(HQ_FAULT_CLASS);
		return 0;
	}
	return hq_mark(ctx, flow, class, socket_dscp(flow, class));
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

/* The marks that the application gave the socket, or it began with. */
static __always_inline int give_marks_back(void *ctx, struct hq_flow *flow)
{
	static const struct hq_class nothing = {.dscp = HQ_KEEP, .priority = HQ_KEEP};

	return hq_mark(ctx, flow, &nothing, HQ_KEEP);
}

/* Governed no more, it is as it was before. 0, or -errno: it refused its DS field. */
static __always_inline int let_go(void *ctx, struct hq_flow *flow)
{
	mark_syns(ctx, flow, 0);
	hq_mark_pacing(ctx, &flow->saved, 0);
	hq_mark_window(ctx, &flow->saved, 0);
	return give_marks_back(ctx, flow);
}

/* A hook's end: keep the decision on the socket, and mark the socket by it. */
static __always_inline void settle(void *ctx, struct hq_flow *flow, struct flow_key *key,
				   struct hq_decision decision)
{
	flow_settle(flow, key, decision);
	if (!decision.refuse)
		mark_socket(ctx, flow, decision);
}

#endif
