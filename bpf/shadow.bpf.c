// SPDX-License-Identifier: GPL-2.0-only
/*
 * hostqos shadow: what another policy would do, counted on the traffic of the
 * policy in force. Two programs at tc egress, attached only meanwhile: one
 * ahead of the live program judges each packet as that would under the shadow
 * policy; one behind sees what became of it. It is the live program's code, on
 * state of its own: whatever a program changes of a flow, it changes in a copy,
 * and every packet is classified anew.
 */
#define buckets	       shadow_buckets
#define class_counters shadow_class_counters
#define rule_counters  shadow_rule_counters
#define fragments      shadow_fragments
#define forwarded      shadow_forwarded
#define working_flow   shadow_flow_of
#define UNWATCHED      /* what another policy would do is no event */
#define WITHOUT_KFUNCS /* bpf/skb.h */

#include "flow.h"

struct packet;
static __always_inline struct hq_flow *shadow_flow_of(struct hq_flow *flow, const struct packet *p);

#include "profile.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hq_shadow);
} shadow MAP;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HQ_MAX_CLASSES);
	__type(key, __u32);
	__type(value, struct hq_shadow_changes);
} shadow_changes MAP;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hq_flow);
} shadow_flow MAP;

/* Of a packet between the two programs: nothing else is sent on its CPU until it is through. */
struct shadow_verdict {
	__u32 pending;
	__u32 packets;
	__u16 class;
	__u16 dscp; /* or one of the next */
	__u16 matched;
	__u16 governed; /* 0: a forwarded packet that no rule of the shadow is for */
};

#define REFUSED	 0x101
#define NO_CLASS 0x102

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct shadow_verdict);
} shadow_verdicts MAP;

/* The shadow knows a flow as it were new: what lives already would be kept by no rule. */
static __always_inline struct hq_flow *shadow_flow_of(struct hq_flow *flow, const struct packet *p)
{
	__u32 zero = 0;
	struct hq_flow *copy = bpf_map_lookup_elem(&shadow_flow, &zero);

	if (!copy)
		return flow;
	*copy = *flow;
	if (p->generation & HQ_SHADOW) {
		copy->decision = (struct hq_decision){};
		copy->bits &= ~HQ_FLOW_KEPT;
	}
	return copy;
}

/* NULL where the policy of p->generation has no class for the packet. */
static __always_inline struct hq_flow *find_class(struct __sk_buff *skb, __u32 l2, struct packet *p)
{
	p->syn_ack = p->datagram = p->alone = p->pad = 0;
	p->net.family = p->net.dsfield = 0;
	return parse_network(skb, l2, &p->net) ? NULL : classify_packet(skb, socket_flow(skb), p);
}

static __always_inline struct shadow_verdict *verdict_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&shadow_verdicts, &zero);
}

static __always_inline struct hq_shadow_changes *changes_of(__u32 class)
{
	return bpf_map_lookup_elem(&shadow_changes, &class);
}

/* One that never came to the program behind: the policy in force has dropped it. */
static __noinline int settle_last(void)
{
	struct shadow_verdict *v = verdict_here();
	struct hq_shadow_changes *changes;

	if (!v || !v->pending)
		return 0;
	v->pending = 0;
	changes = changes_of(v->class);
	if (changes && v->dscp < DROPPED)
		changes->admitted += v->packets;
	return 0;
}

/* (A global function: as condition_any() of egress.h.) */
__noinline int judge(struct __sk_buff *skb, struct packet *p, struct hq_flow *flow)
{
	const struct hq_class *class;
	struct hq_class_counters *count;

	if (!p || !flow)
		return NO_CLASS;
	class = policy_class_of(p->generation, p->decision.class);
	count = class_counters_of(p->decision.class);
	if (is_refused(skb, p, flow))
		return REFUSED;
	return class && count ? profile(skb, p, flow, class, count) : NO_CLASS;
}

/* (Looked up again rather than kept: the live program's frame leaves no room for a pointer.) */
static __always_inline void leave_verdict(struct __sk_buff *skb, struct hq_decision decision,
					  __u16 dscp, __u16 governed)
{
	struct shadow_verdict *v = verdict_here();

	if (!v)
		return;
	v->class = decision.class;
	v->matched = decision.rule != HQ_RULE_NONE;
	v->governed = governed;
	v->dscp = dscp;
	v->packets = skb->gso_segs ?: 1;
	v->pending = 1;
}

static __always_inline __u32 shadow_generation(void)
{
	__u32 zero = 0;
	struct hq_shadow *s = bpf_map_lookup_elem(&shadow, &zero);

	return s ? s->generation : 0;
}

static __always_inline int ahead(struct __sk_buff *skb, __u32 l2)
{
	struct hq_flow *flow;
	struct packet p;

	settle_last();
	p.generation = shadow_generation();
	if (!p.generation || !active_generation() || skb->tc_index == metered_mark)
		return PASS_ON;
	flow = find_class(skb, l2, &p);
	if (flow)
		leave_verdict(skb, p.decision, judge(skb, &p, flow), 1);
	else if (p.net.family && is_forwarded(skb)) /* it would go as it came */
		leave_verdict(skb, (struct hq_decision){.rule = HQ_RULE_NONE},
			      hq_dscp(p.net.dsfield), 0);
	return PASS_ON;
}

static __always_inline void compare(const struct shadow_verdict *v, const struct packet *p)
{
	struct hq_shadow_changes *changes = changes_of(v->class);

	if (!changes)
		return;
	if (v->dscp == REFUSED)
		changes->refused += v->packets;
	else if (v->dscp == DROPPED)
		changes->dropped += v->packets;
	else if (v->dscp == hq_dscp(p->net.dsfield) || v->dscp == NO_CLASS)
		changes->same += v->packets;
	else
		changes->remarked += v->packets;
	if (!v->matched && p->decision.rule != HQ_RULE_NONE)
		changes->unmatched += v->packets;
}

static __always_inline int behind(struct __sk_buff *skb, __u32 l2)
{
	struct shadow_verdict *v = verdict_here();
	struct packet p;

	if (!v || !v->pending)
		return PASS_ON;
	v->pending = 0;
	p.generation = active_generation();
	if (!p.generation)
		return PASS_ON;
	if (!find_class(skb, l2, &p)) {
		if (!v->governed)
			return PASS_ON;
		p.decision = (struct hq_decision){.rule = HQ_RULE_NONE};
	}
	compare(v, &p);
	return PASS_ON;
}

#define SHADOW_PROGRAMS(kind, l2)                                                                  \
	SEC("tc") int shadow_ahead_##kind(struct __sk_buff *skb)                                   \
	{                                                                                          \
		return ahead(skb, l2);                                                             \
	}                                                                                          \
	SEC("tc") int shadow_behind_##kind(struct __sk_buff *skb)                                  \
	{                                                                                          \
		return behind(skb, l2);                                                            \
	}

SHADOW_PROGRAMS(ether, ETH_HLEN)
SHADOW_PROGRAMS(ip, 0)

char LICENSE[] SEC("license") = "GPL";
