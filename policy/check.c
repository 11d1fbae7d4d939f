// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "policy.h"
#include "print.h"
#include "scalar.h"
#include "suggest.h"

const struct policy_term *policy_term(const struct policy_match *match, enum policy_key key)
{
	size_t i;

	for (i = 0; i < match->count; i++)
		if (match->terms[i].key == key)
			return &match->terms[i];
	return NULL;
}

static void resolve_class(const struct policy *policy, struct policy_rule *rule, struct diag *diag)
{
	struct suggestion suggestion = {.word = rule->class_name};
	int class = policy_find_class(policy, rule->class_name);
	size_t i;

	if (class >= 0) {
		rule->class = class;
		return;
	}
	for (i = 0; i < policy->class_count && !diag_is_full(diag); i++)
		suggest_offer(&suggestion, policy->classes[i].name);
	diag_error(diag, rule->class_at, "unknown class '%.64s'%s", rule->class_name,
		   suggest_text(&suggestion));
}

static bool is_below(const char *path, const char *top)
{
	size_t length = strlen(top);

	return !strcmp(top, "/") ||
	       (!strncmp(path, top, length) && (path[length] == '/' || path[length] == '\0'));
}

bool policy_governs(const struct policy *policy, const char *cgroup)
{
	return is_below(cgroup, policy->attach_cgroup);
}

/* Sockets outside are not governed. A pattern may begin anywhere. */
static void check_rule_cgroups(const struct policy *policy, const struct policy_term *term,
			       struct diag *diag)
{
	size_t i;

	for (i = 0; term && i < term->count; i++) {
		const char *path = term->values[i].text;

		if (!strpbrk(path, "*?[") && !policy_governs(policy, path) &&
		    !is_below(policy->attach_cgroup, path))
			diag_warning(diag, term->values[i].at,
				     "'%.64s' is not below '%.64s', which 'attach' governs: no "
				     "socket there is classified",
				     path, policy->attach_cgroup);
	}
}

static void check_rule(const struct policy *policy, struct policy_rule *rule, struct diag *diag)
{
	const struct policy_term *term = policy_term(&rule->match, POLICY_INBOUND_DSCP);
	bool local = check_origins(rule) & HQ_BIT(HQ_LOCAL);
	enum policy_key peer = local ? POLICY_REMOTE : POLICY_LOCAL; /* who sent it */

	if (rule->class_name)
		resolve_class(policy, rule, diag);
	check_match(rule, diag);
	check_trust(policy, rule, diag);
	if (term && !check_tells(&rule->match, peer))
		diag_warning(diag, term->at,
			     "'inbound_dscp' %s '%s'%s: any peer can send that DSCP",
			     policy_term(&rule->match, peer) ? "with a" : "without",
			     policy_key_name(peer),
			     policy_term(&rule->match, peer) ? " that takes all" : "");
	check_rule_cgroups(policy, policy_term(&rule->match, POLICY_CGROUP), diag);
}

static int compare_names(const void *a, const void *b)
{
	const struct policy_rule *x = *(const struct policy_rule *const *)a;
	const struct policy_rule *y = *(const struct policy_rule *const *)b;
	int order = strcmp(x->name, y->name);

	return order ? order : x < y ? -1 : x > y;
}

/* Counters go by the name. */
static void check_rule_names(const struct policy *policy, struct diag *diag)
{
	const struct policy_rule **named = mem_alloc(policy->rule_count, sizeof(*named));
	size_t count = 0, i;

	for (i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].name)
			named[count++] = &policy->rules[i];
	qsort(named, count, sizeof(*named), compare_names);
	for (i = 1; i < count; i++)
		if (!strcmp(named[i]->name, named[i - 1]->name))
			diag_error(diag, named[i]->at, "the rule at line %u is named '%s' too",
				   named[i - 1]->at.line, named[i]->name);
	free(named);
}

/*
 * The last rule of a list of what is allowed may refuse the rest, and says so by `match: {}`; else
 * `match` may be forgotten. Behind a rule for everything, what follows is reported as unreachable.
 */
static void check_refusals(const struct policy *policy, struct diag *diag)
{
	bool allowed = false;
	size_t i;

	for (i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		if (!rule->match.count && !rule->nots_count)
			break;
		allowed |= !rule->refuse;
	}
	if (i == policy->rule_count || !policy->rules[i].refuse || diag_errors(diag) ||
	    (allowed && policy->rules[i].has_match))
		return;
	diag_warning(diag, policy->rules[i].at,
		     allowed ? "this rule has no 'match': it refuses whatever reaches it; write "
			       "'match: {}' if the rest is to be refused"
			     : "this rule has nothing under 'match', and no earlier one allows "
			       "anything: it refuses all that is governed; write keys there, or "
			       "rules before it for what is allowed");
}

static void check_class_cgroup(const struct policy *policy, size_t index, struct diag *diag)
{
	const struct policy_class *class = &policy->classes[index];
	size_t i;

	if (!policy_governs(policy, class->cgroup))
		diag_error(diag, class->cgroup_at,
			   "cgroup '%.64s' of class '%s' is not below '%.64s', which 'attach' "
			   "governs",
			   class->cgroup, class->name, policy->attach_cgroup);
	for (i = 0; i < index; i++) {
		const struct policy_class *other = &policy->classes[i];

		if (other->cgroup && !strcmp(other->cgroup, class->cgroup))
			diag_error(diag, class->cgroup_at,
				   "cgroup '%.64s' belongs to class '%s' already", class->cgroup,
				   other->name);
	}
}

/*
 * An Ethernet header and 1500 bytes, as the meter counts them. A larger packet passes a bucket that
 * is full (bucket.h), and is what the bucket owes then.
 */
#define FRAME 1514

static void check_burst(const struct policy_class *class, struct diag *diag)
{
	uint64_t burst = policy_burst(&class->egress);

	if (!burst || burst > SCALAR_SIZE_MOST)
		diag_error(diag, class->egress.burst_at,
			   "burst of class '%s' comes to %llu bytes at its rate: 1b to 2gb less a "
			   "byte can be kept",
			   class->name, (unsigned long long)burst);
	else if (burst < FRAME)
		diag_warning(diag, class->egress.burst_at,
			     "burst of class '%s' comes to %llu bytes, less than a full frame: "
			     "of packets that come together at most the first is in profile; "
			     "leave 'burst' out for one that fits the rate",
			     class->name, (unsigned long long)burst);
}

static void check_classes(const struct policy *policy, const bool *used, struct diag *diag)
{
	size_t i;

	for (i = 0; i < policy->class_count; i++) {
		const struct policy_class *class = &policy->classes[i];

		check_app_dscp(class, diag);
		if (class->egress.rate)
			check_burst(class, diag);
		check_mirror(&class->mirror, diag);
		if (class->cgroup)
			check_class_cgroup(policy, i, diag);
		else if (i != HQ_CLASS_DEFAULT && !used[i] && !diag_errors(diag))
			diag_warning(diag, class->at,
				     "class '%s' is unused: no rule names it, and it has no cgroup",
				     class->name);
	}
}

void check_policy(struct policy *policy, struct diag *diag)
{
	bool *used = mem_alloc(policy->class_count, sizeof(*used));
	size_t i;

	for (i = 0; i < policy->rule_count; i++) {
		check_rule(policy, &policy->rules[i], diag);
		if (policy->rules[i].class_name)
			used[policy->rules[i].class] = true;
	}
	check_rule_names(policy, diag);
	check_refusals(policy, diag);
	check_classes(policy, used, diag);
	free(used);
}
