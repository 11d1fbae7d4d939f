/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A policy file on its way into the kernel: read, parsed, compiled; and what
 * was found wrong with it.
 */
#ifndef HOSTQOS_LOADER_SOURCE_H
#define HOSTQOS_LOADER_SOURCE_H

#include <stdbool.h>

#include "policy.h"
#include "tables.h"

struct source {
	const char *file; /* as given */
	char *text;
	size_t length;
	struct diag diag;
	struct policy *policy;
	struct hq_image *image;
};

/* Read the file ("-": standard input) and parse it. 0, or -errno, reported or in `diag`. */
int source_read(struct source *s, const char *file);

/* Parse text that is at hand; a NUL-terminated copy is kept. */
int source_parse(struct source *s, const char *file, const char *text, size_t length);

/* The text that is in force, whose names stand for what they stood for where they are gone. */
int source_parse_again(struct source *s, const struct in_force *f);

/* Compile with the ids of the policy in force (NULL: none). 0, or -EINVAL with `diag`. */
int source_compile(struct source *s, const struct in_force *ids, policy_exe_fn exe);
void source_free(struct source *s);

/* Diagnostics to stderr, or among the messages of -j. At most once. */
void source_report(struct source *s, bool json);

#endif
