/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Classification without a kernel: a described flow against a compiled policy,
 * through the very code of hostqos/match.h that the BPF programs run.
 */
#ifndef HOSTQOS_LOOKUP_H
#define HOSTQOS_LOOKUP_H

#include <hostqos/image.h>

#define hq_tables hq_image

static inline const struct hq_vector *hq_vector_at(const struct hq_image *t, __u32 index)
{
	return index < t->vector_count ? &t->vectors[index] : NULL;
}

#include <hostqos/match.h>

/* A flow as far as it is known: a dimension counts where its HQ_BIT() is in `known`. */
struct policy_flow {
	__u32 known;
	const char *cgroup; /* "" for the root, else "/a/b" */
	__u64 exe_inode;
	__u32 exe_device;
	const char *exe_name; /* base name, or NULL and its hash: */
	__u64 exe_hash;	      /* policy_name_hash() */
	const char *exe;      /* as somebody told it, or NULL */
	__u32 uid;
	__u32 gid;
	__u8 family; /* 4 or 6 */
	__u8 protocol;
	__u8 type;
	__u8 direction;
	__u8 inbound_dscp; /* 0..63 or HQ_DSCP_NONE */
	__u8 multicast;
	__u8 origin;
	__u8 local[16]; /* IPv4 as IPv4-mapped */
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
};

/* FNV-1a of a name, as the exe dimension and rule keys use it. */
__u64 policy_name_hash(const char *name);

__u64 policy_exe_hash(const struct policy_flow *flow);

/* The row that a cgroup's path selects. */
__u32 policy_path_row(const struct hq_image *image, const char *path);

/* The row of an exact value; image->exact is sorted. */
__u32 policy_exact_row(const struct hq_image *image, const struct hq_exact_key *key);

void policy_rows(const struct hq_image *image, const struct policy_flow *flow,
		 struct hq_rows *rows);

/*
 * The first rule that surely matches, and the first that may. HQ_RULE_NONE:
 * none, that is to say class `default`. If they differ, the answer is provisional.
 */
struct policy_matched {
	__u32 sure;
	__u32 maybe;
};

struct policy_matched policy_match(const struct hq_image *image, const struct policy_flow *flow);

#endif
