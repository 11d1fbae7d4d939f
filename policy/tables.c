// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* The tables of exact values, of enums and ports, and of prefixes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "arena.h"
#include "compile.h"
#include "lookup.h"
#include "scalar.h"

/* A row as it is put together, see compile.h. */
struct hits {
	uint64_t *wanted, *unwanted;
};

static void hits_init(const struct compiler *c, struct hits *hits)
{
	hits->wanted = compile_bits(c);
	hits->unwanted = compile_bits(c);
}

static void hits_clear(const struct compiler *c, struct hits *hits)
{
	memset(hits->wanted, 0, rows_words(&c->rows) * sizeof(uint64_t));
	memset(hits->unwanted, 0, rows_words(&c->rows) * sizeof(uint64_t));
}

static void hits_copy(const struct compiler *c, struct hits *to, const struct hits *from)
{
	memcpy(to->wanted, from->wanted, rows_words(&c->rows) * sizeof(uint64_t));
	memcpy(to->unwanted, from->unwanted, rows_words(&c->rows) * sizeof(uint64_t));
}

static void hits_free(struct hits *hits)
{
	free(hits->wanted);
	free(hits->unwanted);
}

static uint32_t hits_row(struct compiler *c, enum hq_dim dim, const struct hits *hits,
			 uint64_t *scratch)
{
	size_t i;

	for (i = 0; i < rows_words(&c->rows); i++)
		scratch[i] = (c->other[dim][i] | hits->wanted[i]) & ~hits->unwanted[i];
	return rows_intern(&c->rows, scratch);
}

static void hits_add(struct hits *hits, const struct item *item)
{
	bit_set(item->unwanted ? hits->unwanted : hits->wanted, item->entry);
}

struct exact_item {
	struct hq_exact_key key;
	const struct item *item;
};

int policy_exe_stat(const char *path, __u32 *device, __u64 *inode)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	/* MKDEV() of include/linux/kdev_t.h: the device number as the kernel holds it. */
	*device = major(st.st_dev) << 20 | minor(st.st_dev);
	*inode = st.st_ino;
	return 0;
}

static int compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int order = strcmp(x->value->text, y->value->text);

	if (order)
		return order;
	return x->value->at.line < y->value->at.line ? -1 : x->value->at.line > y->value->at.line;
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct exe_file *)a)->path, ((const struct exe_file *)b)->path);
}

int compile_file(const struct compiler *c, const char *path, struct hq_exact_key *key)
{
	const struct exe_file *file = bsearch(&(struct exe_file){.path = path}, c->files,
					      c->file_count, sizeof(*c->files), compare_files);

	if (file->err)
		return file->err;
	*key = (struct hq_exact_key){HQ_DIM_EXE_FILE, file->inode, file->device};
	return 0;
}

static void recall_file(const struct compiler *c, struct exe_file *file)
{
	const struct hq_named *former = policy_former(c->policy, HQ_DIM_EXE_FILE, file->path);

	if (!former)
		return;
	*file = (struct exe_file){.path = file->path,
				  .gone = true,
				  .device = former->device,
				  .inode = former->number};
}

/* Look up each path once. */
static void find_files(struct compiler *c, const struct items *items)
{
	size_t i;

	qsort(items->item, items->count, sizeof(*items->item), compare_items);
	c->files = mem_alloc(items->count, sizeof(*c->files));
	for (i = 0; i < items->count; i++) {
		const struct policy_value *value = items->item[i].value;
		struct exe_file *file = &c->files[c->file_count];

		if (i && !strcmp(value->text, items->item[i - 1].value->text))
			continue;
		file->path = value->text;
		file->err = c->exe(file->path, &file->device, &file->inode);
		if (file->err)
			recall_file(c, file);
		c->file_count++;
		if (file->err)
			diag_warning(c->diag, value->at,
				     "executable '%.128s': %s; nothing matches it until the policy "
				     "is applied again",
				     value->text,
				     file->err == -ENOEXEC ? "it is not a regular file"
							   : strerror(-file->err));
	}
}

/* What does not exist has no key: nothing runs from it. */
static size_t file_keys(struct compiler *c, const struct items *items, struct exact_item *keys)
{
	size_t count = 0, i;

	find_files(c, items);
	for (i = 0; i < items->count; i++) {
		if (compile_file(c, items->item[i].value->text, &keys[count].key))
			continue;
		keys[count++].item = &items->item[i];
	}
	return count;
}

