/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The token bucket under a fake clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <hostqos/bucket.h>

#include "policy.h"

#define SECOND (1000000000ULL << HQ_TICK_SHIFT)

/* Clocks start anywhere; none of the sums may notice, least of all those that wrap. */
static const uint64_t epochs[] = {0,	      1,	   1ULL << 32, (1ULL << 63) - 1500,
				  1ULL << 63, 0ULL - 1500, 0ULL - 1};

struct arrival {
	uint64_t at, cost;
	int conforms;
};

/* Offers the packets to a bucket that is full when the clock reads 0. */
static void check_arrivals(const struct arrival *arrivals, size_t count, uint64_t depth)
{
	for (size_t e = 0; e < sizeof(epochs) / sizeof(epochs[0]); e++) {
		uint64_t tat = epochs[e] - depth;

		for (size_t i = 0; i < count; i++) {
			const struct arrival *a = &arrivals[i];
			__u64 next = 0x5ca1ab1e;
			int conforms =
				hq_bucket_step(tat, epochs[e] + a->at, a->cost, depth, &next);

			if (conforms != a->conforms)
				fail_msg("epoch %zu, packet %zu of cost %llu at %llu: %d", e, i,
					 (unsigned long long)a->cost, (unsigned long long)a->at,
					 conforms);
			if (!conforms)
				assert_int_equal(next, 0x5ca1ab1e);
			else
				tat = next;
		}
	}
}

#define CHECK_ARRIVALS(depth, ...)                                                                 \
	do {                                                                                       \
		static const struct arrival arrivals[] = {__VA_ARGS__};                            \
		check_arrivals(arrivals, sizeof(arrivals) / sizeof(arrivals[0]), depth);           \
	} while (0)

/* RFC 2697, section 3: the bucket starts full, and is charged only for what conforms. */
static void test_burst_then_rate(void **state)
{
	(void)state;
	CHECK_ARRIVALS(1500, {0, 1000, 1}, {0, 501, 0}, {0, 500, 1}, {0, 1, 0}, /* the burst */
		       {1, 2, 0}, {1, 1, 1}, {1, 1, 0},				/* the rate */
		       {99, 100, 0}, {100, 100, 0}, {101, 100, 1});
}

/* A clock that began at boot may show less than what the burst takes to fill. */
static void test_unused_bucket_is_full_at_boot(void **state)
{
	static const uint64_t times[] = {0, 1, 1000, 1500, SECOND, 1ULL << 61};
	__u64 next;

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		__u64 tat = hq_bucket_full(times[i]);

		assert_true(hq_bucket_step(tat, times[i], 1500, 1500, &next));
		assert_false(hq_bucket_step(next, times[i], 1, 1500, &next));
		assert_true(hq_bucket_step(tat, times[i] + (1ULL << 61), 1500, 1500, &next));
		assert_false(hq_bucket_step(next, times[i] + (1ULL << 61), 1, 1500, &next));
	}
}

static void test_exactly_the_burst_conforms(void **state)
{
	(void)state;
	CHECK_ARRIVALS(1500, {0, 1500, 1}, {1499, 1500, 0}, {1500, 1500, 1});
	CHECK_ARRIVALS(1500, {0, 1499, 1}, {0, 1, 1}, {0, 1, 0});
}

static void test_idle_time_fills_no_more_than_the_burst(void **state)
{
	(void)state;
	CHECK_ARRIVALS(1500, {0, 1500, 1}, {1ULL << 62, 1500, 1}, {1ULL << 62, 1, 0});
	CHECK_ARRIVALS(1500, {SECOND, 1500, 1}, {SECOND, 1, 0});
}

/* A GSO packet may exceed the burst: it passes when the bucket is full, and is paid back. */
static void test_packet_above_the_burst_leaves_a_debt(void **state)
{
	(void)state;
	CHECK_ARRIVALS(1500, {0, 64000, 1}, {0, 1, 0},	    /* 62500 in debt */
		       {62500, 1, 0}, {62501, 1, 1},	    /* paid back, and a tick */
		       {64000, 1500, 0}, {64001, 64000, 1}, /* full, and again */
		       {64002, 64000, 0}, {128000, 64000, 0}, {128001, 64000, 1});
	CHECK_ARRIVALS(1500, {0, 1, 1}, {0, 64000, 0}, {1, 64000, 1}); /* only when full */
}

/* An idle bucket's time is not "later" because the difference is negative (loxilb's policer). */
static void test_time_of_another_core_is_not_idle_time(void **state)
{
	(void)state;
	CHECK_ARRIVALS(100, {1000, 100, 1}, {990, 1, 0}, {999, 100, 0}, {1000, 1, 0}, {1001, 1, 1});
	CHECK_ARRIVALS(100, {1000, 50, 1}, {990, 41, 0}, {990, 40, 1}, {980, 1, 0}, {1000, 10, 1},
		       {1000, 1, 0});
}

