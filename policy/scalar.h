/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The values of the policy language as text. Each function returns 0, or
 * -EINVAL with the reason as a sentence in `why` and its result untouched.
 */
#ifndef HOSTQOS_SCALAR_H
#define HOSTQOS_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

#define SCALAR_WHY 256

struct scalar_error {
	char why[SCALAR_WHY];
};

/* A name and what it stands for; the table ends with a NULL name. */
struct scalar_name {
	const char *name;
	uint32_t value;
};

extern const struct scalar_name scalar_dscps[];
extern const struct scalar_name scalar_protocols[];
extern const struct scalar_name scalar_families[];
extern const struct scalar_name scalar_types[];
extern const struct scalar_name scalar_directions[];
extern const struct scalar_name scalar_origins[];
extern const struct scalar_name scalar_booleans[];
extern const struct scalar_name scalar_mirrors[];

/* Write `why`; returns -EINVAL. */
int scalar_fail(struct scalar_error *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The name of a value, or NULL. */
const char *scalar_name_of(const struct scalar_name *table, uint32_t value);

/* One of the table's names. `what` says what they name: "a protocol". */
int scalar_named(const struct scalar_name *table, const char *what, const char *text,
		 uint32_t *value, struct scalar_error *error);

/* Decimal digits and nothing else, up to `most`. */
int scalar_number(const char *what, const char *text, uint64_t most, uint64_t *value,
		  struct scalar_error *error);

/* As tc(8) spells them: bits/s; bytes (1kb is 1024); microseconds. */
int scalar_rate(const char *text, uint64_t *rate, struct scalar_error *error);
int scalar_size(const char *text, uint64_t *bytes, struct scalar_error *error);
int scalar_time(const char *text, uint64_t *usecs, struct scalar_error *error);
bool scalar_is_time(const char *text);

int scalar_dscp(const char *text, uint32_t *dscp, struct scalar_error *error);
int scalar_protocol(const char *text, uint32_t *protocol, struct scalar_error *error);
int scalar_ports(const char *text, struct policy_value *value, struct scalar_error *error);
int scalar_prefix(const char *text, struct policy_value *value, struct scalar_error *error);

#define SCALAR_RATE_LEAST    8000ULL	     /* 8kbit */
#define SCALAR_RATE_MOST     400000000000ULL /* 400gbit */
#define SCALAR_SIZE_MOST     0x7fffffffULL   /* hq_cost() takes less than 2^31 bytes */
#define SCALAR_TIME_MOST     60000000ULL     /* a minute */
#define SCALAR_PRIORITY_MOST 15
#define SCALAR_IPV4_BITS     96 /* of ::ffff:0:0/96 */

/* Whether a prefix lies in ::ffff:0:0/96, that is to say, is IPv4. */
bool scalar_is_ipv4(const struct policy_value *prefix);
/* Whether all addresses of one prefix are in another. */
bool scalar_covers(const struct policy_value *wide, const struct policy_value *narrow);

#endif
