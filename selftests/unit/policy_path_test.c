// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Patterns of cgroup paths, alone and compiled together. */
#include "policy_helper.h"

#include "path.h"

/* As a row: bit N for pattern N (and those that are 32 more). */
static uint32_t ids_as_bits(void *context, const uint32_t *ids, size_t count)
{
	uint32_t bits = 0;
	size_t i;

	(void)context;
	for (i = 0; i < count; i++)
		bits |= 1U << ids[i] % 32;
	return bits;
}

static uint32_t run(const struct path_table *table, const char *path)
{
	uint32_t state = 0;

	for (; *path; path++)
		state = table->cells[state * table->stride + table->byte_class[(uint8_t)*path]];
	return table->cells[state * table->stride + table->stride - 1];
}

static bool matches(const char *pattern, bool unit, const char *path)
{
	struct path_set *set = path_set_new();
	struct path_table table;
	bool yes;

	unit ? path_add_unit(set, pattern) : path_add(set, pattern);
	assert_int_equal(path_compile(set, ids_as_bits, NULL, &table), 0);
	yes = run(&table, path);
	free(table.cells);
	path_set_free(set);
	return yes;
}

#define assert_path(pattern, path)    assert_true(matches(pattern, false, path))
#define assert_no_path(pattern, path) assert_false(matches(pattern, false, path))
#define assert_unit(unit, path)	      assert_true(matches(unit, true, path))
#define assert_no_unit(unit, path)    assert_false(matches(unit, true, path))

static void a_path_means_its_subtree(void **state)
{
	(void)state;
	assert_path("/", "");
	assert_path("/", "/a");
	assert_path("/", "/a/b");
	assert_path("/a", "/a");
	assert_path("/a", "/a/b");
	assert_path("/a/b", "/a/b/c/d");
	assert_no_path("/a", "");
	assert_no_path("/a", "/ab");
	assert_no_path("/a", "/ab/a");
	assert_no_path("/a", "/b/a");
	assert_no_path("/a/b", "/a");
	assert_no_path("/a/b", "/a/bc");
}

static void a_star_stays_within_a_component(void **state)
{
	(void)state;
	assert_path("/a*", "/a");
	assert_path("/a*", "/abc/d");
	assert_path("/*", "/x");
	assert_path("/*/b", "/x/b");
	assert_path("/a*b*c", "/abc");
	assert_path("/a*b*c", "/aXbbYcc/d");
	assert_path("/session-*.scope", "/session-12.scope");
	assert_no_path("/*", "");
	assert_no_path("/*/b", "/x/y/b");
	assert_no_path("/*/b", "/b");
	assert_no_path("/a*b", "/a/b");
	assert_no_path("/a*b*c", "/aXcbY");
}

static void two_stars_cross_components(void **state)
{
	(void)state;
	assert_path("/a/**/b", "/a/b");
	assert_path("/a/**/b", "/a/x/b");
	assert_path("/a/**/b", "/a/x/y/b/z");
	assert_path("/**/b", "/b");
	assert_path("/**/b", "/x/y/b");
	assert_path("/**/b*/**/c", "/x/bb/y/c");
	assert_path("/x**y", "/xy");
	assert_path("/x**y", "/xa/b/cy/d");
	assert_no_path("/a/**/b", "/a/xb");
	assert_no_path("/a/**/b", "/ab");
	assert_no_path("/a/**/b", "/x/a/b");
	assert_no_path("/**/b", "/x/bc");
	assert_no_path("/**/b", "");
	assert_no_path("/x**y", "/ax/y/");
}

static void a_unit_is_found_wherever_it_is(void **state)
{
	(void)state;
	assert_unit("nginx.service", "/system.slice/nginx.service");
	assert_unit("nginx.service", "/nginx.service");
	assert_unit("nginx.service", "/a/b/c/nginx.service/worker");
	assert_unit("nginx.service", "/machine.slice/x.scope/system.slice/nginx.service");
	assert_unit("f*.service", "/user.slice/user-1.slice/user@1.service/app.slice/foo.service");
	assert_unit("user@1.service", "/user.slice/user@1.service/app.slice/foo.service");
	assert_unit("app.slice", "/user.slice/user@1.service/app.slice/foo.service");
	assert_no_unit("nginx.service", "/system.slice/nginx.service.d");
	assert_no_unit("nginx.service", "/system.slice/xnginx.service");
	assert_no_unit("nginx.service", "/system.slice/nginx");
	/* A service's cgroups are its own affair. */
	assert_no_unit("nginx.service", "/system.slice/docker.service/nginx.service");
}

static void patterns_are_told_apart(void **state)
{
	struct path_set *set = path_set_new();
	struct path_table table;

	(void)state;
	assert_int_equal(path_add(set, "/"), 0);
	assert_int_equal(path_add(set, "/a"), 1);
	assert_int_equal(path_add(set, "/a/*"), 2);
	assert_int_equal(path_add(set, "/**/c"), 3);
	assert_int_equal(path_add_unit(set, "x.service"), 4);
	assert_int_equal(path_add(set, "/a"), 1);
	assert_int_equal(path_add_unit(set, "x.service"), 4);
	assert_int_equal(path_compile(set, ids_as_bits, NULL, &table), 0);
	assert_int_equal(run(&table, ""), 1);
	assert_int_equal(run(&table, "/a"), 3);
	assert_int_equal(run(&table, "/b"), 1);
	assert_int_equal(run(&table, "/a/b"), 7);
	assert_int_equal(run(&table, "/a/c"), 15);
	assert_int_equal(run(&table, "/x.service/c"), 25);
	assert_int_equal(run(&table, "/a/x.service/\xff\xfe"), 23);
	free(table.cells);
	path_set_free(set);
}

/* As on a large host: the automaton grows with the text of the patterns, not faster. */
static void thousands_of_names_fit(void **state)
{
	struct path_set *set = path_set_new();
	struct path_table table;
	char name[64];
	int i;

	(void)state;
	for (i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "service-%d.service", i);
		path_add_unit(set, name);
	}
	assert_int_equal(path_compile(set, ids_as_bits, NULL, &table), 0);
	assert_true(table.cell_count / table.stride < HQ_MAX_PATH_STATES / 2);
	free(table.cells);
	path_set_free(set);

	set = path_set_new();
	for (i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "/system.slice/service-%d.service", i);
		path_add(set, name);
	}
	path_add(set, "/**/late");
	assert_int_equal(path_compile(set, ids_as_bits, NULL, &table), 0);
	free(table.cells);
	path_set_free(set);
}

static void too_many_states_are_refused(void **state)
{
	struct path_set *set = path_set_new();
	struct path_table table;
	char pattern[64];
	int i;

	(void)state;
	for (i = 0; i < 30; i++) {
		snprintf(pattern, sizeof(pattern), "/**/some-%d*", i);
		path_add(set, pattern);
	}
	assert_int_equal(path_compile(set, ids_as_bits, NULL, &table), -E2BIG);
	path_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_means_its_subtree),
		cmocka_unit_test(a_star_stays_within_a_component),
		cmocka_unit_test(two_stars_cross_components),
		cmocka_unit_test(a_unit_is_found_wherever_it_is),
		cmocka_unit_test(patterns_are_told_apart),
		cmocka_unit_test(thousands_of_names_fit),
		cmocka_unit_test(too_many_states_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
