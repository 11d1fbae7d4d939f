// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * The patterns form a trie of tokens, which is read as a nondeterministic
 * automaton; determinize.c makes it deterministic. Sharing prefixes keeps
 * the sets of states small, however many patterns there are.
 */
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "path_nfa.h"

static uint32_t new_node(struct path_set *set, enum path_loop loop)
{
	set->nodes = mem_grow(set->nodes, set->node_count, sizeof(*set->nodes));
	set->nodes[set->node_count] =
		(struct path_node){.loop = loop, .first_edge = PATH_NONE, .pattern = PATH_NONE};
	return set->node_count++;
}

static void new_edge(struct path_set *set, uint32_t from, enum path_edge_kind kind, uint8_t byte,
		     uint32_t to)
{
	set->edges = mem_grow(set->edges, set->edge_count, sizeof(*set->edges));
	set->edges[set->edge_count] = (struct path_edge){
		.kind = kind, .byte = byte, .to = to, .next = set->nodes[from].first_edge};
	set->nodes[from].first_edge = set->edge_count++;
}

/* Where the edge leads, which is made if it is not there yet. */
static uint32_t follow(struct path_set *set, uint32_t from, enum path_edge_kind kind, uint8_t byte,
		       enum path_loop loop)
{
	const struct path_edge *edge;
	uint32_t i, to;

	for (i = set->nodes[from].first_edge; i != PATH_NONE; i = edge->next) {
		edge = &set->edges[i];
		if (edge->kind == kind && edge->byte == byte)
			return edge->to;
	}
	to = new_node(set, loop);
	new_edge(set, from, kind, byte, to);
	return to;
}

/*
 * Any number of whole components: the boundary before the next '/', to which
 * the end of each component that is passed over returns.
 */
static uint32_t follow_components(struct path_set *set, uint32_t from)
{
	uint32_t nodes = set->node_count;
	uint32_t boundary = follow(set, from, PATH_EMPTY_COMPONENTS, 0, PATH_LOOP_NONE);
	uint32_t inside;

	if (nodes == set->node_count)
		return boundary;
	inside = new_node(set, PATH_LOOP_COMPONENT);
	new_edge(set, boundary, PATH_BYTE_INSIDE, '/', inside);
	new_edge(set, inside, PATH_EMPTY_BACK, 0, boundary);
	return boundary;
}

static bool is_components(const char *p)
{
	return !strncmp(p, "/**", 3) && (p[3] == '/' || p[3] == '\0');
}

static uint32_t add_tokens(struct path_set *set, uint32_t node, const char *p)
{
	while (*p) {
		size_t stars = strspn(p, "*");

		if (is_components(p)) {
			node = follow_components(set, node);
			p += 3;
		} else if (stars > 1) {
			node = follow(set, node, PATH_EMPTY_ANY, 0, PATH_LOOP_ALL);
			p += stars;
		} else if (stars) {
			node = follow(set, node, PATH_EMPTY_STAR, 0, PATH_LOOP_COMPONENT);
			p++;
		} else {
			node = follow(set, node, PATH_BYTE, *p++, PATH_LOOP_NONE);
		}
	}
	return node;
}

/* A path that ends here matches, and so does all below it. */
static uint32_t accept(struct path_set *set, uint32_t node)
{
	uint32_t below;

	if (set->nodes[node].pattern != PATH_NONE)
		return set->nodes[node].pattern;
	set->nodes[node].pattern = set->pattern_count;
	below = follow(set, node, PATH_BYTE_SUBTREE, '/', PATH_LOOP_ALL);
	set->nodes[below].pattern = set->pattern_count;
	return set->pattern_count++;
}

struct path_set *path_set_new(void)
{
	struct path_set *set = mem_alloc(1, sizeof(*set));

	set->units = PATH_NONE;
	new_node(set, PATH_LOOP_NONE);
	return set;
}

void path_set_free(struct path_set *set)
{
	free(set->nodes);
	free(set->edges);
	free(set);
}

uint32_t path_add(struct path_set *set, const char *pattern)
{
	return accept(set, add_tokens(set, 0, strcmp(pattern, "/") ? pattern : ""));
}

/*
 * Units are looked for at any depth, but not within a service: a service's
 * cgroups are its own affair, but for those of a user's manager, which has
 * units in turn (systemd.io/CGROUP_DELEGATION). Without this bound the
 * automaton would have to tell apart all subsets of the units.
 */
static void begin_units(struct path_set *set)
{
	uint32_t node = new_node(set, PATH_LOOP_NONE);

	new_edge(set, 0, PATH_EMPTY_UNITS, 0, node);
	set->units = follow_components(set, node);
	node = add_tokens(set, set->units, "/*.service");
	set->nodes[node].is_service = true;
	node = add_tokens(set, set->units, "/user@*.service");
	set->nodes[node].is_manager = true;
}

uint32_t path_add_unit(struct path_set *set, const char *unit)
{
	uint32_t node;

	if (set->units == PATH_NONE)
		begin_units(set);
	node = follow(set, set->units, PATH_BYTE, '/', PATH_LOOP_NONE);
	return accept(set, add_tokens(set, node, unit));
}

static uint32_t is_matched(void *context, const uint32_t *ids, size_t count)
{
	(void)context, (void)ids;
	return count != 0;
}

bool path_matches(const char *pattern, bool unit, const char *path)
{
	struct path_set *set = path_set_new();
	struct path_table table = {0};
	uint32_t state = 0;
	bool matches;

	if (unit)
		path_add_unit(set, pattern);
	else
		path_add(set, pattern);
	matches = !path_compile(set, is_matched, NULL, &table);
	for (; matches && *path; path++)
		state = table.cells[state * table.stride + table.byte_class[(uint8_t)*path]];
	matches = matches && table.cells[state * table.stride + table.stride - 1];
	free(table.cells);
	path_set_free(set);
	return matches;
}
