// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "rows.h"

#define FIRST_SLOTS 1024

static uint64_t hash_bits(const uint64_t *bits, size_t words)
{
	uint64_t hash = 0;
	size_t i;

	for (i = 0; i < words; i++) {
		hash = (hash ^ bits[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash;
}

/* The slot where a row of these bits is or belongs. */
static uint32_t *find_slot(const struct rows *rows, const uint64_t *bits)
{
	uint32_t i = hash_bits(bits, rows_words(rows)) & (rows->slot_count - 1);

	while (rows->slots[i] &&
	       memcmp(rows_bits(rows, rows->slots[i] - 1), bits, rows_words(rows) * sizeof(*bits)))
		i = (i + 1) & (rows->slot_count - 1);
	return &rows->slots[i];
}

static void grow_slots(struct rows *rows)
{
	uint32_t row;

	free(rows->slots);
	rows->slot_count = rows->slot_count ? 2 * rows->slot_count : FIRST_SLOTS;
	rows->slots = mem_alloc(rows->slot_count, sizeof(*rows->slots));
	for (row = 0; row < rows->count; row++)
		*find_slot(rows, rows_bits(rows, row)) = row + 1;
}

void rows_init(struct rows *rows, uint32_t entries)
{
	uint64_t *all;
	uint32_t i;

	*rows = (struct rows){.chunks = (entries + HQ_CHUNK_RULES - 1) / HQ_CHUNK_RULES};
	if (!rows->chunks)
		rows->chunks = 1;
	grow_slots(rows);
	all = mem_alloc(rows_words(rows), sizeof(*all));
	for (i = 0; i < entries; i++)
		bit_set(all, i);
	rows_intern(rows, all);
	free(all);
}

/* Half a word of a row is a bit of its summary. */
static void summarize(const struct rows *rows, const uint64_t *bits, struct hq_vector *summary)
{
	size_t i;

	memset(summary, 0, sizeof(*summary));
	for (i = 0; i < rows_words(rows); i++) {
		if (bits[i] & 0xffffffff)
			bit_set((uint64_t *)summary->word, 2 * i);
		if (bits[i] >> 32)
			bit_set((uint64_t *)summary->word, 2 * i + 1);
	}
}

uint32_t rows_intern(struct rows *rows, const uint64_t *bits)
{
	size_t size = rows_vectors(rows) * sizeof(struct hq_vector);
	struct hq_vector *row;
	uint32_t *slot = find_slot(rows, bits);

	if (*slot)
		return *slot - 1;
	if (size * (rows->count + 1) > ROWS_MOST_BYTES) {
		rows->full = true;
		return HQ_ROW_ALL;
	}
	rows->vectors = mem_grow(rows->vectors, rows->count, size);
	row = &rows->vectors[rows->count * rows_vectors(rows)];
	summarize(rows, bits, row);
	memcpy(row + 1, bits, rows_words(rows) * sizeof(*bits));
	*slot = ++rows->count;
	if (2 * rows->count > rows->slot_count)
		grow_slots(rows);
	return rows->count - 1;
}

void rows_finish(struct rows *rows)
{
	free(rows->slots);
	rows->slots = NULL;
}
