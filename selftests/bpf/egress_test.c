// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * tc egress, packet by packet, judged by the bytes that come out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <linux/pkt_cls.h>

#include <cmocka.h>

#include "packet.h"
#include "run.h"

#define EF   46
#define AF41 34
#define LE   1

static const char policy[] = "hostqos: 1\n"
			     "classes:\n"
			     "  voice: { dscp: EF, priority: 6 }\n"
			     "  video: { dscp: AF41 }\n"
			     "  asis: { dscp: keep }\n"
			     "  tight: { dscp: AF41, egress: { rate: 8kbit, burst: 3kb } }\n"
			     "  softer: { dscp: AF41, egress: { rate: 8kbit, burst: 3kb,"
			     " exceed: { remark: LE } } }\n"
			     "  timed: { dscp: AF41, egress: { rate: 8kbit, burst: 60kb } }\n"
			     "  untimed: { dscp: AF41, egress: { rate: 8kbit, burst: 60kb } }\n"
			     "  chosen: { dscp: EF, priority: 6, app_dscp: honor }\n"
			     "rules:\n"
			     "  - { match: { protocol: udp, remote_port: 5060 }, class: voice }\n"
			     "  - { match: { remote: [198.51.100.7, '2001:db8:7::/48'] },"
			     " class: video }\n"
			     "  - { match: { remote_port: 6666 }, class: softer }\n"
			     "  - { match: { remote_port: 6667 }, class: untimed }\n"
			     "  - { match: { remote_port: 25 }, refuse: true }\n"
			     "  - { match: { origin: forwarded, remote_port: 25 }, refuse: true }\n"
			     "  - { match: { origin: forwarded, protocol: udp, remote_port: 7070,"
			     " inbound_dscp: CS1 }, class: video }\n";

RUN_FIXTURE(g, policy)

static struct run run_one(enum run_program program, const struct built *b)
{
	struct run r = {.packet = b->bytes, .length = b->length};

	run_program(g, program, &r);
	return r;
}

static struct run send_as(const char *class_name, const struct packet_spec *spec, struct built *b)
{
	struct hq_flow flow = run_tcp_flow(g, class_name);

	run_give(g, &flow);
	packet_build(b, spec);
	return run_one(RUN_GOVERNED, b);
}

static struct run send_datagram(const struct packet_spec *spec, struct built *b)
{
	struct hq_flow flow = run_udp_flow();

	run_give(g, &flow);
	packet_build(b, spec);
	return run_one(RUN_GOVERNED, b);
}

/* Nothing but the DS field and the checksum differs, and the checksum is right. */
static void assert_only_marked(const struct built *b, const struct run *r, uint8_t dsfield)
{
	uint8_t expected[sizeof(b->bytes)];
	uint8_t *ip = expected + b->network;

	assert_int_equal(r->verdict, TC_ACT_UNSPEC);
	assert_int_equal(r->out_length, b->length);
	memcpy(expected, b->bytes, b->length);
	assert_int_equal(packet_dsfield(b, r->out), dsfield);
	if (ip[0] >> 4 == 4) {
		assert_true(packet_checksum_right(b, r->out));
		ip[1] = dsfield;
		memcpy(ip + 10, r->out + b->network + 10, 2);
	} else {
		ip[0] = 0x60 | dsfield >> 4;
		ip[1] = (uint8_t)(dsfield << 4) | (ip[1] & 0x0f);
	}
	assert_memory_equal(r->out, expected, b->length);
}

static void check_marked(struct packet_spec spec)
{
	struct built b;
	struct run r;
	uint8_t ecn;

	spec.protocol = IPPROTO_TCP;
	spec.payload = 100;
	for (spec.family = 4; spec.family <= 6; spec.family += 2) {
		for (ecn = 0; ecn < 4; ecn++) {
			spec.dsfield = 10 << 2 | ecn;
			r = send_as("video", &spec, &b);
			assert_only_marked(&b, &r, AF41 << 2 | ecn);
		}
	}
}

static void marks_and_keeps_ecn_and_flow_label(void **state)
{
	(void)state;
	check_marked((struct packet_spec){.flow_label = 0xabcde});
}

