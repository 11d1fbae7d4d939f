// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* `rules`: what they match, and what becomes of it. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lookup.h"
#include "schema.h"

/* A block of match keys as it is read, and the rule for its `not`. */
struct match_target {
	struct policy_term terms[POLICY_KEYS];
	struct policy_rule *rule; /* NULL within `not` */
};

typedef int (*value_fn)(struct schema *s, const struct tree_node *node, struct policy_value *value,
			struct scalar_error *error);

static int read_cgroup(struct schema *s, const struct tree_node *node, struct policy_value *value,
		       struct scalar_error *error)
{
	value->text = schema_cgroup(s, node, true);
	error->why[0] = '\0';
	return value->text ? 0 : -EINVAL;
}

static int read_unit(struct schema *s, const struct tree_node *node, struct policy_value *value,
		     struct scalar_error *error)
{
	static const char *const suffixes[] = {".service", ".scope", ".slice", ".socket",
					       ".mount",   ".swap",  NULL};
	size_t length = strlen(node->text);
	char *unit;
	int i;

	if (!length || length > 200 || strpbrk(node->text, "/ \t") || strstr(node->text, "**"))
		return scalar_fail(error, "'%.64s' is not the name of a systemd unit", node->text);
	unit = arena_alloc(&s->policy->arena, length + sizeof(".service"));
	strcpy(unit, node->text);
	value->text = unit;
	for (i = 0; suffixes[i]; i++) {
		size_t suffix = strlen(suffixes[i]);

		if (length > suffix && !strcmp(unit + length - suffix, suffixes[i]))
			return 0;
	}
	strcpy(unit + length, ".service"); /* as systemctl(1) completes it */
	return 0;
}

static int read_exe(struct schema *s, const struct tree_node *node, struct policy_value *value,
		    struct scalar_error *error)
{
	size_t length = strlen(node->text);

	if (!length || length > 4095 || node->text[length - 1] == '/' ||
	    (*node->text != '/' && strchr(node->text, '/')))
		return scalar_fail(
			error, "'%.64s' is neither an absolute path nor the base name of a file",
			node->text);
	/* A file may be named so all the same; "/usr/bin/[" is. */
	if (strpbrk(node->text, "*?]"))
		diag_warning(s->diag, node->at,
			     "'%.64s' is no pattern here: 'exe' is the path or the base name of "
			     "one file, letter by letter",
			     node->text);
	value->text = node->text;
	return 0;
}

bool policy_account(const char *name, bool is_group, uint32_t *id)
{
	struct passwd *user = is_group ? NULL : getpwnam(name);
	struct group *group = is_group ? getgrnam(name) : NULL;

	if (user)
		*id = user->pw_uid;
	if (group)
		*id = group->gr_gid;
	return user || group;
}

/* Policies name the same few users over and over. */
static const struct schema_name *find_name(struct schema *s, const char *name, bool is_group)
{
	enum hq_dim dim = is_group ? HQ_DIM_GROUP : HQ_DIM_USER;
	const struct hq_named *former;
	struct schema_name *slot;

	slot = &s->names[(policy_name_hash(name) + is_group) % SCHEMA_NAMES_CACHED];
	if (slot->name && slot->is_group == is_group && !strcmp(slot->name, name))
		return slot;
	slot->name = name;
	slot->is_group = is_group;
	slot->known = policy_account(name, is_group, &slot->id);
	former = slot->known ? NULL : policy_former(s->policy, dim, name);
	slot->gone = former;
	if (former)
		slot->id = former->number;
	return slot;
}

static int read_account(struct schema *s, const struct tree_node *node, bool is_group,
			struct policy_value *value, struct scalar_error *error)
{
	const char *what = is_group ? "group" : "user";
	const struct schema_name *found;
	uint64_t number;

	value->text = node->text;
	if (*node->text && !node->text[strspn(node->text, "0123456789")]) {
		/* The last id is (uid_t)-1, which means none: chown(2). */
		if (scalar_number("a numeric id", node->text, UINT32_MAX - 1, &number, error))
			return -EINVAL;
		value->number = number;
		return 0;
	}
	/* A policy so wrong is refused in any case: do not ask for ever. */
	if (diag_is_full(s->diag))
		return scalar_fail(error, "%s '%.64s' was not looked up", what, node->text);
	found = find_name(s, node->text, is_group);
	if (!found->known && !found->gone)
		return scalar_fail(error, "unknown %s '%.64s'", what, node->text);
	value->number = found->id;
	value->gone = found->gone;
	return 0;
}

static int read_user(struct schema *s, const struct tree_node *node, struct policy_value *value,
		     struct scalar_error *error)
{
	return read_account(s, node, false, value, error);
}

