/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Marks derived from inbound ones: what trusted peers mark is taken over where
 * the class allows it, by every kind of packet that answers them.
 */
#include <linux/filter.h>
#include <stdio.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define CS1  8
#define AF11 10
#define AF12 12
#define AF21 18
#define AF31 26
#define AF41 34

#define SYN_ACK .with = TCP_SYN | TCP_ACK

/* Far's first addresses are trusted; AF31 is not allowed. */
#define TRUST "from: [" FAR4 ", \"" FAR6 "\"], allow: [AF21, AF41]"
#define MIRROR(of)                                                                                 \
	"classes: { web: { dscp: AF11, syn_ack: AF12, cgroup: @/web, mirror: { " TRUST ", of: " of \
	" } } }\n"
#define NO_MIRROR "classes: { web: { dscp: AF11, syn_ack: AF12, cgroup: @/web } }\n"

/* How a server listens, and where its clients find it and come from. */
static const struct service {
	const char *listen, *connect, *trusted, *other;
} services[] = {
	{NEAR4, NEAR4, FAR4, FAR4_B},
	{NEAR6, NEAR6, FAR6, FAR6_B},
	{"::", NEAR4, FAR4, FAR4_B},
	{"::", NEAR6, FAR6, FAR6_B},
};

#define SERVICES (sizeof(services) / sizeof(services[0]))

static void mark(int fd, const char *address, int dscp)
{
	if (address_family(address) == AF_INET)
		set_option(fd, IPPROTO_IP, IP_TOS, dscp << 2);
	else
		set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, dscp << 2);
}

static struct connection open_from(struct testbed *tb, const struct service *s, int port,
				   const char *from, int dscp)
{
	struct place near = near_place(tb, "/web"), far = far_place(tb);
	struct connection c;

	c.listener = tcp_listener(&near, s->listen, port);
	c.client = tcp_socket(&far, s->connect);
	bind_to(c.client, from, 0);
	mark(c.client, s->connect, dscp);
	connect_to(c.client, s->connect, port);
	c.server = accept_from(c.listener);
	return c;
}

static void talk(struct connection c)
{
	send_bytes(c.client, 1);
	receive_bytes(c.server, 1);
	send_bytes(c.server, 10000);
	receive_bytes(c.client, 10000);
}

static void close_server_first(struct connection c)
{
	close(c.server);
	receive_end(c.client);
	close(c.client);
	close(c.listener);
}

/*
 * One connection from its SYN-ACK to its FIN. Each has a port of its own: of one
 * before it an ACK may still be to come.
 */
static void judge_connection(struct testbed *tb, struct capture *c, const struct service *s,
			     const char *from, int dscp, int syn_ack, int rest)
{
	static int port = 8000;
	struct connection n = open_from(tb, s, ++port, from, dscp);

	talk(n);
	close_server_first(n);
	await_packets(c, FLOW(.from_port = port, .with = TCP_FIN), 1);
	judge(c, FLOW(.from_port = port, SYN_ACK), syn_ack, 1);
	judge(c, FLOW(.from_port = port, .without = TCP_SYN), rest, 3);
}

static void each_connection(struct testbed *tb, const char *policy)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i;

	apply(tb, policy);
	for (i = 0; i < SERVICES; i++) {
		const struct service *s = &services[i];

		judge_connection(tb, c, s, s->trusted, AF21, AF21, AF21);
		judge_connection(tb, c, s, s->trusted, AF41, AF41, AF41);
		judge_connection(tb, c, s, s->trusted, AF31, AF12, AF11);
		judge_connection(tb, c, s, s->other, AF21, AF12, AF11);
	}
}

static void connection_has_the_mark_of_its_syn(void **state)
{
	each_connection(*state, MIRROR("syn"));
}

static void connection_begins_with_the_mark_of_its_syn_where_the_latest_counts(void **state)
{
	each_connection(*state, MIRROR("latest"));
}

/* Prefixes, and IPv4 apart from ::/0. */
static void prefixes_are_trusted(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, "classes: { web: { dscp: AF11, cgroup: @/web,\n"
		  "  mirror: { from: [\"::/0\", 10.9.0.2/31], allow: AF21 } } }\n");
	judge_connection(tb, c, &services[0], FAR4, AF21, AF21, AF21);
	judge_connection(tb, c, &services[1], FAR6_B, AF21, AF21, AF21);
	apply(tb, "classes: { web: { dscp: AF11, cgroup: @/web,\n"
		  "  mirror: { from: \"::/0\", allow: AF21 } } }\n");
	judge_connection(tb, c, &services[0], FAR4, AF21, AF11, AF11);
	judge_connection(tb, c, &services[2], FAR4, AF21, AF11, AF11);
	judge_connection(tb, c, &services[3], FAR6, AF21, AF21, AF21);
}

