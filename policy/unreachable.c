// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Rules that can never be the first to match. The tables answer it: the AND of
 * the rows of all that a rule names are the rules that hold wherever it does.
 * In doubt nothing is said.
 */
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "check.h"
#include "compile.h"
#include "lookup.h"

/* A key with more values (or a range with more rows) is left out of the judgement. */
#define VALUES_MOST 256

static void and_row(const struct compiler *c, uint64_t *to, uint32_t row)
{
	const uint64_t *bits = rows_bits(&c->rows, row);
	size_t i;

	for (i = 0; i < rows_words(&c->rows); i++)
		to[i] &= bits[i];
}

static bool and_cells(const struct compiler *c, const __u32 *cells, uint32_t first, uint32_t last,
		      uint64_t *covering)
{
	unsigned int rows = 0;

	for (and_row(c, covering, cells[first]); first < last; first++) {
		if (cells[first + 1] == cells[first])
			continue;
		if (++rows == VALUES_MOST)
			return false;
		and_row(c, covering, cells[first + 1]);
	}
	return true;
}

/*
 * A `*` is asked for as a byte that no pattern names: what matches it matches
 * any run. There is no such byte for `**`.
 */
static bool and_path(const struct compiler *c, const struct policy_value *value, uint64_t *covering)
{
	char path[256], *star = path;

	if (strstr(value->text, "**"))
		return false;
	snprintf(path, sizeof(path), "%s", strcmp(value->text, "/") ? value->text : "");
	while ((star = strchr(star, '*')))
		*star = '\1';
	and_row(c, covering, policy_path_row(c->image, path));
	return true;
}

static bool and_value(const struct compiler *c, enum hq_dim dim, const struct policy_value *value,
		      uint64_t *covering)
{
	const struct hq_image *image = c->image;
	struct hq_exact_key key = {.dim = dim};

	switch (dim) {
	case HQ_DIM_CGROUP:
		return and_path(c, value, covering);
	case HQ_DIM_EXE_FILE:
		if (compile_file(c, value->text, &key))
			return false;
		break;
	case HQ_DIM_EXE_NAME:
		key.a = policy_name_hash(value->text);
		break;
	case HQ_DIM_USER:
	case HQ_DIM_GROUP:
		key.a = value->number;
		break;
	case HQ_DIM_LOCAL:
	case HQ_DIM_REMOTE:
		and_row(c, covering, compile_prefix_row(image, dim, value));
		return true;
	case HQ_DIM_LOCAL_PORT:
	case HQ_DIM_REMOTE_PORT:
		return and_cells(c, image->ports + (dim - HQ_DIM_LOCAL_PORT) * HQ_PORT_VALUES,
				 value->ports.first, value->ports.last, covering);
	default:
		and_row(c, covering,
			image->enums[(dim - HQ_DIM_FAMILY) * HQ_ENUM_VALUES + value->number]);
		return true;
	}
	and_row(c, covering, policy_exact_row(image, &key));
	return true;
}

/* What an entry asks for in a dimension, or NULL. Of `cgroup` and `unit`, the former. */
static const struct policy_term *wanted_term(const struct compiler *c, const struct entry *entry,
					     enum hq_dim dim)
{
	size_t t;

	for (t = 0; entry->rule && t < entry->rule->match.count; t++) {
		const struct policy_term *term = &entry->rule->match.terms[t];

		if (compile_term_dim(entry, term->key) == dim && term->key != POLICY_UNIT)
			return term;
	}
	return compile_implied_term(c, entry, dim);
}

static bool and_term(const struct compiler *c, enum hq_dim dim, const struct policy_term *term,
		     uint64_t *covering)
{
	size_t v;

	if (term->count > VALUES_MOST)
		return false;
	for (v = 0; v < term->count; v++)
		if (compile_dim(term->key, &term->values[v]) == dim &&
		    !and_value(c, dim, &term->values[v], covering))
			return false;
	return true;
}

/* Leave in `covering` the entries that hold in this dimension wherever this one does. */
static void cover_dimension(const struct compiler *c, enum hq_dim dim, const struct entry *entry,
			    uint64_t *covering, uint64_t *scratch)
{
	const struct policy_value own = {.text = c->policy->classes[entry->class].cgroup};
	const struct policy_term *term = wanted_term(c, entry, dim);
	bool judged = false;
	size_t i;

	memcpy(scratch, covering, rows_words(&c->rows) * sizeof(*scratch));
	if (term)
		judged = and_term(c, dim, term, scratch);
	else if (!entry->rule && dim == HQ_DIM_CGROUP)
		judged = and_path(c, &own, scratch);
	if (!judged) {
		and_row(c, covering, c->image->header.any_row[dim]);
		return;
	}
	/* Below a path or prefix there may be something that another entry excludes. */
	if (dim == HQ_DIM_CGROUP || dim == HQ_DIM_LOCAL || dim == HQ_DIM_REMOTE)
		for (i = 0; i < rows_words(&c->rows); i++)
			scratch[i] &= ~c->excluding[dim][i];
	memcpy(covering, scratch, rows_words(&c->rows) * sizeof(*scratch));
}

/* An earlier entry of another rule that holds wherever this one does, or `index`. */
static uint32_t find_cover(const struct compiler *c, uint32_t index, uint64_t *covering,
			   uint64_t *scratch)
{
	const struct policy_rule *rule = c->entries[index].rule;
	enum hq_dim dim;
	uint32_t i;

	memcpy(covering, rows_bits(&c->rows, HQ_ROW_ALL), rows_words(&c->rows) * sizeof(*covering));
	for (dim = 0; dim < HQ_NDIMS; dim++)
		if (c->image->header.used & HQ_BIT(dim))
			cover_dimension(c, dim, &c->entries[index], covering, scratch);
	for (i = 0; i < index; i++) {
		if (!covering[i / 64])
			i |= 63;
		else if (bit_test(covering, i) && (!rule || c->entries[i].rule != rule))
			return i;
	}
	return index;
}

static void warn(struct compiler *c, uint32_t index, uint32_t cover)
{
	const struct entry *entry = &c->entries[index];
	const struct policy_class *class = &c->policy->classes[entry->class];
	uint32_t line = c->image->rules[cover].line;

	if (entry->rule)
		diag_warning(c->diag, entry->rule->at,
			     "this rule is unreachable: whatever it matches, the one at line %u "
			     "matches first",
			     line);
	else
		diag_warning(c->diag, class->cgroup_at,
			     "class '%s' is unreachable by its cgroup: whatever is in there, the "
			     "rule at line %u matches first",
			     class->name, line);
}

void compile_warn_unreachable(struct compiler *c)
{
	uint64_t *covering = compile_bits(c), *scratch = compile_bits(c);
	uint32_t i, cover, next;

	for (i = 0; i < c->count; i = next) {
		const struct policy_rule *rule = c->entries[i].rule;
		bool covered = true;

		/* All entries of the rule, for a rule's are neighbours. */
		for (next = i;
		     next == i || (rule && next < c->count && c->entries[next].rule == rule);
		     next++) {
			cover = find_cover(c, next, covering, scratch);
			covered &= cover != next;
		}
		if (covered)
			warn(c, i, cover);
	}
	free(covering);
	free(scratch);
}
