// SPDX-License-Identifier: GPL-2.0-only
/*
 * The classifier by itself, for BPF_PROG_RUN: one run answers for all flows in
 * `asked`. And where the kernel keeps its cgroups, whose paths it reads.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "../../bpf/flow.h"
#include "classifier.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ASKED_MOST);
	__type(key, __u32);
	__type(value, struct asked);
} asked MAP;

static long ask(__u32 index, void *context)
{
	struct asked *a = bpf_map_lookup_elem(&asked, &index);
	struct flow_key key = {};

	(void)context;
	if (!a || !a->generation)
		return 1;
	__builtin_memcpy(key.local, a->local, 16);
	__builtin_memcpy(key.remote, a->remote, 16);
	key.local_port = a->local_port;
	key.remote_port = a->remote_port;
	key.family = a->family;
	key.direction = a->direction;
	key.inbound_dscp = a->inbound_dscp;
	key.origin = a->origin;
	key.known = a->known;
	a->answer = decide(&a->flow, &key, a->generation);
	return 0;
}

SEC("tc")
int ask_all(struct __sk_buff *skb)
{
	(void)skb;
	bpf_loop(ASKED_MOST, ask, NULL, 0);
	return TC_ACT_UNSPEC;
}

/* For the bench: the first flow only, over and over. */
SEC("tc")
int ask_first(struct __sk_buff *skb)
{
	(void)skb;
	ask(0, NULL);
	return TC_ACT_UNSPEC;
}

struct bpf_iter__cgroup {
	struct bpf_iter_meta *meta;
	struct cgroup *cgroup;
} __attribute__((preserve_access_index));

SEC("iter/cgroup")
int list_cgroups(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *cgroup = ctx->cgroup;
	struct found_cgroup found = {};

	if (!cgroup)
		return 0;
	found.id = cgroup->kn->id;
	found.pointer = (__u64)cgroup;
	bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
