// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Hostile and huge files: a clear error or success, never a crash, within
 * bounded time and memory. The sanitizer counts the memory; it also makes
 * everything several times slower, so that time is judged accordingly: without
 * it each of these takes well under two seconds.
 */
#include <time.h>

#include "policy_helper.h"

/* Of <sanitizer/allocator_interface.h>, which Debian's gcc comes without. */
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t),
					      void (*)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *);

#define MEGABYTE     (1UL << 20)
#define FILE_SIZE    (10 * MEGABYTE)
#define MEMORY_MOST  (256 * MEGABYTE)
#define SECONDS_MOST 40

static size_t allocated, peak;

static void count_malloc(const volatile void *memory, size_t size)
{
	(void)memory;
	allocated += size;
	peak = allocated > peak ? allocated : peak;
}

static void count_free(const volatile void *memory)
{
	if (memory)
		allocated -= __sanitizer_get_allocated_size(memory);
}

/* The messages of a text that is given over, within the bounds. */
static char *bounded_messages(char *text, size_t length)
{
	clock_t begin = clock();
	char *said;

	peak = allocated;
	said = helper_messages(text, length);
	free(text);
	assert_true(peak <= MEMORY_MOST);
	assert_true((clock() - begin) / CLOCKS_PER_SEC < SECONDS_MOST);
	return said;
}

static void assert_says(char *text, size_t length, const char *message)
{
	char *said = bounded_messages(text, length);

	if (!strstr(said, message))
		print_error("%.500s\n", said);
	assert_non_null(strstr(said, message));
	free(said);
}

/* `head`, then `unit` over and over up to FILE_SIZE. */
static void assert_repeated_says(const char *head, const char *unit, const char *message)
{
	size_t length = strlen(head), step = strlen(unit);
	char *text = malloc(FILE_SIZE + step + 1);

	memcpy(text, head, length);
	while (length < FILE_SIZE) {
		memcpy(text + length, unit, step);
		length += step;
	}
	assert_says(text, length, message);
}

static void ten_megabytes_of_anything(void **state)
{
	static const struct {
		const char *head, *unit, *message;
	} cases[] = {
		{"", "[", "nested deeper"},
		{"", "{", "a key must be plain text"},
		{"", "- ", "nested deeper"},
		{"", "? ", "a key must be plain text"},
		{"", "a: ", "mapping values are not allowed"},
		{"[", "a,", "too large: more than"},
		{"", "- a\n", "too large: more than"},
		{"", "k: 1\n", "too large: more than"},
		{"", "#", "the policy is empty"},
		{"", "\n", "the policy is empty"},
		{"", " ", "the policy is empty"},
		{"", "---\n", "a second YAML document"},
		{"", "a", "must be a block of keys"},
		{"hostqos: \"", "a", "found unexpected end of stream"},
		{"hostqos: |\n", "  a\n", "a line break or control character"},
		{"[", "*a,", "YAML aliases are not part"},
		{"[", "&a b,", "YAML anchors are not part"},
		{"[", "!a b,", "YAML tags are not part"},
		{"a: &a [*a, *a]\n", "b: *a\n", "YAML aliases are not part"},
		{"", "\xff", "not text"},
		{"", "\x01", "not text"},
		{"", "\xc3\xa9", "must be a block of keys"},
		{"", "key: aaaaaaa\n", "duplicate key 'key'"},
		{"hostqos: 1\nrules:\n", "- {class: nobody-at-all}\n", "unknown class"},
		{"hostqos: 1\nrules:\n- match:\n    user:\n", "    - no-such\n", "unknown user"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_repeated_says(cases[i].head, cases[i].unit, cases[i].message);
}

static void a_longer_file_is_refused_unread(void **state)
{
	char *text = calloc(1, POLICY_MAX_TEXT + 1);

	(void)state;
	assert_says(text, POLICY_MAX_TEXT + 1, "too large: more than 16777216 bytes");
}

/* A policy of `rules` rules, which `write` writes. */
static char *write_rules(int rules, void (*write)(FILE *, int), size_t *length)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, length);
	int i;

	fprintf(out, "hostqos: 1\nclasses: { c: { dscp: EF } }\nrules:\n");
	for (i = 0; i < rules; i++)
		write(out, i);
	fclose(out);
	return text;
}

static void write_usual(FILE *out, int i)
{
	fprintf(out,
		"  - name: rule-%d\n"
		"    match: { user: root, protocol: tcp, remote_port: [%d, 443], remote: 10.%d.%d.%d }\n"
		"    class: c\n",
		i, 1 + i % 60000, i >> 16 & 255, i >> 8 & 255, i & 255);
}

