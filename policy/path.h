/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Patterns of cgroup paths, compiled together into one automaton (abi.h,
 * `paths`). A pattern means its whole subtree; `*` is any run within a
 * component, a component `**` any number of components, also none.
 */
#ifndef HOSTQOS_PATH_H
#define HOSTQOS_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct path_set;

struct path_set *path_set_new(void);
void path_set_free(struct path_set *set);

/* Adds a pattern, "/" or "/a/b", and returns its id: from 0, equal for equal patterns. */
uint32_t path_add(struct path_set *set, const char *pattern);

/* The same for a systemd unit, "foo.service", wherever in the tree it is. */
uint32_t path_add_unit(struct path_set *set, const char *unit);

/* The row of a path that lies in the subtrees of exactly these patterns. */
typedef uint32_t (*path_row_fn)(void *context, const uint32_t *ids, size_t count);

struct path_table {
	uint32_t *cells;
	size_t cell_count;
	uint32_t stride;
	uint8_t byte_class[256];
};

/* Returns 0, or -E2BIG if the automaton grows beyond HQ_MAX_PATH_STATES. */
int path_compile(struct path_set *set, path_row_fn row, void *context, struct path_table *table);

/* Does one pattern, or one unit, match a path ("" for the root)? */
bool path_matches(const char *pattern, bool unit, const char *path);

#endif
