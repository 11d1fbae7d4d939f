/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Why a flow has its rule, key by key: the policy's text read as a person reads
 * it, without the tables that the classifier asks. The classifier has the last
 * word; that both say the same is the caller's to check.
 */
#ifndef HOSTQOS_EXPLAIN_H
#define HOSTQOS_EXPLAIN_H

#include "lookup.h"
#include "policy.h"

/* A key whose value is not known leaves its rule undecided. In this order: min() is AND. */
enum explain_answer { EXPLAIN_NO, EXPLAIN_UNDECIDED, EXPLAIN_YES };

/* How one rule fares. Keys are bits 1 << enum policy_key. */
struct explain_reason {
	char rule[HQ_NAME_LEN]; /* as hq_rule.name */
	enum explain_answer matches;
	__u32 failed, undecided;	 /* keys of the match */
	__u32 not_failed, not_undecided; /* keys under `not` */
	char *text;			 /* the same as a sentence */
};

/* From the first rule to the one that surely matches, or to the last. */
struct explanation {
	struct explain_reason *reasons;
	size_t count;
	size_t sure, maybe; /* as policy_rank(); the number of all rules: none */
};

/* `exe` finds the executables that rules name, as when the policy was compiled. */
void explain_flow(struct explanation *e, const struct policy *policy,
		  const struct policy_flow *flow, policy_exe_fn exe);
void explain_free(struct explanation *e);

/* Does the classifier's answer agree: entries of the compiled rules, or HQ_RULE_NONE? */
bool explain_agrees(const struct explanation *e, const struct policy *policy, __u32 sure,
		    bool provisional);

#endif
