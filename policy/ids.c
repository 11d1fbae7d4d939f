// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Classes and rules keep their numbers from one policy to the next. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hostqos/bucket.h>
#include <hostqos/name.h>

#include "arena.h"
#include "compile.h"
#include "lookup.h"
#include "print.h"

/* Ids below `count`: what is in use now, and what the policy before used. */
struct pool {
	bool *now, *before;
	uint32_t count;
};

static struct pool pool_new(uint32_t count, const struct policy_id *old, size_t old_count)
{
	struct pool pool = {mem_alloc(count, 1), mem_alloc(count, 1), count};
	size_t i;

	for (i = 0; i < old_count; i++)
		if (old[i].id < count)
			pool.before[old[i].id] = true;
	return pool;
}

static void pool_free(struct pool *pool)
{
	free(pool->now);
	free(pool->before);
}

/*
 * A new id: one that the policy before did not use, as long as there is any,
 * so that what it counted is not taken for the newcomer's. *from: where to
 * look, the same variable for all of them.
 */
static uint16_t pool_take(struct pool *pool, uint32_t *from)
{
	for (; *from < 2 * pool->count; (*from)++) {
		uint32_t id = *from % pool->count;

		if (pool->now[id] || (*from < pool->count && pool->before[id]))
			continue;
		pool->now[id] = true;
		return id;
	}
	return 0;
}

static const struct policy_id *find_class_id(const struct policy_ids *ids, const char *name)
{
	size_t i;

	for (i = 0; ids && i < ids->class_count; i++)
		if (!strcmp(ids->classes[i].name, name))
			return &ids->classes[i];
	return NULL;
}

/*
 * Paced at just the rate, a flow keeps the bucket as empty as its start left
 * it, and each late timer or GSO packet above the burst is a drop: one part in
 * this many less lets the bucket fill again.
 */
#define PACING_SLACK 32

static void make_class(struct hq_class *to, const struct policy_class *from, __u32 *features)
{
	to->defined = 1;
	to->line = from->at.line;
	to->dscp = from->dscp;
	to->syn_ack = from->syn_ack;
	to->priority = from->priority;
	to->exceed = from->egress.exceed;
	to->exceed_dscp = from->egress.exceed_dscp;
	snprintf(to->name, sizeof(to->name), "%s", from->name);
	to->honored = policy_honored(from);
	to->deny = from->app_dscp == POLICY_DENY;
	if (from->priority != HQ_KEEP)
		*features |= HQ_FEATURE_PRIORITY;
	compile_mirror(to, &from->mirror, features);
	if (from->dscp != HQ_KEEP || from->syn_ack != HQ_KEEP || from->priority != HQ_KEEP ||
	    to->mirror || to->deny)
		*features |= HQ_FEATURE_APP_DSCP;
	if (!from->egress.rate)
		return;
	*features |= HQ_FEATURE_PACING;
	compile_meter(&to->egress, from->egress.rate, policy_burst(&from->egress));
	/* Where the excess is carried on as well, nobody is to be slowed down. */
	if (from->egress.exceed == HQ_EXCEED_DROP && to->egress.rate <= UINT32_MAX)
		to->pace = to->egress.rate - to->egress.rate / PACING_SLACK;
}

void compile_classes(struct compiler *c, const struct policy_ids *ids, uint16_t *class_ids)
{
	const struct policy *policy = c->policy;
	struct pool pool =
		pool_new(HQ_MAX_CLASSES, ids ? ids->classes : NULL, ids ? ids->class_count : 0);
	bool *kept = mem_alloc(policy->class_count, sizeof(*kept));
	uint32_t from = 0;
	size_t i;

	pool.now[HQ_CLASS_DEFAULT] = kept[0] = true;
	class_ids[0] = HQ_CLASS_DEFAULT;
	for (i = 1; i < policy->class_count; i++) {
		const struct policy_id *id = find_class_id(ids, policy->classes[i].name);

		if (!id || id->id >= HQ_MAX_CLASSES || pool.now[id->id])
			continue;
		class_ids[i] = id->id;
		pool.now[id->id] = kept[i] = true;
	}
	for (i = 0; i < policy->class_count; i++) {
		if (!kept[i])
			class_ids[i] = pool_take(&pool, &from);
		make_class(&c->image->classes[class_ids[i]], &policy->classes[i],
			   &c->image->header.features);
	}
	free(kept);
	pool_free(&pool);
}

