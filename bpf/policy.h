/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The policy in force: which slot, and its tables.
 */
#ifndef HOSTQOS_BPF_POLICY_H
#define HOSTQOS_BPF_POLICY_H

#include "maps.h"

/* Count an internal error. The caller lets the traffic pass. */
static __always_inline void fault(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&faults, &which);

	if (n)
		(*n)++;
}

/* Read once per event, so that no event sees parts of two policies. 0: none in force. */
static __always_inline __u32 active_generation(void)
{
	__u32 zero = 0;
	struct hq_active *a = bpf_map_lookup_elem(&active, &zero);

	return a ? *(volatile __u32 *)&a->generation : 0;
}

static __always_inline __u32 policy_slot(__u32 generation)
{
	return hq_slot(generation);
}

static __always_inline const struct hq_header *policy_header_of(__u32 generation)
{
	__u32 slot = policy_slot(generation), zero = 0;
	void *inner = bpf_map_lookup_elem(&policy_header, &slot);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline int policy_reads(__u32 generation, __u32 dim)
{
	const struct hq_header *h = policy_header_of(generation);

	return h && (h->used & HQ_BIT(dim));
}

static __always_inline const struct hq_class *policy_class_of(__u32 generation, __u32 id)
{
	__u32 slot = policy_slot(generation);
	void *inner = bpf_map_lookup_elem(&policy_classes, &slot);

	return inner ? bpf_map_lookup_elem(inner, &id) : NULL;
}

/* NULL for HQ_RULE_NONE: there are fewer rules than that. */
static __always_inline const struct hq_rule *policy_rule_of(__u32 generation, __u32 index)
{
	__u32 slot = policy_slot(generation);
	void *inner = bpf_map_lookup_elem(&policy_rules, &slot);

	return inner ? bpf_map_lookup_elem(inner, &index) : NULL;
}

static __always_inline struct hq_rule_counters *rule_counters_of(struct hq_decision decision)
{
	const struct hq_rule *rule = policy_rule_of(decision.generation, decision.rule);
	__u32 index;

	if (!rule)
		return NULL;
	index = rule->counter;
	return bpf_map_lookup_elem(&rule_counters, &index);
}

static __always_inline struct hq_class_counters *class_counters_of(__u32 id)
{
	return bpf_map_lookup_elem(&class_counters, &id);
}

#endif
