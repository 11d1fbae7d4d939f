/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What a class with a rate delivers, in wire bytes at the far side.
 */
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define LE   1
#define AF21 18
#define EF   46

#define RATE	(24 * MBIT)
#define SECONDS 4.0

/*
 * A burst of 200 ms: as long may the sender be kept off the CPU and lose nothing.
 * Two flows of one class offer 60 mbit together; one of another class runs
 * beside them.
 */
struct contest {
	struct capture *capture;
	struct udp_load loads[3];
	int sinks[3];
};

static void hold_contest(struct testbed *tb, struct contest *contest, const char *policy)
{
	static const char *const addresses[] = {FAR4, FAR6, FAR4};
	static const double rates[] = {30 * MBIT, 30 * MBIT, 4 * MBIT};
	struct place bulk = near_place(tb, "/bulk"), voice = near_place(tb, "/voice");
	struct place far = far_place(tb);
	int i;

	apply(tb, policy);
	contest->capture = capture_start(tb, tb->far, FAR_IF);
	for (i = 0; i < 3; i++) {
		contest->sinks[i] = udp_sink(&far, addresses[i], 7000 + i);
		contest->loads[i].fd = udp_socket(i < 2 ? &bulk : &voice, addresses[i]);
		contest->loads[i].rate = rates[i];
		contest->loads[i].sent = contest->loads[i].length = 0;
		connect_to(contest->loads[i].fd, addresses[i], 7000 + i);
	}
	udp_send(contest->loads, 3, SECONDS);
	for (i = 0; i < 3; i++) {
		close(contest->sinks[i]);
		close(contest->loads[i].fd);
	}
	/* The sender kept up, or the rate would not have been what held it back. */
	assert_true(contest->loads[0].sent > 1.2 * RATE / 2 / 8 / FULL_FRAME * SECONDS);
	assert_true(contest->loads[1].sent > 1.2 * RATE / 2 / 8 / FULL_FRAME * SECONDS);
	await_packets(contest->capture, FLOW(.to_port = 7002), contest->loads[2].sent);
	judge(contest->capture, FLOW(.to_port = 7002), EF, contest->loads[2].sent);
}

/*
 * A stall of the machine takes from what arrives or, just before it is looked at,
 * adds what the bucket holds: three times it may try.
 */
static void expect_contested_rate(struct testbed *tb, struct contest *contest, const char *policy)
{
	struct flow in_profile = {.protocol = IPPROTO_UDP, .dsfield = DS_IS(AF21 << 2)};
	int attempt;
	double rate;

	for (attempt = 0; attempt < 3; attempt++) {
		hold_contest(tb, contest, policy);
		rate = flow_rate(contest->capture, &in_profile, 1, SECONDS - 0.1);
		print_message("%.3f mbit in profile\n", rate / MBIT);
		assert_true(rate <= (1.01 + 0.2 / (SECONDS - 1.1)) * RATE);
		if (rate >= 0.99 * RATE && rate <= 1.01 * RATE)
			return;
	}
	fail_msg("not within a percent of %.0f mbit", RATE / MBIT);
}

static void excess_is_dropped_and_the_rate_delivered(void **state)
{
	struct contest contest;

	expect_contested_rate(
		*state, &contest,
		"classes:\n"
		"  bulk: { dscp: AF21, cgroup: @/bulk, egress: { rate: 24mbit, burst: 200ms } }\n"
		"  voice: { dscp: EF, cgroup: @/voice }\n");
	judge(contest.capture, FLOW(.to_port = 7000), AF21, 1);
	judge(contest.capture, FLOW(.to_port = 7001), AF21, 1);
}

static void excess_is_remarked_and_nothing_lost(void **state)
{
	struct contest contest;
	size_t i, marked;

	expect_contested_rate(
		*state, &contest,
		"classes:\n"
		"  bulk: { dscp: AF21, cgroup: @/bulk, egress: { rate: 24mbit, burst: 200ms, exceed: { remark: LE } } }\n"
		"  voice: { dscp: EF, cgroup: @/voice }\n");
	for (i = 0; i < 2; i++) {
		await_packets(contest.capture, FLOW(.to_port = 7000 + i), contest.loads[i].sent);
		marked = flow_count(contest.capture,
				    FLOW(.to_port = 7000 + i, .dsfield = DS_IS(AF21 << 2)));
		marked += flow_count(contest.capture,
				     FLOW(.to_port = 7000 + i, .dsfield = DS_IS(LE << 2)));
		assert_int_equal(marked, contest.loads[i].sent);
	}
}

