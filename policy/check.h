/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* What only the whole policy can tell: references, combinations, dubious trust. */
#ifndef HOSTQOS_CHECK_H
#define HOSTQOS_CHECK_H

#include "model.h"

/* Resolves the classes of rules, too. */
void check_policy(struct policy *policy, struct diag *diag);

/* Whether the keys of one rule can hold together at all. */
void check_match(const struct policy_rule *rule, struct diag *diag);

bool check_has_ports(uint32_t protocol);

/* Whether a socket of this type can have the protocol. */
bool check_type_fits(uint32_t type, uint32_t protocol);

/* HQ_BIT()s of enum hq_origin: whose packets the rule may match; local ones if it does not say. */
unsigned int check_origins(const struct policy_rule *rule);

/* Whether the rule has this key, under `not` or not. */
bool check_says(const struct policy_rule *rule, enum policy_key key);

/* Whether `mirror` trusts everybody. */
void check_mirror(const struct policy_mirror *mirror, struct diag *diag);
/* Without a key that a process cannot choose, a good class is there for the taking. */
void check_trust(const struct policy *policy, const struct policy_rule *rule, struct diag *diag);

/* Whether a rule has the key, and it tells some from others: 0.0.0.0/0 does not. */
bool check_tells(const struct policy_match *match, enum policy_key key);

/* Whether the class has what its treatment of applications' marks needs. */
void check_app_dscp(const struct policy_class *class, struct diag *diag);

/* The term of this key, or NULL. */
const struct policy_term *policy_term(const struct policy_match *match, enum policy_key key);

#endif
