// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* `app_dscp`: what becomes of the marks that applications ask for. */
#include <string.h>

#include <hostqos/app_dscp.h>

#include "check.h"
#include "schema.h"

uint64_t policy_honored(const struct policy_class *class)
{
	if (class->app_dscp == POLICY_HONOR)
		return class->honored;
	/* What says nothing leaves packets alone: so does `default`. */
	return class->app_dscp == POLICY_APP_DSCP_UNSAID && !strcmp(class->name, "default")
		       ? HQ_HONOR_ALL
		       : 0;
}

static void add_honored(struct schema *s, const struct tree_node *item, void *target)
{
	struct policy_class *class = target;
	uint8_t dscp = HQ_KEEP;

	schema_dscp(s, item, false, &dscp);
	if (dscp != HQ_KEEP)
		class->honored |= 1ULL << dscp;
}

static void read_honored(struct schema *s, const struct schema_found *found)
{
	struct policy_class *class = found->target;

	class->app_dscp = POLICY_HONOR;
	schema_each(s, found, TREE_SCALAR, add_honored, class);
}

static const struct schema_key honor_keys[] = {{"honor", SCHEMA_VALUES, read_honored, 0}, {0}};

/* A word, or `{ honor: [DSCPs] }`. */
void schema_app_dscp(struct schema *s, const struct schema_found *found)
{
	static const struct scalar_name words[] = {
		{"ignore", POLICY_IGNORE}, {"honor", POLICY_HONOR}, {"deny", POLICY_DENY}, {0}};
	struct policy_class *class = found->target;
	const struct tree_node *node = found->value;
	struct scalar_error error;
	uint32_t word;

	class->app_dscp_at = node->at;
	if (node->kind == TREE_MAP) {
		if (!node->count)
			diag_error(s->diag, node->at,
				   "'app_dscp' says nothing: 'ignore', 'deny', "
				   "'honor' or '{ honor: [DSCPs] }'");
		schema_block(s, node, honor_keys, s->where, class);
		return;
	}
	if (scalar_named(words, "a treatment of applications' marks", node->text, &word, &error)) {
		diag_error(s->diag, node->at, "%s", error.why);
		return;
	}
	class->app_dscp = word;
	class->honored = HQ_HONOR_ALL;
}

void check_app_dscp(const struct policy_class *class, struct diag *diag)
{
	if (class->dscp != HQ_KEEP)
		return;
	if (class->app_dscp == POLICY_HONOR && class->honored != HQ_HONOR_ALL)
		diag_error(diag, class->app_dscp_at,
			   "a list of honoured DSCPs, but class '%s' has no 'dscp' that the others "
			   "become",
			   class->name);
	else if (class->app_dscp == POLICY_IGNORE)
		diag_warning(diag, class->app_dscp_at,
			     "class '%s' has no 'dscp', so packets keep the marks that "
			     "applications give them",
			     class->name);
	else if (class->app_dscp == POLICY_DENY)
		diag_warning(diag, class->app_dscp_at,
			     "ancillary data cannot be refused, and class '%s' has no 'dscp' to "
			     "overwrite it with",
			     class->name);
}
