// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Datagrams are charged by the clock of ticks that bpf/meter.h keeps: what
 * passes is what a bucket of that depth lets pass.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <netinet/in.h>
#include <linux/pkt_cls.h>

#include <cmocka.h>

#include "packet.h"
#include "run.h"

/* A datagram is 10 ms of the rate, the burst ten: deep enough for ticks of 10 ms, too. */
#define WIRE_LENGTH 10000
#define STEP	    10000000ULL /* ns */
#define DEPTH	    10

static const char policy[] = "hostqos: 1\n"
			     "classes:\n"
			     "  paced: { dscp: AF41, egress: { rate: 8mbit, burst: 100kb } }\n"
			     "rules: [{ match: { protocol: udp }, class: paced }]\n";

RUN_FIXTURE(g, policy)

/* How many of so many pass, sent at once. */
static unsigned int burst(unsigned int count)
{
	struct packet_spec spec = {.family = 4,
				   .protocol = IPPROTO_UDP,
				   .source_port = 5000,
				   .destination_port = 5060};
	__u64 before = run_counters(g, "paced").packets;
	struct hq_flow flow = run_udp_flow();
	struct run r = {.wire_length = WIRE_LENGTH, .repeat = count};
	struct built b;

	packet_build(&b, &spec);
	r.packet = b.bytes;
	r.length = b.length;
	run_give(g, &flow);
	run_program(g, RUN_GOVERNED, &r);
	return run_counters(g, "paced").packets - before;
}

/* Nothing but time fills a bucket. */
static void fill(void)
{
	unsigned long long until = run_now() + (DEPTH + 1) * STEP;

	while (run_now() < until)
		;
}

/*
 * A full bucket lets the burst pass once, and what is earned meanwhile. By a
 * time that is kept from the datagram before it would pass twice: up to that
 * time, and then from there to now.
 */
static void burst_passes_once(void **state)
{
	unsigned long long begun;
	unsigned int passed, i;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_int_equal(burst(1), 1);
		fill();
		begun = run_now();
		passed = burst(4 * DEPTH);
		assert_in_range(passed, DEPTH - 1, DEPTH + (run_now() - begun) / STEP + 1);
		fill();
	}
}

/* It is read once a tick, not for each datagram: in the best of some ticks. */
static void clock_is_read_once_a_tick(void **state)
{
	unsigned long long begun = run_now();
	unsigned int tick, sent, most = 0;
	__u64 now;

	(void)state;
	for (tick = 0; tick < 20; tick++) {
		burst(1);
		now = run_tick_clock(g, "paced");
		assert_in_range(now, begun - STEP, run_now());
		for (sent = 1; run_tick_clock(g, "paced") == now; sent++)
			burst(1);
		most = sent > most ? sent : most;
	}
	assert_true(most > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_passes_once),
		cmocka_unit_test(clock_is_read_once_a_tick),
	};

	return cmocka_run_group_tests_name("tick", tests, load, unload);
}