/* 64 KiB hold 43 full frames; at this rate the next takes 0.6 s to earn. */
static void burst_is_as_deep_as_it_says(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/bulk"), far = far_place(tb);
	struct place other = near_place(tb, "/other");
	int sink = udp_sink(&far, FAR4, 7000), fd;
	uint64_t start;
	size_t most;

	apply(tb,
	      "classes: { bulk: { dscp: AF21, cgroup: @/bulk, egress: { rate: 20kbit, burst: 64kb } } }\n");
	fd = udp_socket(&near, FAR4);
	connect_to(fd, FAR4, 7000);
	start = now_ns();
	udp_burst(fd, 100);
	close(fd);
	most = 43 + 1 + (now_ns() - start) / 1e9 * 20000 / 8 / FULL_FRAME;
	await_queue(c, &other, FAR4);
	assert_in_range(flow_count(c, FLOW(.to_port = 7000)), 43, most);
	close(sink);
}

/* 21 fragments each: they pass or not as one, and all that pass are charged. */
static void hold_fragments(struct testbed *tb, struct capture *c)
{
	struct place bulk = near_place(tb, "/bulk"), other = near_place(tb, "/other");
	struct place far = far_place(tb);
	size_t i, begun = 0, ended = 0;
	int sinks[ROUTES];
	struct udp_load loads[ROUTES];

	capture_clear(c);
	for (i = 0; i < ROUTES; i++) {
		sinks[i] = udp_sink(&far, "::", 7000 + i);
		loads[i] = (struct udp_load){
			.fd = udp_socket(&bulk, routes[i].own), .rate = 20 * MBIT, .length = 30000};
		connect_to(loads[i].fd, routes[i].to, 7000 + i);
	}
	udp_send(loads, ROUTES, 3);
	await_queue(c, &other, FAR4);
	for (i = 0; i < ROUTES; i++) {
		close(sinks[i]);
		close(loads[i].fd);
	}
	for (i = 0; i < c->count; i++) {
		begun += c->packets[i].fragment && !c->packets[i].fragment_offset;
		ended += c->packets[i].fragment && !c->packets[i].more_fragments;
	}
	assert_int_equal(begun, ended);
}

static void fragments_are_charged_to_the_last(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	const struct flow fragments = {.protocol = IPPROTO_UDP, .dsfield = DS_IS(AF21 << 2)};
	int attempt;
	double rate;

	apply(tb,
	      "classes: { bulk: { dscp: AF21, cgroup: @/bulk, egress: { rate: 24mbit, burst: 100ms } } }\n");
	for (attempt = 0; attempt < 3; attempt++) {
		hold_fragments(tb, c);
		rate = flow_rate(c, &fragments, 1, 2.9);
		print_message("%.3f mbit\n", rate / MBIT);
		assert_true(rate <= 1.03 * RATE);
		if (rate >= 0.97 * RATE)
			return;
	}
	fail_msg("less than 97 percent of %.0f mbit", RATE / MBIT);
}

/* A class may meter and leave the application's marks alone. */
static void keep_meters_without_marking(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/bulk"), far = far_place(tb);
	struct place other = near_place(tb, "/other");
	int sink = udp_sink(&far, FAR4, 7000), fd;

	apply(tb,
	      "classes: { bulk: { dscp: keep, cgroup: @/bulk, egress: { rate: 8kbit, burst: 15kb } } }\n");
	fd = udp_socket(&near, FAR4);
	connect_to(fd, FAR4, 7000);
	set_option(fd, IPPROTO_IP, IP_TOS, EF << 2);
	udp_burst(fd, 100);
	close(fd);
	await_queue(c, &other, FAR4);
	judge(c, FLOW(.to_port = 7000), EF, 10);
	assert_in_range(flow_count(c, FLOW(.to_port = 7000)), 10, 12);
	close(sink);
}

/* What is known of a class that only marks is forgotten with the policy that said so. */
static void live_connection_comes_under_a_meter(void **state)
{
	static const char marks[] = "classes: { bulk: { dscp: EF, cgroup: @/bulk } }\n";
	static const char meters[] =
		"classes: { bulk: { dscp: EF, cgroup: @/bulk,"
		" egress: { rate: 8kbit, burst: 3kb, exceed: { remark: LE } } } }\n";
	const struct flow *in = FLOW(.to_port = 7000, .data = true, .dsfield = DS_IS(EF << 2));
	const struct flow *out = FLOW(.to_port = 7000, .data = true, .dsfield = DS_IS(LE << 2));
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/bulk"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection tcp;
	int i;

	apply(tb, marks);
	tcp = tcp_connection(&near, &far, FAR4, 7000);
	for (i = 0; i < 4; i++) {
		apply(tb, i % 2 ? meters : marks);
		capture_clear(c);
		send_bytes(tcp.client, 30000);
		receive_bytes(tcp.server, 30000);
		await_packets(c, i % 2 ? out : in, 1);
		if (!(i % 2))
			assert_int_equal(flow_count(c, out), 0);
	}
	close(tcp.client), close(tcp.server), close(tcp.listener);
}

