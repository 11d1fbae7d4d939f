// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "check.h"
#include "compile.h"

static const enum hq_dim dim_of_key[POLICY_KEYS] = {
	[POLICY_CGROUP] = HQ_DIM_CGROUP,
	[POLICY_UNIT] = HQ_DIM_CGROUP,
	[POLICY_EXE] = HQ_DIM_EXE_FILE,
	[POLICY_USER] = HQ_DIM_USER,
	[POLICY_GROUP] = HQ_DIM_GROUP,
	[POLICY_FAMILY] = HQ_DIM_FAMILY,
	[POLICY_PROTOCOL] = HQ_DIM_PROTOCOL,
	[POLICY_TYPE] = HQ_DIM_TYPE,
	[POLICY_DIRECTION] = HQ_DIM_DIRECTION,
	[POLICY_LOCAL] = HQ_DIM_LOCAL,
	[POLICY_REMOTE] = HQ_DIM_REMOTE,
	[POLICY_LOCAL_PORT] = HQ_DIM_LOCAL_PORT,
	[POLICY_REMOTE_PORT] = HQ_DIM_REMOTE_PORT,
	[POLICY_INBOUND_DSCP] = HQ_DIM_INBOUND_DSCP,
	[POLICY_MULTICAST] = HQ_DIM_MULTICAST,
	[POLICY_ORIGIN] = HQ_DIM_ORIGIN,
};

enum hq_dim compile_dim(enum policy_key key, const struct policy_value *value)
{
	if (key == POLICY_EXE && *value->text != '/')
		return HQ_DIM_EXE_NAME;
	return dim_of_key[key];
}

enum hq_dim compile_term_dim(const struct entry *entry, enum policy_key key)
{
	return key == POLICY_EXE ? entry->exe_dim : dim_of_key[key];
}

uint64_t *compile_bits(const struct compiler *c)
{
	return mem_alloc(rows_words(&c->rows), sizeof(uint64_t));
}

static void add_entry(struct compiler *c, struct entry entry)
{
	c->entries = mem_grow(c->entries, c->count, sizeof(*c->entries));
	c->entries[c->count++] = entry;
}

/* A list of both paths and base names is an OR over two dimensions: two entries. */
static unsigned int exe_dims(const struct policy_rule *rule)
{
	const struct policy_term *exe = policy_term(&rule->match, POLICY_EXE);
	unsigned int dims = exe ? 0 : HQ_BIT(HQ_DIM_EXE_FILE);
	size_t i;

	for (i = 0; exe && i < exe->count; i++)
		dims |= HQ_BIT(compile_dim(POLICY_EXE, &exe->values[i]));
	return dims;
}

static void add_rule_entries(struct compiler *c, const struct policy_rule *rule)
{
	struct entry entry = {.rule = rule, .class = rule->class, .exe_dim = HQ_DIM_EXE_FILE};
	unsigned int dims = exe_dims(rule);

	if (dims & HQ_BIT(HQ_DIM_EXE_FILE))
		add_entry(c, entry);
	entry.exe_dim = HQ_DIM_EXE_NAME;
	if (dims & HQ_BIT(HQ_DIM_EXE_NAME))
		add_entry(c, entry);
}

size_t policy_rank(const struct policy *policy, uint32_t entry)
{
	size_t i;

	for (i = 0; i < policy->rule_count; i++) {
		uint32_t entries = __builtin_popcount(exe_dims(&policy->rules[i]));

		if (entry < entries)
			return i;
		entry -= entries;
	}
	return i + entry;
}

static size_t path_depth(const char *path)
{
	size_t depth = 0;

	while ((path = strchr(path, '/'))) {
		depth++;
		path++;
	}
	return depth;
}

static int compare_depth(const void *a, const void *b)
{
	const struct policy_class *x = *(const struct policy_class *const *)a;
	const struct policy_class *y = *(const struct policy_class *const *)b;
	size_t x_depth = path_depth(x->cgroup), y_depth = path_depth(y->cgroup);

	if (x_depth != y_depth)
		return x_depth > y_depth ? -1 : 1;
	return x < y ? -1 : x > y;
}

size_t policy_own_cgroups(const struct policy *policy, const struct policy_class **own)
{
	size_t count = 0, i;

	for (i = 0; i < policy->class_count; i++)
		if (policy->classes[i].cgroup)
			own[count++] = &policy->classes[i];
	qsort(own, count, sizeof(*own), compare_depth);
	return count;
}

static void add_class_entries(struct compiler *c)
{
	const struct policy *policy = c->policy;
	const struct policy_class **own = mem_alloc(policy->class_count, sizeof(*own));
	size_t count = policy_own_cgroups(policy, own), i;

	for (i = 0; i < count; i++)
		add_entry(c, (struct entry){.class = own[i] - policy->classes});
	free(own);
}