static int read_group(struct schema *s, const struct tree_node *node, struct policy_value *value,
		      struct scalar_error *error)
{
	return read_account(s, node, true, value, error);
}

static int read_family(struct schema *s, const struct tree_node *node, struct policy_value *value,
		       struct scalar_error *error)
{
	(void)s;
	return scalar_named(scalar_families, "a family: ipv4 or ipv6", node->text, &value->number,
			    error);
}

static int read_protocol(struct schema *s, const struct tree_node *node, struct policy_value *value,
			 struct scalar_error *error)
{
	(void)s;
	return scalar_protocol(node->text, &value->number, error);
}

static int read_type(struct schema *s, const struct tree_node *node, struct policy_value *value,
		     struct scalar_error *error)
{
	(void)s;
	return scalar_named(scalar_types, "a type: stream, dgram, raw or seqpacket", node->text,
			    &value->number, error);
}

static int read_direction(struct schema *s, const struct tree_node *node,
			  struct policy_value *value, struct scalar_error *error)
{
	(void)s;
	return scalar_named(scalar_directions, "a direction: inbound or outbound", node->text,
			    &value->number, error);
}

static int read_prefix(struct schema *s, const struct tree_node *node, struct policy_value *value,
		       struct scalar_error *error)
{
	(void)s;
	return scalar_prefix(node->text, value, error);
}

static int read_ports(struct schema *s, const struct tree_node *node, struct policy_value *value,
		      struct scalar_error *error)
{
	(void)s;
	return scalar_ports(node->text, value, error);
}

static int read_inbound_dscp(struct schema *s, const struct tree_node *node,
			     struct policy_value *value, struct scalar_error *error)
{
	(void)s;
	return scalar_dscp(node->text, &value->number, error);
}

static int read_multicast(struct schema *s, const struct tree_node *node,
			  struct policy_value *value, struct scalar_error *error)
{
	(void)s;
	return scalar_named(scalar_booleans, "true or false", node->text, &value->number, error);
}

static int read_origin(struct schema *s, const struct tree_node *node, struct policy_value *value,
		       struct scalar_error *error)
{
	(void)s;
	return scalar_named(scalar_origins, "an origin: local or forwarded", node->text,
			    &value->number, error);
}

static const value_fn value_readers[POLICY_KEYS] = {
	[POLICY_CGROUP] = read_cgroup,
	[POLICY_UNIT] = read_unit,
	[POLICY_EXE] = read_exe,
	[POLICY_USER] = read_user,
	[POLICY_GROUP] = read_group,
	[POLICY_FAMILY] = read_family,
	[POLICY_PROTOCOL] = read_protocol,
	[POLICY_TYPE] = read_type,
	[POLICY_DIRECTION] = read_direction,
	[POLICY_LOCAL] = read_prefix,
	[POLICY_REMOTE] = read_prefix,
	[POLICY_LOCAL_PORT] = read_ports,
	[POLICY_REMOTE_PORT] = read_ports,
	[POLICY_INBOUND_DSCP] = read_inbound_dscp,
	[POLICY_MULTICAST] = read_multicast,
	[POLICY_ORIGIN] = read_origin,
};

static void read_value(struct schema *s, const struct tree_node *node, void *target)
{
	struct policy_term *term = target;
	struct policy_value *value = &term->values[term->count];
	struct scalar_error error;

	value->at = node->at;
	if (!value_readers[term->key](s, node, value, &error))
		term->count++;
	else if (error.why[0])
		diag_error(s->diag, node->at, "%s", error.why);
}

static void read_term(struct schema *s, const struct schema_found *found)
{
	struct match_target *target = found->target;
	struct policy_term *term = &target->terms[found->schema->which];

	term->key = found->schema->which;
	term->at = found->key->at;
	term->values =
		arena_alloc(&s->policy->arena, schema_count(found->value) * sizeof(*term->values));
	schema_each(s, found, TREE_SCALAR, read_value, term);
}

static void read_not(struct schema *s, const struct schema_found *found);

