// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Random policies, random flows: the compiled tables against the words, without a kernel. */
#include "../oracle/oracle.h"
#include "explain.h"
#include "policy_helper.h"

#define POLICIES      400
#define FLOWS	      200
#define EXPLAIN_EVERY 50 /* flows; it is the slow one */

static const char *compiled_name(const struct hq_image *image, uint32_t rule)
{
	return rule == HQ_RULE_NONE ? "" : image->rules[rule].name;
}

/* What `explain` reads from the text never leads elsewhere than the tables. */
static void compare_reasons(const struct policy *policy, const struct policy_flow *flow,
			    struct policy_matched found)
{
	struct explanation e;

	explain_flow(&e, policy, flow, helper_exe);
	assert_true(explain_agrees(&e, policy, found.sure, found.maybe < found.sure));
	assert_false(explain_agrees(&e, policy, found.sure, found.maybe >= found.sure));
	explain_free(&e);
}

static size_t compare(const struct oracle_policy *words, const struct policy *policy,
		      const struct hq_image *image, uint64_t *seed)
{
	size_t matched = 0;
	int i;

	for (i = 0; i < FLOWS; i++) {
		struct policy_flow flow = oracle_make_flow(words, seed);
		struct policy_matched found = policy_match(image, &flow);
		struct oracle_matched wanted = oracle_match(words, &flow);

		assert_string_equal(compiled_name(image, found.sure), wanted.sure);
		assert_string_equal(compiled_name(image, found.maybe), wanted.maybe);
		matched += *wanted.sure == 'r';
		if (i % EXPLAIN_EVERY == 0)
			compare_reasons(policy, &flow, found);
	}
	return matched;
}

static void tables_agree_with_the_words(void **state)
{
	struct oracle_policy *words = malloc(sizeof(*words));
	uint64_t seed = ORACLE_SEED;
	size_t good = 0, matched = 0;

	(void)state;
	while (good < POLICIES) {
		struct diag diag = {0};
		struct policy *policy;
		char *text;

		oracle_make_policy(words, &seed);
		text = oracle_write_policy(words, "");
		/* Keys that exclude each other are an error: such a policy does not count. */
		policy = policy_parse("random", text, strlen(text), &diag);
		if (policy) {
			struct hq_image *image = policy_compile(policy, NULL, helper_exe, &diag);

			assert_non_null(image);
			matched += compare(words, policy, image, &seed);
			image_free(image);
			good++;
		}
		policy_free(policy);
		diag_free(&diag);
		free(text);
	}
	free(words);
	/* It would be no test if hardly any rule ever matched. */
	assert_true(matched > POLICIES * FLOWS / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_agree_with_the_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
