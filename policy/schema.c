// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Blocks in general, and the top level of a policy. */
#include <stdio.h>
#include <string.h>

#include "schema.h"
#include "suggest.h"

#define IDENTIFIER_FIRST "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
#define IDENTIFIER	 IDENTIFIER_FIRST ".-"
#define CGROUP_LONGEST	 255 /* as struct hq_install and struct hq_made_cgroup keep them */

static const char *kinds_text(unsigned int kinds)
{
	switch (kinds & ~TREE_NULL) {
	case TREE_SCALAR:
		return "a single value";
	case TREE_LIST:
		return "a list";
	case TREE_MAP:
		return "a block of keys";
	case TREE_SCALAR | TREE_LIST:
		return "a value or a list of values";
	case TREE_SCALAR | TREE_MAP:
		return "a value or a block of keys";
	default:
		return "a block of keys or a list of such blocks";
	}
}

bool schema_is_kind(struct schema *s, const struct tree_node *node, unsigned int kinds,
		    const char *name)
{
	if (node->kind & kinds || (kinds & TREE_NULL && tree_is_null(node)))
		return true;
	if (node->kind != TREE_BAD)
		diag_error(s->diag, node->at, "%s must be %s", name, kinds_text(kinds));
	return false;
}

void schema_each(struct schema *s, const struct schema_found *found, enum tree_kind kind,
		 void (*handle)(struct schema *s, const struct tree_node *item, void *target),
		 void *target)
{
	const struct tree_node *node = found->value;
	char name[HQ_NAME_LEN + 16];

	if (node->kind == kind) {
		handle(s, node, target);
		return;
	}
	if (!node->count)
		diag_error(s->diag, node->at, "'%s' is an empty list", found->schema->name);
	snprintf(name, sizeof(name), "an item of '%s'", found->schema->name);
	for (node = node->first; node; node = node->next)
		if (schema_is_kind(s, node, kind, name))
			handle(s, node, target);
}

void schema_not_supported(struct schema *s, struct diag_at at, const char *what)
{
	diag_error(s->diag, at, "'%s' is not supported yet", what);
}

static const struct schema_key *find_key(const struct schema_key *keys, const char *name)
{
	for (; keys->name; keys++)
		if (!strcmp(keys->name, name))
			return keys;
	return NULL;
}

static void report_unknown_key(struct schema *s, const struct tree_node *key,
			       const struct schema_key *keys, const char *where)
{
	struct suggestion suggestion = {.word = key->text};

	for (; keys->name && !diag_is_full(s->diag); keys++)
		suggest_offer(&suggestion, keys->name);
	diag_error(s->diag, key->at, "unknown key '%.64s' in %s%s", key->text, where,
		   suggest_text(&suggestion));
}

void schema_block(struct schema *s, const struct tree_node *map, const struct schema_key *keys,
		  const char *where, void *target)
{
	const struct tree_node *node;
	char name[HQ_NAME_LEN + 8];

	for (node = map->first; node; node = node->next->next) {
		struct schema_found found = {.key = node, .value = node->next, .target = target};

		if (node->kind != TREE_SCALAR)
			continue;
		found.schema = find_key(keys, node->text);
		if (!found.schema) {
			report_unknown_key(s, node, keys, where);
			continue;
		}
		if (!found.schema->kinds) {
			schema_not_supported(s, node->at, node->text);
			continue;
		}
		snprintf(name, sizeof(name), "'%s'", node->text);
		if (schema_is_kind(s, found.value, found.schema->kinds, name))
			found.schema->handle(s, &found);
	}
}

const char *schema_identifier(struct schema *s, const struct tree_node *node, const char *what)
{
	if (!schema_is_kind(s, node, TREE_SCALAR, what))
		return NULL;
	if (strlen(node->text) >= HQ_NAME_LEN) {
		diag_error(s->diag, node->at, "%s is longer than %d characters", what,
			   HQ_NAME_LEN - 1);
		return NULL;
	}
	if (!*node->text || !strchr(IDENTIFIER_FIRST, *node->text) ||
	    node->text[strspn(node->text, IDENTIFIER)]) {
		diag_error(s->diag, node->at,
			   "%s '%s' is not a name: letters, digits, '_', '.' and '-', the first "
			   "not '.' or '-'",
			   what, node->text);
		return NULL;
	}
	return node->text;
}

void schema_dscp(struct schema *s, const struct tree_node *node, bool keep, uint8_t *dscp)
{
	struct scalar_error error;
	uint32_t value;

	if (keep && !strcmp(node->text, "keep"))
		*dscp = HQ_KEEP;
	else if (!scalar_dscp(node->text, &value, &error))
		*dscp = value;
	else
		diag_error(s->diag, node->at, "%s", error.why);
}

static const char *cgroup_fault(const char *path, bool globs)
{
	const char *part;

	if (*path != '/')
		return "does not begin with '/'";
	if (strlen(path) > CGROUP_LONGEST)
		return "is longer than 255 characters";
	if (!globs && strchr(path, '*'))
		return "has a '*': a pattern cannot stand here";
	for (part = path; *part; part += strcspn(part, "/")) {
		size_t length = strcspn(++part, "/");

		if (!length && *part)
			return "has an empty component";
		if ((length == 1 && *part == '.') || (length == 2 && !strncmp(part, "..", 2)))
			return "has a component '.' or '..'";
	}
	return NULL;
}

