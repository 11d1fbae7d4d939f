// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Every *.yaml here is compiled. What is said of it must be in NAME.err, and
 * how it prints in NAME.ok, which must parse to itself; a file that is not
 * there means nothing is said, or no policy comes of it. The examples in
 * configs/ must be free of errors. GOLDEN_UPDATE=1 writes what it finds instead.
 */
#include <dirent.h>
#include <unistd.h>

#include "../unit/policy_helper.h"

#ifndef GOLDEN_DIR
#define GOLDEN_DIR "selftests/golden"
#endif
#ifndef CONFIGS_DIR
#define CONFIGS_DIR "configs"
#endif

#define PATH_LENGTH 512
#define TESTS_MOST  256

static int is_yaml(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > 5 && !strcmp(entry->d_name + length - 5, ".yaml");
}

/* The file's content, NUL-terminated; NULL where there is no such file. */
static char *read_file(const char *path, size_t *length)
{
	FILE *in = fopen(path, "r");
	char *text = NULL;
	FILE *out;
	int c;

	if (!in)
		return NULL;
	out = open_memstream(&text, length);
	while ((c = getc(in)) != EOF)
		putc(c, out);
	fclose(in);
	fclose(out);
	return text;
}

/* "DIR/NAME.yaml" to "DIR/NAME.EXTENSION". */
static void sibling(char path[PATH_LENGTH], const char *yaml, const char *extension)
{
	snprintf(path, PATH_LENGTH, "%.*s%s", (int)(strlen(yaml) - strlen("yaml")), yaml,
		 extension);
}

static void update(const char *path, const char *text)
{
	FILE *out;

	if (!*text) {
		unlink(path);
		return;
	}
	out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

/* "" stands for a file that is not there. */
static void check_file(const char *yaml, const char *extension, const char *found)
{
	char path[PATH_LENGTH];
	char *wanted;
	size_t length;

	sibling(path, yaml, extension);
	if (getenv("GOLDEN_UPDATE"))
		update(path, found);
	wanted = read_file(path, &length);
	if (strcmp(wanted ? wanted : "", found))
		print_error("%s differs\n", path);
	assert_string_equal(found, wanted ? wanted : "");
	free(wanted);
}

static char *canonical(const struct policy *policy)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	print_policy(out, policy);
	fclose(out);
	return text;
}

static void prints_as_itself(const char *text)
{
	struct policy *policy = helper_parse(text);
	char *again = canonical(policy);

	assert_string_equal(again, text);
	free(again);
	policy_free(policy);
}

static void golden(void **state)
{
	const char *yaml = *state;
	struct diag diag = {0};
	struct hq_image *image = NULL;
	struct policy *policy;
	char *text, *said;
	size_t length;

	text = read_file(yaml, &length);
	assert_non_null(text);
	policy = policy_parse(strrchr(yaml, '/') + 1, text, length, &diag);
	if (policy)
		image = policy_compile(policy, NULL, helper_exe, &diag);
	said = helper_printed(&diag);
	check_file(yaml, "err", said);
	if (image) {
		char *printed = canonical(policy);

		check_file(yaml, "ok", printed);
		prints_as_itself(printed);
		free(printed);
	} else {
		check_file(yaml, "ok", "");
	}
	free(said);
	free(text);
	image_free(image);
	policy_free(policy);
	diag_free(&diag);
}

static void config(void **state)
{
	size_t length;
	char *text = read_file(*state, &length);
	struct policy *policy;
	char *printed;

	assert_non_null(text);
	policy = helper_parse(text);
	printed = canonical(policy);
	prints_as_itself(printed);
	image_free(helper_compile(text, NULL));
	free(printed);
	policy_free(policy);
	free(text);
}

/* One test for each file, named after it. */
static size_t add_tests(const char *dir, CMUnitTestFunction function, struct CMUnitTest *tests)
{
	struct dirent **entries;
	int count = scandir(dir, &entries, is_yaml, alphasort), i;

	if (count <= 0 || count > TESTS_MOST / 2) {
		fprintf(stderr, "%s: no files, or too many\n", dir);
		exit(EXIT_FAILURE);
	}
	for (i = 0; i < count; i++) {
		char path[PATH_LENGTH];

		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		tests[i] = (struct CMUnitTest){.name = strdup(path), .test_func = function};
		tests[i].initial_state = (void *)tests[i].name;
		free(entries[i]);
	}
	free(entries);
	return count;
}

int main(void)
{
	static struct CMUnitTest tests[TESTS_MOST];
	size_t count = add_tests(GOLDEN_DIR, golden, tests), i;
	int failed;

	count += add_tests(CONFIGS_DIR, config, tests + count);
	failed = _cmocka_run_group_tests("golden", tests, count, NULL, NULL);
	for (i = 0; i < count; i++)
		free(tests[i].initial_state);
	return failed;
}
