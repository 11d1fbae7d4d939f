/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The token bucket, kept as one time instead of tokens and a clock.
 *
 * The theoretical arrival time (TAT) is when the bucket is empty: at `now` it
 * holds now - TAT, at most D. It is the only state, so one compare-and-swap
 * charges a packet. With depth D (the burst's cost) and a packet of cost C, all
 * in ticks:
 *
 *	start = max(TAT, now - D)
 *	conforms if start + min(C, D) <= now
 *	TAT' = start + C
 *
 * For C <= D this is the token bucket of RFC 2697 (section 3, one colour) and
 * the GCRA. A GSO packet larger than the burst passes when the bucket is full
 * and leaves a debt; otherwise it never could. What does not conform charges
 * nothing.
 */
#ifndef HOSTQOS_BUCKET_H
#define HOSTQOS_BUCKET_H

#include "abi.h"

/* One tick is 1/16 ns: 64 bytes at 400 Gbit/s are 20 ticks, and u64 wraps in 36 years. */
#define HQ_TICK_SHIFT 4

static inline __u64 hq_ticks(__u64 ns)
{
	return ns << HQ_TICK_SHIFT;
}

/* Cost in ticks of `bytes` (below 2^31) at the meter's rate. */
static inline __u64 hq_cost(const struct hq_meter *m, __u32 bytes)
{
	return ((__u64)bytes * m->mult) >> m->shift;
}

/*
 * One step: the next TAT in *next and 1 if a packet of `cost` conforms at
 * `now`, else 0 with *next untouched. Times are compared by their signed
 * difference: another core may have stored a later time than our clock shows.
 */
static inline int hq_bucket_step(__u64 tat, __u64 now, __u64 cost, __u64 depth, __u64 *next)
{
	__u64 start = now - depth;

	if ((__s64)(tat - start) > 0)
		start = tat;
	if ((__s64)(start + (cost < depth ? cost : depth) - now) > 0)
		return 0;
	*next = start + cost;
	return 1;
}

/*
 * The TAT of a bucket that nothing was charged to: full since long ago. At 0 it
 * would be filled since the machine was booted, which may be less than D ago.
 */
static inline __u64 hq_bucket_full(__u64 now)
{
	return now - (1ULL << 62);
}

/* As which time a packet is charged, and how deep the bucket is then; in ticks. */
struct hq_moment {
	__u64 now;
	__u64 depth;
	__u32 exact; /* 0: what does not conform is to be asked again by the exact clock */
};

static inline struct hq_moment hq_exact_moment(const struct hq_meter *m, __u64 ns)
{
	return (struct hq_moment){.now = hq_ticks(ns), .depth = m->depth, .exact = 1};
}

/*
 * By a clock that is up to `step` ns behind. A full bucket would hold so much
 * more then than it may: it is taken to be less deep instead. So nothing passes
 * that would not by the exact clock, and at most a step of the rate less.
 */
static inline struct hq_moment hq_coarse_moment(const struct hq_meter *m, __u64 ns, __u32 step)
{
	return (struct hq_moment){.now = hq_ticks(ns), .depth = m->depth - hq_ticks(step)};
}

/* May the bucket lack a step? Then at most an eighth of it. No step: there is no such clock. */
static inline int hq_is_deep(const struct hq_meter *m, __u32 step)
{
	return step && m->depth >= 8 * hq_ticks(step);
}

/*
 * The TAT that holds as many bytes, or owes as many, at another meter's rate:
 * times of the old one would be a debt of minutes at a slow rate, of nothing at
 * a fast one. Both meters have a rate. User space only: 128 bits.
 */
#ifndef __bpf__
static inline __u64 hq_bucket_convert(__u64 tat, __u64 now, const struct hq_meter *from,
				      const struct hq_meter *to)
{
	__s64 owed = (__s64)(tat - now);

	if (owed < -(__s64)from->depth)
		owed = -(__s64)from->depth;
	return now + (__u64)(__s64)((__int128)owed * from->rate / to->rate);
}
#endif

#endif