static void marks_behind_vlan_tags(void **state)
{
	(void)state;
	check_marked((struct packet_spec){.vlan_tags = 1});
	check_marked((struct packet_spec){.vlan_tags = 2});
}

static void marks_with_options_and_extension_headers(void **state)
{
	(void)state;
	check_marked((struct packet_spec){.options = 4, .extensions = 1});
	check_marked((struct packet_spec){.options = 40, .extensions = 3});
}

static void right_mark_is_not_rewritten(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP, .dsfield = AF41 << 2};
	__u64 marked = run_counters(g, "video").marked;
	struct built b;
	struct run r = send_as("video", &spec, &b);

	(void)state;
	assert_only_marked(&b, &r, AF41 << 2);
	assert_int_equal(run_counters(g, "video").marked, marked);
}

static void keep_leaves_the_packet(void **state)
{
	struct packet_spec spec = {.family = 6, .protocol = IPPROTO_TCP, .dsfield = 0xff};
	struct built b;
	struct run r = send_as("asis", &spec, &b);

	(void)state;
	assert_only_marked(&b, &r, 0xff);
}

static void priority_is_set(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP};
	struct built b;

	(void)state;
	assert_int_equal(send_as("voice", &spec, &b).priority, 6);
	assert_int_equal(send_as("video", &spec, &b).priority, 0);
}

/* Of TCP the socket's own options count, not what a packet brings: a RST has its peer's mark. */
static void honored_options_count(void **state)
{
	static const uint8_t brought[] = {EF << 2, 0, LE << 2};
	struct hq_flow flow = run_tcp_flow(g, "chosen");
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP};
	struct built b;
	struct run r;
	size_t i;

	(void)state;
	flow.saved = (struct hq_saved){.bits = HQ_SAVED_TOS | HQ_SAVED_PRIORITY,
				       .tos = AF41 << 2,
				       .set_tos = EF << 2,
				       .priority = 3};
	for (i = 0; i < sizeof(brought); i++) {
		spec.dsfield = brought[i];
		run_give(g, &flow);
		packet_build(&b, &spec);
		r = run_one(RUN_GOVERNED, &b);
		assert_only_marked(&b, &r, AF41 << 2);
		assert_int_equal(r.priority, 3);
	}
	/* Nothing was asked for. */
	flow.saved.tos = flow.saved.priority = 0;
	run_give(g, &flow);
	r = run_one(RUN_GOVERNED, &b);
	assert_only_marked(&b, &r, EF << 2);
	assert_int_equal(r.priority, 6);
}

static void ungoverned_is_untouched(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP, .dsfield = 0x29};
	struct built b;
	struct run r;

	(void)state;
	packet_build(&b, &spec);
	r = run_one(RUN_UNGOVERNED, &b);
	assert_only_marked(&b, &r, 0x29);
}

static void other_protocols_are_untouched(void **state)
{
	struct hq_flow flow = run_tcp_flow(g, "video");
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP};
	struct built b;
	struct run r;

	(void)state;
	run_give(g, &flow);
	packet_build(&b, &spec);
	b.bytes[12] = 0x08;
	b.bytes[13] = 0x06; /* ARP */
	r = run_one(RUN_GOVERNED, &b);
	assert_int_equal(r.verdict, TC_ACT_UNSPEC);
	assert_memory_equal(r.out, b.bytes, b.length);
}

/*
 * Cut short behind the fixed header (the kernel's test run takes no less): in
 * the options, the extension headers, the ports. It passes as it is; never a
 * crash, never a drop.
 */
static void truncated_headers_pass(void **state)
{
	struct packet_spec spec = {
		.protocol = IPPROTO_UDP, .destination_port = 5060, .options = 20, .extensions = 3};
	struct hq_flow flow = run_udp_flow();
	__u64 faults = run_faults(g, HQ_FAULT_PARSE), runs = 0;
	unsigned int ports_end, least;
	struct built b;
	struct run r;

	(void)state;
	for (spec.family = 4; spec.family <= 6; spec.family += 2) {
		packet_build(&b, &spec);
		ports_end = b.length - 4;
		least = b.network + (spec.family == 4 ? 20 : 40);
		for (b.length = ports_end - 1; b.length >= least; b.length--, runs++) {
			run_give(g, &flow);
			r = run_one(RUN_GOVERNED, &b);
			assert_int_equal(r.verdict, TC_ACT_UNSPEC);
			assert_memory_equal(r.out, b.bytes, b.length);
		}
	}
	assert_int_equal(run_faults(g, HQ_FAULT_PARSE), faults + runs);
}

