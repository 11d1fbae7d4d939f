// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Subset construction: each state of the table is a set of the patterns' nodes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <hostqos/abi.h>

#include "arena.h"
#include "path_nfa.h"

#define SLOTS (2 * HQ_MAX_PATH_STATES)

/* Nodes in the sets of all states; only patterns that combine badly need so many. */
#define POOL_MOST (16U << 20)

/* An edge on a byte out of the set at hand. */
struct step {
	uint8_t byte;
	uint32_t to;
};

struct determinizer {
	const struct path_set *set;
	struct path_table *table;
	path_row_fn row;
	void *context;

	uint32_t *pool; /* the sets of all states, one after the other */
	size_t pool_count, pool_room;
	size_t begin[HQ_MAX_PATH_STATES + 1];
	uint32_t states;
	uint32_t slots[SLOTS]; /* hash table of state + 1; 0 is free */

	uint32_t *next; /* the set that is being made */
	uint32_t next_count;
	uint32_t *stamp; /* by node: equal to `stamps` if in `next` */
	uint32_t stamps;
	struct step *steps;
	size_t step_count;
	uint32_t *ids;
};

static void begin_set(struct determinizer *d)
{
	d->next_count = 0;
	d->stamps++;
}

/* With all that can be reached without reading anything. */
static void add_node(struct determinizer *d, uint32_t node)
{
	const struct path_edge *edge;
	uint32_t i;

	if (d->stamp[node] == d->stamps)
		return;
	d->stamp[node] = d->stamps;
	d->next[d->next_count++] = node;
	for (i = d->set->nodes[node].first_edge; i != PATH_NONE; i = edge->next) {
		edge = &d->set->edges[i];
		if (path_edge_is_empty(edge->kind))
			add_node(d, edge->to);
	}
}

