/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What `diff` and `apply` say that changed: classes and rules known again by
 * their names, unnamed rules by what they say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../loader/changes.c"
#include "../../loader/log.c"
#include "../../loader/output.c"

#define HEAD "hostqos: 1\n"

static struct policy *parsed(const char *text)
{
	struct diag diag = {};
	struct policy *policy = policy_parse("test.yaml", text, strlen(text), &diag);

	assert_non_null(policy);
	diag_free(&diag);
	return policy;
}

/* The one change from `old` to `new`, as "WHAT NAME CHANGE"; "" if there is none. */
static void assert_change(const char *old_text, const char *new_text, const char *expected)
{
	struct policy *old = parsed(old_text), *new = parsed(new_text);
	struct json_object *changes = changes_between(old, new);
	char found[256] = "";

	assert_in_range(json_object_array_length(changes), 0, 1);
	if (json_object_array_length(changes)) {
		struct json_object *o = json_object_array_get_idx(changes, 0);

		snprintf(found, sizeof(found), "%s %s %s", member(o, "what"), member(o, "name"),
			 member(o, "change"));
	}
	assert_string_equal(found, expected);
	json_object_put(changes);
	policy_free(old);
	policy_free(new);
}

#define VOICE HEAD "classes: { voice: { dscp: EF } }\n"

static void comments_and_layout_change_nothing(void **state)
{
	(void)state;
	assert_change(VOICE, "# why\n" HEAD "classes:\n  voice:\n    dscp: 46\n", "");
}

static void classes_are_known_by_name(void **state)
{
	(void)state;
	assert_change(HEAD, VOICE, "class voice added");
	assert_change(VOICE, HEAD, "class voice removed");
	assert_change(VOICE, HEAD "classes: { voice: { dscp: AF41 } }\n", "class voice changed");
}

#define RULES VOICE "rules:\n"
#define NAMED "- { name: dns, match: { remote_port: 53 }, class: voice }\n"
#define TCP   "- { match: { protocol: tcp }, class: voice }\n"

static void named_rules_are_known_by_name(void **state)
{
	(void)state;
	assert_change(VOICE, RULES NAMED, "rule dns added");
	assert_change(RULES NAMED,
		      RULES "- { name: dns, match: { remote_port: 53 }, refuse: true }\n",
		      "rule dns changed");
}

static void unnamed_rules_are_known_by_what_they_say(void **state)
{
	(void)state;
	assert_change(RULES NAMED, RULES NAMED TCP, "rule { protocol: tcp }, class voice added");
	assert_change(RULES TCP NAMED, RULES NAMED, "rule { protocol: tcp }, class voice removed");
}

static void the_order_of_rules_counts(void **state)
{
	(void)state;
	assert_change(RULES TCP NAMED, RULES NAMED TCP,
		      "rule { protocol: tcp }, class voice moved");
}

static void where_it_is_attached_counts(void **state)
{
	(void)state;
	assert_change(HEAD, HEAD "attach: { cgroup: /app }\n", "attach cgroup changed");
	assert_change(HEAD, HEAD "attach: { interfaces: [eth0] }\n", "attach interfaces added");
}

static void without_an_old_policy_all_is_new(void **state)
{
	struct policy *new = parsed(RULES NAMED);
	struct json_object *changes = changes_between(NULL, new);
	size_t i;

	(void)state;
	assert_int_equal(json_object_array_length(changes), 3);
	for (i = 0; i < 3; i++)
		assert_string_equal(member(json_object_array_get_idx(changes, i), "change"),
				    "added");
	json_object_put(changes);
	policy_free(new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comments_and_layout_change_nothing),
		cmocka_unit_test(classes_are_known_by_name),
		cmocka_unit_test(named_rules_are_known_by_name),
		cmocka_unit_test(unnamed_rules_are_known_by_what_they_say),
		cmocka_unit_test(the_order_of_rules_counts),
		cmocka_unit_test(where_it_is_attached_counts),
		cmocka_unit_test(without_an_old_policy_all_is_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
