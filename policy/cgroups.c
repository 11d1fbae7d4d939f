// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* The dimension of cgroups: rows for the paths that the automaton tells apart. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "compile.h"
#include "path.h"

struct cgroup_rows {
	struct compiler *c;
	const struct items *items; /* by pattern */
	size_t *begin;		   /* of a pattern's items */
	uint64_t *other[2];	   /* entries that want no `cgroup`, no `unit` */
	uint64_t *wanted[2], *unwanted;
	uint64_t *row;
};

/* Both `cgroup` and `unit` must hold where an entry has both. */
static uint32_t cgroup_row(void *context, const uint32_t *ids, size_t count)
{
	struct cgroup_rows *r = context;
	size_t words = rows_words(&r->c->rows), i, n;

	memset(r->wanted[0], 0, words * sizeof(uint64_t));
	memset(r->wanted[1], 0, words * sizeof(uint64_t));
	memset(r->unwanted, 0, words * sizeof(uint64_t));
	for (i = 0; i < count; i++)
		for (n = r->begin[ids[i]]; n < r->begin[ids[i] + 1]; n++) {
			const struct item *item = &r->items->item[n];

			bit_set(item->unwanted ? r->unwanted : r->wanted[item->key == POLICY_UNIT],
				item->entry);
		}
	for (i = 0; i < words; i++)
		r->row[i] = (r->other[0][i] | r->wanted[0][i]) &
			    (r->other[1][i] | r->wanted[1][i]) & ~r->unwanted[i];
	return rows_intern(&r->c->rows, r->row);
}

struct numbered {
	uint32_t id;
	struct item item;
};

static int compare_numbered(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* Adds the patterns; puts the items in their order, and notes where each one's begin. */
static size_t *sort_by_pattern(struct path_set *set, const struct items *items)
{
	struct numbered *numbered = mem_alloc(items->count, sizeof(*numbered));
	size_t *begin, i;
	uint32_t most = 0;

	for (i = 0; i < items->count; i++) {
		const struct item *item = &items->item[i];

		numbered[i].item = *item;
		numbered[i].id = item->key == POLICY_UNIT ? path_add_unit(set, item->value->text)
							  : path_add(set, item->value->text);
		most = numbered[i].id > most ? numbered[i].id : most;
	}
	qsort(numbered, items->count, sizeof(*numbered), compare_numbered);
	begin = mem_alloc((size_t)most + 2, sizeof(*begin));
	for (i = 0; i < items->count; i++) {
		items->item[i] = numbered[i].item;
		begin[numbered[i].id + 1] = i + 1;
	}
	free(numbered);
	return begin;
}

/* Of two patterns, the one to complain of first: what floats, then what is written first. */
static bool is_worse(const struct item *a, const struct item *b)
{
	bool a_floats = a->key == POLICY_UNIT || strstr(a->value->text, "**");
	bool b_floats = b->key == POLICY_UNIT || strstr(b->value->text, "**");

	if (a_floats != b_floats)
		return a_floats;
	return a->value->at.line < b->value->at.line;
}

static void report_too_large(struct compiler *c, const struct items *items)
{
	const struct item *worst = &items->item[0];
	size_t i;

	for (i = 1; i < items->count; i++)
		if (is_worse(&items->item[i], worst))
			worst = &items->item[i];
	diag_error(c->diag, worst->value->at,
		   "cgroup pattern '%.64s' and the %zu others need more than %d states together; "
		   "use fewer '**', or paths from the root",
		   worst->value->text, items->count - 1, HQ_MAX_PATH_STATES);
}

int compile_paths(struct compiler *c, const struct items *items)
{
	struct path_set *set = path_set_new();
	struct path_table table;
	struct cgroup_rows r = {
		.c = c,
		.items = items,
		.begin = sort_by_pattern(set, items),
		.other = {compile_bits(c), compile_bits(c)},
		.wanted = {compile_bits(c), compile_bits(c)},
		.unwanted = compile_bits(c),
		.row = compile_bits(c),
	};
	size_t i;
	int err;

	for (i = 0; i < c->count; i++) {
		bit_set(r.other[0], i);
		bit_set(r.other[1], i);
	}
	for (i = 0; i < items->count; i++)
		if (!items->item[i].unwanted)
			bit_clear(r.other[items->item[i].key == POLICY_UNIT], items->item[i].entry);
	err = path_compile(set, cgroup_row, &r, &table);
	if (err) {
		report_too_large(c, items);
	} else {
		c->image->paths = table.cells;
		c->image->path_cells = table.cell_count;
		c->image->header.path_stride = table.stride;
		memcpy(c->image->header.byte_class, table.byte_class, sizeof(table.byte_class));
	}
	path_set_free(set);
	free(r.begin);
	for (i = 0; i < 2; i++) {
		free(r.other[i]);
		free(r.wanted[i]);
	}
	free(r.unwanted);
	free(r.row);
	return err;
}
