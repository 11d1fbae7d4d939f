/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * From the YAML tree to the model. What a block may hold is a table of keys;
 * each key says which kinds of node it takes and what handles them.
 */
#ifndef HOSTQOS_SCHEMA_H
#define HOSTQOS_SCHEMA_H

#include "model.h"
#include "scalar.h"
#include "tree.h"

#define SCHEMA_NAMES_CACHED 1024

/* What getpwnam(3) or getgrnam(3) said last about names of this hash. */
struct schema_name {
	const char *name;
	bool is_group;
	bool known;
	bool gone; /* known from before */
	uint32_t id;
};

struct schema {
	struct policy *policy;
	struct diag *diag;
	char where[HQ_NAME_LEN + 32]; /* in which class or rule we are: "class 'web'" */
	struct schema_name names[SCHEMA_NAMES_CACHED];
};

struct schema_key;

/* One key as found in a block. */
struct schema_found {
	const struct schema_key *schema;
	const struct tree_node *key;
	const struct tree_node *value;
	void *target; /* what the block is read into */
};

struct schema_key {
	const char *name;
	unsigned int kinds; /* enum tree_kind; 0: not supported yet */
	void (*handle)(struct schema *s, const struct schema_found *found);
	int which; /* for handlers that serve several keys */
};

#define SCHEMA_VALUES (TREE_SCALAR | TREE_LIST) /* a value or a list of values */

/* Read a block by its table of keys, which ends with a NULL name. `where`: what the block is. */
void schema_block(struct schema *s, const struct tree_node *map, const struct schema_key *keys,
		  const char *where, void *target);

/* Report where a node is not of these kinds. `name`: what it is. */
bool schema_is_kind(struct schema *s, const struct tree_node *node, unsigned int kinds,
		    const char *name);

/* How many items a value is: a list's, or itself alone. */
static inline size_t schema_count(const struct tree_node *node)
{
	return node->kind == TREE_LIST ? node->count : 1;
}

/* Handle each item, which must be of `kind`. An empty list is reported. */
void schema_each(struct schema *s, const struct schema_found *found, enum tree_kind kind,
		 void (*handle)(struct schema *s, const struct tree_node *item, void *target),
		 void *target);

void schema_not_supported(struct schema *s, struct diag_at at, const char *what);

/* An identifier that names a class or a rule; NULL, reported, where it is not one. */
const char *schema_identifier(struct schema *s, const struct tree_node *node, const char *what);

/* A DSCP or, where `keep` is allowed, HQ_KEEP. Reported where it is neither. */
void schema_dscp(struct schema *s, const struct tree_node *node, bool keep, uint8_t *dscp);

/* A cgroup path from the mount: "/" or "/a/b"; NULL, reported, where it is not one. */
const char *schema_cgroup(struct schema *s, const struct tree_node *node, bool globs);

void schema_class(struct schema *s, const struct tree_node *name, const struct tree_node *node);
/* A class's `mirror`, and its `app_dscp`. */
void schema_mirror(struct schema *s, const struct schema_found *found);
void schema_app_dscp(struct schema *s, const struct schema_found *found);

void schema_rule(struct schema *s, const struct tree_node *node);

/* The whole policy. */
void schema_read(struct schema *s, const struct tree_node *root);

#endif
