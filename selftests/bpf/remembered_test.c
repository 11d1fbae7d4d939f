// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Datagrams that go where one went before are remembered (bpf/remembered.h).
 * Each test sends one often enough for that, and then one that must not be
 * taken for it. No rule asks for the inbound DSCP: nothing would be remembered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <linux/pkt_cls.h>

#include <cmocka.h>

#include "packet.h"
#include "run.h"

#define EF   46
#define AF41 34
#define AF11 10

/* Every datagram is of the class `voice`, but those that a test tells from it. */
#define VOICE EF
#define VIDEO AF41

static const char policy[] = "hostqos: 1\n"
			     "classes:\n"
			     "  voice: { dscp: EF }\n"
			     "  video: { dscp: AF41 }\n"
			     "  chosen: { dscp: EF, app_dscp: honor }\n"
			     "rules:\n"
			     "  - { match: { remote_port: 25 }, refuse: true }\n"
			     "  - { match: { remote_port: 7070 }, class: chosen }\n"
			     "  - { match: { remote_port: 24000-29999 }, class: video }\n"
			     "  - { match: { local_port: 24000-29999 }, class: video }\n"
			     "  - { match: { local: [192.0.2.2, '2001:db9::1', '2001:db8:1::1',"
			     " '2001:db8::1:0:0:1', '2001:db8::2', 198.19.128.0/17,"
			     " 'fc03::8000:0/97'] }, class: video }\n"
			     "  - { match: { remote: [198.18.128.0/17, '2001:8000::/17',"
			     " 'fc00:0:8000::/33', 'fc01::8000:0:0:0/65', 'fc02::8000:0/97'] },"
			     " class: video }\n"
			     "  - { match: { direction: inbound }, class: video }\n"
			     "  - { match: { group: 7 }, class: video }\n"
			     "  - { match: { type: raw }, class: video }\n"
			     "  - { match: { protocol: udp }, class: voice }\n";

RUN_FIXTURE(g, policy)

struct datagram {
	struct packet_spec spec;
	struct hq_flow flow; /* its socket's */
};

static struct datagram plain(int family)
{
	struct datagram d = {
		.spec = {.family = family,
			 .protocol = IPPROTO_UDP,
			 .source_port = 5000,
			 .destination_port = 5060},
		.flow = run_udp_flow(),
	};

	d.flow.id.known |= HQ_BIT(HQ_DIM_GROUP);
	return d;
}

static struct run send_one(const struct datagram *d, struct built *b)
{
	struct run r = {.packet = b->bytes};

	packet_build(b, &d->spec);
	r.length = b->length;
	run_give(g, &d->flow);
	run_program(g, RUN_GOVERNED, &r);
	return r;
}

static void expect_dscp(const struct datagram *d, uint8_t dscp)
{
	struct built b;
	struct run r = send_one(d, &b);

	assert_int_equal(r.verdict, TC_ACT_UNSPEC);
	assert_int_equal(packet_dsfield(&b, r.out) >> 2, dscp);
}

/* Of class voice and of class video: whichever was there before, the other is not taken for it. */
static void expect_told_apart(const struct datagram *voice, const struct datagram *video)
{
	int i;

	for (i = 0; i < 3; i++) {
		expect_dscp(voice, VOICE);
		expect_dscp(voice, VOICE);
		expect_dscp(video, VIDEO);
		expect_dscp(video, VIDEO);
	}
}

/* Proved by a memory that is wrong: it is believed, and only where the datagram is the same. */
static void datagram_is_remembered(void **state)
{
	static const int families[] = {4, 6};
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct datagram again = plain(families[i]), other = plain(families[i]);

		other.spec.destination_port = 5061;
		expect_dscp(&again, VOICE);
		expect_dscp(&again, VOICE);
		run_misremember(g, "video");
		expect_dscp(&again, VIDEO);
		expect_dscp(&other, VOICE);
		run_misremember(g, NULL);
		expect_dscp(&again, VOICE);
	}
}

static void local_address_tells(void **state)
{
	static const struct {
		int family;
		const char *address;
	} others[] = {
		{4, "192.0.2.2"},	  {6, "2001:db9::1"}, {6, "2001:db8:1::1"},
		{6, "2001:db8::1:0:0:1"}, {6, "2001:db8::2"},
	};
	struct datagram voice, video;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		voice = video = plain(others[i].family);
		video.spec.source = others[i].address;
		expect_told_apart(&voice, &video);
	}
}

static void direction_tells(void **state)
{
	struct datagram voice = plain(4), video = plain(4);

	(void)state;
	video.flow.bound_port = video.spec.source_port;
	expect_told_apart(&voice, &video);
}

static void identity_tells(void **state)
{
	struct datagram voice = plain(4), video = plain(4);

	(void)state;
	video.flow.id.gid = 7;
	expect_told_apart(&voice, &video);
}

/* What a raw socket of UDP sent is remembered too, by the general way. */
static void type_tells(void **state)
{
	struct datagram voice = plain(4), video = plain(4);

	(void)state;
	video.flow.type = SOCK_RAW;
	expect_told_apart(&voice, &video);
}

/* More than there is room for, of class voice; then some of class video find every place taken. */
#define MANY 1024
#define SOME 64

static void remote_port_tells(void **state)
{
	struct datagram d = plain(4);
	int i;

	(void)state;
	for (i = 0; i < MANY; i++) {
		d.spec.destination_port = 10000 + i;
		expect_dscp(&d, VOICE);
	}
	for (i = 0; i < SOME; i++) {
		d.spec.destination_port = 24000 + i;
		expect_dscp(&d, VIDEO);
	}
}

