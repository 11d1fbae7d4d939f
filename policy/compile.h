/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Inside the compiler: the policy as entries, each an AND over dimensions, and
 * for every dimension the rows that its values select.
 *
 * In one dimension an entry holds for a value if it names no wanted values or
 * this is one of them, and this is none of its unwanted ones. So
 *
 *	row(value) = (other | wanted(value)) & ~unwanted(value)
 *
 * where `other` are the entries that name no wanted value.
 */
#ifndef HOSTQOS_COMPILE_H
#define HOSTQOS_COMPILE_H

#include "policy.h"
#include "rows.h"

/* What the rule tables' index stands for. */
struct entry {
	const struct policy_rule *rule; /* NULL: the class's own cgroup */
	uint16_t class;			/* index into policy->classes */
	enum hq_dim
		exe_dim; /* which of its wanted exe values count: a list of both is two entries */
};

/* An executable's path as the kernel knows it. */
struct exe_file {
	const char *path;
	int err;
	bool gone; /* what follows is what it was before */
	__u32 device;
	__u64 inode;
};

struct compiler {
	struct arena arena;
	const struct policy *policy;
	struct hq_image *image;
	struct diag *diag;
	policy_exe_fn exe;
	struct entry *entries;
	uint32_t count;
	struct rows rows;
	/* `origin: local`: of entries that do not say it, where others do; else no values. */
	struct policy_term local;
	struct policy_value local_value;
	struct exe_file *files; /* sorted by path */
	size_t file_count;
	uint64_t *other[HQ_NDIMS];     /* entries that name no wanted value */
	uint64_t *any[HQ_NDIMS];       /* entries that name no value at all */
	uint64_t *excluding[HQ_NDIMS]; /* entries that name unwanted values */
};

/* That an entry names a value. */
struct item {
	const struct policy_value *value;
	uint32_t entry;
	uint8_t key; /* enum policy_key */
	bool unwanted;
};

struct items {
	struct item *item;
	size_t count;
};

/* The dimension that serves a key's value. */
enum hq_dim compile_dim(enum policy_key key, const struct policy_value *value);

/* The dimension in which an entry wants a key's values. */
enum hq_dim compile_term_dim(const struct entry *entry, enum policy_key key);

/* The term that an entry has without its saying so, or NULL. */
const struct policy_term *compile_implied_term(const struct compiler *c, const struct entry *entry,
					       enum hq_dim dim);

/* All that entries name in a dimension; to be freed. Fills c->other, any, excluding. */
struct items compile_items(struct compiler *c, enum hq_dim dim);

/* Scratch for one row, zeroed; to be freed. */
uint64_t *compile_bits(const struct compiler *c);

void compile_exact(struct compiler *c, enum hq_dim dim, const struct items *items);
void compile_cells(struct compiler *c, enum hq_dim dim, const struct items *items);
void compile_prefixes(struct compiler *c, enum hq_dim dim, const struct items *items);
int compile_paths(struct compiler *c, const struct items *items);

/* What the names of a dimension stand for: image->names, image->gone. */
void compile_names(struct compiler *c, enum hq_dim dim, const struct items *items);

/* The exact key of an executable's path. Returns 0, or -errno where it has none. */
int compile_file(const struct compiler *c, const char *path, struct hq_exact_key *key);

/* The row of a prefix that the policy names. */
uint32_t compile_prefix_row(const struct hq_image *image, enum hq_dim side,
			    const struct policy_value *value);

/* image->classes, and the id of each class of the policy. */
void compile_classes(struct compiler *c, const struct policy_ids *ids, uint16_t *class_ids);
void compile_meter(struct hq_meter *meter, uint64_t rate, uint32_t burst);

/* What classes mirror, and whom they trust: entries of image->prefixes. */
void compile_mirror(struct hq_class *to, const struct policy_mirror *from, __u32 *features);
void compile_trusted(struct compiler *c, const uint16_t *class_ids);

/* Keys and counters of image->rules. */
void compile_rule_keys(struct compiler *c, const struct policy_ids *ids);

/* Warn of rules that earlier ones leave nothing to. */
void compile_warn_unreachable(struct compiler *c);

#endif
