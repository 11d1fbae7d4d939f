/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * First match over bit vectors that are written here by hand, apart from the
 * compiler of policies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <hostqos/abi.h>

#define CHUNKS 3
#define ROWS   8

struct hq_tables {
	struct hq_vector vectors[ROWS * (1 + CHUNKS)];
	uint32_t count;
};

static const struct hq_vector *hq_vector_at(const struct hq_tables *t, __u32 index)
{
	return index < t->count ? &t->vectors[index] : NULL;
}

#include <hostqos/match.h>

/* Rows of the tables that follow; row HQ_ROW_ALL is all ones. */
enum { ALL = HQ_ROW_ALL, USER, USER_ANY, PORT, PORT_ANY, NOBODY, MISSING = ROWS };

/* Two dimensions are read: the user, known or not, and the remote port. */
struct fixture {
	struct hq_tables tables;
	struct hq_header header;
	struct hq_rows rows;
};

static void set_rule(struct fixture *f, uint32_t row, uint32_t rule)
{
	struct hq_vector *v = &f->tables.vectors[row * (1 + CHUNKS)];

	v[0].word[rule / 32 / 64] |= 1ULL << rule / 32 % 64;
	v[1 + rule / HQ_CHUNK_RULES].word[rule % HQ_CHUNK_RULES / 64] |= 1ULL << rule % 64;
}

static void setup(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->tables.count = ROWS * (1 + CHUNKS);
	f->header.chunks = CHUNKS;
	f->header.rules = CHUNKS * HQ_CHUNK_RULES;
	f->header.used = HQ_BIT(HQ_DIM_USER) | HQ_BIT(HQ_DIM_REMOTE_PORT);
	memset(f->tables.vectors, 0xff, (1 + CHUNKS) * sizeof(f->tables.vectors[0]));
	f->rows.row[HQ_DIM_USER] = USER;
	f->rows.row[HQ_DIM_REMOTE_PORT] = PORT;
}

static uint32_t first(const struct fixture *f, uint32_t dims)
{
	struct hq_scan scan;
	uint32_t step;

	hq_scan_begin(&scan, dims);
	for (step = 0; step < hq_scan_steps(&f->header); step++) {
		int end = hq_scan_step(&f->tables, &f->header, &f->rows, &scan, step);

		assert_true(end >= 0);
		if (end)
			return scan.rule;
		assert_int_equal(scan.rule, HQ_RULE_NONE);
	}
	return HQ_RULE_NONE;
}

static uint32_t sure(const struct fixture *f)
{
	return first(f, hq_sure_dims(&f->header));
}

static uint32_t maybe(const struct fixture *f)
{
	return first(f, hq_maybe_dims(&f->header, &f->rows));
}

static void test_first_bit_of_every_word(void **state)
{
	(void)state;
	for (uint32_t bit = 0; bit < 64; bit++) {
		assert_int_equal(hq_first_bit(1ULL << bit), bit);
		assert_int_equal(hq_first_bit(~0ULL << bit), bit);
		assert_int_equal(hq_first_bit(1ULL << bit | 1ULL << 63), bit);
	}
}

/* Each rule of every chunk is found, and named by its own number. */
static void test_every_rule_can_be_the_first(void **state)
{
	struct fixture f;

	(void)state;
	for (uint32_t rule = 0; rule < CHUNKS * HQ_CHUNK_RULES; rule++) {
		setup(&f);
		set_rule(&f, USER, rule);
		set_rule(&f, PORT, rule);
		set_rule(&f, USER, CHUNKS * HQ_CHUNK_RULES - 1);
		set_rule(&f, PORT, CHUNKS * HQ_CHUNK_RULES - 1);
		assert_int_equal(sure(&f), rule);
		assert_int_equal(maybe(&f), rule);
	}
}

static void test_rule_matches_in_all_dimensions_or_not(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	set_rule(&f, USER, 3);
	set_rule(&f, PORT, 4);
	assert_int_equal(sure(&f), HQ_RULE_NONE);
	set_rule(&f, USER, 700);
	set_rule(&f, PORT, 700);
	assert_int_equal(sure(&f), 700);
	set_rule(&f, USER, 4);
	assert_int_equal(sure(&f), 4);
}

static void test_dimension_that_no_rule_reads_is_not_looked_at(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	set_rule(&f, USER, 9);
	f.header.used = HQ_BIT(HQ_DIM_USER);
	f.rows.row[HQ_DIM_REMOTE_PORT] = MISSING;
	assert_int_equal(sure(&f), 9);
}

