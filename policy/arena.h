/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Memory that is freed all at once. Running out of it ends the program with a
 * sentence: nothing has touched the kernel while a policy is being compiled.
 */
#ifndef HOSTQOS_ARENA_H
#define HOSTQOS_ARENA_H

#include <stddef.h>

struct arena_block;

/* Begin with all zero. */
struct arena {
	struct arena_block *blocks;
};

/* Zeroed, aligned for any type. Never NULL. */
void *arena_alloc(struct arena *arena, size_t size);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
void arena_free(struct arena *arena);

/* malloc(3), realloc(3) of `count` elements, never NULL. */
void *mem_alloc(size_t count, size_t size); /* zeroed */
void *mem_resize(void *old, size_t count, size_t size);

char *mem_strdup(const char *text);

/*
 * Make room for one element more in a growing array: doubles its capacity when
 * `count` has reached it (powers of two, from 8).
 */
void *mem_grow(void *array, size_t count, size_t size);

#endif