static bool use_congestion_control(int fd, const char *name)
{
	return !setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, strlen(name));
}

/* What one flow makes of a class's rate: at least 90 percent, and at most this part of it. */
struct bounds {
	double rate, most, most_in_first_second;
};

static const struct bounds fast = {RATE, 1.01, 1.1};

/* As expect_contested_rate() does, and why. */
static void expect_rate(struct capture *c, int sender, int receiver, const struct flow *data,
			const struct bounds *b)
{
	double first_second, rate;
	int attempt;

	for (attempt = 0; attempt < 3; attempt++) {
		capture_clear(c);
		tcp_fill(sender, receiver, SECONDS + 0.2);
		first_second = flow_rate(c, data, 0, 1);
		rate = flow_rate(c, data, 0, SECONDS);
		print_message("%.3f mbit, in the first second %.3f\n", rate / MBIT,
			      first_second / MBIT);
		assert_true(rate <= b->most * b->rate);
		assert_true(first_second <= b->most_in_first_second * b->rate);
		if (rate >= 0.90 * b->rate)
			return;
	}
	fail_msg("less than 90 percent of %.0f mbit", b->rate / MBIT);
}

static void one_tcp_flow(struct testbed *tb, const char *address, int port, const char *algorithm,
			 const struct bounds *b)
{
	struct flow data = {.protocol = IPPROTO_TCP, .to_port = port, .data = true};
	struct place near = near_place(tb, "/bulk"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int listener = tcp_listener(&far, address, port), client = tcp_socket(&near, address),
	    server;

	if (!use_congestion_control(client, algorithm)) {
		print_message("no congestion control %s: %s\n", algorithm, strerror(errno));
		skip();
	}
	connect_to(client, address, port);
	server = accept_from(listener);
	print_message("%s to %s\n", algorithm, address);
	expect_rate(c, client, server, &data, b);
	judge(c, FLOW(.to_port = port), AF21, 10);
	close_with_reset(server);
	close(client);
	close(listener);
}

static const char *const algorithms[] = {"cubic", "bbr"};

/* Without `burst`: the default must suit a TCP flow at this rate. */
static void one_tcp_flow_gets_its_rate(void **state)
{
	struct testbed *tb = *state;
	size_t i;

	netns_no_segmentation(tb->near, NEAR_IF);
	apply(tb, "classes: { bulk: { dscp: AF21, cgroup: @/bulk, egress: { rate: 24mbit } } }\n");
	for (i = 0; i < 2; i++) {
		one_tcp_flow(tb, FAR4, 7000 + i, algorithms[i], &fast);
		one_tcp_flow(tb, FAR6, 8000 + i, algorithms[i], &fast);
	}
}

static void apply_rate(struct testbed *tb, int kbits)
{
	char policy[200];

	sprintf(policy,
		"classes: { bulk: { dscp: AF21, cgroup: @/bulk, egress: { rate: %dkbit } } }\n",
		kbits);
	apply(tb, policy);
}

/*
 * The first ten segments are not paced (tcp_update_skb_after_send()): a burst
 * that is some ms of a low rate only would drop most of them, and bbr not
 * recover; and they are most of a second of the lowest of these rates.
 */
static void one_tcp_flow_gets_a_low_rate(void **state)
{
	static const int kbits[] = {128, 512, 2000};
	struct testbed *tb = *state;
	size_t i, k;

	for (k = 0; k < sizeof(kbits) / sizeof(kbits[0]); k++) {
		double rate = kbits[k] * 1000, packet = FULL_FRAME * 8 / (rate * SECONDS);
		struct bounds slow = {rate, 1.01 + packet, 1.1};

		apply_rate(tb, kbits[k]);
		for (i = 0; i < 4; i++)
			one_tcp_flow(tb, i / 2 ? FAR6 : FAR4, 7000 + 4 * k + i, algorithms[i % 2],
				     &slow);
	}
}

static struct tcp_info tcp_info(int fd)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size))
		fail_msg("TCP_INFO: %s", strerror(errno));
	return info;
}

/*
 * Ten segments are the kernel's first window, and it grows where nothing is lost.
 * How small a bounded one is depends on the round trip, which varies where a machine is slow.
 */
