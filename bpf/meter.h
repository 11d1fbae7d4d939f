/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Conditioning: meter a packet by its class, count it, and say what becomes of it.
 */
#ifndef HOSTQOS_BPF_METER_H
#define HOSTQOS_BPF_METER_H

#include <hostqos/bucket.h>

#include "flow.h"

/* More cores than this would have to charge one bucket within one another's step. */
#define BUCKET_RETRIES 16

enum colour { GREEN, RED };

/*
 * How far CLOCK_MONOTONIC_COARSE, which costs a third of the exact clock to read,
 * may be behind it: the loader says so. 0: not known.
 */
const volatile __u32 coarse_ns __weak = 0;

/*
 * TCP has read the clock already: __tcp_transmit_skb() leaves the departure time
 * in skb->tstamp. What other protocols have there may be the application's
 * (SO_TXTIME); reading the clock for them would cost more than all else in the
 * meter. Short of a step, a deep bucket never passes by the coarse clock what it
 * would not pass by the exact one (bucket_test.c).
 */
static __always_inline struct hq_moment departure(struct __sk_buff *skb, const struct hq_flow *flow,
						  const struct hq_meter *meter)
{
	__u64 ns = 0;

	if (flow->protocol == IPPROTO_TCP && flow->type == SOCK_STREAM)
		ns = skb->tstamp;
	if (!ns && hq_is_deep(meter, coarse_ns))
		return hq_coarse_moment(meter, bpf_ktime_get_coarse_ns(), coarse_ns);
	return hq_exact_moment(meter, ns ?: bpf_ktime_get_ns());
}

/* Bytes on credit of what passes because another packet has: a few of the largest datagrams. */
#define CREDIT (1 << 18)

/* The bucket as it is to a packet with credit: so much fuller, and so much deeper. */
static __always_inline struct hq_moment on_credit(const struct hq_meter *meter, struct hq_moment at)
{
	__u64 credit = hq_cost(meter, CREDIT);

	at.now += credit;
	at.depth += credit;
	return at;
}

/*
 * Charge a class's bucket. Lock-free: the TAT moves only forwards by
 * compare-and-swap. A packet that loses every race passes; the winners paid.
 */
static __always_inline enum colour meter_charge(struct __sk_buff *skb, const struct hq_flow *flow,
						const struct hq_meter *meter, __u32 class,
						int credit)
{
	struct hq_bucket *bucket = bpf_map_lookup_elem(&buckets, &class);
	__u64 cost = hq_cost(meter, skb->wire_len), tat, next = 0;
	struct hq_moment at = departure(skb, flow, meter);
	int i;

	if (!bucket)
		return GREEN;
	if (credit)
		at = on_credit(meter, at);
	for (i = 0; i < BUCKET_RETRIES; i++) {
		tat = *(volatile __u64 *)&bucket->tat;
		if (hq_bucket_step(tat, at.now, cost, at.depth, &next)) {
			if (__sync_val_compare_and_swap(&bucket->tat, tat, next) == tat)
				return GREEN;
		} else if (at.exact) {
			return RED;
		} else {
			at = hq_exact_moment(meter, bpf_ktime_get_ns());
		}
	}
	fault(HQ_FAULT_CONTENTION);
	return GREEN;
}

#endif
