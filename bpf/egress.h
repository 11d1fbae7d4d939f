/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tc egress: the authority. Every packet that leaves a governed interface gets
 * its socket's class here; is metered, marked where the socket's own mark is
 * not right already, dropped, counted. Other programs on the hook go on after.
 */
#ifndef HOSTQOS_BPF_EGRESS_H
#define HOSTQOS_BPF_EGRESS_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "app_dscp.h"
#include "datagram.h"
#include "escape.h"
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

static __always_inline enum colour colour_of(struct __sk_buff *skb, const struct packet *p,
					     const struct hq_class *class)
{
	struct fragment_fate *fate;
	enum colour colour;

	if (!class->egress.rate)
		return GREEN;
	fate = is_fragment(p, 0) ? fragment_find(p) : NULL;
	colour = meter_charge(&class->egress, p->decision.class, skb->wire_len,
			      departure_time(skb, p->flow));
	return fate ? fate->colour : colour;
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
				     const struct hq_class *class, __u8 own)
{
	struct fragment_fate *fate = is_fragment(p, 0) ? fragment_find(p) : NULL;
	const struct flow_key *key = &p->transport.key;
	__u8 inbound;

	if (fate)
		return fate->dscp;
	if (!p->alone) {
		inbound = hq_mirrored(class, p->flow);
		return inbound == HQ_DSCP_NONE ? own : inbound;
	}
	if (class->mirror == HQ_MIRROR_UPSTREAM)
		return upstream_dscp(skb, p, class, own);
	inbound = p->syn_ack ? key->inbound_dscp
			     : peer_dscp(bpf_get_socket_cookie(skb), key->remote, key->remote_port);
	if (!hq_mirror_allows(class, inbound) ||
	    !mirror_trusts(p->generation, p->decision.class, key->remote))
		return own;
	return inbound;
}

static __noinline void tell_exceeding(struct __sk_buff *skb, struct packet *p, __u32 exceed)
{
	union {
		struct hq_decision decision;
		__u64 word;
	} u = {.decision = p->decision};

	/* Of TCP the headers are not read otherwise. */
	if (!parse_transport(skb, &p->net, &p->transport, 0))
		monitor_event(p->flow, &p->transport.key, u.word,
			      exceed == HQ_EXCEED_DROP ? HQ_EVENT_DROPPED : HQ_EVENT_REMARKED,
			      skb->wire_len);
}

#define DROPPED 0x100

/* Meter and count. The DSCP that the packet is to have, or DROPPED. */
static __always_inline __u32 profile(struct __sk_buff *skb, struct packet *p,
				     const struct hq_class *class, struct hq_class_counters *count)
{
	__u32 bytes = skb->wire_len, segments = skb->gso_segs ?: 1;
	enum colour colour;
	__u8 dscp;

	colour = colour_of(skb, p, class);
	dscp = class->dscp;
	if (class->syn_ack != dscp && (p->syn_ack || opens_fast(skb, p)))
		dscp = class->syn_ack;
	if (class->mirror)
		dscp = mirrored_dscp(skb, p, class, dscp);
	if (is_fragment(p, 1))
		fragment_remember(p, colour, dscp);
	if (class->honored && dscp != HQ_KEEP)
		dscp = honored_dscp(p, class, dscp);
	if (colour == RED) {
		count->exceed_packets += segments;
		count->exceed_bytes += bytes;
		if (monitored())
			tell_exceeding(skb, p, class->exceed);
		if (class->exceed == HQ_EXCEED_DROP)
			return DROPPED;
		dscp = class->exceed_dscp;
	}
	count->packets += segments;
	count->bytes += bytes;
	return dscp == HQ_KEEP ? kept_dscp(p) : dscp;
}