static void wrong_version_passes(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP};
	struct hq_flow flow = run_tcp_flow(g, "video");
	struct built b;
	struct run r;

	(void)state;
	packet_build(&b, &spec);
	b.bytes[b.network] = 0x75;
	run_give(g, &flow);
	r = run_one(RUN_GOVERNED, &b);
	assert_int_equal(r.verdict, TC_ACT_UNSPEC);
	assert_memory_equal(r.out, b.bytes, b.length);
}

static void datagram_goes_by_its_own_destination(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_UDP, .destination_port = 5060};
	struct built b;
	struct run r;

	(void)state;
	r = send_datagram(&spec, &b);
	assert_only_marked(&b, &r, EF << 2);
	spec.destination_port = 9;
	spec.destination = "198.51.100.7";
	r = send_datagram(&spec, &b);
	assert_only_marked(&b, &r, AF41 << 2);
	spec.family = 6;
	spec.destination = "2001:db8:7::5";
	spec.extensions = 2;
	r = send_datagram(&spec, &b);
	assert_only_marked(&b, &r, AF41 << 2);
	spec.destination = NULL;
	r = send_datagram(&spec, &b);
	assert_only_marked(&b, &r, 0);
}

static void refused_datagram_is_dropped(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_UDP, .destination_port = 25};
	struct built b;

	(void)state;
	assert_int_equal(send_datagram(&spec, &b).verdict, TC_ACT_SHOT);
}

/* The later fragments have no ports; they follow the first by the datagram's id. */
static void fragments_follow_the_first(void **state)
{
	struct packet_spec spec = {.protocol = IPPROTO_UDP,
				   .destination_port = 5060,
				   .fragment_id = 77,
				   .payload = 512};
	struct built b;
	struct run r;

	(void)state;
	for (spec.family = 4; spec.family <= 6; spec.family += 2) {
		for (spec.fragment = 1; spec.fragment <= 2; spec.fragment++) {
			if (spec.fragment == 2) /* data where the ports would be */
				spec.destination_port = 25;
			r = send_datagram(&spec, &b);
			assert_only_marked(&b, &r, EF << 2);
		}
		spec.destination_port = 5060;
	}
}

/* One datagram has one mark, also where the bucket runs dry within it. */
static void fragments_share_the_colour(void **state)
{
	struct packet_spec spec = {.family = 4,
				   .protocol = IPPROTO_UDP,
				   .destination_port = 6666,
				   .fragment_id = 5,
				   .fragment = 1,
				   .payload = 1400};
	unsigned int i;
	struct built b;
	struct run r;

	(void)state;
	for (i = 0; i < 4; i++) {
		r = send_datagram(&spec, &b);
		assert_only_marked(&b, &r, AF41 << 2);
		spec.fragment = 2;
	}
	spec.fragment_id++;
	spec.fragment = 1;
	for (i = 0; i < 3; i++) {
		r = send_datagram(&spec, &b);
		assert_only_marked(&b, &r, LE << 2);
		spec.fragment = 2;
	}
}

/* 3 kB of burst at 8 kbit/s: two full frames pass, then nothing for a second. */
static void dropper_drops_what_exceeds(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP, .payload = 1472};
	struct hq_class_counters before = run_counters(g, "tight"), after;
	struct built b;
	unsigned int i, dropped = 0;

	(void)state;
	for (i = 0; i < 10; i++)
		dropped += send_as("tight", &spec, &b).verdict == TC_ACT_SHOT;
	after = run_counters(g, "tight");
	assert_int_equal(dropped, 8);
	assert_int_equal(after.packets - before.packets, 2);
	assert_int_equal(after.bytes - before.bytes, 2 * b.length);
	assert_int_equal(after.exceed_packets - before.exceed_packets, 8);
	assert_int_equal(after.exceed_bytes - before.exceed_bytes, 8 * b.length);
}

