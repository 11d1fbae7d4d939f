// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Characters, suggestions, and how diagnostics are kept and printed. */
#include "policy_helper.h"

#include "suggest.h"
#include "text.h"

static void characters_are_well_formed_utf8(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		uint32_t code;
	} cases[] = {
		{"a", 1, 'a'},
		{"\xc3\xa9", 2, 0xe9},
		{"\xe2\x82\xac", 3, 0x20ac},
		{"\xf0\x9f\x98\x80", 4, 0x1f600},
		{"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
		{"\x80", 0, 0},		    /* a continuation alone */
		{"\xc3", 0, 0},		    /* cut off */
		{"\xc0\xaf", 0, 0},	    /* "/" in two bytes */
		{"\xe0\x80\xaf", 0, 0},	    /* in three */
		{"\xf0\x80\x80\xaf", 0, 0}, /* in four */
		{"\xed\xa0\x80", 0, 0},	    /* a surrogate */
		{"\xf4\x90\x80\x80", 0, 0}, /* beyond U+10FFFF */
		{"\xf8\x88\x80\x80", 0, 0},
		{"\xff", 0, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint32_t code = 0;

		assert_int_equal(text_character(cases[i].bytes, strlen(cases[i].bytes), &code),
				 cases[i].length);
		assert_int_equal(code, cases[i].code);
	}
}

static void lines_end_where_yaml_ends_them(void **state)
{
	(void)state;
	assert_int_equal(text_line_break("\n", 1), 1);
	assert_int_equal(text_line_break("\r", 1), 1);
	assert_int_equal(text_line_break("\r\n", 2), 2);
	assert_int_equal(text_line_break("\r\n", 1), 1);
	assert_int_equal(text_line_break("\n\r", 2), 1);
	assert_int_equal(text_line_break("\xc2\x85", 2), 2);
	assert_int_equal(text_line_break("\xe2\x80\xa8", 3), 3);
	assert_int_equal(text_line_break("\xe2\x80\xa9", 3), 3);
	assert_int_equal(text_line_break("a", 1), 0);
	assert_int_equal(text_line_break("\xff", 1), 0);
}

static void sanitized_text_is_one_printable_line(void **state)
{
	char text[] = "a\tb\x1b[31m\n\xc3\xa9\xff\xc3";

	(void)state;
	assert_false(text_is_one_line(text, strlen(text)));
	text_sanitize(text);
	assert_string_equal(text, "a\tb?[31m?\xc3\xa9??");
	assert_true(text_is_one_line(text, strlen(text)));
	assert_false(text_is_one_line("a\0b", 3));
}

static const char *suggested(const char *word)
{
	static const char *const known[] = {"rate", "burst", "exceed", "local_port", "remote_port"};
	struct suggestion suggestion = {.word = word};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		suggest_offer(&suggestion, known[i]);
	return suggestion.best;
}

static void the_nearest_word_is_suggested(void **state)
{
	char long_word[200];

	(void)state;
	memset(long_word, 'r', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	assert_string_equal(suggested("rat"), "rate");
	assert_string_equal(suggested("arte"), "rate"); /* neighbours swapped */
	assert_string_equal(suggested("RATE"), "rate");
	assert_string_equal(suggested("bursst"), "burst");
	assert_string_equal(suggested("excede"), "exceed");
	assert_string_equal(suggested("remot_port"), "remote_port");
	assert_string_equal(suggested("local-port"), "local_port");
	assert_null(suggested("colour"));
	assert_null(suggested(""));
	assert_null(suggested("x"));
	assert_null(suggested(long_word));
}

static void diagnostics_are_sorted_and_point_at_their_place(void **state)
{
	static const char text[] = "first: 1\n\tsec\xc3\xb6nd: 2\r\nthird: 3";
	struct diag diag = {.file = "f.yaml", .text = text, .length = strlen(text)};
	char *printed;

	(void)state;
	diag_error(&diag, (struct diag_at){3, 8}, "about %d", 3);
	diag_warning(&diag, (struct diag_at){2, 10}, "about two");
	diag_error(&diag, (struct diag_at){2, 10}, "two\nagain");
	diag_error(&diag, (struct diag_at){0, 0}, "about all");
	diag_error(&diag, (struct diag_at){9, 1}, "past the end");
	assert_int_equal(diag_errors(&diag), 4);
	printed = helper_printed(&diag);
	assert_string_equal(printed, "f.yaml: error: about all\n"
				     "f.yaml:2:10: warning: about two\n"
				     "    \tsec\xc3\xb6nd: 2\n"
				     "    \t        ^\n"
				     "f.yaml:2:10: error: two?again\n"
				     "    \tsec\xc3\xb6nd: 2\n"
				     "    \t        ^\n"
				     "f.yaml:3:8: error: about 3\n"
				     "    third: 3\n"
				     "           ^\n"
				     "f.yaml:9:1: error: past the end\n");
	free(printed);
	diag_free(&diag);
	assert_int_equal(diag.count, 0);
}

static void the_caret_stands_below_wide_characters(void **state)
{
	/* Two that are wide, one that combines, and one byte that is no character. */
	static const char text[] = "\xe6\x97\xa5\xf0\x9f\x98\x80"
				   "e\xcc\x81\xff: 2";
	struct diag diag = {.file = "f.yaml", .text = text, .length = strlen(text)};
	char *printed;

	(void)state;
	diag_error(&diag, (struct diag_at){1, 8}, "about two");
	printed = helper_printed(&diag);
	assert_string_equal(printed, "f.yaml:1:8: error: about two\n"
				     "    \xe6\x97\xa5\xf0\x9f\x98\x80"
				     "e\xcc\x81?: 2\n"
				     "            ^\n");
	free(printed);
	diag_free(&diag);
}

/* libyaml points at the first or at the second colon of such an address. */
static void addresses_that_need_quotes_are_told(void **state)
{
	static const struct {
		const char *text;
		bool told;
	} cases[] = {
		{"{ remote: ::/0 }", true},
		{"{ remote: :: }", true},
		{"{ exe: gr\xc3\xb6n, remote: [2001:db8::/32, ::1] }", true},
		{"[::", true},
		{"[2001:db8::]", true},
		{"[2001:db8::, ::1]", true},
		{"{ remote: fe80:: }", true},
		{"\r\n  remote: fe80::", true},
		{"[2001:db8::1, }", false},
		{"{ remote: fe80::1", false},
		{"{ remote: fe80::1 ]", false},
		{"[", false},
	};
	char text[128], *said;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), "match: %s", cases[i].text);
		said = helper_messages(text, strlen(text));
		assert_int_equal(!!strstr(said, "begins or ends with ':' must be quoted"),
				 cases[i].told);
		free(said);
	}
}

