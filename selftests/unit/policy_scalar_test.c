// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Names, numbers and quantities, at their edges; what they print as reads as the same. */
#include "policy_helper.h"

#include "scalar.h"

static struct scalar_error error;

static void rates_are_spelled_as_tc_spells_them(void **state)
{
	static const struct {
		const char *text;
		uint64_t rate; /* 0: refused */
	} cases[] = {
		{"8kbit", 8000},
		{"8000", 8000},
		{"8000bit", 8000},
		{"7999bit", 0},
		{"20mbit", 20000000},
		{"20Mbit", 20000000},
		{"1.5mbit", 1500000},
		{"0.000008gbit", 8000},
		{"10kibit", 10240},
		{"400gbit", 400000000000},
		{"400.1gbit", 0},
		{"1000gbit", 0},
		{"18446744073709551616gbit", 0},
		{"", 0},
		{"mbit", 0},
		{"20 mbit", 0},
		{"20mbit ", 0},
		{"20mbits", 0},
		{"20mb", 0},
		{"20mbps", 0},
		{"-20mbit", 0},
		{"+20mbit", 0},
		{"1e9bit", 0},
		{"0x10mbit", 0},
		{".5gbit", 0},
		{"1.gbit", 0},
		{"1.2.3mbit", 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t rate = 7;

		if (cases[i].rate) {
			assert_int_equal(scalar_rate(cases[i].text, &rate, &error), 0);
			assert_int_equal(rate, cases[i].rate);
		} else {
			assert_int_equal(scalar_rate(cases[i].text, &rate, &error), -EINVAL);
			assert_int_equal(rate, 7);
		}
	}
}

static void bytes_per_second_are_refused_with_the_bits(void **state)
{
	static const struct {
		const char *text, *bits, *bytes;
	} cases[] = {
		{"2mbps", "'2mbit'", "'16mbit'"},
		{"1.5kbps", "'1500bit'", "'12kbit'"},
		{"10MB", "'10mbit'", "'80mbit'"},
		{"10mb/s", "'10mbit'", "'80mbit'"},
		{"1GB/s", "'1gbit'", "'8gbit'"},
		{"9000b", "'9kbit'", "'72kbit'"},
		{"10MiB/s", "'10485760bit'", "'83886080bit'"},
		{"10kiBps", "'10240bit'", "'81920bit'"},
	};
	uint64_t rate;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(scalar_rate(cases[i].text, &rate, &error), -EINVAL);
		assert_non_null(strstr(error.why, cases[i].bits));
		assert_non_null(strstr(error.why, cases[i].bytes));
	}
}

static void sizes_and_times(void **state)
{
	uint64_t value;

	(void)state;
	assert_int_equal(scalar_size("64kb", &value, &error), 0);
	assert_int_equal(value, 65536);
	assert_int_equal(scalar_size("1mb", &value, &error), 0);
	assert_int_equal(value, 1048576);
	assert_int_equal(scalar_size("1514", &value, &error), 0);
	assert_int_equal(value, 1514);
	assert_int_equal(scalar_size("1.5k", &value, &error), 0);
	assert_int_equal(value, 1536);
	assert_int_equal(scalar_size("2147483647b", &value, &error), 0);
	assert_int_equal(scalar_size("2gb", &value, &error), -EINVAL);
	assert_int_equal(scalar_size("0", &value, &error), -EINVAL);
	assert_int_equal(scalar_size("64kbit", &value, &error), -EINVAL);
	assert_true(scalar_is_time("10ms"));
	assert_false(scalar_is_time("10mb"));
	assert_false(scalar_is_time("10"));
	assert_int_equal(scalar_time("10ms", &value, &error), 0);
	assert_int_equal(value, 10000);
	assert_int_equal(scalar_time("0.5s", &value, &error), 0);
	assert_int_equal(value, 500000);
	assert_int_equal(scalar_time("0s", &value, &error), -EINVAL);
	assert_int_equal(scalar_time("61s", &value, &error), -EINVAL);
}

/* RFC 2474, 2597, 3246, 5865, 8622 by way of IANA's registry. */
static void dscps_are_those_of_iana(void **state)
{
	uint32_t dscp;
	char text[16], printed[PRINT_SCALAR];
	int i, j;

	(void)state;
	for (i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "CS%d", i);
		assert_int_equal(scalar_dscp(text, &dscp, &error), 0);
		assert_int_equal(dscp, i << 3);
	}
	for (i = 1; i <= 4; i++)
		for (j = 1; j <= 3; j++) {
			snprintf(text, sizeof(text), "af%d%d", i, j);
			assert_int_equal(scalar_dscp(text, &dscp, &error), 0);
			assert_int_equal(dscp, i << 3 | j << 1);
		}
	assert_int_equal(scalar_dscp("EF", &dscp, &error), 0);
	assert_int_equal(dscp, 46);
	assert_int_equal(scalar_dscp("voice-admit", &dscp, &error), 0);
	assert_int_equal(dscp, 44);
	assert_int_equal(scalar_dscp("LE", &dscp, &error), 0);
	assert_int_equal(dscp, 1);
	for (i = 0; i < 64; i++) {
		uint32_t again;

		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(scalar_dscp(text, &dscp, &error), 0);
		assert_int_equal(dscp, i);
		assert_int_equal(scalar_dscp(print_dscp(printed, i), &again, &error), 0);
		assert_int_equal(again, i);
	}
	for (i = 0; i < 9; i++) {
		static const char *const bad[] = {"64",	  "-1", "CS8", "AF14", "AF51",
						  "keep", "",	"4 6", "46x"};

		assert_int_equal(scalar_dscp(bad[i], &dscp, &error), -EINVAL);
	}
	assert_int_equal(scalar_dscp("184", &dscp, &error), -EINVAL);
	assert_non_null(strstr(error.why, "DSCP 46"));
}

