// SPDX-License-Identifier: GPL-2.0-only
/*
 * `hostqos explain`: asks the policy in force, by the classifier that the hooks
 * run, for the class of a flow that is only described. Never attached; run by
 * BPF_PROG_RUN. (A tc program, since those of SEC("syscall") may not look into
 * LPM tries.)
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "flow.h"
#include "path.h"

/* Written and read by the loader, through the memory map of .bss. */
struct hq_question question;

struct path_words {
	const struct hq_header *header;
	void *paths;
	__u32 state;
	__s32 error;
};

static long path_letter(__u32 index, void *context)
{
	struct path_words *w = context;
	__u8 letter;

	if (index >= sizeof(question.path))
		return 1;
	letter = question.path[index];
	if (!letter)
		return 1;
	w->error = path_step(w->header, w->paths, &w->state, letter);
	return w->error != 0;
}

/* The row of the path in words: what cgroup_row() finds of a kernel's cgroup. */
static __always_inline int described_row(__u32 generation, __u32 *row)
{
	struct path_words w = {.header = policy_header_of(generation)};
	__u32 slot = policy_slot(generation);

	w.paths = bpf_map_lookup_elem(&policy_paths, &slot);
	if (!w.header || !w.paths)
		return -1;
	bpf_loop(sizeof(question.path), path_letter, &w, 0);
	return w.error ? -1 : path_end(w.header, w.paths, w.state, row);
}

static __always_inline void key_from_question(struct flow_key *key)
{
	__builtin_memcpy(key->local, question.local, 16);
	__builtin_memcpy(key->remote, question.remote, 16);
	key->local_port = question.local_port;
	key->remote_port = question.remote_port;
	key->family = question.family;
	key->direction = question.direction;
	key->inbound_dscp = question.inbound_dscp;
	key->origin = question.origin;
	key->known = question.known;
	key->unknown = question.unknown;
	if (question.cookie && (key->known & HQ_BIT(HQ_DIM_REMOTE)))
		key_set_inbound_dscp(key,
				     peer_dscp(question.cookie, key->remote, key->remote_port));
}

SEC("tc")
int explain(struct __sk_buff *skb)
{
	struct hq_decision none = {.rule = HQ_RULE_NONE};
	__u32 generation = active_generation(), row;
	struct flow_key key = {};

	(void)skb;
	question.answer = none;
	if (!generation)
		return TC_ACT_UNSPEC;
	key_from_question(&key);
	if (question.flow.id.known & HQ_BIT(HQ_DIM_CGROUP)) {
		if (described_row(generation, &row))
			return TC_ACT_UNSPEC;
		question.flow.id.cgroup = row;
	}
	question.known = key.known;
	question.inbound_dscp = key.inbound_dscp;
	question.answer = decide(&question.flow, &key, generation);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
