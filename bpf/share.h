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

#include "mptcp.h"

#define EPOCH_SHIFT 26

/* The flow of the socket that owns the subflow; NULL for any other connection. */
static __always_inline struct hq_flow *share_owner(struct bpf_sock *sk)
{
	struct mptcp_sock *socket = owner_of(sk);

	return socket ? flow_of(socket) : NULL;
}

/*
 * One more subflow was busy: of how many? Two that do this at a time may lose
 * one of the counts for an epoch; the bucket stays the authority.
 */
static __always_inline __u32 share_count(struct hq_flow *owner, struct hq_flow *flow)
{
	__u16 epoch = bpf_ktime_get_ns() >> EPOCH_SHIFT;

	if (owner->epoch != epoch) {
		owner->busy_before = (__u16)(owner->epoch + 1) == epoch ? owner->busy : 0;
		owner->busy = 0;
		owner->epoch = epoch;
	}
	if (flow->epoch != epoch || !flow->busy) {
		flow->epoch = epoch;
		flow->busy = 1;
		owner->busy++;
	}
	return (owner->busy > owner->busy_before ? owner->busy : owner->busy_before) ?: 1;
}

#endif