/* A listener's own later packets do not change what its SYN has said. */
static void later_packets_count_where_the_latest_does(void **state)
{
	static const int dscps[] = {AF41, AF31, AF21, 0, AF41};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i, n, latest;

	for (latest = 0; latest < 2; latest++) {
		apply(tb, latest ? MIRROR("latest") : MIRROR("syn"));
		for (i = 0; i < SERVICES; i++) {
			struct connection o =
				open_from(tb, &services[i], 7000, services[i].trusted, AF21);

			for (n = 0; n < sizeof(dscps) / sizeof(*dscps); n++) {
				int allowed = dscps[n] == AF21 || dscps[n] == AF41;

				mark(o.client, services[i].connect, dscps[n]);
				send_bytes(o.client, 1);
				receive_bytes(o.server, 1);
				capture_clear(c);
				send_bytes(o.server, 1);
				receive_bytes(o.client, 1);
				judge(c, FLOW(.from_port = 7000, .data = true),
				      !latest	? AF21
				      : allowed ? dscps[n]
						: AF11,
				      1);
			}
			close_server_first(o);
		}
	}
}

/* What near's client gets back counts too: the SYN-ACK is the first of it. */
static void client_mirrors_the_latest_of_its_server(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/web"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int listener = tcp_listener(&far, FAR4, 7000), client, server;

	apply(tb, MIRROR("latest"));
	mark(listener, FAR4, AF41);
	client = tcp_client(&near, FAR4, 7000);
	server = accept_from(listener);
	send_bytes(client, 1);
	receive_bytes(server, 1);
	judge(c, FLOW(.to_port = 7000, .with = TCP_SYN), AF11, 1);
	judge(c, FLOW(.to_port = 7000, .without = TCP_SYN), AF41, 2);
	close(client), close(server), close(listener);
}

static void go_deaf(int fd)
{
	struct sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &drop_all};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		fail_msg("SO_ATTACH_FILTER");
}

/* Far hears no ACK of its FINs and repeats them; near answers out of TIME_WAIT. */
static void time_wait_acks(struct testbed *tb, const char *policy, int port, int opened, int then)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection o[SERVICES];
	size_t i;

	apply(tb, policy);
	for (i = 0; i < SERVICES; i++) {
		const struct service *s = &services[i];

		o[i] = open_from(tb, s, port + i, s->trusted, opened);
		talk(o[i]);
		mark(o[i].client, s->connect, then);
		send_bytes(o[i].client, 1);
		receive_bytes(o[i].server, 1);
	}
	capture_clear(c);
	for (i = 0; i < SERVICES; i++) {
		close(o[i].server);
		receive_end(o[i].client);
		go_deaf(o[i].client);
		close(o[i].client);
		close(o[i].listener);
	}
	for (i = 0; i < SERVICES; i++) {
		await_packets(c, FLOW(.from_port = port + i, .without = TCP_FIN), 3);
		judge(c, FLOW(.from_port = port + i), then, 4);
	}
}

static void time_wait_acks_have_the_mark(void **state)
{
	time_wait_acks(*state, MIRROR("syn"), 7000, AF21, AF21);
	time_wait_acks(*state, MIRROR("latest"), 7100, AF21, AF41);
}

static void ecn_bits_stay(void **state)
{
	const struct flow data = {.from_port = 7000, .data = true};
	struct flow marked = {.from_port = 7000, .data = true, .dsfield = DS_IS(AF21 << 2 | 2)};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection o;

	netns_sysctl(tb->near, "ipv4/tcp_ecn", "1");
	netns_sysctl(tb->far, "ipv4/tcp_ecn", "1");
	apply(tb, MIRROR("latest"));
	o = open_from(tb, &services[0], 7000, FAR4, AF21);
	talk(o);
	assert_int_equal(flow_count(c, FLOW(.from_port = 7000, .with = TCP_SYN,
					    .dsfield = DS_IS(AF21 << 2))),
			 1);
	assert_true(flow_count(c, &data) > 0);
	assert_int_equal(flow_count(c, &marked), flow_count(c, &data));
	close_server_first(o);
}