static void local_port_tells(void **state)
{
	struct datagram d = plain(4);
	int i;

	(void)state;
	for (i = 0; i < MANY; i++) {
		d.spec.source_port = 10000 + i;
		expect_dscp(&d, VOICE);
	}
	for (i = 0; i < SOME; i++) {
		d.spec.source_port = 24000 + i;
		expect_dscp(&d, VIDEO);
	}
}

/* Hosts that differ in one word of the address; from 0x8000 on they are of class video. */
static const struct hosts {
	int family;
	const char *address;
	bool source; /* else destination */
} hosts[] = {
	{4, "198.18.%d.%d", false}, /* not 2001:db8::, which other tests have */
	{6, "2001:%x::1", false},   {6, "fc00:0:%x::1", false}, {6, "fc01:0:0:0:%x::1", false},
	{6, "fc02::%x:1", false},   {4, "198.19.%d.%d", true},	{6, "fc03::%x:1", true},
};

static void send_among(const struct hosts *h, int first, int count, int dscp)
{
	struct datagram d = plain(h->family);
	char address[64];
	int i;

	if (h->source)
		d.spec.source = address;
	else
		d.spec.destination = address;
	for (i = first; i < first + count; i++) {
		if (h->family == 4)
			snprintf(address, sizeof(address), h->address, i >> 8, i & 255);
		else
			snprintf(address, sizeof(address), h->address, i);
		expect_dscp(&d, dscp);
	}
}

static void each_word_of_an_address_tells(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		send_among(&hosts[i], 0x1000, MANY, VOICE);
		send_among(&hosts[i], 0x8000, SOME, VIDEO);
	}
}

/*
 * Of class video by the port behind an option or an extension header; who takes
 * these for the UDP header finds the ports of one of class voice.
 */
static void headers_between_are_not_ports(void **state)
{
	static const struct {
		struct packet_spec spec;
		uint16_t source_port, destination_port;
	} shapes[] = {
		{{.family = 4, .options = 4}, 0x0101, 0x0101},
		{{.family = 6, .extensions = 1}, IPPROTO_UDP << 8, 0x0104},
	};
	struct datagram voice, video;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		voice = video = plain(shapes[i].spec.family);
		voice.spec.source_port = shapes[i].source_port;
		voice.spec.destination_port = shapes[i].destination_port;
		video.spec = shapes[i].spec;
		video.spec.protocol = IPPROTO_UDP;
		video.spec.destination_port = 24000;
		expect_told_apart(&voice, &video);
	}
}

/* A tunnel's packet has its socket's class, whatever is where UDP would have its ports. */
static void other_protocols_have_no_ports(void **state)
{
	struct datagram tunnel, video;
	int family;

	(void)state;
	for (family = 4; family <= 6; family += 2) {
		tunnel = video = plain(family);
		tunnel.spec.destination_port = video.spec.destination_port = 24000;
		tunnel.spec.protocol = IPPROTO_IPIP;
		expect_told_apart(&tunnel, &video);
	}
}

/* Nor has a later fragment; data there look like those of one of class voice. */
static void fragments_follow_the_first(void **state)
{
	struct datagram voice, fragment, whole;
	int family;

	(void)state;
	for (family = 4; family <= 6; family += 2) {
		voice = fragment = whole = plain(family);
		whole.spec.destination_port = 24000;
		expect_told_apart(&voice, &whole);
		fragment.spec.fragment_id = 77;
		fragment.spec.fragment = 1;
		fragment.spec.destination_port = 24000;
		expect_dscp(&fragment, VIDEO);
		fragment.spec.fragment = 2;
		fragment.spec.destination_port = voice.spec.destination_port;
		expect_dscp(&fragment, VIDEO);
	}
}

static void refused_datagram_is_dropped_each_time(void **state)
{
	struct datagram d = plain(4);
	struct built b;
	int i;

	(void)state;
	d.spec.destination_port = 25;
	for (i = 0; i < 4; i++)
		assert_int_equal(send_one(&d, &b).verdict, TC_ACT_SHOT);
}

/* As ancillary data asks for one: only of a datagram the packet's own mark counts. */
static void mark_of_the_datagram_is_honored_each_time(void **state)
{
	struct datagram d = plain(4);
	int i;

	(void)state;
	d.spec.destination_port = 7070;
	d.spec.dsfield = AF11 << 2;
	for (i = 0; i < 4; i++)
		expect_dscp(&d, AF11);
}

/* The socket has another's priority from us; its own one goes with what has none by class. */
static void own_priority_is_given_back_each_time(void **state)
{
	struct datagram d = plain(4);
	struct built b;
	int i;

	(void)state;
	d.flow.saved = (struct hq_saved){.bits = HQ_SAVED_PRIORITY, .priority = 5};
	for (i = 0; i < 4; i++)
		assert_int_equal(send_one(&d, &b).priority, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagram_is_remembered),
		cmocka_unit_test(local_address_tells),
		cmocka_unit_test(direction_tells),
		cmocka_unit_test(identity_tells),
		cmocka_unit_test(type_tells),
		cmocka_unit_test(remote_port_tells),
		cmocka_unit_test(local_port_tells),
		cmocka_unit_test(each_word_of_an_address_tells),
		cmocka_unit_test(headers_between_are_not_ports),
		cmocka_unit_test(other_protocols_have_no_ports),
		cmocka_unit_test(fragments_follow_the_first),
		cmocka_unit_test(refused_datagram_is_dropped_each_time),
		cmocka_unit_test(mark_of_the_datagram_is_honored_each_time),
		cmocka_unit_test(own_priority_is_given_back_each_time),
	};

	return cmocka_run_group_tests_name("remembered", tests, load, unload);
}