static void test_stored_time_never_moves_back(void **state)
{
	uint64_t seed = 42, tat = 5000;

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		__u64 next;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		if (!hq_bucket_step(tat, 5000 + (uint64_t)i + (seed >> 60), (seed >> 40) % 64, 100,
				    &next))
			continue;
		assert_true((int64_t)(next - tat) >= 0);
		tat = next;
	}
	assert_in_range(tat, 900000, 1100000);
}

/* The same verdicts as the bucket of RFC 2697 that counts tokens, here in ticks. */
static void test_agrees_with_a_bucket_of_tokens(void **state)
{
	static const uint64_t depth = 3000;
	uint64_t seed = 1, now = 1ULL << 40, tat = now - depth, tokens = depth;
	unsigned int verdicts[2] = {0, 0};

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		uint64_t cost, gap;
		__u64 next;
		int conforms;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		cost = 1 + (seed >> 33) % depth;
		gap = (seed >> 20) % 2400;
		now += gap;
		tokens = tokens + gap < depth ? tokens + gap : depth;
		conforms = hq_bucket_step(tat, now, cost, depth, &next);
		assert_int_equal(conforms, cost <= tokens);
		verdicts[conforms]++;
		if (conforms) {
			tokens -= cost;
			tat = next;
		}
	}
	assert_true(verdicts[0] > 10000 && verdicts[1] > 10000);
}

/* Never more than the exact clock passes after the same packets, and at most a step of it less. */
static void test_coarse_clock_errs_by_less_than_a_step(void **state)
{
	static const uint32_t step = 100; /* ns */
	static const struct hq_meter m = {.depth = 1000ULL << HQ_TICK_SHIFT};
	uint64_t seed = 1, ns = 1ULL << 40, tat = 0, tokens = m.depth;
	unsigned int verdicts[2][2] = {};

	(void)state;
	assert_true(hq_is_deep(&m, step));
	for (int i = 0; i < 1000000; i++) {
		uint64_t cost, gap;
		struct hq_moment at;
		__u64 next;
		int conforms;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		cost = 1 + (seed >> 33) % (m.depth - hq_ticks(step));
		gap = (seed >> 20) % 800;
		ns += gap;
		tokens = tokens + hq_ticks(gap) < m.depth ? tokens + hq_ticks(gap) : m.depth;
		at = hq_coarse_moment(&m, ns - ns % step, step);
		conforms = hq_bucket_step(tat, at.now, cost, at.depth, &next);
		if (!conforms) {
			at = hq_exact_moment(&m, ns);
			conforms = hq_bucket_step(tat, at.now, cost, at.depth, &next);
		}
		verdicts[at.exact][conforms]++;
		if (conforms) {
			assert_in_range(cost, 0, tokens);
			tokens -= cost;
			tat = next;
		} else {
			assert_true(cost + hq_ticks(step) > tokens);
		}
	}
	assert_true(verdicts[0][1] > 10000 && verdicts[1][0] > 10000 && verdicts[1][1] > 10000);
}

static void test_shallow_buckets_need_the_exact_clock(void **state)
{
	static const struct hq_meter m = {.depth = 800ULL << HQ_TICK_SHIFT};

	(void)state;
	assert_true(hq_is_deep(&m, 100));
	assert_false(hq_is_deep(&m, 101));
	assert_false(hq_is_deep(&m, 0));
}

/* The meter that policy/ makes of a rate and a burst. */
static struct hq_meter compiled_meter(const char *rate, const char *burst)
{
	struct diag diag = {0};
	struct hq_meter meter = {0};
	struct policy *policy;
	struct hq_image *image;
	char text[256];
	int length;

	length = snprintf(
		text, sizeof(text),
		"hostqos: 1\n"
		"classes: { a: { dscp: EF, egress: { rate: %s, burst: %s, exceed: drop } } }\n"
		"rules: [ { match: { protocol: udp }, class: a } ]\n",
		rate, burst);
	policy = policy_parse("bucket.yaml", text, (size_t)length, &diag);
	assert_non_null(policy);
	image = policy_compile(policy, NULL, policy_exe_stat, &diag);
	assert_non_null(image);
	for (size_t i = 0; i < HQ_MAX_CLASSES; i++)
		if (!strcmp(image->classes[i].name, "a"))
			meter = image->classes[i].egress;
	image_free(image);
	policy_free(policy);
	diag_free(&diag);
	assert_true(meter.rate > 0);
	return meter;
}

