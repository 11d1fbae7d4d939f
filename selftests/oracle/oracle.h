/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Random policies, random flows, and which rule decides such a flow, told from
 * the policy's words alone: the oracle of the property tests. It shares no more
 * than names with policy/ and bpf/, and knows nothing of rows or automata.
 */
#ifndef HOSTQOS_ORACLE_H
#define HOSTQOS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lookup.h"
#include "model.h"

#define ORACLE_RULES   1100 /* at most; more than two of HQ_CHUNK_RULES */
#define ORACLE_VALUES  3
#define ORACLE_BLOCKS  3 /* the match itself, and up to two under `not` */
#define ORACLE_CLASSES 4

/* For each key up to ORACLE_VALUES values, NULL where there are no more. */
struct oracle_block {
	const char *values[POLICY_KEYS][ORACLE_VALUES];
	bool used;
};

struct oracle_rule {
	struct oracle_block blocks[ORACLE_BLOCKS]; /* [0]: what must match; others under `not` */
	int class;
	bool refuse;
};

/* Rule N is named "rN", class N "cN". */
struct oracle_policy {
	struct oracle_rule rules[ORACLE_RULES];
	size_t count;
	const char *own_cgroup[ORACLE_CLASSES]; /* NULL: the class has none */
	bool says_origin;
};

/* Does the rule say anything about the key? */
bool oracle_rule_says(const struct oracle_rule *rule, enum policy_key key);

/*
 * The generator (random.c). Its state is the caller's seed: where a policy
 * begins it is what makes that policy and the flows that are asked for next.
 */
#define ORACLE_SEED 0x9e3779b97f4a7c15ULL

void oracle_make_policy(struct oracle_policy *policy, uint64_t *seed);

/*
 * The policy as text, to be freed. `top` is the cgroup that stands for the root,
 * "" for the real one. Keys that exclude each other are an error: not each text
 * is a good policy.
 */
char *oracle_write_policy(const struct oracle_policy *policy, const char *top);

/* The cgroups that flows are in, below `top`: their `cgroup` is one of these pointers. */
#define ORACLE_CGROUPS 22
extern const char *const oracle_cgroups[ORACLE_CGROUPS];

/* Forwarded packets only where the policy says anything about the origin. */
struct policy_flow oracle_make_flow(const struct oracle_policy *policy, uint64_t *seed);

/*
 * The interpreter (first_match.c): names of the first rule that surely matches,
 * and of the first that may, since a key whose value is not known leaves its rule
 * undecided. "class cN" where it is the class's own cgroup, "" for none.
 */
struct oracle_matched {
	char sure[32];
	char maybe[32];
};

struct oracle_matched oracle_match(const struct oracle_policy *policy,
				   const struct policy_flow *flow);

#endif
