/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets that pass through this host, a container's behind a veth among them:
 * where a rule asks for them (`origin: forwarded`), they are classified by
 * their headers. The source is the local end, the destination the remote one,
 * the inbound DSCP the packet's own.
 */
#ifndef HOSTQOS_BPF_FORWARDED_H
#define HOSTQOS_BPF_FORWARDED_H

#include "packet.h"

struct forwarded_key {
	struct flow_key key;
	__u64 protocol;
};

/* Their decisions: all packets of one flow look alike. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct forwarded_key);
	__type(value, struct hq_decision);
} forwarded MAP;

/* In place of a socket's flow: nothing is known of its maker. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hq_flow);
} nobody MAP;

/*
 * Came in at an interface. A bridge may leave the sender's socket on the packet
 * (ip_rcv_core() takes it off): one that is governed tells more than headers.
 */
static __always_inline int is_forwarded(struct __sk_buff *skb)
{
	return skb->ingress_ifindex != 0;
}

static __always_inline void forwarded_key_init(struct forwarded_key *key, const struct packet *p)
{
	key->key = p->transport.key;
	key->protocol = p->transport.protocol;
}

static __noinline struct hq_decision *forwarded_find(const struct packet *p)
{
	struct forwarded_key key;

	forwarded_key_init(&key, p);
	return bpf_map_lookup_elem(&forwarded, &key);
}

static __noinline void forwarded_remember(const struct packet *p)
{
	struct hq_decision decision = p->decision;
	struct forwarded_key key;

	forwarded_key_init(&key, p);
	bpf_map_update_elem(&forwarded, &key, &decision, BPF_ANY);
}

static __always_inline struct hq_decision decide_forwarded(struct packet *p, struct hq_flow *flow)
{
	struct hq_decision *known = forwarded_find(p);
	__u16 class = known ? known->class : HQ_MAX_CLASSES;

	if (known && known->generation == p->generation)
		return *known;
	p->decision = decide(flow, &p->transport.key, p->generation);
	forwarded_remember(p);
	/* As flow_settle(): once in the class that it comes into. */
	if (p->decision.rule != HQ_RULE_NONE && !p->decision.refuse && p->decision.class != class)
		count_flow(p->decision);
	if (p->decision.rule != HQ_RULE_NONE && !p->decision.refuse)
		watched(flow, &p->transport.key, p->decision, HQ_EVENT_PACKET);
	return p->decision;
}

/* NULL where no rule is for it: it has a class, `default` too, only if asked for. */
static __always_inline struct hq_flow *classify_forwarded(struct __sk_buff *skb, struct packet *p)
{
	const struct hq_header *h = policy_header_of(p->generation);
	struct flow_key *key = &p->transport.key;
	struct fragment_fate *fate;
	struct hq_flow *flow;
	__u32 zero = 0;

	if (!h || !(h->features & HQ_FEATURE_FORWARDED))
		return NULL;
	flow = bpf_map_lookup_elem(&nobody, &zero);
	/* A packet that does not parse is its sender's fault, not ours. */
	if (!flow || parse_transport(skb, &p->net, &p->transport, 0))
		return NULL;
	flow->protocol = p->transport.protocol;
	key->origin = HQ_FORWARDED;
	key_set_inbound_dscp(key, hq_dscp(p->net.dsfield));
	p->datagram = 1;
	fate = is_fragment(p, 0) ? fragment_find(&p->transport) : NULL;
	if (fate && fate->decision.generation == p->generation)
		p->decision = fate->decision;
	else
		p->decision = decide_forwarded(p, flow);
	return p->decision.rule != HQ_RULE_NONE ? flow : NULL;
}

#endif