static int make_entries(struct compiler *c)
{
	size_t i;

	for (i = 0; i < c->policy->rule_count; i++)
		add_rule_entries(c, &c->policy->rules[i]);
	add_class_entries(c);
	if (c->count <= HQ_MAX_RULES)
		return 0;
	diag_error(c->diag, (struct diag_at){0},
		   "too many rules: %u with the classes' own cgroups and the mixed 'exe' lists, "
		   "where %d are the most",
		   c->count, HQ_MAX_RULES);
	return -E2BIG;
}

static void add_item(struct items *items, const struct policy_value *value, uint32_t entry,
		     enum policy_key key, bool unwanted)
{
	items->item = mem_grow(items->item, items->count, sizeof(*items->item));
	items->item[items->count++] = (struct item){value, entry, key, unwanted};
}

const struct policy_term *compile_implied_term(const struct compiler *c, const struct entry *entry,
					       enum hq_dim dim)
{
	if (dim != HQ_DIM_ORIGIN || !c->local.count)
		return NULL;
	return entry->rule && check_says(entry->rule, POLICY_ORIGIN) ? NULL : &c->local;
}

static void add_wanted_term(struct compiler *c, enum hq_dim dim, uint32_t index,
			    const struct policy_term *term, struct items *items)
{
	size_t v;

	bit_clear(c->other[dim], index);
	bit_clear(c->any[dim], index);
	for (v = 0; v < term->count; v++)
		if (compile_dim(term->key, &term->values[v]) == dim)
			add_item(items, &term->values[v], index, term->key, false);
}

static void add_wanted(struct compiler *c, enum hq_dim dim, uint32_t index, struct items *items)
{
	const struct entry *entry = &c->entries[index];
	const struct policy_match *match = &entry->rule->match;
	size_t t;

	for (t = 0; t < match->count; t++)
		if (compile_term_dim(entry, match->terms[t].key) == dim)
			add_wanted_term(c, dim, index, &match->terms[t], items);
}

static void add_unwanted(struct compiler *c, enum hq_dim dim, uint32_t index,
			 const struct policy_match *block, struct items *items)
{
	size_t t, v;

	for (t = 0; t < block->count; t++) {
		const struct policy_term *term = &block->terms[t];

		for (v = 0; v < term->count; v++) {
			if (compile_dim(term->key, &term->values[v]) != dim)
				continue;
			bit_clear(c->any[dim], index);
			bit_set(c->excluding[dim], index);
			add_item(items, &term->values[v], index, term->key, true);
		}
	}
}

/* The class's own cgroup is the only value of its entry. */
static void add_own_cgroup(struct compiler *c, uint32_t index, struct items *items)
{
	const struct policy_class *class = &c->policy->classes[c->entries[index].class];
	struct policy_value *value = arena_alloc(&c->arena, sizeof(*value));

	value->at = class->cgroup_at;
	value->text = class->cgroup;
	bit_clear(c->other[HQ_DIM_CGROUP], index);
	bit_clear(c->any[HQ_DIM_CGROUP], index);
	add_item(items, value, index, POLICY_CGROUP, false);
}

struct items compile_items(struct compiler *c, enum hq_dim dim)
{
	struct items items = {0};
	uint32_t i;
	size_t n;

	for (i = 0; i < c->count; i++) {
		const struct policy_term *implied = compile_implied_term(c, &c->entries[i], dim);
		const struct policy_rule *rule = c->entries[i].rule;

		bit_set(c->other[dim], i);
		bit_set(c->any[dim], i);
		if (implied)
			add_wanted_term(c, dim, i, implied, &items);
		if (!rule) {
			if (dim == HQ_DIM_CGROUP)
				add_own_cgroup(c, i, &items);
			continue;
		}
		add_wanted(c, dim, i, &items);
		for (n = 0; n < rule->nots_count; n++)
			add_unwanted(c, dim, i, &rule->nots[n], &items);
	}
	return items;
}

static int fill_dimension(struct compiler *c, enum hq_dim dim, const struct items *items)
{
	switch (dim) {
	case HQ_DIM_CGROUP:
		return compile_paths(c, items);
	case HQ_DIM_EXE_FILE:
	case HQ_DIM_EXE_NAME:
	case HQ_DIM_USER:
	case HQ_DIM_GROUP:
		compile_exact(c, dim, items);
		return 0;
	case HQ_DIM_LOCAL:
	case HQ_DIM_REMOTE:
		compile_prefixes(c, dim, items);
		return 0;
	default:
		compile_cells(c, dim, items);
		return 0;
	}
}

/* Row HQ_ROW_ALL, which is 0, serves the tables of dimensions that nobody reads. */
static int make_dimension(struct compiler *c, enum hq_dim dim)
{
	struct hq_header *header = &c->image->header;
	struct items items;
	int err = 0;

	c->other[dim] = compile_bits(c);
	c->any[dim] = compile_bits(c);
	c->excluding[dim] = compile_bits(c);
	items = compile_items(c, dim);
	header->any_row[dim] = rows_intern(&c->rows, c->any[dim]);
	header->other_row[dim] = rows_intern(&c->rows, c->other[dim]);
	if (items.count)
		header->used |= HQ_BIT(dim);
	if (items.count || dim == HQ_DIM_CGROUP)
		err = fill_dimension(c, dim, &items);
	free(items.item);
	return err;
}

