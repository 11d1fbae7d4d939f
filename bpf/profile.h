/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a policy says of a packet at tc egress: its class, and what its meter
 * and its marks make of it there. The live program and the shadow's ask alike.
 */
#ifndef HOSTQOS_BPF_PROFILE_H
#define HOSTQOS_BPF_PROFILE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "app_dscp.h"
#include "datagram.h"
#include "forwarded.h"
#include "mirror.h"
#include "syn_ack.h"

/*
 * skb->tc_index of a packet that was metered already: a stacked device (VLAN,
 * macvlan, bond, bridge, tunnel) shows it again. Chosen at random by the
 * loader, never 0; no other user of tc_index is left in the kernel since 6.3.
 */
const volatile __u16 metered_mark __weak = 1;

/* shadow.bpf.c, which is to change no flow, classifies with a copy of it. */
#ifndef working_flow
#define working_flow(flow, packet) (flow)
#endif

/*
 * A datagram passes or not as a whole, by its first fragment: the later ones of
 * one that does not charge nothing, those of one that does are charged on credit.
 */
static __always_inline enum colour colour_of(struct __sk_buff *skb, const struct packet *p,
					     const struct hq_flow *flow,
					     const struct hq_class *class)
{
	struct fragment_fate *fate;

	if (!class->egress.rate)
		return GREEN;
	fate = is_fragment(p, 0) ? fragment_find(&p->transport) : NULL;
	if (fate && fate->colour == RED)
		return RED;
	return meter_charge(skb, flow, &class->egress, p->decision.class, fate != NULL);
}

/* A datagram to the peer that a proxy connected its socket to for a client: the client's, else
 * `own`. */
static __always_inline __u8 upstream_dscp(struct __sk_buff *skb, const struct packet *p,
					  const struct hq_class *class, __u8 own)
{
	struct bpf_sock *sk = skb->sk;
	struct served *served;

	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	served = sk && goes_to_peer(sk, &p->transport) ? upstream_of(sk) : NULL;
	return served && hq_mirror_allows(class, served->dscp) &&
			       mirror_trusts(p->generation, p->decision.class, served->peer)
		       ? served->dscp
		       : own;
}

/* The DSCP that the packet takes over from what came in, else `own`. */
static __noinline __u8 mirrored_dscp(struct __sk_buff *skb, const struct packet *p,
				     const struct hq_flow *flow, const struct hq_class *class,
				     __u8 own)
{
	struct fragment_fate *fate = is_fragment(p, 0) ? fragment_find(&p->transport) : NULL;
	const struct flow_key *key = &p->transport.key;
	__u8 inbound;

	if (fate)
		return fate->dscp;
	if (!p->alone) {
		inbound = hq_mirrored(class, flow);
		return inbound == HQ_DSCP_NONE ? own : inbound;
	}
	if (class->mirror == HQ_MIRROR_UPSTREAM)
		return upstream_dscp(skb, p, class, own);
	inbound = p->syn_ack ? key->inbound_dscp : latest_from(skb, key);
	if (!hq_mirror_allows(class, inbound) ||
	    !mirror_trusts(p->generation, p->decision.class, key->remote))
		return own;
	return inbound;
}

static __noinline void tell_exceeding(struct __sk_buff *skb, struct packet *p, struct hq_flow *flow,
				      __u32 exceed)
{
	union {
		struct hq_decision decision;
		__u64 word;
	} u = {.decision = p->decision};

	/* Of TCP the headers are not read otherwise. */
	if (!parse_transport(skb, &p->net, &p->transport, 0))
		monitor_event(flow, &p->transport.key, u.word,
			      exceed == HQ_EXCEED_DROP ? HQ_EVENT_DROPPED : HQ_EVENT_REMARKED,
			      skb->wire_len);
}

static __always_inline void count_passed(struct __sk_buff *skb, struct hq_class_counters *count)
{
	count->packets += skb->gso_segs ?: 1;
	count->bytes += skb->wire_len;
}

#define DROPPED 0x100