/* Meter, count, mark. Returns the verdict for tc. */
static __always_inline int condition(struct __sk_buff *skb, struct packet *p)
{
	const struct hq_class *class = policy_class_of(p->generation, p->decision.class);
	struct hq_class_counters *count = class_counters_of(p->decision.class);
	__u32 dscp;

	if (!class || !class->defined || !count) {
		fault(HQ_FAULT_CLASS);
		return escape(skb, HQ_ESCAPE_INTERNAL);
	}
	dscp = profile(skb, p, class, count);
	if (dscp == DROPPED)
		return TC_ACT_SHOT;
	skb->tc_index = metered_mark;
	if (class->priority != HQ_KEEP)
		skb->priority = honored_priority(p, class, skb->priority);
	if (dscp == hq_dscp(p->net.dsfield))
		return PASS_ON;
	if (rewrite_dscp(skb, &p->net, dscp))
		fault(HQ_FAULT_REWRITE);
	else
		count->marked++;
	return PASS_ON;
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
		key_set_inbound_dscp(
			key, peer_dscp(bpf_get_socket_cookie(skb), key->remote, key->remote_port));
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

/* 1 where the packet has a class, in p->decision. */
static __always_inline int classify_sent(struct __sk_buff *skb, struct hq_flow *flow,
					 struct packet *p)
{
	struct bpf_sock *sk = skb->sk;

	p->flow = flow;
	p->decision = flow_load_decision(flow);
	if (flow->protocol == IPPROTO_TCP && is_current(p->decision, p) && !p->decision.refuse)
		return 1;
	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	if (!sk)
		return 0;
	if (!is_tcp(flow)) {
		if (parse_transport(skb, &p->net, &p->transport, 0)) {
			fault(HQ_FAULT_PARSE);
			return 0;
		}
		if (classify_datagram(skb, flow, sk, p))
			return 1;
	}
	if (!is_current(p->decision, p))
		p->decision = decide_connected(skb, flow, sk, p);
	if (flow->bits & HQ_FLOW_KEPT)
		p->decision.refuse = 0;
	return 1;
}

static __always_inline int classify_packet(struct __sk_buff *skb, struct packet *p)
{
	struct bpf_sock *sk = skb->sk, *full = NULL;
	struct hq_flow *flow;

	if (sk) {
		flow = flow_of(sk); /* NULL too where sk is no full socket */
		if (!flow) {
			full = bpf_sk_fullsock(sk);
			if (!full)
				return classify_syn_ack(skb, p);
			flow = flow_of_subflow(full);
		}
		if (flow)
			return classify_sent(skb, working_flow(flow, p), p);
	}
	if (is_forwarded(skb))
		return classify_forwarded(skb, p);
	if (full && (full->type != SOCK_RAW || full->protocol != IPPROTO_TCP))
		return 0;
	return classify_answer(skb, p);
}

static __always_inline int is_refused(struct __sk_buff *skb, struct packet *p)
{
	if (!p->decision.refuse || p->decision.provisional)
		return 0;
	if (is_fragment(p, 1)) /* the others go with it */
		fragment_remember(p, RED, HQ_KEEP);
	if (monitored()) /* of TCP the headers are not read otherwise */
		parse_transport(skb, &p->net, &p->transport, 0);
	count_refused(p->flow, &p->transport.key, p->decision);
	return 1;
}

static __always_inline int egress(struct __sk_buff *skb, __u32 l2)
{
	struct packet p; /* parse_transport() clears its transport, where that is needed */
	int err;

	p.generation = active_generation();
	p.syn_ack = p.datagram = p.alone = 0;
	if (!p.generation || skb->tc_index == metered_mark)
		return PASS_ON;
	err = parse_network(skb, l2, &p.net);
	if (err) {
		if (err < 0 && !is_forwarded(skb))
			fault(HQ_FAULT_PARSE);
		return escape(skb, err < 0 ? escape_reason(skb) : HQ_ESCAPE_NOT_IP);
	}
	if (!classify_packet(skb, &p))
		return escape(skb, escape_reason(skb));
	return is_refused(skb, &p) ? TC_ACT_SHOT : condition(skb, &p);
}

#endif
