// SPDX-License-Identifier: GPL-2.0-only
/*
 * A socket's birth: who made it is captured here, once, and a first class is
 * found from what can be known before there is an address.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "identity.h"

/* No setsockopt in this hook: only the priority can be written, in the context. */
static __always_inline void set_priority(struct bpf_sock *ctx, struct hq_flow *flow,
					 struct hq_decision decision)
{
	const struct hq_class *class = policy_class_of(decision.generation, decision.class);

	if (!class || class->priority == HQ_KEEP)
		return;
	flow->saved.priority = ctx->priority;
	flow->saved.set_priority = class->priority;
	flow->saved.bits |= HQ_SAVED_PRIORITY;
	ctx->priority = class->priority;
}

/* Nothing but a refusal or a priority has an effect before there is an address. */
static __always_inline int decides_at_birth(__u32 generation)
{
	const struct hq_header *h = generation ? policy_header_of(generation) : NULL;

	return h && (h->features & (HQ_FEATURE_REFUSE | HQ_FEATURE_PRIORITY));
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *ctx)
{
	__u32 generation = active_generation();
	struct hq_decision decision;
	struct flow_key key = {};
	struct hq_flow *flow;

	flow = bpf_sk_storage_get(&flows, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!flow) {
		fault(HQ_FAULT_STORAGE);
		return 1;
	}
	identity_capture(&flow->id, bpf_get_current_task_btf(),
			 BPF_CORE_READ((struct sock *)ctx, sk_cgrp_data.cgroup));
	flow->pid = bpf_get_current_task_btf()->tgid;
	flow->protocol = flow_protocol(ctx->protocol);
	flow->type = ctx->type;
	flow->family = ctx->family;
	flow->inbound_dscp = flow->latest_dscp = HQ_DSCP_NONE;
	flow->born = generation;
	if (!decides_at_birth(generation))
		return 1;
	if (ctx->family == AF_INET) {
		key.family = 4;
		key.known = HQ_BIT(HQ_DIM_FAMILY);
	}
	decision = decide(flow, &key, generation);
	if (decision.refuse && !decision.provisional) {
		count_refused(flow, &key, decision);
		return 0;
	}
	if (ctx->protocol == IPPROTO_MPTCP) /* its subflows have the classes */
		return 1;
	flow_settle(flow, &key, decision);
	if (!decision.refuse)
		set_priority(ctx, flow, decision);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