static uint64_t hash_add(uint64_t hash, const char *text)
{
	while (*text)
		hash = hq_name_hash_add(hash, *text++);
	return hash;
}

/* The name, else what the rule says. */
static uint64_t entry_key(const struct compiler *c, const struct entry *entry)
{
	const char *class = c->policy->classes[entry->class].name;
	uint64_t hash = HQ_NAME_HASH_INIT;
	char *match;

	if (!entry->rule)
		return hash_add(hash_add(hash, "class "), class);
	if (entry->rule->name)
		return hash_add(hash, entry->rule->name);
	match = print_match_text(entry->rule);
	hash = hash_add(hash, match);
	hash = hash_add(hash, entry->rule->refuse ? " refuse" : " class ");
	free(match);
	return entry->rule->refuse ? hash : hash_add(hash, class);
}

struct keyed {
	uint64_t key;
	uint32_t index;
};

static int compare_keyed(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Rules that say the same: the second, the third and so on get keys of their own. */
static void make_distinct(const struct compiler *c, struct keyed *keyed)
{
	uint32_t i, same = 0;
	uint64_t key = 0;

	qsort(keyed, c->count, sizeof(*keyed), compare_keyed);
	for (i = 0; i < c->count; i++) {
		const struct entry *entry = &c->entries[keyed[i].index];

		if (!i || keyed[i].key != key) {
			key = keyed[i].key;
			same = 0;
			continue;
		}
		/* Both entries of one rule are the same rule. */
		if (entry->rule && entry->rule != c->entries[keyed[i - 1].index].rule)
			same++;
		if (same)
			keyed[i].key = hq_name_hash_add(hq_name_hash_add(key, same), same >> 8);
	}
	qsort(keyed, c->count, sizeof(*keyed), compare_keyed);
}

static int compare_ids(const void *a, const void *b)
{
	const struct policy_id *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

static const struct policy_id *find_rule_id(const struct policy_id *sorted, size_t count,
					    uint64_t key)
{
	struct policy_id wanted = {.key = key};

	return count ? bsearch(&wanted, sorted, count, sizeof(*sorted), compare_ids) : NULL;
}

/* Keys in order, so that the entries of one rule are neighbours. */
static void number_rules(struct compiler *c, const struct keyed *keyed, struct policy_id *old,
			 size_t old_count)
{
	struct pool pool = pool_new(HQ_MAX_RULES, old, old_count);
	bool *kept = mem_alloc(c->count, sizeof(*kept));
	uint32_t from = 0, i;

	for (i = 0; i < c->count; i++) {
		struct hq_rule *rule = &c->image->rules[keyed[i].index];
		const struct policy_id *id = find_rule_id(old, old_count, keyed[i].key);

		rule->key = keyed[i].key;
		if (!id || id->id >= HQ_MAX_RULES)
			continue;
		rule->counter = id->id;
		pool.now[id->id] = kept[i] = true;
	}
	for (i = 0; i < c->count; i++) {
		struct hq_rule *rule = &c->image->rules[keyed[i].index];

		if (kept[i])
			continue;
		if (i && keyed[i].key == keyed[i - 1].key)
			rule->counter = c->image->rules[keyed[i - 1].index].counter;
		else
			rule->counter = pool_take(&pool, &from);
	}
	free(kept);
	pool_free(&pool);
}

void compile_rule_keys(struct compiler *c, const struct policy_ids *ids)
{
	size_t old_count = ids ? ids->rule_count : 0;
	struct policy_id *old = mem_alloc(old_count, sizeof(*old));
	struct keyed *keyed = mem_alloc(c->count, sizeof(*keyed));
	uint32_t i;

	for (i = 0; i < c->count; i++)
		keyed[i] = (struct keyed){entry_key(c, &c->entries[i]), i};
	make_distinct(c, keyed);
	if (old_count) {
		memcpy(old, ids->rules, old_count * sizeof(*old));
		qsort(old, old_count, sizeof(*old), compare_ids);
	}
	number_rules(c, keyed, old, old_count);
	free(keyed);
	free(old);
}
