/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Classes whose marks are derived from inbound ones (`mirror`): from trusted
 * peers and of allowed DSCPs; everything else has the class's own.
 */
#ifndef HOSTQOS_BPF_MIRROR_H
#define HOSTQOS_BPF_MIRROR_H

#include <hostqos/mirror.h>

#include "flow.h"
#include "upstream.h"

/* Does a class that mirrors trust the peer? */
static __noinline int mirror_trusts(__u32 generation, __u32 class, const __u8 address[16])
{
	struct hq_prefix_key key = {.length = HQ_PREFIX_SIDE_BITS + 128,
				    .side = HQ_SIDE_MIRROR + class};
	__u32 slot = policy_slot(generation), *trusted;
	void *prefixes = bpf_map_lookup_elem(&policy_prefixes, &slot);

	__builtin_memcpy(key.address, address, 16);
	trusted = prefixes ? bpf_map_lookup_elem(prefixes, &key) : NULL;
	return trusted && *trusted;
}

/* A connection that this host opened: it has got no SYN. */
static __always_inline int is_opened(const struct hq_flow *flow)
{
	return flow->protocol == IPPROTO_TCP && !(flow->bits & HQ_FLOW_INBOUND);
}

/* Whose mark a connection takes over in its class: an address, or NULL where nobody's. */
static __always_inline const __u8 *mirror_source(const struct hq_class *class, struct hq_flow *flow,
						 void *sk, const __u8 remote[16])
{
	struct served *served;

	if (class->mirror == HQ_MIRROR_SYN && is_opened(flow))
		return NULL;
	if (class->mirror != HQ_MIRROR_UPSTREAM)
		return remote;
	served = upstream_of(sk);
	if (!served)
		return NULL;
	flow->inbound_dscp = served->dscp;
	return served->peer;
}

/*
 * A connection has got its class: is whose mark it would take over trusted
 * there? `sk` may be of any type that the calling program type has.
 */
static __always_inline void mirror_settle(struct hq_flow *flow, void *sk,
					  struct hq_decision decision, const __u8 remote[16])
{
	const struct hq_class *class = policy_class_of(decision.generation, decision.class);
	const __u8 *source = class && class->mirror ? mirror_source(class, flow, sk, remote) : NULL;

	flow->trusted = source && mirror_trusts(decision.generation, decision.class, source);
}

#endif
