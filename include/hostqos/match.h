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
 * header.any_row as its row: only the rules that do not read it surely match.
 */
struct hq_rows {
	__u32 row[HQ_NDIMS];
	__u32 unknown; /* HQ_BIT()s */
};

/*
 * The first rule that surely matches is the first over all dimensions that the
 * policy reads; the first that may match is the first over the known ones. If
 * the latter is an earlier rule, the answer is provisional.
 */
static inline __u32 hq_sure_dims(const struct hq_header *h)
{
	return h->used;
}

static inline __u32 hq_maybe_dims(const struct hq_header *h, const struct hq_rows *rows)
{
	return h->used & ~rows->unknown;
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

/*
 * Scan one chunk: the AND of its vectors over `dims`, and its first bit in
 * *rule (left alone if there is none). Returns 1 where one was found, 0 to go
 * on with the next chunk, -1 where a row is missing. With no dimension at all
 * every rule matches: row HQ_ROW_ALL stands for that.
 */
static inline int hq_match_chunk(const struct hq_tables *t, const struct hq_header *h,
				 const struct hq_rows *rows, __u32 dims, __u32 chunk, __u32 *rule)
{
	const struct hq_vector *v = hq_vector_at(t, HQ_ROW_ALL * h->chunks + chunk);
	struct hq_vector matching;
	__u32 dim, w;

	if (!v)
		return -1;
	matching = *v;
	for (dim = 0; dim < HQ_NDIMS; dim++) {
		if (!(dims & HQ_BIT(dim)))
			continue;
		v = hq_vector_at(t, rows->row[dim] * h->chunks + chunk);
		if (!v)
			return -1;
		for (w = 0; w < HQ_CHUNK_WORDS; w++)
			matching.word[w] &= v->word[w];
	}
	for (w = 0; w < HQ_CHUNK_WORDS; w++) {
		if (!matching.word[w])
			continue;
		*rule = chunk * HQ_CHUNK_RULES + w * 64 + hq_first_bit(matching.word[w]);
		return 1;
	}
	return 0;
}

#endif
