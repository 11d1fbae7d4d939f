/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The marks that applications ask for by option: ignored, honoured or denied;
 * what arrives, and what getsockopt() answers.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define LE   1
#define CS1  8
#define AF11 10
#define AF21 18
#define AF41 34
#define AF42 36
#define EF   46
#define CS6  48

#define IGNORE	 "classes: { app: { dscp: EF, cgroup: @/app, priority: 5 } }\n"
#define DENY	 "classes: { app: { dscp: EF, cgroup: @/app, app_dscp: deny } }\n"
#define HONOR	 "classes: { app: { dscp: EF, cgroup: @/app, priority: 5, app_dscp: honor } }\n"
#define HONOR_21 "classes: { app: { dscp: AF21, cgroup: @/app, app_dscp: honor } }\n"
#define LIST                                                                                       \
	"classes: { app: { dscp: EF, cgroup: @/app, priority: 5,\n"                                \
	"                  app_dscp: { honor: [AF41, AF42] } } }\n"
#define NOTHING "classes: {}\n"

static const char *option_name(const struct route *r)
{
	return r->ipv4 ? "tos" : "tclass";
}

static int set_try(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

static int ask_try(int fd, const struct route *r, int dscp)
{
	return set_try(fd, r->ipv4 ? IPPROTO_IP : IPPROTO_IPV6, r->ipv4 ? IP_TOS : IPV6_TCLASS,
		       dscp << 2);
}

static void ask(int fd, const struct route *r, int dscp)
{
	assert_int_equal(ask_try(fd, r, dscp), 0);
}

static int asked(int fd, const struct route *r)
{
	return get_option(fd, r->ipv4 ? IPPROTO_IP : IPPROTO_IPV6,
			  r->ipv4 ? IP_TOS : IPV6_TCLASS) >>
	       2;
}

/* A connected socket of either protocol and its peer. */
struct pair {
	const struct route *route;
	int fd, peer, port;
};

/* `before`: the DSCP that the application asks for before connect(), or -1. */
static struct pair pair_make(struct testbed *tb, const struct route *r, int protocol, int before)
{
	static int next_port = 7000;
	struct pair p = {.route = r, .port = next_port++};
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	bool tcp = protocol == IPPROTO_TCP;
	int listener = -1;

	if (tcp)
		listener = tcp_listener(&far, "::", p.port);
	else
		p.peer = udp_sink(&far, "::", p.port);
	p.fd = tcp ? tcp_socket(&near, r->own) : udp_socket(&near, r->own);
	if (before >= 0)
		ask(p.fd, r, before);
	connect_to(p.fd, r->to, p.port);
	if (tcp) {
		p.peer = accept_from(listener);
		close(listener);
	}
	return p;
}

static void pair_close(struct pair *p)
{
	close(p->fd);
	close(p->peer);
}

/* What it sends now arrives with the DSCP. */
static void expect(struct capture *c, const struct pair *p, int dscp)
{
	capture_clear(c);
	send_bytes(p->fd, 100);
	await_packets(c, FLOW(.to_port = p->port, .data = true), 1);
	judge(c, FLOW(.to_port = p->port, .data = true), dscp, 1);
}

#define PAIRS (2 * ROUTES)

/* TCP and UDP on each route. */
static void make_all(struct testbed *tb, struct pair all[PAIRS], int before)
{
	size_t i;

	for (i = 0; i < PAIRS; i++)
		all[i] = pair_make(tb, &routes[i / 2], i & 1 ? IPPROTO_UDP : IPPROTO_TCP, before);
}

static void close_all(struct pair all[PAIRS])
{
	size_t i;

	for (i = 0; i < PAIRS; i++)
		pair_close(&all[i]);
}

static void expect_all(struct capture *c, const struct pair all[PAIRS], int dscp)
{
	size_t i;

	for (i = 0; i < PAIRS; i++)
		expect(c, &all[i], dscp);
}

static void ask_all(const struct pair all[PAIRS], int dscp)
{
	size_t i;

	for (i = 0; i < PAIRS; i++)
		ask(all[i].fd, all[i].route, dscp);
}

static void expect_asked(const struct pair all[PAIRS], int dscp)
{
	size_t i;

	for (i = 0; i < PAIRS; i++)
		assert_int_equal(asked(all[i].fd, all[i].route), dscp);
}

static void expect_shown(struct testbed *tb, const struct pair all[PAIRS], const char *which,
			 int dscp)
{
	size_t i;

	for (i = 0; i < PAIRS; i += 3) /* TCP over IPv4, UDP over IPv6 */
		assert_int_equal(flow_mark(tb, all[i].fd, which, option_name(all[i].route)), dscp);
}

static void ignored_marks_are_remembered(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct pair all[PAIRS];
	size_t i;

	apply(tb, IGNORE);
	make_all(tb, all, AF41);
	expect_asked(all, AF41);
	expect_shown(tb, all, "asked", AF41);
	expect_all(c, all, EF);
	ask_all(all, AF11);
	expect_asked(all, AF11);
	expect_all(c, all, EF);
	/* The sockets have the class's mark, not only the packets. */
	expect_shown(tb, all, "granted", EF);
	for (i = 0; i < PAIRS; i++) {
		set_option(all[i].fd, SOL_SOCKET, SO_PRIORITY, 3);
		assert_int_equal(get_option(all[i].fd, SOL_SOCKET, SO_PRIORITY), 3);
	}
	assert_int_equal(flow_mark(tb, all[0].fd, "asked", "priority"), 3);
	assert_int_equal(flow_mark(tb, all[0].fd, "granted", "priority"), 5);
	close_all(all);
}

/* What hostqos put on a socket is not the application's, and is never shown to it. */
static void nothing_asked_is_nothing_told(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct pair p;

	apply(tb, IGNORE);
	p = pair_make(tb, &routes[0], IPPROTO_UDP, -1);
	expect(c, &p, EF);
	assert_int_equal(get_option(p.fd, IPPROTO_IP, IP_TOS), 0);
	assert_int_equal(get_option(p.fd, SOL_SOCKET, SO_PRIORITY), 0);
	assert_int_equal(flow_mark(tb, p.fd, "asked", "tos"), -1);
	assert_int_equal(flow_mark(tb, p.fd, "asked", "priority"), -1);
	/* As QUIC stacks do for ECN: what is read is written back. */
	set_option(p.fd, IPPROTO_IP, IP_TOS, get_option(p.fd, IPPROTO_IP, IP_TOS) | 2);
	expect(c, &p, EF);
	assert_int_equal(flow_count(c, FLOW(.to_port = p.port, .dsfield = DS_IS(EF << 2 | 2))), 1);
	detach(tb);
	expect(c, &p, 0);
	pair_close(&p);
}

/* What the kernel refuses is refused still, and changes nothing. */
static void wrong_values_are_the_kernels_to_refuse(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct pair p;
	char octet = AF11 << 2;

	apply(tb, IGNORE);
	p = pair_make(tb, &routes[1], IPPROTO_UDP, AF41);
	assert_int_equal(set_try(p.fd, IPPROTO_IPV6, IPV6_TCLASS, 256), -EINVAL);
	assert_int_equal(asked(p.fd, &routes[1]), AF41);
	expect(c, &p, EF);
	pair_close(&p);
	p = pair_make(tb, &routes[0], IPPROTO_UDP, AF41);
	assert_int_equal(set_try(p.fd, IPPROTO_IPV6, IPV6_TCLASS, 0), -ENOPROTOOPT);
	assert_int_equal(setsockopt(p.fd, IPPROTO_IP, IP_TOS, &octet, 1), 0);
	assert_int_equal(asked(p.fd, &routes[0]), AF11);
	expect(c, &p, EF);
	/* No value at all is 0 to the kernel: nothing new here, that would bring a priority. */
	set_option(p.fd, IPPROTO_IP, IP_TOS, 0);
	set_option(p.fd, SOL_SOCKET, SO_PRIORITY, 3);
	assert_int_equal(setsockopt(p.fd, IPPROTO_IP, IP_TOS, NULL, 0), 0);
	assert_int_equal(get_option(p.fd, SOL_SOCKET, SO_PRIORITY), 3);
	pair_close(&p);
}

/* As if there had been no hostqos: IP_TOS brings its own priority, as on `plain`. */
static void detach_gives_what_was_asked(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place outside = near_place(tb, NULL);
	struct pair before[PAIRS], after[PAIRS];
	size_t i;
	int plain;

	apply(tb, IGNORE);
	make_all(tb, before, AF41);
	make_all(tb, after, -1);
	ask_all(after, AF11);
	ask_all(after, AF41);
	expect_all(c, before, EF);
	expect_all(c, after, EF);
	detach(tb);
	expect_asked(before, AF41);
	expect_asked(after, AF41);
	expect_all(c, before, AF41);
	expect_all(c, after, AF41);
	for (i = 0; i < PAIRS; i++) {
		const struct route *r = before[i].route;

		plain = udp_socket(&outside, r->own);
		ask(plain, r, AF41);
		assert_int_equal(get_option(before[i].fd, SOL_SOCKET, SO_PRIORITY),
				 get_option(plain, SOL_SOCKET, SO_PRIORITY));
		assert_int_equal(get_option(after[i].fd, SOL_SOCKET, SO_PRIORITY),
				 get_option(plain, SOL_SOCKET, SO_PRIORITY));
		close(plain);
	}
	close_all(before);
	close_all(after);
}

static void denied_options_fail(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), other = near_place(tb, "/other");
	struct pair all[PAIRS];
	size_t i;
	int fd;

	apply(tb, DENY);
	make_all(tb, all, -1);
	for (i = 0; i < PAIRS; i++) {
		assert_int_equal(ask_try(all[i].fd, all[i].route, AF41), -EPERM);
		assert_int_equal(set_try(all[i].fd, SOL_SOCKET, SO_PRIORITY, 2), -EPERM);
		assert_int_equal(set_try(all[i].fd, SOL_SOCKET, SO_SNDBUF, 65536), 0);
	}
	expect_asked(all, 0);
	expect_all(c, all, EF);
	close_all(all);
	/* The class is known by the cgroup alone: already before there is an address. */
	fd = udp_socket(&near, FAR4);
	assert_int_equal(ask_try(fd, &routes[0], AF41), -EPERM);
	close(fd);
	fd = udp_socket(&other, FAR4);
	assert_int_equal(ask_try(fd, &routes[0], AF41), 0);
	close(fd);
}

