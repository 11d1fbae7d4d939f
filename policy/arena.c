// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

#define BLOCK_SIZE 65536

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(max_align_t) char bytes[];
};

static void *or_die(void *memory)
{
	if (!memory) {
		fputs("hostqos: out of memory; nothing has been changed\n", stderr);
		exit(EXIT_FAILURE);
	}
	return memory;
}

void *mem_alloc(size_t count, size_t size)
{
	return or_die(calloc(count ? count : 1, size));
}

void *mem_resize(void *old, size_t count, size_t size)
{
	return or_die(reallocarray(old, count ? count : 1, size));
}

char *mem_strdup(const char *text)
{
	return or_die(strdup(text));
}

void *mem_grow(void *array, size_t count, size_t size)
{
	if (count && (count < 8 || count & (count - 1)))
		return array;
	return mem_resize(array, count ? 2 * count : 8, size);
}

/* `align` is a power of two. */
static void *take(struct arena *arena, size_t size, size_t align)
{
	struct arena_block *block = arena->blocks;
	size_t at = block ? (block->used + align - 1) & ~(align - 1) : 0;

	if (!block || at > block->size || block->size - at < size) {
		size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

		block = mem_alloc(1, sizeof(*block) + room);
		block->size = room;
		block->next = arena->blocks;
		arena->blocks = block;
		at = 0;
	}
	block->used = at + size;
	return block->bytes + at;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	return take(arena, size, _Alignof(max_align_t));
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
	return memcpy(take(arena, length + 1, 1), text, length);
}

void arena_free(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
}