static size_t value_keys(enum hq_dim dim, const struct items *items, struct exact_item *keys)
{
	size_t i;

	for (i = 0; i < items->count; i++) {
		const struct policy_value *value = items->item[i].value;
		__u64 a = dim == HQ_DIM_EXE_NAME ? policy_name_hash(value->text) : value->number;

		keys[i].key = (struct hq_exact_key){dim, a, 0};
		keys[i].item = &items->item[i];
	}
	return items->count;
}

static int compare_keys(const void *a, const void *b)
{
	const struct exact_item *x = a, *y = b;

	return memcmp(&x->key, &y->key, sizeof(x->key));
}

void compile_exact(struct compiler *c, enum hq_dim dim, const struct items *items)
{
	struct exact_item *keys = mem_alloc(items->count, sizeof(*keys));
	size_t count =
		dim == HQ_DIM_EXE_FILE ? file_keys(c, items, keys) : value_keys(dim, items, keys);
	struct hq_image *image = c->image;
	uint64_t *scratch = compile_bits(c);
	struct hits hits;
	size_t i;

	qsort(keys, count, sizeof(*keys), compare_keys);
	compile_names(c, dim, items);
	image->exact = mem_resize(image->exact, image->exact_count + count, sizeof(*image->exact));
	hits_init(c, &hits);
	for (i = 0; i < count; i++) {
		hits_add(&hits, keys[i].item);
		if (i + 1 < count && !compare_keys(&keys[i], &keys[i + 1]))
			continue;
		image->exact[image->exact_count++] =
			(struct hq_exact){keys[i].key, hits_row(c, dim, &hits, scratch)};
		hits_clear(c, &hits);
	}
	hits_free(&hits);
	free(scratch);
	free(keys);
}

/* Where an item begins or ends to hold, along the values of an enum or the ports. */
struct edge {
	uint32_t at;
	uint32_t item : 31, begin : 1;
};