static void honored_marks_count(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct pair silent[PAIRS], asking[PAIRS];

	apply(tb, HONOR);
	make_all(tb, silent, -1);
	make_all(tb, asking, AF41);
	expect_all(c, silent, EF);
	expect_all(c, asking, AF41);
	expect_shown(tb, asking, "granted", AF41);
	ask_all(silent, AF11);
	expect_all(c, silent, AF11);
	/* The default forwarding that is asked for is a wish as well. */
	ask_all(silent, 0);
	expect_all(c, silent, 0);
	set_option(silent[0].fd, SOL_SOCKET, SO_PRIORITY, 3);
	assert_int_equal(flow_mark(tb, silent[0].fd, "granted", "priority"), 3);
	close_all(silent);
	close_all(asking);
}

static void only_listed_marks_are_honored(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct pair all[PAIRS];

	apply(tb, LIST);
	make_all(tb, all, AF41);
	expect_all(c, all, AF41);
	ask_all(all, CS6);
	expect_all(c, all, EF);
	expect_asked(all, CS6);
	ask_all(all, AF42);
	expect_all(c, all, AF42);
	set_option(all[0].fd, SOL_SOCKET, SO_PRIORITY, 3);
	assert_int_equal(flow_mark(tb, all[0].fd, "granted", "priority"), 5);
	close_all(all);
}