const char *schema_cgroup(struct schema *s, const struct tree_node *node, bool globs)
{
	const char *fault = cgroup_fault(node->text, globs);
	size_t length = strlen(node->text);

	if (fault) {
		diag_error(s->diag, node->at, "cgroup '%.64s' %s; paths begin at the cgroup2 mount",
			   node->text, fault);
		return NULL;
	}
	/* A path means its subtree, so "/a/" and "/a/ **" are "/a". */
	for (;;) {
		if (length > 1 && node->text[length - 1] == '/')
			length--;
		else if (length >= 3 && !strncmp(node->text + length - 3, "/**", 3))
			length = length > 3 ? length - 3 : 1;
		else
			break;
	}
	return arena_strndup(&s->policy->arena, node->text, length);
}

static void read_version(struct schema *s, const struct schema_found *found)
{
	if (strcmp(found->value->text, "1"))
		diag_error(s->diag, found->value->at,
			   "language version '%.32s' is not known; this hostqos reads version 1",
			   found->value->text);
}

static void read_attach_cgroup(struct schema *s, const struct schema_found *found)
{
	const char *path = schema_cgroup(s, found->value, false);

	if (!path)
		return;
	s->policy->attach_cgroup = path;
	s->policy->attach_cgroup_at = found->value->at;
}

static void add_interface(struct schema *s, const struct tree_node *node, void *target)
{
	struct policy *policy = target;
	struct policy_interface *interface = &policy->interfaces[policy->interface_count];

	interface->at = node->at;
	interface->exclude = *node->text == '!';
	interface->glob = node->text + interface->exclude;
	if (!*interface->glob || strpbrk(interface->glob, "/ \t"))
		diag_error(s->diag, node->at, "'%.64s' is not an interface's name or glob",
			   node->text);
	else
		policy->interface_count++;
}

static void read_interfaces(struct schema *s, const struct schema_found *found)
{
	struct policy *policy = s->policy;

	policy->interfaces = arena_alloc(&policy->arena,
					 schema_count(found->value) * sizeof(*policy->interfaces));
	schema_each(s, found, TREE_SCALAR, add_interface, policy);
}

static const struct schema_key attach_keys[] = {
	{"cgroup", TREE_SCALAR, read_attach_cgroup, 0},
	{"interfaces", SCHEMA_VALUES, read_interfaces, 0},
	{0},
};

static void read_attach(struct schema *s, const struct schema_found *found)
{
	if (found->value->kind == TREE_MAP)
		schema_block(s, found->value, attach_keys, "'attach'", NULL);
}

static void read_classes(struct schema *s, const struct schema_found *found)
{
	const struct tree_node *name;
	struct policy *policy = s->policy;
	struct policy_class *classes;

	if (found->value->kind != TREE_MAP)
		return;
	classes = arena_alloc(&policy->arena, (found->value->count + 1) * sizeof(*classes));
	classes[HQ_CLASS_DEFAULT] = policy->classes[HQ_CLASS_DEFAULT];
	policy->classes = classes;
	for (name = found->value->first; name; name = name->next->next) {
		if (name->kind != TREE_SCALAR)
			continue;
		if (policy->class_count == HQ_MAX_CLASSES && strcmp(name->text, "default")) {
			diag_error(s->diag, name->at, "more than %d classes", HQ_MAX_CLASSES);
			return;
		}
		schema_class(s, name, name->next);
	}
}

static void read_rules(struct schema *s, const struct schema_found *found)
{
	const struct tree_node *node;
	struct policy *policy = s->policy;

	if (found->value->kind != TREE_LIST)
		return;
	policy->rules = arena_alloc(&policy->arena, found->value->count * sizeof(*policy->rules));
	for (node = found->value->first; node; node = node->next) {
		if (policy->rule_count == HQ_MAX_RULES) {
			diag_error(s->diag, node->at, "too many rules: %u, where %d are the most",
				   found->value->count, HQ_MAX_RULES);
			return;
		}
		schema_rule(s, node);
	}
}

/* `classes:` with nothing below it is as good as none. */
static const struct schema_key policy_keys[] = {
	{"hostqos", TREE_SCALAR, read_version, 0},
	{"attach", TREE_NULL | TREE_MAP, read_attach, 0},
	{"classes", TREE_NULL | TREE_MAP, read_classes, 0},
	{"rules", TREE_NULL | TREE_LIST, read_rules, 0},
	{"schedulers", 0, NULL, 0},
	{0},
};

void schema_read(struct schema *s, const struct tree_node *root)
{
	if (!schema_is_kind(s, root, TREE_MAP, "the policy"))
		return;
	if (!tree_get(root, "hostqos"))
		diag_error(s->diag, root->at,
			   "the policy does not say its language version: 'hostqos: 1'");
	schema_block(s, root, policy_keys, "the policy", NULL);
}