/* Where no SYN is kept: what opens the connection tells. */
static void syn_cookies_keep_the_mark(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	netns_sysctl(tb->near, "ipv4/tcp_syncookies", "2");
	apply(tb, MIRROR("syn"));
	judge_connection(tb, c, &services[0], FAR4, AF21, AF21, AF21);
	judge_connection(tb, c, &services[1], FAR6, AF21, AF21, AF21);
	judge_connection(tb, c, &services[0], FAR4_B, AF21, AF12, AF11);
}

static int udp_client(struct testbed *tb, const char *address)
{
	struct place far = far_place(tb);
	int fd = udp_socket(&far, address);

	bind_to(fd, address, 7001);
	return fd;
}

/* To the server on port 7000, and an answer of `length` bytes to whom it came from. */
static void ask(int client, int server, const struct service *s, int dscp, size_t length)
{
	static char bytes[10000];
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);

	mark(client, s->connect, dscp);
	assert_int_equal(send_to(client, s->connect, 7000, 1), 0);
	assert_int_equal(recvfrom(server, bytes, 1, 0, (void *)&peer, &size), 1);
	assert_int_equal(sendto(server, bytes, length, 0, (void *)&peer, size), length);
	assert_int_equal(recv(client, bytes, sizeof(bytes), 0), length);
}

/* One socket, two peers, turn by turn: each is answered as it asks. */
static void reply_has_the_mark_of_what_it_answers(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/web");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	static const int dscps[] = {AF21, AF41, AF31, AF21};
	size_t i, n;

	apply(tb, MIRROR("syn"));
	for (i = 0; i < SERVICES; i++) {
		const struct service *s = &services[i];
		int a = udp_client(tb, s->trusted), b = udp_client(tb, s->other);
		int server = udp_socket(&near, s->listen);

		bind_to(server, s->listen, 7000);
		for (n = 0; n < 4; n++) {
			capture_clear(c);
			ask(a, server, s, dscps[n], 1);
			ask(b, server, s, AF21, 1);
			judge(c, FLOW(.from_port = 7000, .to = s->trusted),
			      dscps[n] == AF31 ? AF11 : dscps[n], 1);
			judge(c, FLOW(.from_port = 7000, .to = s->other), AF11, 1);
		}
		close(a), close(b), close(server);
	}
}

static void fragments_of_a_reply_have_one_mark(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/web");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i;

	apply(tb, MIRROR("syn"));
	for (i = 0; i < SERVICES; i++) {
		const struct service *s = &services[i];
		int client = udp_client(tb, s->trusted), server = udp_socket(&near, s->listen);

		bind_to(server, s->listen, 7000);
		capture_clear(c);
		ask(client, server, s, AF21, 9000);
		judge(c, FLOW(.protocol = IPPROTO_UDP, .to = s->trusted), AF21, 6);
		close(client), close(server);
	}
}

static void connected_socket_mirrors_its_peer(void **state)
{
	static const int dscps[] = {AF21, AF41, AF31, AF21};
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/web");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i, n;

	apply(tb, MIRROR("syn"));
	for (i = 0; i < 2; i++) {
		const struct service *s = &services[i];
		int client = udp_client(tb, s->trusted), server = udp_socket(&near, s->listen);

		bind_to(server, s->listen, 7000);
		connect_to(server, s->trusted, 7001);
		for (n = 0; n < 4; n++) {
			mark(client, s->connect, dscps[n]);
			assert_int_equal(send_to(client, s->connect, 7000, 1), 0);
			receive_bytes(server, 1);
			capture_clear(c);
			send_bytes(server, 1);
			receive_bytes(client, 1);
			judge(c, FLOW(.from_port = 7000), dscps[n] == AF31 ? AF11 : dscps[n], 1);
		}
		close(client), close(server);
	}
}

/* What a mark earns is metered: two full frames, and what a tick earns. */
static void mirrored_packets_are_charged_to_the_class(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/web");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int client = udp_client(tb, FAR4), server = udp_socket(&near, NEAR4);

	apply(tb, "classes: { web: { dscp: AF11, cgroup: @/web, mirror: { " TRUST " },\n"
		  "  egress: { rate: 8kbit, burst: 3040b, exceed: { remark: CS1 } } } }\n");
	bind_to(server, NEAR4, 7000);
	connect_to(server, FAR4, 7001);
	mark(client, NEAR4, AF41);
	assert_int_equal(send_to(client, NEAR4, 7000, 1), 0);
	receive_bytes(server, 1);
	udp_burst(server, 10);
	await_packets(c, FLOW(.from_port = 7000), 10);
	assert_int_equal(flow_count(c, FLOW(.from_port = 7000, .dsfield = DS_IS(AF41 << 2))), 2);
	assert_int_equal(flow_count(c, FLOW(.from_port = 7000, .dsfield = DS_IS(CS1 << 2))), 8);
	close(client), close(server);
}

