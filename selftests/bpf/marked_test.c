// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Of most connections a packet has its class's mark from the socket, and is only
 * counted. What else a class wants is done to such a packet too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <linux/pkt_cls.h>

#include <cmocka.h>

#include "packet.h"
#include "run.h"

#define EF   46
#define AF41 34

static const char policy[] = "hostqos: 1\n"
			     "classes:\n"
			     "  plain: { dscp: EF }\n"
			     "  first: { dscp: EF, priority: 6 }\n"
			     "  asked: { dscp: EF, app_dscp: honor }\n"
			     "  echo: { dscp: EF, mirror: { from: 0.0.0.0/0, allow: AF41 } }\n"
			     "  tight: { dscp: EF, egress: { rate: 8kbit, burst: 3kb } }\n";

RUN_FIXTURE(g, policy)

/* A full frame of the connection that bears EF already. */
static struct run send_marked(const struct hq_flow *flow, uint8_t wanted)
{
	struct packet_spec spec = {
		.family = 4, .protocol = IPPROTO_TCP, .dsfield = EF << 2, .payload = 1460};
	static struct built b;
	struct run r;

	packet_build(&b, &spec);
	run_give(g, flow);
	r = (struct run){.packet = b.bytes, .length = b.length};
	run_program(g, RUN_GOVERNED, &r);
	assert_int_equal(r.out[15], wanted << 2); /* IPv4's second octet */
	return r;
}

static void marked_packet_is_counted(void **state)
{
	struct hq_flow flow = run_tcp_flow(g, "plain");
	struct hq_class_counters before = run_counters(g, "plain"), after;
	struct run r = send_marked(&flow, EF);

	(void)state;
	after = run_counters(g, "plain");
	assert_int_equal(after.packets - before.packets, 1);
	assert_int_equal(after.bytes - before.bytes, r.length);
	assert_int_equal(after.marked, before.marked);
}

static void marked_packet_gets_its_priority(void **state)
{
	struct hq_flow flow = run_tcp_flow(g, "first");

	(void)state;
	assert_int_equal(send_marked(&flow, EF).priority, 6);
}

static void marked_packet_gets_what_the_application_asked_for(void **state)
{
	struct hq_flow flow = run_tcp_flow(g, "asked");

	(void)state;
	flow.saved =
		(struct hq_saved){.bits = HQ_SAVED_TOS, .tos = AF41 << 2, .set_tos = AF41 << 2};
	send_marked(&flow, AF41);
}

static void marked_packet_gets_its_peers_mark(void **state)
{
	struct hq_flow flow = run_tcp_flow(g, "echo");

	(void)state;
	flow.bits |= HQ_FLOW_INBOUND;
	flow.inbound_dscp = AF41;
	flow.trusted = 1;
	send_marked(&flow, AF41);
}

static unsigned int count_dropped(const struct hq_flow *flow)
{
	unsigned int i, dropped = 0;

	for (i = 0; i < 10; i++)
		dropped += send_marked(flow, EF).verdict == TC_ACT_SHOT;
	return dropped;
}

static void marked_packet_is_metered(void **state)
{
	struct hq_flow flow = run_tcp_flow(g, "tight");

	(void)state;
	assert_int_equal(count_dropped(&flow), 8);
}

/* Two cores classify it across a reload, and the one of the former policy writes last. */
static void word_of_another_generation_does_not_count(void **state)
{
	struct hq_flow plain = run_tcp_flow(g, "plain"), flow = run_tcp_flow(g, "tight");

	(void)state;
	assert_int_equal(plain.mark_only, hq_marked(plain.decision.generation, EF));
	flow.mark_only = hq_marked(plain.decision.generation - 1, EF);
	assert_true(count_dropped(&flow) >= 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marked_packet_is_counted),
		cmocka_unit_test(marked_packet_gets_its_priority),
		cmocka_unit_test(marked_packet_gets_what_the_application_asked_for),
		cmocka_unit_test(marked_packet_gets_its_peers_mark),
		cmocka_unit_test(marked_packet_is_metered),
		cmocka_unit_test(word_of_another_generation_does_not_count),
	};

	return cmocka_run_group_tests_name("marked", tests, load, unload);
}
