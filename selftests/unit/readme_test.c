/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The policy that the README shows is one that check accepts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy.h"

#define BEGIN "```yaml\n"
#define END   "\n```"

static char *read_whole(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	assert_non_null(f);
	assert_non_null(text);
	assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
	fclose(f);
	return text;
}

static void readme_policies_are_right(void **state)
{
	char *readme = read_whole("README.md"), *at = readme, *end;
	struct policy *policy;
	struct diag diag = {};
	int n = 0;

	(void)state;
	while ((at = strstr(at, BEGIN))) {
		at += strlen(BEGIN);
		end = strstr(at, END);
		assert_non_null(end);
		policy = policy_parse("README.md", at, end - at + 1, &diag);
		if (!policy)
			diag_print(&diag, stderr);
		assert_non_null(policy);
		policy_free(policy);
		diag_free(&diag);
		memset(&diag, 0, sizeof(diag));
		n++;
	}
	assert_true(n > 0);
	free(readme);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readme_policies_are_right),
	};

	return cmocka_run_group_tests_name("readme", tests, NULL, NULL);
}