static void ports_and_ranges(void **state)
{
	struct policy_value value = {0};

	(void)state;
	assert_int_equal(scalar_ports("65535", &value, &error), 0);
	assert_int_equal(value.ports.first, 65535);
	assert_int_equal(value.ports.last, 65535);
	assert_int_equal(scalar_ports("1-65535", &value, &error), 0);
	assert_int_equal(value.ports.first, 1);
	assert_int_equal(value.ports.last, 65535);
	assert_int_equal(scalar_ports("0", &value, &error), -EINVAL);
	assert_int_equal(scalar_ports("65536", &value, &error), -EINVAL);
	assert_int_equal(scalar_ports("2-1", &value, &error), -EINVAL);
	assert_int_equal(scalar_ports("80 - 90", &value, &error), -EINVAL);
	assert_int_equal(scalar_ports("12abc", &value, &error), -EINVAL);
	assert_int_equal(value.ports.first, 1);
}

static void addresses_and_prefixes(void **state)
{
	struct policy_value value = {0};

	(void)state;
	assert_int_equal(scalar_prefix("192.0.2.1", &value, &error), 0);
	assert_int_equal(value.prefix.length, 128);
	assert_memory_equal(value.prefix.address, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1", 16);
	assert_true(scalar_is_ipv4(&value));
	assert_int_equal(scalar_prefix("0.0.0.0/0", &value, &error), 0);
	assert_int_equal(value.prefix.length, 96);
	assert_true(scalar_is_ipv4(&value));
	assert_int_equal(scalar_prefix("::/0", &value, &error), 0);
	assert_int_equal(value.prefix.length, 0);
	assert_false(scalar_is_ipv4(&value));
	assert_int_equal(scalar_prefix("10.128.0.0/9", &value, &error), 0);
	assert_int_equal(value.prefix.length, 105);
	assert_int_equal(scalar_prefix("10.192.0.1/9", &value, &error), -EINVAL);
	assert_non_null(strstr(error.why, "'10.128.0.0/9'"));
	assert_int_equal(scalar_prefix("2001:db8:1::1/33", &value, &error), -EINVAL);
	assert_non_null(strstr(error.why, "'2001:db8::/33'"));
	assert_int_equal(scalar_prefix("10.0.0.0/33", &value, &error), -EINVAL);
	assert_int_equal(scalar_prefix("10.0.0.0/", &value, &error), -EINVAL);
	assert_int_equal(scalar_prefix("/8", &value, &error), -EINVAL);
	assert_int_equal(scalar_prefix("::ffff:10.0.0.0/104", &value, &error), -EINVAL);
	assert_int_equal(value.prefix.length, 105);
}

static void numbers_end_where_they_end(void **state)
{
	uint64_t value = 7;

	(void)state;
	assert_int_equal(scalar_number("n", "15", 15, &value, &error), 0);
	assert_int_equal(value, 15);
	assert_int_equal(scalar_number("n", "16", 15, &value, &error), -EINVAL);
	assert_int_equal(scalar_number("n", "12abc", 100, &value, &error), -EINVAL);
	assert_int_equal(scalar_number("n", " 1", 100, &value, &error), -EINVAL);
	assert_int_equal(scalar_number("n", "", 100, &value, &error), -EINVAL);
	assert_int_equal(scalar_number("n", "-0", 100, &value, &error), -EINVAL);
	assert_int_equal(scalar_number("n", "18446744073709551617", UINT32_MAX, &value, &error),
			 -EINVAL);
	assert_int_equal(value, 15);
}

static void what_is_printed_reads_as_the_same(void **state)
{
	char buffer[PRINT_SCALAR];
	uint64_t seed = 42, value, again;
	int i;

	(void)state;
	for (i = 0; i < 10000; i++) {
		value = SCALAR_RATE_LEAST +
			helper_random(&seed) % (SCALAR_RATE_MOST - SCALAR_RATE_LEAST);
		if (i % 2)
			value -= value % 1000000;
		value = value < SCALAR_RATE_LEAST ? SCALAR_RATE_LEAST : value;
		assert_int_equal(scalar_rate(print_rate(buffer, value), &again, &error), 0);
		assert_int_equal(again, value);
		value = 1 + helper_random(&seed) % SCALAR_SIZE_MOST;
		value = i % 2 ? value : (value & ~0x3ffULL) + 1024;
		value = value > SCALAR_SIZE_MOST ? SCALAR_SIZE_MOST : value;
		assert_int_equal(scalar_size(print_size(buffer, value), &again, &error), 0);
		assert_int_equal(again, value);
	}
	assert_string_equal(print_rate(buffer, 20000000), "20mbit");
	assert_string_equal(print_size(buffer, 32768), "32kb");
	assert_string_equal(print_dscp(buffer, HQ_KEEP), "keep");
	assert_string_equal(print_dscp(buffer, 46), "EF");
	assert_string_equal(print_dscp(buffer, 5), "5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates_are_spelled_as_tc_spells_them),
		cmocka_unit_test(bytes_per_second_are_refused_with_the_bits),
		cmocka_unit_test(sizes_and_times),
		cmocka_unit_test(dscps_are_those_of_iana),
		cmocka_unit_test(ports_and_ranges),
		cmocka_unit_test(addresses_and_prefixes),
		cmocka_unit_test(numbers_end_where_they_end),
		cmocka_unit_test(what_is_printed_reads_as_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