/* TCP_TX_DELAY puts a departure as far ahead as it likes; a packet may have waited for long. */
static void tcp_takes_from_nobodys_future(void **state)
{
	static const struct {
		int after; /* s */
		int verdict;
	} packets[] = {{3600, TC_ACT_UNSPEC},
		       {0, TC_ACT_UNSPEC},
		       {0, TC_ACT_SHOT},
		       {-3600, TC_ACT_SHOT},
		       {3600, TC_ACT_SHOT}};
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP, .payload = 1472};
	struct hq_flow flow = run_tcp_flow(g, "timed");
	unsigned long long start = run_now();
	struct run r = {.wire_length = 30000}; /* half the burst, and half a minute */
	struct built b;
	size_t i;

	(void)state;
	packet_build(&b, &spec);
	r.packet = b.bytes;
	r.length = b.length;
	run_give(g, &flow);
	for (i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		r.departure = start + packets[i].after * 1000000000LL;
		run_program(g, RUN_GOVERNED, &r);
		assert_int_equal(r.verdict, packets[i].verdict);
	}
}

/* An application may write a datagram's (SO_TXTIME). */
static void udp_is_metered_by_the_clock(void **state)
{
	struct packet_spec spec = {
		.family = 4, .protocol = IPPROTO_UDP, .destination_port = 6667, .payload = 1472};
	struct hq_flow flow = run_udp_flow();
	struct run r = {.wire_length = 30000}; /* half the burst, and half a minute */
	struct built b;
	int i, dropped = 0;

	(void)state;
	packet_build(&b, &spec);
	r.packet = b.bytes;
	r.length = b.length;
	run_give(g, &flow);
	for (i = 0; i < 10; i++) {
		r.departure = run_now() + (i + 1) * 1000000000000ULL;
		run_program(g, RUN_GOVERNED, &r);
		dropped += r.verdict == TC_ACT_SHOT;
	}
	assert_int_equal(dropped, 8);
}

/* A GSO packet is charged by what its segments are on the wire, and counted by them. */
static void gso_is_charged_by_wire_length(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP, .payload = 2000};
	struct hq_class_counters before = run_counters(g, "video"), after;
	struct hq_flow flow = run_tcp_flow(g, "video");
	struct built b;
	struct run r;

	(void)state;
	packet_build(&b, &spec);
	r = (struct run){
		.packet = b.bytes, .length = b.length, .wire_length = 5000, .gso_segments = 4};
	run_give(g, &flow);
	run_program(g, RUN_GOVERNED, &r);
	after = run_counters(g, "video");
	assert_only_marked(&b, &r, AF41 << 2);
	assert_int_equal(after.packets - before.packets, 4);
	assert_int_equal(after.marked - before.marked, 4);
	assert_int_equal(after.bytes - before.bytes, 5000);
}

static struct run forward(const struct packet_spec *spec, struct built *b)
{
	struct run r = {.packet = b->bytes, .wire_length = 5000, .gso_segments = 4, .ingress = 1};

	packet_build(b, spec);
	r.length = b->length;
	run_program(g, RUN_UNGOVERNED, &r);
	return r;
}

/* By its headers, wherever they are, and as it came; counted as any other. */
static void forwarded_goes_by_its_headers(void **state)
{
	static const struct packet_spec shapes[] = {
		{.family = 4},
		{.family = 4, .vlan_tags = 2, .options = 8},
		{.family = 6, .vlan_tags = 1, .extensions = 2, .flow_label = 0xabcde},
	};
	struct hq_class_counters before = run_counters(g, "video"), after;
	struct packet_spec spec;
	struct built b;
	struct run r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		spec = shapes[i];
		spec.protocol = IPPROTO_UDP;
		spec.destination_port = 7070;
		spec.dsfield = 8 << 2 | 1;
		r = forward(&spec, &b);
		assert_only_marked(&b, &r, AF41 << 2 | 1);
		spec.dsfield = 0x29;
		r = forward(&spec, &b);
		assert_only_marked(&b, &r, 0x29);
		spec.destination_port = 5060; /* of a rule that is for local sockets */
		r = forward(&spec, &b);
		assert_only_marked(&b, &r, 0x29);
		spec.destination_port = 25;
		assert_int_equal(forward(&spec, &b).verdict, TC_ACT_SHOT);
	}
	after = run_counters(g, "video");
	assert_int_equal(after.packets - before.packets, 4 * i);
	assert_int_equal(after.bytes - before.bytes, 5000 * i);
	assert_int_equal(after.flows - before.flows, 2); /* the first two are one */
}

