/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * First match over bit vectors. Pure: the BPF programs, `explain` and the unit
 * tests compile this one source; where the tables are is the includer's affair:
 *
 *	const struct hq_vector *hq_vector_at(const struct hq_tables *t, __u32 index)
 *
 * must be visible before this file is included; it returns NULL past the end.
 */
#ifndef HOSTQOS_MATCH_H
#define HOSTQOS_MATCH_H

#include "abi.h"

/*
 * The row that each dimension's value selects. A dimension in `unknown` has
 * header.any_row as its row: only the rules that do not read it surely match,
 * all others may.
 */
struct hq_rows {
	__u32 row[HQ_NDIMS];
	__u32 unknown; /* HQ_BIT()s */
};

/* hq_match()'s answer: the first rule that surely matches, and the first that may. */
struct hq_matched {
	__u32 sure;
	__u32 maybe; /* <= sure; smaller: the answer is provisional */
};

/* FNV-1a, 64 bits: start with HQ_NAME_HASH_INIT, add the name's bytes without NUL. */
#define HQ_NAME_HASH_INIT 0xcbf29ce484222325ULL

static inline __u64 hq_name_hash_add(__u64 hash, __u8 byte)
{
	return (hash ^ byte) * 0x100000001b3ULL;
}

/* AND of a chunk over all dimensions that the policy reads. 0, or -1 where a row is missing. */
static inline int hq_match_chunk(const struct hq_tables *t, const struct hq_header *h,
				 const struct hq_rows *rows, __u32 chunk, struct hq_vector *sure,
				 struct hq_vector *maybe)
{
	const struct hq_vector *v;
	__u32 dim, w;

	for (w = 0; w < HQ_CHUNK_WORDS; w++)
		sure->word[w] = maybe->word[w] = ~0ULL;
	for (dim = 0; dim < HQ_NDIMS; dim++) {
		if (!(h->used & HQ_BIT(dim)))
			continue;
		v = hq_vector_at(t, rows->row[dim] * h->chunks + chunk);
		if (!v)
			return -1;
		for (w = 0; w < HQ_CHUNK_WORDS; w++)
			sure->word[w] &= v->word[w];
		if (rows->unknown & HQ_BIT(dim))
			continue;
		for (w = 0; w < HQ_CHUNK_WORDS; w++)
			maybe->word[w] &= v->word[w];
	}
	return 0;
}

/* Index of the lowest bit of a non-zero word. */
static inline __u32 hq_first_bit(__u64 word)
{
	__u32 n = 0;

	word &= -word;
	if (word & 0xffffffff00000000ULL)
		n += 32;
	if (word & 0xffff0000ffff0000ULL)
		n += 16;
	if (word & 0xff00ff00ff00ff00ULL)
		n += 8;
	if (word & 0xf0f0f0f0f0f0f0f0ULL)
		n += 4;
	if (word & 0xccccccccccccccccULL)
		n += 2;
	if (word & 0xaaaaaaaaaaaaaaaaULL)
		n += 1;
	return n;
}

/* Lowest rule of the chunk, or HQ_RULE_NONE. */
static inline __u32 hq_first_in_chunk(const struct hq_vector *v, __u32 chunk)
{
	__u32 w;

	for (w = 0; w < HQ_CHUNK_WORDS; w++)
		if (v->word[w])
			return chunk * HQ_CHUNK_RULES + w * 64 + hq_first_bit(v->word[w]);
	return HQ_RULE_NONE;
}

/*
 * Scan one chunk more. Returns 1 when *m is final, 0 to go on, -1 where a row
 * is missing. Begin with both answers HQ_RULE_NONE.
 */
static inline int hq_match_step(const struct hq_tables *t, const struct hq_header *h,
				const struct hq_rows *rows, __u32 chunk, struct hq_matched *m)
{
	struct hq_vector sure, maybe;

	if (hq_match_chunk(t, h, rows, chunk, &sure, &maybe))
		return -1;
	if (m->maybe == HQ_RULE_NONE)
		m->maybe = hq_first_in_chunk(&maybe, chunk);
	m->sure = hq_first_in_chunk(&sure, chunk);
	return m->sure != HQ_RULE_NONE;
}

#endif