/* The two halves of a dual-stack socket have marks of their own. */
static void dual_stack_has_two_wishes(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app");
	int fd, i;

	for (i = 0; i < 2; i++) {
		apply(tb, i ? IGNORE : HONOR);
		fd = udp_socket(&near, NEAR6);
		set_option(fd, IPPROTO_IP, IP_TOS, AF11 << 2);
		bind_to(fd, "::", 7999);
		set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, AF41 << 2);
		assert_int_equal(get_option(fd, IPPROTO_IP, IP_TOS), AF11 << 2);
		assert_int_equal(get_option(fd, IPPROTO_IPV6, IPV6_TCLASS), AF41 << 2);
		capture_clear(c);
		assert_int_equal(send_to(fd, FAR6, 7001, 100), 0);
		assert_int_equal(send_to(fd, MAPPED FAR4, 7002, 100), 0);
		await_packets(c, FLOW(.to_port = 7001), 1);
		await_packets(c, FLOW(.to_port = 7002), 1);
		judge(c, FLOW(.to_port = 7001), i ? EF : AF41, 1);
		judge(c, FLOW(.to_port = 7002), i ? EF : AF11, 1);
		close(fd);
	}
}

/* A connection to the listener has the DSCP from the SYN-ACK on. */
static void expect_accepted(struct capture *c, const struct place *far, const struct route *r,
			    int listener, int port, int dscp)
{
	int client, server;

	capture_clear(c);
	client = tcp_client(far, r->own, port);
	server = accept_from(listener);
	send_bytes(server, 100);
	receive_bytes(client, 100);
	judge(c, FLOW(.from_port = port, .to_port = local_port(client)), dscp, 2);
	assert_int_equal(asked(server, r), asked(listener, r));
	close_with_reset(client);
	close(server);
}

