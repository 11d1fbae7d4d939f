/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Bit vectors of entries, each distinct one kept once: the `vectors` of an image. */
#ifndef HOSTQOS_ROWS_H
#define HOSTQOS_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hostqos/abi.h>

/* All rows together; a policy that needs more combines its rules in too many ways. */
#define ROWS_MOST_BYTES (128UL << 20)

struct rows {
	struct hq_vector *vectors;
	uint32_t count;	 /* of rows */
	uint32_t chunks; /* of each */
	uint32_t *slots; /* hash table of row + 1; 0 is free */
	uint32_t slot_count;
	bool full; /* the limit was met */
};

static inline size_t rows_words(const struct rows *rows)
{
	return (size_t)rows->chunks * HQ_CHUNK_WORDS;
}

/* Of each row, its summary among them. */
static inline size_t rows_vectors(const struct rows *rows)
{
	return 1 + (size_t)rows->chunks;
}

static inline void bit_set(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= 1ULL << i % 64;
}

static inline void bit_clear(uint64_t *bits, uint32_t i)
{
	bits[i / 64] &= ~(1ULL << i % 64);
}

static inline bool bit_test(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

/* For `entries` of them; row HQ_ROW_ALL holds them all. */
void rows_init(struct rows *rows, uint32_t entries);

/* The row with these bits. HQ_ROW_ALL, and rows->full, where there is no room. */
uint32_t rows_intern(struct rows *rows, const uint64_t *bits);

static inline const uint64_t *rows_bits(const struct rows *rows, uint32_t row)
{
	return (const uint64_t *)rows->vectors[row * rows_vectors(rows) + 1].word;
}

/* Frees all but the vectors, which go into the image. */
void rows_finish(struct rows *rows);

#endif
