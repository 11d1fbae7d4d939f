/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The class of a flow is a pure function of who made the socket, the
 * addresses, and the policy. A hook fills a flow_key with what it knows and
 * calls classify(); what it does not know leaves rules undecided.
 */
#ifndef HOSTQOS_BPF_CLASSIFY_H
#define HOSTQOS_BPF_CLASSIFY_H

#include <linux/in.h>
#include <bpf/bpf_endian.h>

#include "monitor.h"
#include "policy.h"

/* What a hook knows of a flow beside its socket's identity. */
struct flow_key {
	__u8 local[16] __attribute__((aligned(8))); /* IPv4 as mapped IPv6 */
	__u8 remote[16];
	__u16 local_port; /* host byte order */
	__u16 remote_port;
	__u8 family;	/* 4 or 6, on the wire */
	__u8 direction; /* enum hq_direction */
	__u8 inbound_dscp;
	__u8 origin;   /* enum hq_origin */
	__u32 known;   /* HQ_BIT()s */
	__u32 unknown; /* HQ_BIT()s of what any socket has, but not a flow that is only described */
};

#define GOLDEN_RATIO 0x61c8864680b583ebULL /* linux/hash.h, GOLDEN_RATIO_64 */

/* Of the addresses (of the local one what differs within a host's network) and the ports. */
static __always_inline __u64 key_hash_ends(const struct flow_key *key, __u64 seed)
{
	const __u32 *local = (const __u32 *)key->local, *remote = (const __u32 *)key->remote;
	__u64 hash = seed;

	hash ^= (__u64)local[3] << 32 | (__u32)key->local_port << 16 | key->remote_port;
	hash = (hash ^ remote[0] ^ (__u64)remote[1] << 32) * GOLDEN_RATIO;
	hash = (hash ^ hash >> 32 ^ remote[3] ^ (__u64)remote[2] << 32) * GOLDEN_RATIO;
	return hash;
}

/*
 * The decision of the policy of `generation` for a socket's flow. Never fails:
 * an internal fault is counted and gives the class `default`. (A global
 * function: the verifier checks it once for each program, not at each call.)
 */
__u64 classify(struct hq_flow *flow, struct flow_key *key, __u32 generation);

static __always_inline struct hq_decision decide(struct hq_flow *flow, struct flow_key *key,
						 __u32 generation)
{
	union {
		__u64 word;
		struct hq_decision decision;
	} u = {.word = classify(flow, key, generation)};

	return u.decision;
}

/*
 * One store, so that another core sees the old or the new decision. Who reads
 * mark_only reads the decision before and after, and compares the generation:
 * two cores may store decisions of two.
 */
static __always_inline void flow_store_decision(struct hq_flow *flow, struct hq_decision decision)
{
	const struct hq_class *class = policy_class_of(decision.generation, decision.class);
	union {
		struct hq_decision decision;
		__u64 word;
	} u = {.decision = decision};

	*(volatile __u32 *)&flow->mark_only = 0;
	*(volatile __u64 *)&flow->decision = u.word;
	if (class)
		*(volatile __u32 *)&flow->mark_only = hq_mark_only(class, decision.generation);
}

static __always_inline struct hq_decision flow_load_decision(const struct hq_flow *flow)
{
	union {
		__u64 word;
		struct hq_decision decision;
	} u = {.word = *(volatile const __u64 *)&flow->decision};

	return u.decision;
}

/* Tell who watches, if anybody does. */
static __always_inline void watched(struct hq_flow *flow, struct flow_key *key,
				    struct hq_decision decision, __u32 kind)
{
	union {
		struct hq_decision decision;
		__u64 word;
	} u = {.decision = decision};

	if (monitored())
		monitor_event(flow, key, u.word, kind, 0);
}

static __always_inline void count_refused(struct hq_flow *flow, struct flow_key *key,
					  struct hq_decision decision)
{
	struct hq_class_counters *c = class_counters_of(decision.class);
	struct hq_rule_counters *r = rule_counters_of(decision);