/* An accepted connection asks for what its listener asked for. */
static void accepted_sockets_inherit_the_wish(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int listener, i;

	apply(tb, LIST);
	for (i = 0; i < 2; i++) {
		listener = tcp_socket(&near, routes[i].own);
		ask(listener, &routes[i], AF41);
		bind_to(listener, routes[i].own, 7000 + i);
		assert_int_equal(listen(listener, 5), 0);
		expect_accepted(c, &far, &routes[i], listener, 7000 + i, AF41);
		ask(listener, &routes[i], CS6);
		expect_accepted(c, &far, &routes[i], listener, 7000 + i, EF);
		close(listener);
	}
}

/* What a socket had when hostqos first saw it is what its application asked for. */
static void adopted_sockets_have_asked(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct pair asking[PAIRS], silent[PAIRS];

	make_all(tb, asking, AF41);
	make_all(tb, silent, -1);
	apply(tb, LIST);
	expect_all(c, asking, AF41);
	expect_all(c, silent, EF);
	apply(tb, IGNORE);
	expect_all(c, asking, EF);
	expect_asked(asking, AF41);
	detach(tb);
	expect_all(c, asking, AF41);
	expect_all(c, silent, 0);
	close_all(asking);
	close_all(silent);
}

/* The wish outlives every policy; what hostqos once set never becomes it. */
static void reload_between_treatments(void **state)
{
	static const struct {
		const char *policy;
		int asking, silent;
	} steps[] = {
		{HONOR_21, AF41, AF21}, {DENY, EF, EF},	  {NOTHING, AF41, 0},
		{IGNORE, EF, EF},	{LIST, AF41, EF},
	};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct pair asking[PAIRS], silent[PAIRS];
	size_t i;

	apply(tb, IGNORE);
	make_all(tb, asking, AF11);
	make_all(tb, silent, -1);
	ask_all(asking, AF41);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		apply(tb, steps[i].policy);
		expect_all(c, asking, steps[i].asking);
		expect_all(c, silent, steps[i].silent);
		expect_asked(asking, AF41);
		expect_asked(silent, 0);
	}
	ask_all(asking, AF42);
	expect_all(c, asking, AF42);
	detach(tb);
	expect_asked(asking, AF42);
	expect_all(c, asking, AF42);
	expect_all(c, silent, 0);
	close_all(asking);
	close_all(silent);
}

/* `default` honours even where it is written, unless it says otherwise. */
static void default_honors(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct pair p;

	apply(tb, "classes: { default: { dscp: CS1 } }\n");
	p = pair_make(tb, &routes[0], IPPROTO_UDP, -1);
	expect(c, &p, CS1);
	ask(p.fd, &routes[0], AF41);
	expect(c, &p, AF41);
	apply(tb, "classes: { default: { dscp: CS1, app_dscp: ignore } }\n");
	expect(c, &p, CS1);
	pair_close(&p);
}