static void write_wrong(FILE *out, int i)
{
	fprintf(out, "  - { match: { user: nobody-%d, remote_prot: %dx, remote: 10.0.0.1/8 } }\n",
		i, i);
}

/* 2,000 cgroups, 5,000 prefixes, 3,000 ports. */
static void write_large(FILE *out, int i)
{
	fprintf(out, "  - { match: { user: 7, cgroup: /system.slice/service-%d.service, ",
		i % 2000);
	fprintf(out, "remote_port: %d, ", 1 + i * 7 % 3000);
	if (i % 2)
		fprintf(out, "remote: 10.%d.%d.0/24, ", i % 10, i % 2500 % 256);
	else
		fprintf(out, "not: { remote: \"2001:db8:%x::/48\" }, ", i % 5000 / 2);
	fprintf(out, "}, class: c }\n");
}

static void a_hundred_thousand_rules(void **state)
{
	size_t length;
	char *text = write_rules(100000, write_usual, &length);

	(void)state;
	assert_says(text, length, "error: too many rules: 100000, where 16383 are the most");
	text = write_rules(100000, write_wrong, &length);
	assert_says(text, length, "did you mean 'remote_port'?");
}

static void all_rules_that_there_can_be(void **state)
{
	size_t length;
	char *text = write_rules(HQ_MAX_RULES, write_usual, &length);
	char *said = bounded_messages(text, length);

	(void)state;
	assert_string_equal(said, "");
	free(said);
}

static void a_large_host(void **state)
{
	size_t length;
	char *text = write_rules(10000, write_large, &length);
	char *said = bounded_messages(text, length);

	(void)state;
	assert_null(strstr(said, "error"));
	free(said);
}

/* Bytes changed, taken away, doubled: whatever comes of it, no crash. */
static void damaged_policies_do_no_harm(void **state)
{
	static const char good[] =
		"hostqos: 1\n"
		"attach: { cgroup: /a, interfaces: [\"eth*\", \"!eth9\"] }\n"
		"classes:\n"
		"  voice: { dscp: EF, cgroup: /a/voice, priority: 6,\n"
		"           egress: { rate: 20mbit, burst: 10ms, exceed: { remark: AF11 } } }\n"
		"rules:\n"
		"  - name: one\n"
		"    match: { cgroup: [\"/a/**/b*\", /c], unit: foo, exe: [/exe/1, b], user: 3,\n"
		"             remote: [10.0.0.0/8, \"2001:db8::/32\"], remote_port: [1-5, 80],\n"
		"             not: [{ inbound_dscp: EF }, { local: 127.0.0.1, multicast: true }] }\n"
		"    class: voice\n"
		"  - { match: { protocol: tcp, type: stream, family: ipv4 }, refuse: true }\n";
	static const char odd[] = "{}[]:,-*&!#?|>%@`'\"\\\n\t \xff\xc3/0129ax~";
	uint64_t seed = 0x2545f4914f6cdd1dULL;
	int i, n;

	(void)state;
	for (i = 0; i < 20000; i++) {
		size_t length = strlen(good);
		char *text = malloc(2 * sizeof(good) * 4);

		memcpy(text, good, length);
		for (n = 1 + helper_random(&seed) % 3; n && length; n--) {
			size_t at = helper_random(&seed) % length;
			size_t part = 1 + helper_random(&seed) % 12;

			part = part > length - at ? length - at : part;
			switch (helper_random(&seed) % 4) {
			case 0:
				text[at] = odd[helper_random(&seed) % (sizeof(odd) - 1)];
				break;
			case 1:
				memmove(text + at, text + at + part, length - at - part);
				length -= part;
				break;
			case 2:
				memmove(text + at + part, text + at, length - at);
				length += part;
				break;
			default:
				length = at + 1;
			}
		}
		free(helper_messages(text, length));
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_megabytes_of_anything),
		cmocka_unit_test(a_longer_file_is_refused_unread),
		cmocka_unit_test(a_hundred_thousand_rules),
		cmocka_unit_test(all_rules_that_there_can_be),
		cmocka_unit_test(a_large_host),
		cmocka_unit_test(damaged_policies_do_no_harm),
	};

	if (!__sanitizer_install_malloc_and_free_hooks(count_malloc, count_free)) {
		fputs("the sanitizer does not count memory\n", stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
