/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * classify(), remembered for datagrams: most go where one went before.
 *
 * An entry holds all that the answer depends on - who made the socket, what of
 * the flow is known, the generation - and is compared whole. So it is right for
 * whoever asks the same, another socket of the same program too, and nothing
 * ever needs to be taken out.
 */
#ifndef HOSTQOS_BPF_MEMO_H
#define HOSTQOS_BPF_MEMO_H

#include "flow.h"

#define MEMO_BITS 9

/* What is known by both ends, with their ports, and the direction. */
#define ENDS_DIMS                                                                                  \
	(HQ_BIT(HQ_DIM_LOCAL) | HQ_BIT(HQ_DIM_LOCAL_PORT) | HQ_BIT(HQ_DIM_REMOTE) |                \
	 HQ_BIT(HQ_DIM_REMOTE_PORT) | HQ_BIT(HQ_DIM_FAMILY) | HQ_BIT(HQ_DIM_MULTICAST) |           \
	 HQ_BIT(HQ_DIM_DIRECTION))

struct memo {
	__u64 decision; /* struct hq_decision; 0: the rest is not to be trusted */
	__u32 writing;
	__u32 socket; /* protocol and type */
	struct hq_identity id;
	struct flow_key key;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << MEMO_BITS);
	__type(key, __u32);
	__type(value, struct memo);
} memos MAP;

static __always_inline __u32 memo_socket(const struct hq_flow *flow)
{
	return (__u32)flow->protocol << 8 | flow->type;
}

/*
 * By what differs between datagrams of one socket, and between programs. By the
 * local address, too: sendmsg() asks before there is one.
 */
static __always_inline __u32 memo_slot(const struct hq_flow *flow, const struct flow_key *key)
{
	return key_hash_ends(key, flow->id.cgroup ^ (__u64)flow->id.uid << 32) >> (64 - MEMO_BITS);
}

static __always_inline int same_words(const void *a, const void *b, __u32 bytes)
{
	const __u64 *x = a, *y = b;
	__u64 differ = 0;
	__u32 i;

#pragma unroll
	for (i = 0; i < bytes / 8; i++)
		differ |= x[i] ^ y[i];
	return !differ;
}

static __always_inline int memo_is_of(const struct memo *m, const struct hq_flow *flow,
				      const struct flow_key *key)
{
	return m->socket == memo_socket(flow) && same_words(&m->key, key, sizeof(*key)) &&
	       same_words(&m->id, &flow->id, sizeof(flow->id));
}

/*
 * Entries are of one CPU, but a hook may be interrupted there, or preempted in
 * the process's context. The word `decision` is written last and taken back
 * first, so whoever finds the same word before and after comparing the rest has
 * compared what belongs to it; one writer at a time has an entry. 0: it is
 * another's now. (Not inline, nor around classify(): stack is scarce.)
 */
static __noinline int memo_begin(struct memo *m, const struct hq_flow *flow,
				 const struct flow_key *key)
{
	if (__sync_lock_test_and_set(&m->writing, 1))
		return 0;
	*(volatile __u64 *)&m->decision = 0;
	m->socket = memo_socket(flow);
	__builtin_memcpy(&m->id, &flow->id, sizeof(m->id));
	__builtin_memcpy(&m->key, key, sizeof(m->key));
	return 1;
}

static __noinline int memo_end(struct memo *m, const struct hq_flow *flow, __u64 decision)
{
	/* A socket may have been adopted, its identity found, meanwhile. */
	if (same_words(&m->id, &flow->id, sizeof(m->id)))
		*(volatile __u64 *)&m->decision = decision;
	*(volatile __u32 *)&m->writing = 0;
	return 0;
}

/* In the sizes in which the key was written just now: the store buffer hands on no others. */
static __always_inline int same_ends(const struct flow_key *a, const struct flow_key *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b; /* both addresses, in turn */
	__u32 differ = 0, i;

#pragma unroll
	for (i = 0; i < 8; i++)
		differ |= x[i] ^ y[i];
	return !differ && a->local_port == b->local_port && a->remote_port == b->remote_port &&
	       a->direction == b->direction;
}

/*
 * As recall() for a key of ends and direction only, 1 where they are enough: an
 * entry knows more where the policy asks for it.
 */
static __always_inline int recall_by_ends(const struct hq_flow *flow, const struct flow_key *key,
					  __u32 generation, struct hq_decision *decision)
{
	union {
		__u64 word;
		struct hq_decision decision;
	} u;
	__u32 slot = memo_slot(flow, key);
	struct memo *m = bpf_map_lookup_elem(&memos, &slot);

	if (!m)
		return 0;
	u.word = *(volatile __u64 *)&m->decision;
	*decision = u.decision;
	return u.decision.generation == generation && m->key.known == ENDS_DIMS &&
	       m->socket == memo_socket(flow) && same_ends(&m->key, key) &&
	       same_words(&m->id, &flow->id, sizeof(flow->id)) &&
	       *(volatile __u64 *)&m->decision == u.word;
}

/* As decide(). Every byte of the key counts, padding too. */
static __always_inline struct hq_decision recall(struct hq_flow *flow, struct flow_key *key,
						 __u32 generation)
{
	union {
		__u64 word;
		struct hq_decision decision;
	} u;
	__u32 slot = memo_slot(flow, key);
	struct memo *m = bpf_map_lookup_elem(&memos, &slot);
	int ours;

	if (!m)
		return decide(flow, key, generation);
	u.word = *(volatile __u64 *)&m->decision;
	if (u.decision.generation == generation && memo_is_of(m, flow, key) &&
	    *(volatile __u64 *)&m->decision == u.word)
		return u.decision;
	ours = memo_begin(m, flow, key);
	u.word = classify(flow, key, generation);
	if (ours)
		memo_end(m, flow, u.word);
	return u.decision;
}

#endif
