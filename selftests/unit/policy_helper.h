/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* What the tests of policy/ share. */
#ifndef HOSTQOS_POLICY_HELPER_H
#define HOSTQOS_POLICY_HELPER_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lookup.h"
#include "policy.h"
#include "print.h"

/* Executables as the tests know them: "/exe/N" has inode N on device 7; "/exe" is a directory. */
static inline int helper_exe(const char *path, __u32 *device, __u64 *inode)
{
	if (!strcmp(path, "/exe"))
		return -ENOEXEC;
	if (strncmp(path, "/exe/", 5))
		return -ENOENT;
	*device = 7;
	*inode = strtoul(path + 5, NULL, 10);
	return 0;
}

/* Diagnostics as printed, to be freed. */
static inline char *helper_printed(struct diag *diag)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	diag_print(diag, out);
	fclose(out);
	return text;
}

/* A policy that must be good. */
static inline struct policy *helper_parse(const char *text)
{
	struct diag diag = {0};
	struct policy *policy = policy_parse("t.yaml", text, strlen(text), &diag);

	if (!policy) {
		char *printed = helper_printed(&diag);

		print_error("%s", printed);
		free(printed);
	}
	assert_non_null(policy);
	diag_free(&diag);
	return policy;
}

static inline struct hq_image *helper_compile(const char *text, const struct policy_ids *ids)
{
	struct policy *policy = helper_parse(text);
	struct diag diag = {0};
	struct hq_image *image = policy_compile(policy, ids, helper_exe, &diag);

	assert_non_null(image);
	policy_free(policy);
	diag_free(&diag);
	return image;
}

/* All that is said of a text, compiled too if it is good. */
static inline char *helper_messages(const char *text, size_t length)
{
	struct diag diag = {0};
	struct policy *policy = policy_parse("t.yaml", text, length, &diag);
	char *printed;

	if (policy)
		image_free(policy_compile(policy, NULL, helper_exe, &diag));
	printed = helper_printed(&diag);
	policy_free(policy);
	diag_free(&diag);
	return printed;
}

/* xorshift64: the same in every run. */
static inline uint64_t helper_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

#endif