static size_t count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (; (text = strstr(text, part)); text++)
		count++;
	return count;
}

static void floods_are_counted_rather_than_shown(void **state)
{
	struct diag diag = {.file = "f.yaml", .text = "x", .length = 1};
	char *printed;
	int i;

	(void)state;
	for (i = 0; i < 5000; i++)
		diag_warning(&diag, (struct diag_at){1, 1}, "warned");
	diag_error(&diag, (struct diag_at){1, 1}, "the one error");
	printed = helper_printed(&diag);
	assert_int_equal(count_of(printed, "warning: warned"), DIAG_PRINTED);
	assert_int_equal(count_of(printed, "error: the one error"), 1);
	assert_int_equal(count_of(printed, "f.yaml: 4900 more warnings"), 1);
	assert_int_equal(diag.count, DIAG_KEPT + 1);
	free(printed);
	diag_free(&diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(characters_are_well_formed_utf8),
		cmocka_unit_test(lines_end_where_yaml_ends_them),
		cmocka_unit_test(sanitized_text_is_one_printable_line),
		cmocka_unit_test(the_nearest_word_is_suggested),
		cmocka_unit_test(diagnostics_are_sorted_and_point_at_their_place),
		cmocka_unit_test(the_caret_stands_below_wide_characters),
		cmocka_unit_test(addresses_that_need_quotes_are_told),
		cmocka_unit_test(floods_are_counted_rather_than_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
