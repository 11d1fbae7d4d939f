// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "compile.h"
#include "describe.h"
#include "explain.h"
#include "path.h"
#include "print.h"

#define VALUES_SAID 8 /* of a long list */

struct subject {
	const struct policy_flow *flow;
	policy_exe_fn exe;
	struct explain_reason *reason;
	FILE *text;
};

/* An IPv4 address is in no prefix of IPv6, though its mapped form be in ::/0. */
static bool in_prefix(const struct policy_value *value, const uint8_t address[16])
{
	unsigned int bits = value->prefix.length, i;

	if (scalar_is_ipv4(value) != describe_is_ipv4(address))
		return false;
	for (i = 0; i < bits; i++)
		if ((value->prefix.address[i / 8] ^ address[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

static bool in_ports(const struct policy_value *value, uint16_t port)
{
	return value->ports.first <= port && port <= value->ports.last;
}

static bool is_exe(const struct subject *s, const struct policy_value *value)
{
	__u32 device;
	__u64 inode;

	if (*value->text != '/')
		return policy_name_hash(value->text) == policy_exe_hash(s->flow);
	return !s->exe(value->text, &device, &inode) && inode == s->flow->exe_inode &&
	       device == s->flow->exe_device;
}

static bool value_holds(const struct subject *s, enum policy_key key,
			const struct policy_value *value)
{
	const struct policy_flow *flow = s->flow;

	switch (key) {
	case POLICY_CGROUP:
	case POLICY_UNIT:
		return path_matches(value->text, key == POLICY_UNIT, flow->cgroup);
	case POLICY_EXE:
		return is_exe(s, value);
	case POLICY_LOCAL:
		return in_prefix(value, flow->local);
	case POLICY_REMOTE:
		return in_prefix(value, flow->remote);
	case POLICY_LOCAL_PORT:
		return in_ports(value, flow->local_port);
	case POLICY_REMOTE_PORT:
		return in_ports(value, flow->remote_port);
	default:
		return value->number == describe_number(flow, key);
	}
}

static enum explain_answer term_holds(const struct subject *s, const struct policy_term *term)
{
	__u32 known = s->flow->known | HQ_BIT(HQ_DIM_ORIGIN);
	enum explain_answer best = EXPLAIN_NO;
	size_t v;

	for (v = 0; v < term->count && best < EXPLAIN_YES; v++) {
		const struct policy_value *value = &term->values[v];

		if (!(known & HQ_BIT(compile_dim(term->key, value))))
			best = EXPLAIN_UNDECIDED;
		else if (value_holds(s, term->key, value))
			best = EXPLAIN_YES;
	}
	return best;
}

static void say_wanted(const struct subject *s, const struct policy_term *term)
{
	size_t v;

	for (v = 0; v < term->count && v < VALUES_SAID; v++) {
		fputs(v ? " or " : "", s->text);
		print_value(s->text, term->key, &term->values[v]);
	}
	if (v < term->count)
		fprintf(s->text, " or one of %zu more", term->count - v);
}

static void judge_terms(struct subject *s, const struct policy_match *match, bool unwanted)
{
	struct explain_reason *r = s->reason;
	size_t t;

	for (t = 0; t < match->count; t++) {
		const struct policy_term *term = &match->terms[t];
		enum explain_answer holds = term_holds(s, term);

		if (unwanted)
			holds = EXPLAIN_YES - holds;
		if (holds < r->matches)
			r->matches = holds;
		if (holds == EXPLAIN_NO)
			*(unwanted ? &r->not_failed : &r->failed) |= 1U << term->key;
		if (holds == EXPLAIN_UNDECIDED)
			*(unwanted ? &r->not_undecided : &r->undecided) |= 1U << term->key;
	}
}

/* "protocol is tcp, not udp; remote is 192.0.2.7, which `not` excludes" */
static void say_failed(const struct subject *s, const struct policy_match *match)
{
	const struct explain_reason *r = s->reason;
	const char *separator = "";
	enum policy_key key;
	size_t t;

	for (t = 0; t < match->count; t++) {
		if (!(r->failed & 1U << match->terms[t].key))
			continue;
		fprintf(s->text, "%s%s is ", separator, policy_key_name(match->terms[t].key));
		describe_value(s->text, s->flow, match->terms[t].key);
		fputs(", not ", s->text);
		say_wanted(s, &match->terms[t]);
		separator = "; ";
	}
	for (key = 0; key < POLICY_KEYS; key++) {
		if (!(r->not_failed & 1U << key))
			continue;
		fprintf(s->text, "%s%s is ", separator, policy_key_name(key));
		describe_value(s->text, s->flow, key);
		fputs(", which `not` excludes", s->text);
		separator = "; ";
	}
}

/* "user and remote are not known" */
static void say_undecided(const struct subject *s)
{
	__u32 keys = s->reason->undecided | s->reason->not_undecided, rest = keys;
	enum policy_key key;

	for (key = 0; key < POLICY_KEYS; key++) {
		if (!(keys & 1U << key))
			continue;
		rest &= ~(1U << key);
		fprintf(s->text, "%s%s", policy_key_name(key),
			!rest		    ? ""
			: rest & (rest - 1) ? ", "
					    : " and ");
	}
	fprintf(s->text, " %s not known", keys & (keys - 1) ? "are" : "is");
}

static void say(const struct subject *s, const struct policy_match *match)
{
	if (s->reason->matches == EXPLAIN_NO)
		say_failed(s, match);
	else if (s->reason->matches == EXPLAIN_UNDECIDED)
		say_undecided(s);
	else
		fputs("every key matches", s->text);
}

/* What does not speak of the origin is for local sockets. */
static void judge_origin(struct subject *s)
{
	struct policy_value value = {.number = HQ_LOCAL};
	struct policy_term term = {.key = POLICY_ORIGIN, .values = &value, .count = 1};
	struct policy_match match = {.terms = &term, .count = 1};

	judge_terms(s, &match, false);
	if (s->reason->matches == EXPLAIN_NO)
		say_failed(s, &match);
}

static void judge_rule(struct subject *s, const struct policy_rule *rule)
{
	size_t i;

	if (rule->name)
		snprintf(s->reason->rule, HQ_NAME_LEN, "%s", rule->name);
	else
		snprintf(s->reason->rule, HQ_NAME_LEN, "#%u", rule->at.line);
	if (!check_says(rule, POLICY_ORIGIN))
		judge_origin(s);
	if (s->reason->matches == EXPLAIN_NO)
		return;
	judge_terms(s, &rule->match, false);
	for (i = 0; i < rule->nots_count; i++)
		judge_terms(s, &rule->nots[i], true);
	say(s, &rule->match);
}

/* A class's own cgroup is a rule whose only key is `cgroup`. */
static void judge_class(struct subject *s, const struct policy_class *class)
{
	struct policy_value value = {.text = class->cgroup};
	struct policy_term term = {.key = POLICY_CGROUP, .values = &value, .count = 1};
	struct policy_match match = {.terms = &term, .count = 1};

	snprintf(s->reason->rule, HQ_NAME_LEN, "class %.57s", class->name);
	judge_origin(s);
	if (s->reason->matches == EXPLAIN_NO)
		return;
	judge_terms(s, &match, false);
	say(s, &match);
}

static void judge(struct explanation *e, struct subject *s, const struct policy *policy,
		  const struct policy_class *own)
{
	size_t i = e->count, size;

	e->reasons = mem_grow(e->reasons, i, sizeof(*e->reasons));
	s->reason = &e->reasons[i];
	memset(s->reason, 0, sizeof(*s->reason));
	s->reason->matches = EXPLAIN_YES;
	s->text = open_memstream(&s->reason->text, &size);
	if (!s->text)
		abort();
	if (own)
		judge_class(s, own);
	else
		judge_rule(s, &policy->rules[i]);
	fclose(s->text);
	e->count++;
}

void explain_flow(struct explanation *e, const struct policy *policy,
		  const struct policy_flow *flow, policy_exe_fn exe)
{
	const struct policy_class **own = mem_alloc(policy->class_count, sizeof(*own));
	size_t all = policy->rule_count + policy_own_cgroups(policy, own), i;
	struct subject s = {.flow = flow, .exe = exe};

	memset(e, 0, sizeof(*e));
	e->sure = e->maybe = all;
	for (i = 0; i < all && e->sure == all; i++) {
		judge(e, &s, policy, i < policy->rule_count ? NULL : own[i - policy->rule_count]);
		if (e->reasons[i].matches != EXPLAIN_NO && e->maybe == all)
			e->maybe = i;
		if (e->reasons[i].matches == EXPLAIN_YES)
			e->sure = i;
	}
	free(own);
}

void explain_free(struct explanation *e)
{
	size_t i;

	for (i = 0; i < e->count; i++)
		free(e->reasons[i].text);
	free(e->reasons);
	memset(e, 0, sizeof(*e));
}

bool explain_agrees(const struct explanation *e, const struct policy *policy, __u32 sure,
		    bool provisional)
{
	bool found = e->count && e->reasons[e->count - 1].matches == EXPLAIN_YES;

	if (provisional != (e->maybe < e->sure))
		return false;
	return sure == HQ_RULE_NONE ? !found : found && policy_rank(policy, sure) == e->sure;
}
