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

/*
 * Index of the lowest bit of a non-zero word: how many bits are below it. Without
 * branches, each of which would be two more paths for the verifier.
 */
static inline __u32 hq_first_bit(__u64 word)
{
	__u64 n = (word & -word) - 1;

	n -= n >> 1 & 0x5555555555555555ULL;
	n = (n & 0x3333333333333333ULL) + (n >> 2 & 0x3333333333333333ULL);
	n = (n + (n >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return n * 0x0101010101010101ULL >> 56;
}

/* A scan of the rules over some dimensions, chunk by chunk. */
struct hq_scan {
	__u32 dims;
	__u32 chunks; /* bit c: chunk c is still to be looked at */
	__u32 rule;   /* what was found, HQ_RULE_NONE if nothing */
};

static inline void hq_scan_begin(struct hq_scan *scan, __u32 dims)
{
	scan->dims = dims;
	scan->chunks = 1;
	scan->rule = HQ_RULE_NONE;
}

/* How many calls of hq_scan_step() are enough. */
static inline __u32 hq_scan_steps(const struct hq_header *h)
{
	return h->chunks + 1;
}

/*
 * The AND of the rows' vectors at `at`: 0 is the summary, 1 + c chunk c. With no
 * dimension at all every rule matches: row HQ_ROW_ALL stands for that. 0, or -1
 * where a row is missing.
 */
static inline int hq_and_rows(const struct hq_tables *t, const struct hq_header *h,
			      const struct hq_rows *rows, __u32 dims, __u32 at,
			      struct hq_vector *matching)
{
	const struct hq_vector *v = hq_vector_at(t, HQ_ROW_ALL * HQ_ROW_VECTORS(h) + at);
	__u32 dim, w;

	if (!v)
		return -1;
	*matching = *v;
	for (dim = 0; dim < HQ_NDIMS; dim++) {
		if (!(dims & HQ_BIT(dim)))
			continue;
		v = hq_vector_at(t, rows->row[dim] * HQ_ROW_VECTORS(h) + at);
		if (!v)
			return -1;
		for (w = 0; w < HQ_CHUNK_WORDS; w++)
			matching->word[w] &= v->word[w];
	}
	return 0;
}

/* Of a summary, the chunks that have any bit: 16 of its bits are a chunk's. */
static inline __u32 hq_summary_chunks(const struct hq_vector *summary)
{
	__u32 chunks = 0, w;
	__u64 any;

	for (w = 0; w < HQ_CHUNK_WORDS; w++) {
		any = summary->word[w];
		any |= any >> 8;
		any |= any >> 4;
		any |= any >> 2;
		any |= any >> 1;
		any &= 0x0001000100010001ULL;
		chunks |= ((any | any >> 15 | any >> 30 | any >> 45) & 0xf) << 4 * w;
	}
	return chunks;
}

/*
 * One step. If there are several chunks the first one (0) ANDs the summaries, so
 * that of many rules only those chunks are read that may hold a match (Baboescu
 * and Varghese). Returns 1 at the end, 0 to go on, -1 where a row is missing.
 */
static inline int hq_scan_step(const struct hq_tables *t, const struct hq_header *h,
			       const struct hq_rows *rows, struct hq_scan *scan, __u32 step)
{
	__u32 summary = !step && h->chunks > 1, chunk = hq_first_bit(scan->chunks), w;
	struct hq_vector matching;

	if (!scan->chunks)
		return 1;
	if (hq_and_rows(t, h, rows, scan->dims, summary ? 0 : 1 + chunk, &matching))
		return -1;
	if (summary) {
		scan->chunks = hq_summary_chunks(&matching);
		return 0;
	}
	scan->chunks &= scan->chunks - 1;
	for (w = 0; w < HQ_CHUNK_WORDS; w++) {
		if (!matching.word[w])
			continue;
		scan->rule = chunk * HQ_CHUNK_RULES + w * 64 + hq_first_bit(matching.word[w]);
		return 1;
	}
	return 0;
}

#endif
