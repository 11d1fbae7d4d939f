/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Canonical text: the same meaning always prints the same way, and the whole
 * policy as printed parses to itself.
 */
#ifndef HOSTQOS_PRINT_H
#define HOSTQOS_PRINT_H

#include <stdint.h>
#include <stdio.h>

#include "model.h"

/* Room for any scalar below. */
#define PRINT_SCALAR 64

/* Each returns `buffer`. */
const char *print_rate(char buffer[PRINT_SCALAR], uint64_t bits_per_second); /* "20mbit" */
const char *print_size(char buffer[PRINT_SCALAR], uint64_t bytes);	     /* "32kb" */
const char *print_dscp(char buffer[PRINT_SCALAR], uint8_t dscp);	     /* "EF", "5", "keep" */

/* One value of a match key, as it is written: "10000-20000". */
void print_value(FILE *out, enum policy_key key, const struct policy_value *value);

/* The rule's match in one line of YAML: "{ protocol: tcp, local_port: [80, 443] }". */
void print_match(FILE *out, const struct policy_rule *rule);
/* The same as a string, to be freed. */
char *print_match_text(const struct policy_rule *rule);

/* A class's settings in one line of YAML: "{ dscp: EF, egress: { ... } }". */
void print_class(FILE *out, const struct policy_class *class);
char *print_class_text(const struct policy_class *class);

/* Its `mirror`: "{ from: [...], allow: [...], of: syn }", to be freed. */
char *print_mirror_text(const struct policy_mirror *mirror);

void print_policy(FILE *out, const struct policy *policy);

#endif
