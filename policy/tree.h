/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* A YAML document as a tree in which everything knows its place in the text. */
#ifndef HOSTQOS_TREE_H
#define HOSTQOS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "diag.h"

/* Bits, so that a set of kinds can be asked for. */
enum tree_kind {
	TREE_BAD = 0, /* reported already: to be passed over in silence */
	TREE_SCALAR = 1 << 0,
	TREE_LIST = 1 << 1,
	TREE_MAP = 1 << 2,
	TREE_NULL = 1 << 3, /* asked for only: a scalar that is null */
};

struct tree_node {
	uint8_t kind;
	bool plain;	/* scalar: without quotes */
	uint32_t count; /* of a list's items, or of a map's keys */
	struct diag_at at;
	struct tree_node *next; /* item after a list's item, value after a key, key after a value */
	union {
		const char *text; /* never with a NUL inside */
		struct tree_node *first;
	};
};

/* What a file may hold: far beyond any policy, and it bounds time and memory. */
#define TREE_MAX_DEPTH 32
#define TREE_MAX_NODES 2000000

/* `key:` with nothing after it, or null. */
bool tree_is_null(const struct tree_node *node);

/* The value of `key` in a map, or NULL. */
const struct tree_node *tree_get(const struct tree_node *map, const char *key);

/*
 * Parse the one document of `text`: the nodes into one arena, the scalars'
 * texts into another, for these live on in the model. NULL where that failed;
 * look at `diag` in any case.
 */
struct tree_node *tree_parse(struct arena *nodes, struct arena *texts, const char *text,
			     size_t length, struct diag *diag);

#endif