static int compare_edges(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static void fill_edges(enum hq_dim dim, const struct items *items, struct edge *edges)
{
	size_t i;

	for (i = 0; i < items->count; i++) {
		const struct policy_value *value = items->item[i].value;
		bool port = dim >= HQ_DIM_LOCAL_PORT;
		uint32_t first = port ? value->ports.first : value->number;
		uint32_t last = port ? value->ports.last : value->number;

		edges[2 * i] = (struct edge){.at = first, .item = i, .begin = true};
		edges[2 * i + 1] = (struct edge){.at = last + 1, .item = i};
	}
	qsort(edges, 2 * items->count, sizeof(*edges), compare_edges);
}

/* An entry's ranges may overlap: it holds as long as any of them is open. */
static void take_edge(struct hits *hits, uint32_t *open, const struct item *item, bool begin)
{
	uint32_t *count = &open[2 * item->entry + item->unwanted];

	*count += begin ? 1 : -1;
	if (*count)
		hits_add(hits, item);
	else
		bit_clear(item->unwanted ? hits->unwanted : hits->wanted, item->entry);
}

void compile_cells(struct compiler *c, enum hq_dim dim, const struct items *items)
{
	bool port = dim >= HQ_DIM_LOCAL_PORT;
	uint32_t size = port ? HQ_PORT_VALUES : HQ_ENUM_VALUES, at = 0, row;
	__u32 *cells = port ? c->image->ports + (dim - HQ_DIM_LOCAL_PORT) * size
			    : c->image->enums + (dim - HQ_DIM_FAMILY) * size;
	struct edge *edges = mem_alloc(2 * items->count, sizeof(*edges));
	uint32_t *open = mem_alloc(2 * (size_t)c->count, sizeof(*open));
	uint64_t *scratch = compile_bits(c);
	struct hits hits;
	size_t i = 0;

	fill_edges(dim, items, edges);
	hits_init(c, &hits);
	while (at < size) {
		uint32_t end;

		for (; i < 2 * items->count && edges[i].at == at; i++)
			take_edge(&hits, open, &items->item[edges[i].item], edges[i].begin);
		end = i < 2 * items->count ? edges[i].at : size;
		row = hits_row(c, dim, &hits, scratch);
		while (at < end)
			cells[at++] = row;
	}
	hits_free(&hits);
	free(scratch);
	free(open);
	free(edges);
}

static int compare_prefixes(const void *a, const void *b)
{
	const struct policy_value *x = ((const struct item *)a)->value;
	const struct policy_value *y = ((const struct item *)b)->value;
	int order = memcmp(x->prefix.address, y->prefix.address, sizeof(x->prefix.address));

	return order ? order : (int)x->prefix.length - y->prefix.length;
}

/* A prefix whose more specific ones may follow. */
struct open_prefix {
	const struct policy_value *value;
	struct hits hits;
};

struct prefix_walk {
	struct open_prefix open[129];
	unsigned int depth, used; /* used: of open[], whose hits are allocated */
};

/* ::/0 is IPv6 alone, so what it covers counts for nothing within ::ffff:0:0/96. */
static const struct policy_value all_ipv4 = {
	.prefix = {.address = {[10] = 0xff, [11] = 0xff}, .length = SCALAR_IPV4_BITS}};

static struct hits *open_prefix(struct compiler *c, struct prefix_walk *walk,
				const struct policy_value *value)
{
	struct open_prefix *open;

	while (walk->depth && !scalar_covers(walk->open[walk->depth - 1].value, value))
		walk->depth--;
	open = &walk->open[walk->depth];
	if (walk->depth == walk->used) {
		hits_init(c, &open->hits);
		walk->used++;
	}
	if (walk->depth &&
	    compare_prefixes(&(struct item){.value = value}, &(struct item){.value = &all_ipv4}))
		hits_copy(c, &open->hits, &walk->open[walk->depth - 1].hits);
	else
		hits_clear(c, &open->hits);
	open->value = value;
	walk->depth++;
	return &open->hits;
}

static void add_prefix(struct compiler *c, enum hq_dim dim, const struct policy_value *value,
		       uint32_t row)
{
	struct hq_prefix *prefix = &c->image->prefixes[c->image->prefix_count++];

	*prefix = (struct hq_prefix){
		.key = {.length = HQ_PREFIX_SIDE_BITS + value->prefix.length, .side = dim},
		.row = row};
	memcpy(prefix->key.address, value->prefix.address, sizeof(prefix->key.address));
}

static int compare_prefix_rows(const void *a, const void *b)
{
	const struct hq_prefix_key *x = &((const struct hq_prefix *)a)->key;
	const struct hq_prefix_key *y = &((const struct hq_prefix *)b)->key;
	int order = (int)x->side - y->side;

	if (!order)
		order = memcmp(x->address, y->address, sizeof(x->address));
	return order ? order : (int)x->length - (int)y->length;
}

uint32_t compile_prefix_row(const struct hq_image *image, enum hq_dim side,
			    const struct policy_value *value)
{
	struct hq_prefix wanted = {
		.key = {.length = HQ_PREFIX_SIDE_BITS + value->prefix.length, .side = side}};
	const struct hq_prefix *prefix;

	memcpy(wanted.key.address, value->prefix.address, sizeof(wanted.key.address));
	prefix = bsearch(&wanted, image->prefixes, image->prefix_count, sizeof(wanted),
			 compare_prefix_rows);
	return prefix ? prefix->row : image->header.other_row[side];
}

/* Sorted, a prefix comes right before those that it covers: one pass with a stack. */
void compile_prefixes(struct compiler *c, enum hq_dim dim, const struct items *items)
{
	struct prefix_walk *walk = mem_alloc(1, sizeof(*walk));
	size_t count = items->count + 1, i = 0;
	struct item *sorted = mem_alloc(count, sizeof(*sorted));
	uint64_t *scratch = compile_bits(c);

	memcpy(sorted, items->item, items->count * sizeof(*sorted));
	sorted[items->count] = (struct item){.value = &all_ipv4, .entry = HQ_RULE_NONE};
	qsort(sorted, count, sizeof(*sorted), compare_prefixes);
	c->image->prefixes = mem_resize(c->image->prefixes, c->image->prefix_count + count,
					sizeof(*c->image->prefixes));
	while (i < count) {
		const struct item *first = &sorted[i];
		struct hits *hits = open_prefix(c, walk, first->value);

		for (; i < count && !compare_prefixes(first, &sorted[i]); i++)
			if (sorted[i].entry != HQ_RULE_NONE)
				hits_add(hits, &sorted[i]);
		add_prefix(c, dim, first->value, hits_row(c, dim, hits, scratch));
	}
	for (i = 0; i < walk->used; i++)
		hits_free(&walk->open[i].hits);
	free(scratch);
	free(sorted);
	free(walk);
}
