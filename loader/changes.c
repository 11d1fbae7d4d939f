/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "changes.h"
#include "output.h"
#include "policy.h"
#include "print.h"

/* A thing that a policy has: known by its key, described by its text. */
struct item {
	char *key;
	char *text;
	size_t position;
};

struct items {
	struct item *list;
	size_t count;
};

static int by_key(const void *a, const void *b)
{
	const struct item *ia = a, *ib = b;
	int order = strcmp(ia->key, ib->key);

	return order ? order : ia->position < ib->position ? -1 : 1;
}

static void items_begin(struct items *items, size_t count)
{
	items->list = calloc(count + 1, sizeof(*items->list));
	items->count = 0;
	if (!items->list)
		abort();
}

/* Takes both strings over. */
static void items_add(struct items *items, char *key, char *text)
{
	struct item *item = &items->list[items->count];

	if (!key || !text)
		abort();
	*item = (struct item){.key = key, .text = text, .position = items->count++};
}

static void items_free(struct items *items)
{
	size_t i;

	for (i = 0; i < items->count; i++) {
		free(items->list[i].key);
		free(items->list[i].text);
	}
	free(items->list);
}

static struct items classes_of(const struct policy *policy)
{
	struct items items;
	size_t i;

	items_begin(&items, policy ? policy->class_count : 0);
	for (i = 0; policy && i < policy->class_count; i++)
		if (policy->classes[i].at.line) /* else: `default` that is not written */
			items_add(&items, strdup(policy->classes[i].name),
				  print_class_text(&policy->classes[i]));
	return items;
}

static char *rule_text(const struct policy *policy, const struct policy_rule *rule)
{
	char *match = print_match_text(rule), *text;
	int n;

	if (rule->refuse)
		n = asprintf(&text, "%s, refuse", match);
	else
		n = asprintf(&text, "%s, class %s", match, policy->classes[rule->class].name);
	free(match);
	return n < 0 ? NULL : text;
}

static struct items rules_of(const struct policy *policy)
{
	struct items items;
	size_t i;

	items_begin(&items, policy ? policy->rule_count : 0);
	for (i = 0; policy && i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		char *text = rule_text(policy, rule);

		items_add(&items, strdup(rule->name ? rule->name : text), text);
	}
	return items;
}

static struct items attach_of(const struct policy *policy)
{
	struct items items;
	char *globs = strdup("");
	size_t i;

	items_begin(&items, 2);
	if (!policy) {
		free(globs);
		return items;
	}
	for (i = 0; i < policy->interface_count; i++) {
		char *more;

		if (asprintf(&more, "%s%s%s%s", globs, i ? ", " : "",
			     policy->interfaces[i].exclude ? "!" : "",
			     policy->interfaces[i].glob) < 0)
			abort();
		free(globs);
		globs = more;
	}
	items_add(&items, strdup("cgroup"), strdup(policy->attach_cgroup));
	if (policy->interface_count)
		items_add(&items, strdup("interfaces"), globs);
	else
		free(globs);
	return items;
}

static void add_change(struct json_object *changes, const char *what, const char *change,
		       const struct item *old, const struct item *new)
{
	struct json_object *o = json_object_new_object();

	json_add_string(o, "what", what);
	json_add_string(o, "name", old ? old->key : new->key);
	json_add_string(o, "change", change);
	json_add_string(o, "before", old ? old->text : NULL);
	json_add_string(o, "after", new ? new->text : NULL);
	json_object_array_add(changes, o);
}

/* Sort both by key, then merge. */
static void compare(struct json_object *changes, const char *what, struct items *old,
		    struct items *new)
{
	size_t i = 0, j = 0;

	qsort(old->list, old->count, sizeof(*old->list), by_key);
	qsort(new->list, new->count, sizeof(*new->list), by_key);
	while (i < old->count || j < new->count) {
		struct item *o = i < old->count ? &old->list[i] : NULL;
		struct item *n = j < new->count ? &new->list[j] : NULL;
		int order = !o ? 1 : !n ? -1 : strcmp(o->key, n->key);

		if (order < 0)
			add_change(changes, what, "removed", o, NULL);
		else if (order > 0)
			add_change(changes, what, "added", NULL, n);
		else if (strcmp(o->text, n->text))
			add_change(changes, what, "changed", o, n);
		i += order <= 0;
		j += order >= 0;
	}
}

static int by_position(const void *a, const void *b)
{
	const struct item *ia = a, *ib = b;

	return ia->position < ib->position ? -1 : 1;
}

/* First match wins: with the same rules in another order the policy differs. */
static void compare_order(struct json_object *changes, struct items *old, struct items *new)
{
	size_t i;

	if (old->count != new->count)
		return;
	qsort(old->list, old->count, sizeof(*old->list), by_position);
	qsort(new->list, new->count, sizeof(*new->list), by_position);
	for (i = 0; i < old->count; i++)
		if (strcmp(old->list[i].key, new->list[i].key)) {
			add_change(changes, "rule", "moved", &old->list[i], &new->list[i]);
			return;
		}
}

struct json_object *changes_between(const struct policy *old, const struct policy *new)
{
	static const struct {
		const char *what;
		struct items (*of)(const struct policy *policy);
	} kinds[] = {{"attach", attach_of}, {"class", classes_of}, {"rule", rules_of}};
	struct json_object *changes = json_object_new_array();
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct items before = kinds[i].of(old), after = kinds[i].of(new);
		size_t length = json_object_array_length(changes);

		compare(changes, kinds[i].what, &before, &after);
		if (kinds[i].of == rules_of && json_object_array_length(changes) == length)
			compare_order(changes, &before, &after);
		items_free(&before);
		items_free(&after);
	}
	return changes;
}

static const char *member(struct json_object *o, const char *key)
{
	return json_object_get_string(json_object_object_get(o, key));
}

void changes_print(struct json_object *changes)
{
	size_t i;

	for (i = 0; i < json_object_array_length(changes); i++) {
		struct json_object *o = json_object_array_get_idx(changes, i);
		const char *before = member(o, "before"), *after = member(o, "after");
		const char *name = member(o, "name");
		const char *text = after ? after : before;

		say("%s %s %s", member(o, "what"), name, member(o, "change"));
		if (before && after)
			say(": %s -> %s", before, after);
		else if (strcmp(name, text))
			say(": %s", text);
		putchar('\n');
	}
}