static void judge_reply(struct capture *c, struct connection o, int dscp)
{
	capture_clear(c);
	send_bytes(o.server, 1);
	receive_bytes(o.client, 1);
	judge(c, FLOW(.from_port = 7000, .data = true), dscp, 1);
}

/* The very next packet of a live connection follows, and so does its socket. */
static void reload_of_live_connections(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection o;
	size_t i;

	for (i = 0; i < 2; i++) {
		apply(tb, MIRROR("syn"));
		o = open_from(tb, &services[i], 7000, services[i].trusted, AF21);
		judge_reply(c, o, AF21);
		apply(tb, NO_MIRROR);
		judge_reply(c, o, AF11);
		apply(tb, MIRROR("syn"));
		judge_reply(c, o, AF21);
		apply(tb, "classes: { web: { dscp: AF11, cgroup: @/web,\n"
			  "  mirror: { from: 192.0.2.0/24, allow: AF21 } } }\n");
		judge_reply(c, o, AF11);
		apply(tb, MIRROR("latest"));
		mark(o.client, services[i].connect, AF41);
		send_bytes(o.client, 1);
		receive_bytes(o.server, 1);
		judge_reply(c, o, AF41);
		detach(tb);
		judge_reply(c, o, 0);
		close_server_first(o);
	}
}

/* Connections and listeners that are older than the policy. */
static void older_sockets_mirror_what_comes_from_now_on(void **state)
{
	struct testbed *tb = *state;
	struct place far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection o = open_from(tb, &services[0], 7000, FAR4, AF21);
	int client, server;

	apply(tb, MIRROR("latest"));
	judge_reply(c, o, AF11);
	send_bytes(o.client, 1);
	receive_bytes(o.server, 1);
	judge_reply(c, o, AF21);
	apply(tb, MIRROR("syn"));
	client = tcp_socket(&far, NEAR4);
	bind_to(client, FAR4, 0);
	mark(client, NEAR4, AF41);
	capture_clear(c);
	connect_to(client, NEAR4, 7000);
	server = accept_from(o.listener);
	send_bytes(server, 1);
	receive_bytes(client, 1);
	judge(c, FLOW(.from_port = 7000, .to_port = local_port(client)), AF41, 2);
	close(client), close(server);
	close_server_first(o);
}

static void expect_member(struct json_object *o, const char *name, const char *expected)
{
	assert_string_equal(json_object_get_string(json_member(o, name)), expected);
}

static void what_is_mirrored_is_shown(void **state)
{
	struct testbed *tb = *state;
	struct json_object *flows, *classes, *class;
	struct connection o;

	apply(tb, MIRROR("latest"));
	assert_true(has_hook(tb, "latest_dscp"));
	o = open_from(tb, &services[0], 7000, FAR4, AF41);
	flows = hostqos_json(tb, 0, "show flows");
	assert_non_null(json_find(json_member(flows, "flows"), "mirrored", "AF41"));
	classes = hostqos_json(tb, 0, "show classes");
	class = json_find(json_member(classes, "classes"), "name", "web");
	expect_member(class, "mirror",
		      "{ from: [" FAR4 ", \"" FAR6 "\"], allow: [AF21, AF41], of: latest }");
	json_object_put(flows);
	json_object_put(classes);
	close_server_first(o);
	apply(tb, MIRROR("syn"));
	assert_false(has_hook(tb, "latest_dscp"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(connection_has_the_mark_of_its_syn),
		NET_TEST(connection_begins_with_the_mark_of_its_syn_where_the_latest_counts),
		NET_TEST(prefixes_are_trusted),
		NET_TEST(later_packets_count_where_the_latest_does),
		NET_TEST(client_mirrors_the_latest_of_its_server),
		NET_TEST(time_wait_acks_have_the_mark),
		NET_TEST(ecn_bits_stay),
		NET_TEST(syn_cookies_keep_the_mark),
		NET_TEST(reply_has_the_mark_of_what_it_answers),
		NET_TEST(fragments_of_a_reply_have_one_mark),
		NET_TEST(connected_socket_mirrors_its_peer),
		NET_TEST(mirrored_packets_are_charged_to_the_class),
		NET_TEST(reload_of_live_connections),
		NET_TEST(older_sockets_mirror_what_comes_from_now_on),
		NET_TEST(what_is_mirrored_is_shown),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