static int compare_nodes(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool is_next(const struct determinizer *d, uint32_t state)
{
	size_t count = d->begin[state + 1] - d->begin[state];

	return count == d->next_count &&
	       !memcmp(d->pool + d->begin[state], d->next, count * sizeof(*d->next));
}

static uint32_t *find_slot(struct determinizer *d)
{
	uint32_t hash = 2166136261u, i;

	for (i = 0; i < d->next_count; i++)
		hash = (hash ^ d->next[i]) * 0x9e3779b1u;
	for (i = (hash ^ hash >> 15) % SLOTS; d->slots[i]; i = (i + 1) % SLOTS)
		if (is_next(d, d->slots[i] - 1))
			break;
	return &d->slots[i];
}

/* The state of the set just made. */
static int end_set(struct determinizer *d, uint32_t *state)
{
	uint32_t *slot;

	qsort(d->next, d->next_count, sizeof(*d->next), compare_nodes);
	slot = find_slot(d);
	if (!*slot) {
		if (d->states == HQ_MAX_PATH_STATES || d->pool_count > POOL_MOST)
			return -E2BIG;
		if (d->pool_room < d->pool_count + d->next_count) {
			d->pool_room = 2 * (d->pool_count + d->next_count);
			d->pool = mem_resize(d->pool, d->pool_room, sizeof(*d->pool));
		}
		memcpy(d->pool + d->pool_count, d->next, d->next_count * sizeof(*d->next));
		d->pool_count += d->next_count;
		d->begin[d->states + 1] = d->pool_count;
		*slot = ++d->states;
	}
	*state = *slot - 1;
	return 0;
}

/* Whether units may be looked for below the component that ends here. */
static bool may_hold_units(const struct determinizer *d, uint32_t state)
{
	bool service = false;
	size_t i;

	for (i = d->begin[state]; i < d->begin[state + 1]; i++) {
		if (d->set->nodes[d->pool[i]].is_manager)
			return true;
		service |= d->set->nodes[d->pool[i]].is_service;
	}
	return !service;
}

static int compare_steps(const void *a, const void *b)
{
	const struct step *x = a, *y = b;

	return (int)x->byte - y->byte;
}

static void collect_steps(struct determinizer *d, uint32_t state)
{
	bool may = may_hold_units(d, state);
	size_t i;

	d->step_count = 0;
	for (i = d->begin[state]; i < d->begin[state + 1]; i++) {
		uint32_t node = d->pool[i], e;
		const struct path_edge *edge;

		if (node == d->set->units && !may)
			continue;
		for (e = d->set->nodes[node].first_edge; e != PATH_NONE; e = edge->next) {
			edge = &d->set->edges[e];
			if (!path_edge_is_empty(edge->kind))
				d->steps[d->step_count++] = (struct step){edge->byte, edge->to};
		}
	}
	qsort(d->steps, d->step_count, sizeof(*d->steps), compare_steps);
}

static void add_loops(struct determinizer *d, uint32_t state, enum path_loop least)
{
	size_t i;

	for (i = d->begin[state]; i < d->begin[state + 1]; i++)
		if (d->set->nodes[d->pool[i]].loop >= least)
			add_node(d, d->pool[i]);
}

/* Where one byte leads, by the steps from *i on; '/' ends a component. */
static int take_byte(struct determinizer *d, uint32_t state, uint8_t byte, size_t *i, uint32_t *to)
{
	begin_set(d);
	add_loops(d, state, byte == '/' ? PATH_LOOP_ALL : PATH_LOOP_COMPONENT);
	for (; *i < d->step_count && d->steps[*i].byte == byte; (*i)++)
		add_node(d, d->steps[*i].to);
	return end_set(d, to);
}

static void take_row(struct determinizer *d, uint32_t state, uint32_t *row)
{
	uint32_t count = 0, unique = 0, i;
	size_t n;

	for (n = d->begin[state]; n < d->begin[state + 1]; n++)
		if (d->set->nodes[d->pool[n]].pattern != PATH_NONE)
			d->ids[count++] = d->set->nodes[d->pool[n]].pattern;
	qsort(d->ids, count, sizeof(*d->ids), compare_nodes);
	for (i = 0; i < count; i++)
		if (!i || d->ids[i] != d->ids[i - 1])
			d->ids[unique++] = d->ids[i];
	*row = d->row(d->context, d->ids, unique);
}

static int fill_state(struct determinizer *d, uint32_t state)
{
	struct path_table *table = d->table;
	size_t at = (size_t)state * table->stride, i = 0;
	uint32_t other, class;
	bool slash = false;
	int err;

	begin_set(d);
	add_loops(d, state, PATH_LOOP_COMPONENT);
	err = end_set(d, &other);
	for (class = 0; class < table->stride - 1; class ++)
		table->cells[at + class] = other;
	collect_steps(d, state);
	while (!err && i < d->step_count) {
		uint8_t byte = d->steps[i].byte;

		slash |= byte == '/';
		err = take_byte(d, state, byte, &i, &table->cells[at + table->byte_class[byte]]);
	}
	/* What loops within a component ends at a '/', if no step leads over it. */
	if (!err && !slash)
		err = take_byte(d, state, '/', &i, &table->cells[at + table->byte_class['/']]);
	take_row(d, state, &table->cells[at + table->stride - 1]);
	return err;
}

/* Each byte that any pattern names is a class of its own, all others are class 0. */
static void make_classes(const struct path_set *set, struct path_table *table)
{
	uint32_t classes = 1, i;

	memset(table->byte_class, 0, sizeof(table->byte_class));
	table->byte_class['/'] = classes++;
	for (i = 0; i < set->edge_count; i++) {
		const struct path_edge *edge = &set->edges[i];

		if (!path_edge_is_empty(edge->kind) && !table->byte_class[edge->byte])
			table->byte_class[edge->byte] = classes++;
	}
	table->stride = classes + 1;
}

static int fill_states(struct determinizer *d)
{
	struct path_table *table = d->table;
	uint32_t state, room = 0;
	int err;

	begin_set(d);
	add_node(d, 0);
	err = end_set(d, &state);
	for (state = 0; !err && state < d->states; state++) {
		if (state == room) {
			room = room ? 2 * room : 64;
			table->cells = mem_resize(table->cells, (size_t)room * table->stride,
						  sizeof(*table->cells));
		}
		err = fill_state(d, state);
	}
	table->cell_count = (size_t)d->states * table->stride;
	return err;
}

int path_compile(struct path_set *set, path_row_fn row, void *context, struct path_table *table)
{
	struct path_table made = {0};
	struct determinizer *d = mem_alloc(1, sizeof(*d));
	int err;

	d->set = set;
	d->table = &made;
	d->row = row;
	d->context = context;
	d->next = mem_alloc(set->node_count, sizeof(*d->next));
	d->stamp = mem_alloc(set->node_count, sizeof(*d->stamp));
	d->steps = mem_alloc(set->edge_count, sizeof(*d->steps));
	d->ids = mem_alloc(set->node_count, sizeof(*d->ids));
	make_classes(set, &made);
	err = fill_states(d);
	free(d->pool);
	free(d->next);
	free(d->stamp);
	free(d->steps);
	free(d->ids);
	free(d);
	if (err)
		free(made.cells);
	else
		*table = made;
	return err;
}