static void expect_window(const struct connection *tcp, bool bounded)
{
	int tries = bounded ? 10 : 100; /* a second, which has no loss yet */
	uint32_t window;

	do {
		tcp_fill(tcp->client, tcp->server, patience(0.1));
		window = tcp_info(tcp->client).tcpi_snd_cwnd;
	} while ((bounded ? window >= 10 : window <= 10) && --tries);
	if (bounded) {
		assert_true(window < 10);
		/* A tail loss probe, where an acknowledgement was late, is no loss. */
		assert_in_range(tcp_info(tcp->client).tcpi_total_retrans, 0, 2);
	} else {
		assert_true(window > 10);
	}
}

/* A slow class keeps the congestion window small; the socket has it back with its pacing. */
static void window_is_given_back(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/bulk"), far = far_place(tb);
	struct connection tcp, accepted;

	apply_rate(tb, 256);
	tcp = tcp_connection(&near, &far, FAR4, 7000);
	expect_window(&tcp, true);
	apply_rate(tb, 1000000);
	expect_window(&tcp, false);
	close(tcp.client), close(tcp.server), close(tcp.listener);

	apply_rate(tb, 256);
	tcp = tcp_connection(&far, &near, NEAR4, 7001);
	accepted = (struct connection){.client = tcp.server, .server = tcp.client};
	expect_window(&accepted, true);
	detach(tb);
	expect_window(&accepted, false);
	close(tcp.client), close(tcp.server), close(tcp.listener);
}

/* An accepted connection is paced as well: a server's answer is most of its traffic. */
static void one_accepted_tcp_flow_gets_its_rate(void **state)
{
	struct flow data = {.protocol = IPPROTO_TCP, .from_port = 7000, .data = true};
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/bulk"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection tcp;

	netns_no_segmentation(tb->near, NEAR_IF);
	apply(tb, "classes: { bulk: { dscp: AF21, cgroup: @/bulk, egress: { rate: 24mbit } } }\n");
	tcp = tcp_connection(&far, &near, NEAR4, 7000);
	expect_rate(c, tcp.server, tcp.client, &data, &fast);
	close_with_reset(tcp.client);
	close(tcp.server);
	close(tcp.listener);
}

/* Four at once: do they get the rate, and none of them less than a fifth of its share? */
static bool share_rate(struct testbed *tb, struct capture *c)
{
	struct flow data = {.protocol = IPPROTO_TCP, .from = NEAR4, .data = true};
	struct place near = near_place(tb, "/bulk"), far = far_place(tb);
	struct connection flows[4];
	double rate;
	bool fair;
	size_t i;

	capture_clear(c);
	for (i = 0; i < 4; i++)
		flows[i] = tcp_connection(&near, &far, FAR4, 7000 + i);
	tcp_fill_all(flows, 4, SECONDS + 0.2);
	rate = flow_rate(c, &data, 1, SECONDS);
	print_message("%.3f mbit\n", rate / MBIT);
	/* Where all stood still at first, the bucket is full when it is looked at: 50 ms in 3 s. */
	assert_true(rate <= 1.02 * RATE);
	judge(c, &data, AF21, 100);
	fair = rate >= 0.5 * RATE;
	for (i = 0; i < 4; i++) {
		fair &= flow_count(c, FLOW(.to_port = 7000 + i)) >= flow_count(c, &data) / 20;
		close_with_reset(flows[i].server);
		close(flows[i].client);
		close(flows[i].listener);
	}
	return fair;
}

/*
 * Each is paced at the class's whole rate: it is the bucket that holds them to it,
 * and starves none. A sender that the machine lets wait may lose one time in three.
 */
static void several_tcp_flows_share_the_rate(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int attempt = 0;

	netns_no_segmentation(tb->near, NEAR_IF);
	apply(tb, "classes: { bulk: { dscp: AF21, cgroup: @/bulk, egress: { rate: 24mbit } } }\n");
	while (!share_rate(tb, c))
		assert_true(++attempt < 3);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(excess_is_dropped_and_the_rate_delivered),
		NET_TEST(excess_is_remarked_and_nothing_lost),
		NET_TEST(burst_is_as_deep_as_it_says),
		NET_TEST(fragments_are_charged_to_the_last),
		NET_TEST(keep_meters_without_marking),
		NET_TEST(live_connection_comes_under_a_meter),
		NET_TEST(one_tcp_flow_gets_its_rate),
		NET_TEST(one_tcp_flow_gets_a_low_rate),
		NET_TEST(window_is_given_back),
		NET_TEST(one_accepted_tcp_flow_gets_its_rate),
		NET_TEST(several_tcp_flows_share_the_rate),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
