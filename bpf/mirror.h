/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Classes whose marks are derived from inbound ones (`mirror`): from trusted
 * peers and of allowed DSCPs; everything else has the class's own.
 */
#ifndef HOSTQOS_BPF_MIRROR_H
#define HOSTQOS_BPF_MIRROR_H

#include <hostqos/mirror.h>

#include "policy.h"

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

/* A connection has got its class: is its peer trusted there? */
static __always_inline void mirror_settle(struct hq_flow *flow, struct hq_decision decision,
					  const __u8 remote[16])
{
	const struct hq_class *class = policy_class_of(decision.generation, decision.class);

	flow->trusted = class && class->mirror &&
			mirror_trusts(decision.generation, decision.class, remote);
}

#endif