/* Meter and count. The DSCP that the packet is to have, or DROPPED. */
static __always_inline __u32 profile(struct __sk_buff *skb, struct packet *p, struct hq_flow *flow,
				     const struct hq_class *class, struct hq_class_counters *count)
{
	enum colour colour;
	__u8 dscp;

	colour = colour_of(skb, p, flow, class);
	dscp = class->dscp;
	if (class->syn_ack != dscp && (p->syn_ack || opens_fast(skb, p)))
		dscp = class->syn_ack;
	if (class->mirror)
		dscp = mirrored_dscp(skb, p, flow, class, dscp);
	if (is_fragment(p, 1))
		fragment_remember(p, colour, dscp);
	if (class->honored && dscp != HQ_KEEP)
		dscp = honored_dscp(p, flow, class, dscp);
	if (colour == RED) {
		count->exceed_packets += skb->gso_segs ?: 1;
		count->exceed_bytes += skb->wire_len;
		if (monitored())
			tell_exceeding(skb, p, flow, class->exceed);
		if (class->exceed == HQ_EXCEED_DROP)
			return DROPPED;
		dscp = class->exceed_dscp;
	}
	count_passed(skb, count);
	return dscp == HQ_KEEP ? kept_dscp(p, flow) : dscp;
}

/* A connection's or connected socket's class, found again: a reload, or more is known now. */
static __always_inline struct hq_decision
decide_connected(struct __sk_buff *skb, struct hq_flow *flow, struct bpf_sock *sk, struct packet *p)
{
	struct flow_key *key = &p->transport.key;
	struct hq_decision decision;

	key_from_sock(key, flow, sk);
	if (is_tcp(flow)) {
		key_set_inbound_dscp(key, flow->bits & HQ_FLOW_INBOUND ? flow->inbound_dscp
								       : HQ_DSCP_NONE);
	} else {
		key_set_direction(key, HQ_OUTBOUND);
		key_set_inbound_dscp(key, latest_from(skb, key));
		flow->inbound_dscp = flow->latest_dscp = key->inbound_dscp;
	}
	decision = decide(flow, key, p->generation);
	mirror_settle(flow, sk, decision, key->remote);
	if (flow_load_decision(flow).generation)
		flow_keep(flow, decision);
	flow_settle(flow, key, decision);
	return decision;
}

static __always_inline int is_current(struct hq_decision decision, const struct packet *p)
{
	return decision.generation == p->generation && !decision.provisional;
}

/* A packet of a flow that has no peer's class yet, or of one that has no single peer. */
static __always_inline struct hq_flow *classify_sent(struct __sk_buff *skb, struct hq_flow *flow,
						     struct packet *p)
{
	struct bpf_sock *sk = skb->sk;

	p->decision = flow_load_decision(flow);
	p->transport = (struct transport){};
	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	if (!sk)
		return NULL;
	if (!is_tcp(flow)) {
		if (parse_transport(skb, &p->net, &p->transport, 0)) {
			fault(HQ_FAULT_PARSE);
			return NULL;
		}
		if (classify_datagram(skb, flow, sk, p))
			return flow;
	}
	if (!is_current(p->decision, p))
		p->decision = decide_connected(skb, flow, sk, p);
	if (flow->bits & HQ_FLOW_KEPT)
		p->decision.refuse = 0;
	return flow;
}

static __always_inline struct hq_flow *socket_flow(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	return sk ? flow_of(sk) : NULL; /* where it is no full socket too */
}

/*
 * The flow of a packet that has a class, which is in p->decision; else NULL.
 * `flow` is its socket's own.
 */
static __always_inline struct hq_flow *classify_packet(struct __sk_buff *skb, struct hq_flow *flow,
						       struct packet *p)
{
	struct bpf_sock *sk = skb->sk, *full = NULL;

	if (sk && !flow) {
		full = bpf_sk_fullsock(sk);
		if (!full)
			return classify_syn_ack(skb, p);
		flow = flow_of_subflow(full);
	}
	if (flow)
		return classify_sent(skb, working_flow(flow, p), p);
	if (is_forwarded(skb))
		return classify_forwarded(skb, p);
	if (full && (full->type != SOCK_RAW || full->protocol != IPPROTO_TCP))
		return NULL;
	return classify_answer(skb, p);
}

static __always_inline int is_refused(struct __sk_buff *skb, struct packet *p, struct hq_flow *flow)
{
	if (!p->decision.refuse || p->decision.provisional)
		return 0;
	if (is_fragment(p, 1)) /* the others go with it */
		fragment_remember(p, RED, HQ_KEEP);
	if (monitored()) /* of TCP the headers are not read otherwise */
		parse_transport(skb, &p->net, &p->transport, 0);
	count_refused(flow, &p->transport.key, p->decision);
	return 1;
}

#endif