/* The first POLICY_KEYS of them in the order of enum policy_key. */
static const struct schema_key match_keys[] = {
	{"cgroup", SCHEMA_VALUES, read_term, POLICY_CGROUP},
	{"unit", SCHEMA_VALUES, read_term, POLICY_UNIT},
	{"exe", SCHEMA_VALUES, read_term, POLICY_EXE},
	{"user", SCHEMA_VALUES, read_term, POLICY_USER},
	{"group", SCHEMA_VALUES, read_term, POLICY_GROUP},
	{"family", SCHEMA_VALUES, read_term, POLICY_FAMILY},
	{"protocol", SCHEMA_VALUES, read_term, POLICY_PROTOCOL},
	{"type", SCHEMA_VALUES, read_term, POLICY_TYPE},
	{"direction", SCHEMA_VALUES, read_term, POLICY_DIRECTION},
	{"local", SCHEMA_VALUES, read_term, POLICY_LOCAL},
	{"remote", SCHEMA_VALUES, read_term, POLICY_REMOTE},
	{"local_port", SCHEMA_VALUES, read_term, POLICY_LOCAL_PORT},
	{"remote_port", SCHEMA_VALUES, read_term, POLICY_REMOTE_PORT},
	{"inbound_dscp", SCHEMA_VALUES, read_term, POLICY_INBOUND_DSCP},
	{"multicast", TREE_SCALAR, read_term, POLICY_MULTICAST},
	{"origin", SCHEMA_VALUES, read_term, POLICY_ORIGIN},
	{"not", TREE_MAP | TREE_LIST, read_not, 0},
	{0},
};

const char *policy_key_name(enum policy_key key)
{
	return match_keys[key].name;
}

static void read_block(struct schema *s, const struct tree_node *node, struct policy_rule *rule,
		       struct policy_match *match)
{
	struct match_target target = {.rule = rule};
	int key;

	schema_block(s, node, match_keys, s->where, &target);
	for (key = 0; key < POLICY_KEYS; key++)
		match->count += !!target.terms[key].values;
	match->terms = arena_alloc(&s->policy->arena, match->count * sizeof(*match->terms));
	match->count = 0;
	for (key = 0; key < POLICY_KEYS; key++)
		if (target.terms[key].values)
			match->terms[match->count++] = target.terms[key];
}

static void read_not_block(struct schema *s, const struct tree_node *node, void *target)
{
	struct policy_rule *rule = target;

	if (!node->count)
		diag_error(s->diag, node->at, "an empty block in 'not' excludes nothing");
	read_block(s, node, NULL, &rule->nots[rule->nots_count++]);
}

static void read_not(struct schema *s, const struct schema_found *found)
{
	struct policy_rule *rule = ((struct match_target *)found->target)->rule;

	if (!rule) {
		diag_error(s->diag, found->key->at, "'not' within 'not'");
		return;
	}
	rule->nots =
		arena_alloc(&s->policy->arena, schema_count(found->value) * sizeof(*rule->nots));
	schema_each(s, found, TREE_MAP, read_not_block, rule);
}

static void read_match(struct schema *s, const struct schema_found *found)
{
	struct policy_rule *rule = found->target;

	rule->has_match = true;
	read_block(s, found->value, rule, &rule->match);
}

static void read_name(struct schema *s, const struct schema_found *found)
{
	struct policy_rule *rule = found->target;

	rule->name = schema_identifier(s, found->value, "a rule's name");
}

static void read_class(struct schema *s, const struct schema_found *found)
{
	struct policy_rule *rule = found->target;

	(void)s;
	rule->class_name = found->value->text;
	rule->class_at = found->value->at;
}

static void read_refuse(struct schema *s, const struct schema_found *found)
{
	struct policy_rule *rule = found->target;

	if (strcmp(found->value->text, "true"))
		diag_error(s->diag, found->value->at, "'refuse' can only be true");
	rule->refuse = true;
	rule->class_at = found->value->at;
}

static const struct schema_key rule_keys[] = {
	{"name", TREE_SCALAR, read_name, 0},
	{"match", TREE_MAP, read_match, 0},
	{"class", TREE_SCALAR, read_class, 0},
	{"refuse", TREE_SCALAR, read_refuse, 0},
	{0},
};

void schema_rule(struct schema *s, const struct tree_node *node)
{
	struct policy_rule *rule = &s->policy->rules[s->policy->rule_count];
	const struct tree_node *name, *class, *refuse;

	if (!schema_is_kind(s, node, TREE_MAP, "a rule"))
		return;
	s->policy->rule_count++;
	rule->at = node->at;
	name = tree_get(node, "name");
	if (name && name->kind == TREE_SCALAR)
		snprintf(s->where, sizeof(s->where), "rule '%.64s'", name->text);
	else
		snprintf(s->where, sizeof(s->where), "the rule at line %u", node->at.line);
	schema_block(s, node, rule_keys, s->where, rule);
	class = tree_get(node, "class");
	refuse = tree_get(node, "refuse");
	if (class && refuse)
		diag_error(s->diag, refuse->at, "both 'class' and 'refuse' in %s", s->where);
	if (!class && !refuse)
		diag_error(s->diag, node->at, "neither 'class' nor 'refuse' in %s", s->where);
}
