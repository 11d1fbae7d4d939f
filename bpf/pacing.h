/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A TCP connection of a class with a rate is paced by the kernel, so that the
 * bucket has little to drop.
 *
 * In a slow class that is not enough: the kernel does not pace the first ten
 * segments (tcp_update_skb_after_send()), and to a peer that is near it sends
 * all that the congestion window allows as one packet (tcp_tso_autosize()),
 * which the bucket may be too small for. There the rest of the first second has
 * the less, and the window is kept to twice what the path holds and 50 ms more:
 * as long as a burst that nobody wrote (policy/model.c).
 */
#ifndef HOSTQOS_BPF_PACING_H
#define HOSTQOS_BPF_PACING_H

#include "share.h"

#define UNPACED_SEGMENTS 10
#define OPENING_MS	 1024 /* longer than the second by a late timer */

/* Bytes of headers on the wire beside an MSS of payload: Ethernet, IP, TCP with time stamps. */
static __always_inline __u32 wire_overhead(__u8 family)
{
	return 14 + (family == 4 ? 20 : 40) + 32;
}

/* Bytes/s: the kernel paces payload, the class's rate is of the wire. */
static __always_inline __u32 payload_rate(const struct hq_class *class, __u32 mss, __u32 overhead)
{
	return (__u64) class->pace * mss / (mss + overhead);
}

/* Bytes in 50 ms. */
static __always_inline __u32 short_time(__u32 rate)
{
	return rate / 20;
}

/* Is that less than twice the unpaced segments, about the least burst that nobody wrote? */
static __always_inline int is_slow(__u32 rate, __u32 mss)
{
	return short_time(rate) < 2 * UNPACED_SEGMENTS * mss;
}

/*
 * Segments; of three the peer acknowledges two at once (RFC 5681, 4.2), while
 * the third may be a part of one.
 */
static __always_inline __u32 slow_window(__u32 rate, __u32 mss, __u32 rtt_us)
{
	__u32 held = (__u64)rate * rtt_us / 1000000 / mss, more = short_time(rate) / mss;

	return 2 * held + (more > 3 ? more : 3);
}

/*
 * Setting the bound sets snd_ssthresh to it (bpf_sol_tcp_setsockopt()), which
 * is where congestion control keeps what a loss has taught it. So it is set
 * before there was any, and changed only where it is what holds the window.
 */
static __always_inline void bound_window(struct bpf_sock_ops *ctx, struct hq_flow *flow,
					 __u32 window)
{
	__u32 was = flow->saved.window, now = ctx->snd_cwnd;

	if (ctx->lost_out || ctx->retrans_out || ctx->sacked_out)
		return;
	if (!was ? now > window || !ctx->total_retrans
		 : (window > was + was / 4 && now >= was) ||
			    (window < was - was / 4 && now > window))
		hq_mark_window(ctx, &flow->saved, window);
}

/*
 * Bytes/s for the packet that may leave `elapsed` ms after the first, if before
 * it `sent` bytes were: what is left of the first second's worth, over what is
 * left of that second. A second's worth below the unpaced segments is past help.
 */
static __always_inline __u32 opening_rate(__u32 rate, __u32 mss, __u64 sent, __u32 elapsed)
{
	__u64 left = sent + mss < rate ? rate - sent : mss;

	if (elapsed >= OPENING_MS || rate < UNPACED_SEGMENTS * mss)
		return rate;
	left = left * 1000 / (OPENING_MS - elapsed);
	return left < rate ? left : rate;
}

/*
 * As opening_rate(). A connection older than its class's slowness has no first
 * second. Where nothing waits to be sent, what comes next may come much later,
 * and would be held up by a rate that nobody has changed since.
 */
static __always_inline __u32 slow_rate(struct bpf_sock_ops *ctx, struct hq_flow *flow,
				       const struct tcp_sock *tp, __u32 rate, __u32 mss)
{
	__u32 now = bpf_ktime_get_ns() / 1000000, departs = tp->tcp_wstamp_ns / 1000000;
	__u32 rtt = (ctx->srtt_us >> 3) / 1000;
	__u64 sent = ctx->bytes_acked + (ctx->snd_nxt - ctx->snd_una);

	if (!flow->began)
		flow->began = now - (sent > 2 * UNPACED_SEGMENTS * mss ? OPENING_MS : rtt);
	if (now - flow->began >= OPENING_MS)
		flow->began = now - OPENING_MS; /* a wrapped clock begins nothing anew */
	if (tp->write_seq == ctx->snd_una)
		return rate;
	if ((__s32)(departs - now) < 0)
		departs = now;
	return opening_rate(rate, mss, sent, departs - flow->began);
}

/* On the wire: an IPv6 socket may have an IPv4 peer. */
static __always_inline __u8 wire_family(struct bpf_sock *sk)
{
	__u8 remote[16] __attribute__((aligned(4)));

	sock_remote(sk, remote);
	return is_mapped(remote) ? 4 : 6;
}

/*
 * When a connection is made, and at each of its round trips where that may
 * change something. Others may take the callback away, so the window is not
 * bounded before it comes.
 */
static __always_inline void pace(struct bpf_sock_ops *ctx, struct hq_flow *flow,
				 struct bpf_sock *sk, __u32 generation)
{
	struct hq_decision decision = flow_load_decision(flow);
	const struct hq_class *class = policy_class_of(decision.generation, decision.class);
	const struct hq_header *h = policy_header_of(generation);
	int slow, round_trip = ctx->op == BPF_SOCK_OPS_RTT_CB;
	__u32 mss = ctx->mss_cache, rate;
	struct hq_flow *owner;
	struct tcp_sock *tp;

	if (!class || !mss || !h ||
	    !(h->features & HQ_FEATURE_PACING || flow->saved.bits & HQ_SAVED_PACING))
		return;
	owner = share_owner(sk);
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	rate = payload_rate(class, mss, wire_overhead(wire_family(sk)));
	slow = rate && is_slow(rate, mss);
	if (!slow)
		hq_mark_window(ctx, &flow->saved, 0);
	if (round_trip && owner)
		rate /= share_count(owner, flow);
	if (round_trip && slow && ctx->srtt_us) {
		bound_window(ctx, flow, slow_window(rate, mss, ctx->srtt_us >> 3));
		rate = slow_rate(ctx, flow, tp, rate, mss);
	}
	if (!round_trip || rate != flow->saved.set_pacing)
		hq_mark_pacing(ctx, &flow->saved, rate);
	if (slow || owner)
		bpf_sock_ops_cb_flags_set(ctx,
					  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG);
}

/*
 * A connection that is older than the policy, by the socket iterator. Its next
 * round trip bounds its window again, if there still is a callback.
 */
static __always_inline void pace_live(struct tcp_sock *tp, struct hq_flow *flow,
				      const struct hq_class *class)
{
	__u32 mss = BPF_CORE_READ(tp, mss_cache);
	__u8 remote[16] __attribute__((aligned(4)));

	kernel_address((struct sock *)tp, remote, 1);
	hq_mark_pacing(tp, &flow->saved,
		       payload_rate(class, mss, wire_overhead(is_mapped(remote) ? 4 : 6)));
	hq_mark_window(tp, &flow->saved, 0);
}

#endif
