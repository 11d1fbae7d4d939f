/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Subflows of one MPTCP connection share the rate that it is paced at. Each
 * paced at the whole rate they would be kept to it by the dropper, and MPTCP
 * fares worse with that than TCP: what one subflow lost holds up the others.
 * An idle or backup subflow has no share: those are counted that got data
 * acknowledged in this epoch of 67 ms or the one before.
 */
#ifndef HOSTQOS_BPF_SHARE_H
#define HOSTQOS_BPF_SHARE_H

#include "marks.h"
#include "mptcp.h"

#define EPOCH_SHIFT 26

/*
 * One more subflow was busy. Two that do this at a time may lose one of the
 * counts for an epoch; the bucket stays the authority.
 */
static __always_inline void share_count(struct hq_flow *owner, struct hq_flow *flow)
{
	__u16 epoch = bpf_ktime_get_ns() >> EPOCH_SHIFT;

	if (owner->epoch != epoch) {
		owner->busy_before = (__u16)(owner->epoch + 1) == epoch ? owner->busy : 0;
		owner->busy = 0;
		owner->epoch = epoch;
	}
	if (flow->epoch == epoch && flow->busy)
		return;
	flow->epoch = epoch;
	flow->busy = 1;
	owner->busy++;
}

/* A connection is made: of a subflow each round trip is to be told, where anything is paced. */
static __always_inline void share_begin(struct bpf_sock_ops *ctx, struct bpf_sock *sk,
					__u32 generation)
{
	const struct hq_header *h = policy_header_of(generation);

	if (h && (h->features & HQ_FEATURE_PACING) && owner_of(sk))
		bpf_sock_ops_cb_flags_set(ctx,
					  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG);
}

/* At a round trip. */
static __always_inline void share_pace(struct bpf_sock_ops *ctx, struct hq_flow *flow,
				       struct bpf_sock *sk)
{
	struct hq_decision decision = flow_load_decision(flow);
	const struct hq_class *class = policy_class_of(decision.generation, decision.class);
	struct mptcp_sock *socket = owner_of(sk);
	struct hq_flow *owner = socket ? flow_of(socket) : NULL;
	__u32 rate, busy;

	if (!owner || !class || !class->pace)
		return;
	share_count(owner, flow);
	busy = owner->busy > owner->busy_before ? owner->busy : owner->busy_before;
	rate = payload_rate(class, ctx->mss_cache, wire_overhead(sk->family == AF_INET ? 4 : 6));
	rate /= busy ?: 1;
	if (rate != flow->saved.set_pacing)
		hq_mark_pacing(ctx, &flow->saved, rate);
}

#endif
