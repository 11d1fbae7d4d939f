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

/* From one tick of the kernel to the next, which jiffies count. 0: the loader does not know. */
const volatile __u32 tick_ns __weak = 0;

/*
 * When this tick's first packet came: a tick ago at most, or as long as the tick
 * is late. bpf_jiffies64() is a load, where a clock is a call of three functions.
 * Time first, jiffies last, and read the other way: the time is not from before
 * the jiffies. Only a core that stands still for ticks between the clock and its
 * store puts an older time there; by so much a burst may come too early, once.
 */
static __always_inline __u64 tick_clock(struct hq_bucket *bucket)
{
	__u64 jiffies = bpf_jiffies64();

	if (*(volatile __u64 *)&bucket->jiffies != jiffies) {
		*(volatile __u64 *)&bucket->ns = bpf_ktime_get_ns();
		*(volatile __u64 *)&bucket->jiffies = jiffies;
	}
	return *(volatile __u64 *)&bucket->ns;
}

/* In the tick of `clock` or the next. */
static __always_inline int is_near(__u64 ns, __u64 clock)
{
	return ns - clock < 2ull * tick_ns;
}

/*
 * TCP has read the clock already: __tcp_transmit_skb() leaves the departure time
 * in skb->tstamp. It may be far ahead (TCP_TX_DELAY; sch_fq is yet to pace), and
 * charged there would take from all others what the class has until then; or
 * past, where the packet waited for its neighbour. What other protocols have
 * there may be the application's (SO_TXTIME). Reading the clock costs more than
 * all else in the meter. Short of a tick, a deep bucket never passes by the
 * tick's clock what it would not pass by the exact one (bucket_test.c).
 */
static __always_inline struct hq_moment departure(struct __sk_buff *skb, const struct hq_flow *flow,
						  const struct hq_meter *meter,
						  struct hq_bucket *bucket)
{
	__u64 tick = tick_clock(bucket);

	if (flow->protocol == IPPROTO_TCP && flow->type == SOCK_STREAM &&
	    is_near(skb->tstamp, tick))
		return hq_exact_moment(meter, skb->tstamp);
	if (hq_is_deep(meter, tick_ns))
		return hq_coarse_moment(meter, tick, tick_ns);
	return hq_exact_moment(meter, bpf_ktime_get_ns());
}

/* Bytes on credit of what passes because another packet has: a few of the largest datagrams. */
#define CREDIT (1 << 18)

/* The bucket as it is to a packet with credit: so much fuller, and so much deeper. */
static __always_inline struct hq_moment on_credit(const struct hq_meter *meter, struct hq_moment at,
						  int has_credit)
{
	__u64 credit = has_credit ? hq_cost(meter, CREDIT) : 0;

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
	struct hq_moment at;
	int i;

	if (!bucket)
		return GREEN;
	at = on_credit(meter, departure(skb, flow, meter, bucket), credit);
	for (i = 0; i < BUCKET_RETRIES; i++) {
		tat = *(volatile __u64 *)&bucket->tat;
		if (hq_bucket_step(tat, at.now, cost, at.depth, &next)) {
			if (__sync_val_compare_and_swap(&bucket->tat, tat, next) == tat)
				return GREEN;
		} else if (at.exact) {
			return RED;
		} else {
			at = on_credit(meter, hq_exact_moment(meter, bpf_ktime_get_ns()), credit);
		}
	}
	fault(HQ_FAULT_CONTENTION);
	return GREEN;
}

#endif
