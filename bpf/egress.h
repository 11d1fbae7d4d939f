/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tc egress: the authority. Every packet that leaves a governed interface gets
 * its socket's class here; is metered, marked where the socket's own mark is
 * not right already, dropped, counted. Other programs on the hook go on after.
 */
#ifndef HOSTQOS_BPF_EGRESS_H
#define HOSTQOS_BPF_EGRESS_H

#include "profile.h"
#include "escape.h"
#include "remembered.h"

/* Only count. */
static __always_inline int pass_marked(struct __sk_buff *skb, const struct packet *p)
{
	struct hq_class_counters *count = class_counters_of(p->decision.class);

	skb->tc_index = metered_mark;
	if (count)
		count_passed(skb, count);
	return PASS_ON;
}

/* Meter, count, mark. Returns the verdict for tc. */
static __always_inline int condition(struct __sk_buff *skb, struct packet *p, struct hq_flow *flow)
{
	const struct hq_class *class = policy_class_of(p->generation, p->decision.class);
	struct hq_class_counters *count = class_counters_of(p->decision.class);
	__u32 dscp;

	if (!class || !class->defined || !count) {
		fault(HQ_FAULT_CLASS);
		return escape(skb, HQ_ESCAPE_INTERNAL);
	}
	dscp = profile(skb, p, flow, class, count);
	if (dscp == DROPPED)
		return TC_ACT_SHOT;
	skb->tc_index = metered_mark;
	if (class->priority != HQ_KEEP)
		skb->priority = honored_priority(flow, class, skb->priority);
	else if (p->alone)
		skb->priority = kept_priority(skb, flow, class);
	if (dscp == hq_dscp(p->net.dsfield))
		return PASS_ON;
	if (rewrite_dscp(skb, &p->net, dscp))
		fault(HQ_FAULT_REWRITE);
	else
		count->marked += skb->gso_segs ?: 1;
	return PASS_ON;
}

/* Nearly every packet: of a connection whose class stands. */
static __always_inline int is_settled(const struct hq_flow *flow, struct packet *p)
{
	p->decision = flow_load_decision(flow);
	return flow->protocol == IPPROTO_TCP && is_current(p->decision, p) && !p->decision.refuse;
}

/* Is such a packet as its class wants it, and is there nothing else that the class does? */
static __always_inline int is_marked(const struct hq_flow *flow, const struct packet *p)
{
	__u32 mark_only = *(volatile const __u32 *)&flow->mark_only;

	return !p->alone && mark_only == hq_marked(p->generation, hq_dscp(p->net.dsfield)) &&
	       is_settled_as(flow, p->decision);
}

/*
 * All others. (A global function: the verifier checks it once, not for each
 * way on which a packet may have come to its class.)
 */
__noinline int condition_any(struct __sk_buff *skb, struct packet *p, struct hq_flow *flow)
{
	if (!p || !flow)
		return PASS_ON;
	return is_refused(skb, p, flow) ? TC_ACT_SHOT : condition(skb, p, flow);
}

static __always_inline int egress(struct __sk_buff *skb, __u32 l2)
{
	struct packet p; /* its transport is for those packets that need it */
	struct hq_flow *flow;
	int err;

	p.generation = active_generation();
	p.syn_ack = p.datagram = p.alone = p.pad = 0;
	if (!p.generation || skb->tc_index == metered_mark)
		return PASS_ON;
	err = parse_network(skb, l2, &p.net);
	if (err) {
		if (err < 0 && !is_forwarded(skb))
			fault(HQ_FAULT_PARSE);
		return escape(skb, err < 0 ? escape_reason(skb) : HQ_ESCAPE_NOT_IP);
	}
	flow = socket_flow(skb);
	if (flow && (is_settled(flow, &p) || is_remembered(skb, flow, &p)))
		return is_marked(flow, &p) ? pass_marked(skb, &p) : condition(skb, &p, flow);
	flow = classify_packet(skb, flow, &p);
	return flow ? condition_any(skb, &p, flow) : escape(skb, escape_reason(skb));
}

#endif
