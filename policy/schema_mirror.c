// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* `mirror` of a class: outbound marks derived from inbound ones. */
#include "check.h"
#include "schema.h"

static void add_prefix(struct schema *s, const struct tree_node *node, void *target)
{
	struct policy_mirror *mirror = target;
	struct policy_value *value = &mirror->from[mirror->from_count];
	struct scalar_error error;

	value->at = node->at;
	if (scalar_prefix(node->text, value, &error))
		diag_error(s->diag, node->at, "%s", error.why);
	else
		mirror->from_count++;
}

static void read_from(struct schema *s, const struct schema_found *found)
{
	struct policy_mirror *mirror = found->target;

	mirror->from =
		arena_alloc(&s->policy->arena, schema_count(found->value) * sizeof(*mirror->from));
	schema_each(s, found, TREE_SCALAR, add_prefix, mirror);
}

static void add_dscp(struct schema *s, const struct tree_node *node, void *target)
{
	struct policy_mirror *mirror = target;
	uint8_t dscp = HQ_KEEP;

	schema_dscp(s, node, false, &dscp);
	if (dscp != HQ_KEEP)
		mirror->allow |= 1ULL << dscp;
}

static void read_allow(struct schema *s, const struct schema_found *found)
{
	schema_each(s, found, TREE_SCALAR, add_dscp, found->target);
}

static void read_of(struct schema *s, const struct schema_found *found)
{
	struct policy_mirror *mirror = found->target;
	struct scalar_error error;
	uint32_t of;

	if (scalar_named(scalar_mirrors, "what to mirror: syn, latest or upstream",
			 found->value->text, &of, &error))
		diag_error(s->diag, found->value->at, "%s", error.why);
	else
		mirror->of = of;
}

static const struct schema_key mirror_keys[] = {
	{"from", SCHEMA_VALUES, read_from, 0},
	{"allow", SCHEMA_VALUES, read_allow, 0},
	{"of", TREE_SCALAR, read_of, 0},
	{0},
};

/* Who may choose marks, and which, is never left to a default (D13). */
void schema_mirror(struct schema *s, const struct schema_found *found)
{
	struct policy_mirror *mirror = &((struct policy_class *)found->target)->mirror;
	const struct tree_node *node = found->value;

	mirror->at = found->key->at;
	mirror->of = HQ_MIRROR_SYN;
	schema_block(s, node, mirror_keys, "'mirror'", mirror);
	if (!tree_get(node, "from"))
		diag_error(s->diag, mirror->at,
			   "'mirror' without 'from' in %s: say whose marks are trusted, as in "
			   "'from: [10.0.0.0/8]'",
			   s->where);
	if (!tree_get(node, "allow"))
		diag_error(s->diag, mirror->at,
			   "'mirror' without 'allow' in %s: say which DSCPs are taken over, as in "
			   "'allow: [AF21, AF22]'",
			   s->where);
}

void check_mirror(const struct policy_mirror *mirror, struct diag *diag)
{
	size_t i;

	for (i = 0; i < mirror->from_count; i++) {
		const struct policy_value *value = &mirror->from[i];
		bool ipv4 = scalar_is_ipv4(value);

		if (value->prefix.length <= (ipv4 ? SCALAR_IPV4_BITS : 0))
			diag_warning(diag, value->at,
				     "'from' is all of %s: any peer can choose the marks",
				     ipv4 ? "IPv4" : "IPv6");
	}
}