/* An honoured mark is metered by the class, and what is out of profile is remarked. */
static void honored_marks_are_metered(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int fd, sink = udp_sink(&far, "::", 7001);
	size_t green, red;

	apply(tb, "classes: { app: { dscp: EF, cgroup: @/app, app_dscp: honor,\n"
		  "  egress: { rate: 8kbit, burst: 4kb, exceed: { remark: LE } } } }\n");
	fd = udp_socket(&near, FAR4);
	ask(fd, &routes[0], AF41);
	connect_to(fd, FAR4, 7001);
	udp_burst(fd, 20);
	await_packets(c, FLOW(.to_port = 7001), 20);
	green = flow_count(c, FLOW(.to_port = 7001, .dsfield = DS_IS(AF41 << 2)));
	red = flow_count(c, FLOW(.to_port = 7001, .dsfield = DS_IS(LE << 2)));
	assert_int_equal(green + red, 20);
	assert_in_range(green, 2, 3);
	close(fd);
	close(sink);
}

/* Values longer than a page: a program that leaves them alone still has to say so (EFAULT). */
static void long_options_work(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	char name[3 * 4096] = "reno", got[3 * 4096] = "";
	socklen_t size = sizeof(got);
	int fd;

	apply(tb, IGNORE);
	fd = tcp_socket(&near, FAR4);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, sizeof(name)), 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, got, &size), 0);
	assert_string_equal(got, "reno");
	close(fd);
}

/* The DSCP that the first packet with data to a port has. */
static int mark_of_port(struct capture *c, int port)
{
	int dscp;

	await_packets(c, FLOW(.to_port = port, .data = true), 1);
	for (dscp = 0; dscp < 64; dscp++)
		if (verdict_of(c, FLOW(.to_port = port, .data = true), dscp).wrong == 0)
			return dscp;
	return -1;
}

static void iperf3(struct testbed *tb, const char *arguments)
{
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct process *server = process_start(tb, &far, "iperf3 -s -1 -p 5201");

	AWAIT(netns_listens(far.netns, IPPROTO_TCP, 5201));
	run(tb, &near, "iperf3 -c " FAR4 " -p 5201 -n 100K %s", arguments);
	assert_int_equal(process_wait(server), 0);
}

/* iperf3 sets IP_TOS, and exits with an error where that fails. */
static void iperf3_gets_what_its_class_grants(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, IGNORE);
	iperf3(tb, "--dscp af41");
	assert_int_equal(mark_of_port(c, 5201), EF);
	apply(tb, HONOR);
	capture_clear(c);
	iperf3(tb, "-u -b 10M --dscp af41");
	/* Its first datagram, of 4 bytes, goes out before it sets the option. */
	await_packets(c, FLOW(.protocol = IPPROTO_UDP, .to_port = 5201), 10);
	assert_true(flow_count(c, FLOW(.protocol = IPPROTO_UDP, .to_port = 5201,
				       .dsfield = DS_IS(AF41 << 2))) >= 9);
	assert_int_equal(flow_count(c, FLOW(.protocol = IPPROTO_UDP, .to_port = 5201,
					    .dsfield = DS_IS(EF << 2))),
			 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(ignored_marks_are_remembered),
		NET_TEST(nothing_asked_is_nothing_told),
		NET_TEST(wrong_values_are_the_kernels_to_refuse),
		NET_TEST(detach_gives_what_was_asked),
		NET_TEST(denied_options_fail),
		NET_TEST(honored_marks_count),
		NET_TEST(only_listed_marks_are_honored),
		NET_TEST(dual_stack_has_two_wishes),
		NET_TEST(accepted_sockets_inherit_the_wish),
		NET_TEST(adopted_sockets_have_asked),
		NET_TEST(reload_between_treatments),
		NET_TEST(default_honors),
		NET_TEST(honored_marks_are_metered),
		NET_TEST(long_options_work),
		NET_TEST(iperf3_gets_what_its_class_grants),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