	if (c)
		c->refused++;
	if (r)
		r->refused++;
	watched(flow, key, decision, HQ_EVENT_REFUSED);
}

static __always_inline void count_flow(struct hq_decision decision)
{
	struct hq_class_counters *c = class_counters_of(decision.class);
	struct hq_rule_counters *r = rule_counters_of(decision);

	if (c)
		c->flows++;
	if (r)
		r->flows++;
}

/* Keep a decision on the socket, and count the socket once in the class that it comes into. */
static __always_inline void flow_settle(struct hq_flow *flow, struct flow_key *key,
					struct hq_decision decision)
{
	flow_store_decision(flow, decision);
	if (!decision.refuse)
		flow->bits &= ~HQ_FLOW_KEPT;
	if (decision.refuse || decision.provisional || flow->counted == decision.class + 1)
		return;
	watched(flow, key, decision, flow->counted ? HQ_EVENT_MOVED : HQ_EVENT_CLASSIFIED);
	flow->counted = decision.class + 1;
	count_flow(decision);
}

/*
 * Of a socket that lives, by a later policy: a refusal does not cut what goes
 * on already, it only leaves it without a class.
 */
static __always_inline void flow_keep(struct hq_flow *flow, struct hq_decision decision)
{
	struct hq_decision before = flow_load_decision(flow);

	if (decision.refuse && !decision.provisional && !before.refuse &&
	    before.generation != decision.generation)
		flow->bits |= HQ_FLOW_KEPT;
}

/*
 * The same for a socket without one peer, datagram by datagram: a rule does not
 * refuse what sockets send that lived before it came.
 */
static __always_inline int is_older_than_rule(struct hq_flow *flow, struct hq_decision decision)
{
	const struct hq_rule *rule = policy_rule_of(decision.generation, decision.rule);

	if (!rule || (__s32)(flow->born - rule->since) >= 0)
		return 0;
	flow->bits |= HQ_FLOW_KEPT;
	return 1;
}

static __always_inline void set_mapped(__u8 address[16], __be32 ip4)
{
	__u32 *w = (__u32 *)address;

	w[0] = w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = ip4;
}

static __always_inline int is_mapped(const __u8 address[16])
{
	const __u32 *w = (const __u32 *)address;

	return !w[0] && !w[1] && w[2] == bpf_htonl(0xffff);
}

static __always_inline int same_address(const __u8 a[16], const __u8 b[16])
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline int is_any(const __u8 address[16])
{
	const __u32 *w = (const __u32 *)address;

	return !w[0] && !w[1] && (!w[2] || w[2] == bpf_htonl(0xffff)) && !w[3];
}

/* The remote end became known: its address, port and, with them, the family on the wire. */
static __always_inline void key_set_remote(struct flow_key *key, __u16 port)
{
	key->remote_port = port;
	key->family = is_mapped(key->remote) ? 4 : 6;
	key->known |= HQ_BIT(HQ_DIM_REMOTE) | HQ_BIT(HQ_DIM_REMOTE_PORT) | HQ_BIT(HQ_DIM_FAMILY) |
		      HQ_BIT(HQ_DIM_MULTICAST);
}

/* The local end: a wildcard address and port 0 are not known yet. */
static __always_inline void key_set_local(struct flow_key *key, __u16 port)
{
	if (!is_any(key->local))
		key->known |= HQ_BIT(HQ_DIM_LOCAL);
	if (port) {
		key->local_port = port;
		key->known |= HQ_BIT(HQ_DIM_LOCAL_PORT);
	}
}

static __always_inline void key_set_direction(struct flow_key *key, __u8 direction)
{
	key->direction = direction;
	key->known |= HQ_BIT(HQ_DIM_DIRECTION);
}

/* HQ_DSCP_NONE is an answer too: nothing came in, so no list matches. */
static __always_inline void key_set_inbound_dscp(struct flow_key *key, __u8 dscp)
{
	key->inbound_dscp = dscp;
	key->known |= HQ_BIT(HQ_DIM_INBOUND_DSCP);
}

#endif
