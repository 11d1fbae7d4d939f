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

void *arena_alloc(struct arena *arena, size_t size)
{
	struct arena_block *block = arena->blocks;
	void *memory;

	size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	if (!block || block->size - block->used < size) {
		size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

		block = mem_alloc(1, sizeof(*block) + room);
		block->size = room;
		block->next = arena->blocks;
		arena->blocks = block;
	}
	memory = block->bytes + block->used;
	block->used += size;
	return memory;
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
	return memcpy(arena_alloc(arena, length + 1), text, length);
}

void arena_free(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
}