/* The same packet on a device above and on the one below: one charge, one count. */
static void stacked_devices_charge_once(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP};
	struct hq_class_counters before = run_counters(g, "video");
	struct hq_flow flow = run_tcp_flow(g, "video");
	struct built b;
	struct run r;

	(void)state;
	run_give(g, &flow);
	packet_build(&b, &spec);
	r = run_one(RUN_GOVERNED_TWICE, &b);
	assert_only_marked(&b, &r, AF41 << 2);
	assert_int_equal(run_counters(g, "video").packets, before.packets + 1);
	assert_int_equal(run_counters(g, "video").bytes, before.bytes + b.length);
}

/* A class id that no policy defines lets traffic pass, and is counted. */
static void unknown_class_fails_open(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP, .dsfield = 7};
	struct hq_flow flow = run_tcp_flow(g, "video");
	__u64 faults = run_faults(g, HQ_FAULT_CLASS);
	struct built b;
	struct run r;

	(void)state;
	flow.decision.class = HQ_MAX_CLASSES - 1;
	run_give(g, &flow);
	packet_build(&b, &spec);
	r = run_one(RUN_GOVERNED, &b);
	assert_only_marked(&b, &r, 7);
	assert_int_equal(run_faults(g, HQ_FAULT_CLASS), faults + 1);
}

/* Of an older generation: decided again, from the identity that the flow keeps. */
static void older_generation_is_decided_again(void **state)
{
	struct packet_spec spec = {.family = 4, .protocol = IPPROTO_TCP, .dsfield = 7};
	struct hq_flow flow = run_tcp_flow(g, "video");
	struct built b;
	struct run r;

	(void)state;
	flow.decision.generation = 0;
	run_give(g, &flow);
	packet_build(&b, &spec);
	r = run_one(RUN_GOVERNED, &b);
	assert_only_marked(&b, &r, 7); /* no rule matches a socket without a peer: default */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_and_keeps_ecn_and_flow_label),
		cmocka_unit_test(marks_behind_vlan_tags),
		cmocka_unit_test(marks_with_options_and_extension_headers),
		cmocka_unit_test(right_mark_is_not_rewritten),
		cmocka_unit_test(keep_leaves_the_packet),
		cmocka_unit_test(priority_is_set),
		cmocka_unit_test(honored_options_count),
		cmocka_unit_test(ungoverned_is_untouched),
		cmocka_unit_test(other_protocols_are_untouched),
		cmocka_unit_test(truncated_headers_pass),
		cmocka_unit_test(wrong_version_passes),
		cmocka_unit_test(datagram_goes_by_its_own_destination),
		cmocka_unit_test(refused_datagram_is_dropped),
		cmocka_unit_test(fragments_follow_the_first),
		cmocka_unit_test(fragments_share_the_colour),
		cmocka_unit_test(dropper_drops_what_exceeds),
		cmocka_unit_test(tcp_takes_from_nobodys_future),
		cmocka_unit_test(udp_is_metered_by_the_clock),
		cmocka_unit_test(gso_is_charged_by_wire_length),
		cmocka_unit_test(forwarded_goes_by_its_headers),
		cmocka_unit_test(stacked_devices_charge_once),
		cmocka_unit_test(unknown_class_fails_open),
		cmocka_unit_test(older_generation_is_decided_again),
	};

	return cmocka_run_group_tests_name("egress", tests, load, unload);
}
