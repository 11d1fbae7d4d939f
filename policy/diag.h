/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Diagnostics are values: collected while the policy is read, sorted by their
 * position, and printed together (or read as data, for -j).
 */
#ifndef HOSTQOS_DIAG_H
#define HOSTQOS_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A place in the policy's text, both from 1; columns count characters. Line 0: no place. */
struct diag_at {
	unsigned int line;
	unsigned int column;
};

enum diag_severity { DIAG_ERROR, DIAG_WARNING, DIAG_SEVERITIES };

struct diag_entry {
	enum diag_severity severity;
	struct diag_at at;
	char *message;
	size_t order; /* of reporting: decides where positions are equal */
};

/* Begin with all zero. `file` and `text` are borrowed, and set by policy_parse(). */
struct diag {
	const char *file;
	const char *text;
	size_t length;
	struct diag_entry *entries;
	size_t count;			  /* entries kept */
	size_t reported[DIAG_SEVERITIES]; /* all, also those beyond what is kept */
};

/* Entries kept of each severity, and printed of each. */
#define DIAG_KEPT    1000
#define DIAG_PRINTED 100

void diag_error(struct diag *diag, struct diag_at at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void diag_warning(struct diag *diag, struct diag_at at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static inline size_t diag_errors(const struct diag *diag)
{
	return diag->reported[DIAG_ERROR];
}

/* No more errors are kept: what only makes one more helpful can be spared. */
static inline bool diag_is_full(const struct diag *diag)
{
	return diag->reported[DIAG_ERROR] >= DIAG_KEPT;
}

/* By position, then in the order of reporting. */
void diag_sort(struct diag *diag);

/* Sorts, then prints each as `FILE:LINE:COL: error: MESSAGE`, its line and a caret. */
void diag_print(struct diag *diag, FILE *out);

void diag_free(struct diag *diag);

#endif