static int make_dimensions(struct compiler *c)
{
	enum hq_dim dim;
	int err = 0;

	rows_init(&c->rows, c->count);
	c->image->header.rules = c->count;
	c->image->header.chunks = c->rows.chunks;
	for (dim = 0; !err && dim < HQ_NDIMS; dim++)
		err = make_dimension(c, dim);
	c->image->vectors = c->rows.vectors;
	c->image->vector_count = (size_t)c->rows.count * rows_vectors(&c->rows);
	if (err || !c->rows.full)
		return err;
	diag_error(c->diag, (struct diag_at){0},
		   "the rules overlap in too many ways: their tables take more than %lu MB",
		   ROWS_MOST_BYTES >> 20);
	return -E2BIG;
}

/* The hooks that see sockets have nothing to do with rules for forwarded packets alone. */
static __u32 features_of(const struct policy_rule *rule)
{
	unsigned int origins = rule ? check_origins(rule) : HQ_BIT(HQ_LOCAL);
	__u32 features = 0;

	if (origins & HQ_BIT(HQ_FORWARDED))
		features |= HQ_FEATURE_FORWARDED;
	if (!rule || !(origins & HQ_BIT(HQ_LOCAL)))
		return features;
	if (rule->refuse)
		features |= HQ_FEATURE_REFUSE;
	if (check_says(rule, POLICY_INBOUND_DSCP))
		features |= HQ_FEATURE_INBOUND_DSCP;
	return features;
}

static void make_rules(struct compiler *c, const uint16_t *class_ids)
{
	struct hq_image *image = c->image;
	uint32_t i;

	for (i = 0; i < c->count; i++) {
		const struct entry *entry = &c->entries[i];
		const struct policy_class *class = &c->policy->classes[entry->class];
		struct hq_rule *rule = &image->rules[i];

		rule->line = entry->rule ? entry->rule->at.line : class->cgroup_at.line;
		rule->class = class_ids[entry->class];
		rule->refuse = entry->rule && entry->rule->refuse;
		image->header.features |= features_of(entry->rule);
		if (!entry->rule)
			snprintf(rule->name, sizeof(rule->name), "class %.57s", class->name);
		else if (entry->rule->name)
			snprintf(rule->name, sizeof(rule->name), "%s", entry->rule->name);
		else
			snprintf(rule->name, sizeof(rule->name), "#%u", rule->line);
	}
}

static void imply_local(struct compiler *c)
{
	size_t i;

	c->local_value.number = HQ_LOCAL;
	c->local = (struct policy_term){.key = POLICY_ORIGIN, .values = &c->local_value};
	for (i = 0; i < c->policy->rule_count; i++)
		if (check_says(&c->policy->rules[i], POLICY_ORIGIN))
			c->local.count = 1;
}

static int compile(struct compiler *c, const struct policy_ids *ids)
{
	struct hq_image *image = c->image;
	uint16_t class_ids[HQ_MAX_CLASSES];
	int err;

	image->header.abi = HQ_ABI_VERSION;
	imply_local(c);
	err = make_entries(c);
	if (err)
		return err;
	image->rules = mem_alloc(c->count, sizeof(*image->rules));
	image->classes = mem_alloc(HQ_MAX_CLASSES, sizeof(*image->classes));
	image->ports = mem_alloc(HQ_PORT_CELLS, sizeof(*image->ports));
	image->enums = mem_alloc(HQ_ENUM_CELLS, sizeof(*image->enums));
	compile_classes(c, ids, class_ids);
	make_rules(c, class_ids);
	compile_rule_keys(c, ids);
	err = make_dimensions(c);
	if (err)
		return err;
	compile_warn_unreachable(c);
	compile_trusted(c, class_ids);
	return 0;
}

struct hq_image *policy_compile(const struct policy *policy, const struct policy_ids *ids,
				policy_exe_fn exe, struct diag *diag)
{
	struct compiler c = {
		.policy = policy,
		.image = mem_alloc(1, sizeof(*c.image)),
		.diag = diag,
		.exe = exe,
	};
	int err = compile(&c, ids), dim;

	for (dim = 0; dim < HQ_NDIMS; dim++) {
		free(c.other[dim]);
		free(c.any[dim]);
		free(c.excluding[dim]);
	}
	free(c.entries);
	free(c.files);
	arena_free(&c.arena);
	rows_finish(&c.rows);
	if (!err)
		return c.image;
	image_free(c.image);
	return NULL;
}

void image_free(struct hq_image *image)
{
	size_t i;

	if (!image)
		return;
	free(image->rules);
	free(image->classes);
	free(image->vectors);
	free(image->exact);
	free(image->prefixes);
	free(image->ports);
	free(image->enums);
	free(image->paths);
	free(image->names);
	for (i = 0; i < image->gone_count; i++)
		free(image->gone[i]);
	free(image->gone);
	free(image);
}
