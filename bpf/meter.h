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
 * When a packet leaves, in ns of CLOCK_MONOTONIC. TCP has read that clock
 * already: __tcp_transmit_skb() leaves its departure time in skb->tstamp, and
 * reading the clock again would cost more than all else in the meter. What
 * other protocols have there may be the application's (SO_TXTIME).
 */
static __always_inline __u64 departure_time(struct __sk_buff *skb, const struct hq_flow *flow)
{
	__u64 departure = 0;

	if (flow->protocol == IPPROTO_TCP && flow->type == SOCK_STREAM)
		departure = skb->tstamp;
	return departure ?: bpf_ktime_get_ns();
}

/*
 * Charge a class's bucket. Lock-free: the TAT moves only forwards by
 * compare-and-swap. A packet that loses every race passes; the winners paid.
 */
static __always_inline enum colour meter_charge(const struct hq_meter *meter, __u32 class,
						__u32 bytes, __u64 ns)
{
	struct hq_bucket *bucket = bpf_map_lookup_elem(&buckets, &class);
	__u64 cost = hq_cost(meter, bytes), now = hq_ticks(ns), tat, next = 0;
	int i;

	if (!bucket)
		return GREEN;
	for (i = 0; i < BUCKET_RETRIES; i++) {
		tat = *(volatile __u64 *)&bucket->tat;
		if (!hq_bucket_step(tat, now, cost, meter->depth, &next))
			return RED;
		if (__sync_val_compare_and_swap(&bucket->tat, tat, next) == tat)
			return GREEN;
	}
	fault(HQ_FAULT_CONTENTION);
	return GREEN;
}

#endif
