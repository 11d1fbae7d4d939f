// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Whether a process can help itself to a good class. */
#include <string.h>

#include "check.h"
#include "scalar.h"

/* At CS0, LE (RFC 8622) and CS1 (RFC 3662) nothing is gained over the default. */
#define NO_BETTER (1ULL << 0 | 1ULL << 1 | 1ULL << 8)

static bool is_better_dscp(uint8_t dscp)
{
	return dscp != HQ_KEEP && !(NO_BETTER >> dscp & 1);
}

/* A mark or a priority that others do not have, given or there for the asking. */
static bool is_better(const struct policy_class *class)
{
	return is_better_dscp(class->dscp) || is_better_dscp(class->syn_ack) ||
	       (class->priority != HQ_KEEP && class->priority) ||
	       (class->app_dscp == POLICY_HONOR && (class->honored & ~NO_BETTER));
}

/* The executable's path does not tell who calls it, but the name could be any file's. */
static bool all_paths(const struct policy_term *exe)
{
	size_t i;

	for (i = 0; i < exe->count; i++)
		if (*exe->values[i].text != '/')
			return false;
	return true;
}

/* Does the key tell anything of who it is? Not so where it takes all. */
static bool is_anchor(const struct policy_term *term)
{
	size_t i;

	for (i = 0; i < term->count; i++) {
		const struct policy_value *value = &term->values[i];

		if (term->key == POLICY_CGROUP && !strcmp(value->text, "/"))
			return false;
		if ((term->key == POLICY_LOCAL || term->key == POLICY_REMOTE) &&
		    (!value->prefix.length ||
		     (scalar_is_ipv4(value) && value->prefix.length == SCALAR_IPV4_BITS)))
			return false;
	}
	return true;
}

bool check_tells(const struct policy_match *match, enum policy_key key)
{
	const struct policy_term *term = policy_term(match, key);

	return term && is_anchor(term);
}

void check_trust(const struct policy *policy, const struct policy_rule *rule, struct diag *diag)
{
	static const enum policy_key anchors[] = {POLICY_CGROUP, POLICY_UNIT,  POLICY_USER,
						  POLICY_GROUP,	 POLICY_LOCAL, POLICY_REMOTE};
	const struct policy_match *match = &rule->match;
	const struct policy_term *exe = policy_term(match, POLICY_EXE);
	bool local = check_origins(rule) & HQ_BIT(HQ_LOCAL);
	size_t i;

	if (rule->refuse || !is_better(&policy->classes[rule->class]))
		return;
	for (i = 0; i < sizeof(anchors) / sizeof(*anchors); i++)
		if (check_tells(match, anchors[i]))
			return;
	if (exe && all_paths(exe))
		return;
	if (exe || policy_term(match, POLICY_LOCAL_PORT) || policy_term(match, POLICY_REMOTE_PORT))
		diag_warning(diag, rule->class_at,
			     "any %s can choose its %s, and so class '%s'; add %s",
			     local ? "process" : "sender", exe ? "executable's name" : "ports",
			     rule->class_name,
			     local ? "'cgroup', 'unit' or 'user'" : "'local' or 'remote'");
}
