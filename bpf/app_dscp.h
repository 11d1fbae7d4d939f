/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The application's own marks at tc egress: options, and ancillary data, which
 * no hook sees before.
 */
#ifndef HOSTQOS_BPF_APP_DSCP_H
#define HOSTQOS_BPF_APP_DSCP_H

#include <hostqos/app_dscp.h>

#include "packet.h"

/* An option of the socket that a packet's family goes by. */
struct own_mark {
	__u32 bit;   /* HQ_SAVED_TOS or HQ_SAVED_TCLASS */
	__u32 known; /* hostqos has set it */
	__u8 own;    /* then: the DSCP that the application has */
	__u8 set;    /* and the one that the socket has */
};

static __always_inline struct own_mark own_mark_of(const struct packet *p,
						   const struct hq_flow *flow)
{
	const struct hq_saved *saved = &flow->saved;
	struct own_mark m = {
		.bit = p->net.family == 4 ? HQ_SAVED_TOS : HQ_SAVED_TCLASS,
		.own = hq_dscp(p->net.family == 4 ? saved->tos : saved->tclass),
		.set = hq_dscp(p->net.family == 4 ? saved->set_tos : saved->set_tclass),
	};

	m.known = saved->bits & m.bit;
	return m;
}

/*
 * What a class that keeps marks leaves on the packet: its own DSCP, but not
 * one that hostqos put on the socket for another of its peers.
 */
static __always_inline __u8 kept_dscp(const struct packet *p, const struct hq_flow *flow)
{
	__u8 dscp = hq_dscp(p->net.dsfield);
	struct own_mark m = own_mark_of(p, flow);

	return m.known && dscp == m.set ? m.own : dscp;
}

/*
 * `dscp` of the class, or what the application asked for this packet: by
 * ancillary data where a datagram has not what its socket has, else by the
 * socket's option. Of TCP there is no ancillary data, and what the kernel sends
 * in a socket's name may bear the peer's mark.
 */
static __always_inline __u8 honored_dscp(const struct packet *p, const struct hq_flow *flow,
					 const struct hq_class *class, __u8 dscp)
{
	struct own_mark m = own_mark_of(p, flow);
	__u8 asked = hq_dscp(p->net.dsfield);
	int asks = 1;

	if (!m.known && !p->datagram)
		return dscp;
	if (!p->datagram || !m.known || asked == m.set) {
		asked = m.known ? m.own : asked;
		asks = hq_asks(&flow->saved, m.bit, asked);
	}
	return asks && hq_honors(class->honored, asked) ? asked : dscp;
}

/* The same of the priority, of which there is ancillary data since Linux 6.14. */
static __always_inline __u32 honored_priority(const struct hq_flow *flow,
					      const struct hq_class *class, __u32 asked)
{
	const struct hq_saved *saved = &flow->saved;

	if (class->honored != HQ_HONOR_ALL)
		return class->priority;
	if ((saved->bits & HQ_SAVED_PRIORITY) && asked == (__u32)saved->set_priority)
		asked = saved->priority;
	return hq_asks(saved, HQ_SAVED_PRIORITY, asked) ? asked : class->priority;
}

/*
 * Of a class without a priority the application's counts, unless that is denied
 * its own marks; not one that hostqos put on the socket for another of its peers.
 */
static __always_inline __u32 kept_priority(struct __sk_buff *skb, const struct hq_flow *flow,
					   const struct hq_class *class)
{
	const struct hq_saved *saved = &flow->saved;
	__u32 priority = skb->priority;
	struct bpf_sock *sk = skb->sk;

	if (class->deny && sk) {
		sk = bpf_sk_fullsock(sk);
		if (sk)
			priority = sk->priority;
	}
	if ((saved->bits & HQ_SAVED_PRIORITY) && priority == (__u32)saved->set_priority)
		return saved->priority;
	return priority;
}

#endif