/* Ten seconds of packets of one size, twice as many as the rate allows: what of them conforms. */
static void check_delivered(const char *rate, const char *burst, uint32_t size, double tolerance)
{
	struct hq_meter meter = compiled_meter(rate, burst);
	double seconds = 10, gap = size / (2.0 * (double)meter.rate) * (double)SECOND;
	uint64_t start = 100 * SECOND, tat = start - meter.depth, packets = 0;
	double allowed;

	/* At the highest rates a fraction of it is as many packets as make sense. */
	if (seconds * (double)SECOND / gap > 2e6)
		seconds = 2e6 * gap / (double)SECOND;
	allowed = seconds * (double)meter.rate + meter.burst;
	for (double t = 0; t < seconds * (double)SECOND; t += gap) {
		__u64 next;

		if (!hq_bucket_step(tat, start + (uint64_t)t, hq_cost(&meter, size), meter.depth,
				    &next))
			continue;
		tat = next;
		packets++;
	}
	/* Two packets of slack: one that does not fit at the end, one that came too early for it.
	 */
	if ((double)packets * size > allowed * (1 + tolerance) + 2 * size ||
	    (double)packets * size < allowed * (1 - tolerance) - 2 * size)
		fail_msg("%s, burst %s: %llu bytes in packets of %u, not %.0f", rate, burst,
			 (unsigned long long)packets * size, size, allowed);
}

static void test_rate_is_exact_over_many_packets(void **state)
{
	(void)state;
	check_delivered("8kbit", "2kb", 1500, 1e-6);
	check_delivered("8kbit", "2kb", 64, 1e-6);
	check_delivered("9999kbit", "30kb", 1514, 1e-6);
	check_delivered("24mbit", "64kb", 1514, 1e-6);
	check_delivered("1gbit", "1mb", 65226, 1e-6);
	check_delivered("10gbit", "1mb", 64, 1e-3);
	check_delivered("400gbit", "8mb", 65226, 1e-4);
	/* A tick is 3 bytes now: cut to whole ticks, a packet's cost is up to 0.2% too low. */
	check_delivered("400gbit", "8mb", 1514, 2.1e-3);
}

static void test_cost_of_the_largest_packet_does_not_overflow(void **state)
{
	static const struct {
		const char *rate;
		double bytes;
	} rates[] = {{"8kbit", 1e3}, {"1mbit", 125e3}, {"400gbit", 50e9}};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct hq_meter meter = compiled_meter(rates[i].rate, "64kb");
		double exact = 0x7fffffff / rates[i].bytes * (double)SECOND;
		double cost = (double)hq_cost(&meter, 0x7fffffff);

		assert_int_equal(meter.rate, (uint64_t)rates[i].bytes);
		assert_true(cost > exact * (1 - 1e-6) && cost < exact * (1 + 1e-6));
		assert_int_equal(meter.burst, 65536);
		assert_int_equal(meter.depth, hq_cost(&meter, meter.burst));
	}
}

/* A change of the rate leaves the bytes that are held or owed, not their times. */
static void test_bytes_are_carried_to_another_rate(void **state)
{
	const struct hq_meter slow = {.rate = 1000, .depth = 2 * SECOND};
	const struct hq_meter fast = {.rate = 1000000, .depth = SECOND / 10};

	(void)state;
	for (size_t e = 0; e < sizeof(epochs) / sizeof(epochs[0]); e++) {
		uint64_t now = epochs[e];

		/* owes 60,000 bytes: a minute, then 60 ms */
		assert_int_equal(hq_bucket_convert(now + 60 * SECOND, now, &slow, &fast),
				 now + 60 * SECOND / 1000);
		/* holds 1,000 bytes */
		assert_int_equal(hq_bucket_convert(now - SECOND, now, &slow, &fast),
				 now - SECOND / 1000);
		/* idle for an hour: holds its burst of 2,000 bytes, no more */
		assert_int_equal(hq_bucket_convert(now - 3600 * SECOND, now, &slow, &fast),
				 now - 2 * SECOND / 1000);
		assert_int_equal(hq_bucket_convert(now + SECOND / 1000, now, &fast, &slow),
				 now + SECOND);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_burst_then_rate),
		cmocka_unit_test(test_unused_bucket_is_full_at_boot),
		cmocka_unit_test(test_exactly_the_burst_conforms),
		cmocka_unit_test(test_idle_time_fills_no_more_than_the_burst),
		cmocka_unit_test(test_packet_above_the_burst_leaves_a_debt),
		cmocka_unit_test(test_time_of_another_core_is_not_idle_time),
		cmocka_unit_test(test_stored_time_never_moves_back),
		cmocka_unit_test(test_agrees_with_a_bucket_of_tokens),
		cmocka_unit_test(test_coarse_clock_errs_by_less_than_a_step),
		cmocka_unit_test(test_shallow_buckets_need_the_exact_clock),
		cmocka_unit_test(test_rate_is_exact_over_many_packets),
		cmocka_unit_test(test_bytes_are_carried_to_another_rate),
		cmocka_unit_test(test_cost_of_the_largest_packet_does_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