/* Rule 2 reads the user, rule 600 does not; who the user is, is not known yet. */
static void test_unknown_dimension_makes_the_answer_provisional(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.rows.unknown = HQ_BIT(HQ_DIM_USER);
	f.rows.row[HQ_DIM_USER] = USER_ANY;
	set_rule(&f, USER_ANY, 600);
	set_rule(&f, PORT, 2);
	set_rule(&f, PORT, 600);
	assert_int_equal(sure(&f), 600);
	assert_int_equal(maybe(&f), 2);
}

/* The user is unknown, but the only rule that reads it fails on the port: nothing is open. */
static void test_unknown_dimension_of_a_failed_rule_decides_nothing(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.rows.unknown = HQ_BIT(HQ_DIM_USER);
	f.rows.row[HQ_DIM_USER] = USER_ANY;
	set_rule(&f, USER_ANY, 600);
	set_rule(&f, PORT, 600);
	assert_int_equal(sure(&f), 600);
	assert_int_equal(maybe(&f), 600);
}

static void test_rules_after_the_sure_one_do_not_matter(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.rows.unknown = HQ_BIT(HQ_DIM_USER);
	f.rows.row[HQ_DIM_USER] = USER_ANY;
	set_rule(&f, USER_ANY, 5);
	set_rule(&f, PORT, 5);
	set_rule(&f, PORT, 6); /* reads the user */
	assert_int_equal(sure(&f), 5);
	assert_int_equal(maybe(&f), 5);
}

static void test_all_unknown(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.rows.unknown = f.header.used;
	f.rows.row[HQ_DIM_USER] = USER_ANY;
	f.rows.row[HQ_DIM_REMOTE_PORT] = PORT_ANY;
	assert_int_equal(sure(&f), HQ_RULE_NONE);
	assert_int_equal(maybe(&f), 0);
	set_rule(&f, USER_ANY, 1025);
	set_rule(&f, PORT_ANY, 1025);
	assert_int_equal(sure(&f), 1025);
}

static void test_no_rule(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.rows.row[HQ_DIM_USER] = NOBODY;
	for (uint32_t rule = 0; rule < CHUNKS * HQ_CHUNK_RULES; rule++)
		set_rule(&f, PORT, rule);
	assert_int_equal(sure(&f), HQ_RULE_NONE);
}

/* Chunks that the summaries rule out are not read. */
static void test_summary_says_which_chunks(void **state)
{
	struct fixture f;
	struct hq_scan scan;

	(void)state;
	setup(&f);
	set_rule(&f, USER, 3);
	set_rule(&f, PORT, 3 + 32);
	set_rule(&f, USER, HQ_CHUNK_RULES + 1);
	set_rule(&f, PORT, HQ_CHUNK_RULES + 2);
	set_rule(&f, USER, 2 * HQ_CHUNK_RULES);
	set_rule(&f, PORT, 2 * HQ_CHUNK_RULES);
	hq_scan_begin(&scan, hq_sure_dims(&f.header));
	assert_int_equal(hq_scan_step(&f.tables, &f.header, &f.rows, &scan, 0), 0);
	assert_int_equal(scan.chunks, 1 << 1 | 1 << 2);
	assert_int_equal(hq_scan_step(&f.tables, &f.header, &f.rows, &scan, 1), 0);
	assert_int_equal(hq_scan_step(&f.tables, &f.header, &f.rows, &scan, 2), 1);
	assert_int_equal(scan.rule, 2 * HQ_CHUNK_RULES);
}

/* A row past the end is an error, not a match, and leaves the answer alone. */
static void test_missing_row_is_an_error(void **state)
{
	struct fixture f;
	struct hq_scan scan;

	(void)state;
	setup(&f);
	set_rule(&f, USER, 0);
	f.rows.row[HQ_DIM_REMOTE_PORT] = MISSING;
	hq_scan_begin(&scan, hq_sure_dims(&f.header));
	assert_int_equal(hq_scan_step(&f.tables, &f.header, &f.rows, &scan, 0), -1);
	f.tables.count = 0;
	hq_scan_begin(&scan, 0);
	assert_int_equal(hq_scan_step(&f.tables, &f.header, &f.rows, &scan, 0), -1);
	assert_int_equal(scan.rule, HQ_RULE_NONE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_bit_of_every_word),
		cmocka_unit_test(test_every_rule_can_be_the_first),
		cmocka_unit_test(test_rule_matches_in_all_dimensions_or_not),
		cmocka_unit_test(test_dimension_that_no_rule_reads_is_not_looked_at),
		cmocka_unit_test(test_unknown_dimension_makes_the_answer_provisional),
		cmocka_unit_test(test_unknown_dimension_of_a_failed_rule_decides_nothing),
		cmocka_unit_test(test_rules_after_the_sure_one_do_not_matter),
		cmocka_unit_test(test_all_unknown),
		cmocka_unit_test(test_no_rule),
		cmocka_unit_test(test_summary_says_which_chunks),
		cmocka_unit_test(test_missing_row_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
