/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The DSCP across a proxy: the connection that it opens has the mark of the one
 * that it is for. Exact where a thread serves one connection at a time; what
 * event loops reach is measured here, and told in the README.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "hostqos.h"
#include "process.h"
#include "proxy.h"
#include "sockets.h"
#include "traffic.h"

#define AF21 18
#define AF41 34
#define AF42 36
#define EF   46

#define ALLOW "allow: [AF11, AF12, AF13, AF21, AF22, AF23, AF31, AF41]"
#define POLICY(from)                                                                               \
	"classes: { up: { dscp: EF, mirror: { from: [" from "], " ALLOW ", of: upstream } } }\n"   \
	"rules: [{ match: { cgroup: @/proxy, direction: outbound }, class: up }]\n"
#define NO_MIRROR                                                                                  \
	"classes: { up: { dscp: EF } }\n"                                                          \
	"rules: [{ match: { cgroup: @/proxy, direction: outbound }, class: up }]\n"
#define TRUST POLICY(FAR4 ", \"" FAR6 "\"")

#define BUSY_CLIENTS 50

/* Where the proxy listens and is found, and where its server is. */
static const struct path {
	const char *listen, *proxy, *client, *server;
} paths[] = {
	{NEAR4, NEAR4, FAR4, FAR4},
	{"::", NEAR4, FAR4, FAR6},
	{"::", NEAR6, FAR6, MAPPED FAR4},
};

static size_t load(struct testbed *tb, struct capture *c, int clients, int rounds)
{
	struct tally tally;

	clients_run(tb, FAR4, NEAR4, clients, rounds);
	tally = proxy_tally(c);
	print_message("%zu of %zu connections had the right mark, %d clients\n", tally.right,
		      tally.connections, clients);
	assert_int_equal(tally.connections, clients * rounds);
	return tally.right;
}

static void thread_for_each_connection_is_exact(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/proxy");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, TRUST);
	server_start(tb, FAR4);
	proxy_start(tb, &near, NEAR4, FAR4);
	assert_int_equal(load(tb, c, BUSY_CLIENTS, 10), BUSY_CLIENTS * 10);
}

static void both_families_in_any_combination(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/proxy");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct tally tally;
	size_t i;

	apply(tb, TRUST);
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		server_start(tb, paths[i].server);
		proxy_start(tb, &near, paths[i].listen, paths[i].server);
		clients_run(tb, paths[i].client, paths[i].proxy, 4, 5);
		tally = proxy_tally(c);
		assert_int_equal(tally.connections, 20);
		assert_int_equal(tally.right, 20);
		process_end_all(tb);
	}
}

/* Proxies that serve many connections by one thread. */
static const struct program {
	const char *name, *file, *command, *config;
} programs[] = {
	{"haproxy, mode tcp", "haproxy", "%s -db -f " SCRATCH "/haproxy.conf",
	 "defaults\n"
	 "  mode tcp\n"
	 "  timeout connect 10s\n"
	 "  timeout client 10s\n"
	 "  timeout server 10s\n"
	 "listen proxy\n"
	 "  bind " NEAR4 ":8080 shards by-thread\n"
	 "  server far " FAR4 ":9000\n"},
	{"haproxy, mode http", "haproxy", "%s -db -f " SCRATCH "/haproxy.conf",
	 "defaults\n"
	 "  mode http\n"
	 "  timeout connect 10s\n"
	 "  timeout client 10s\n"
	 "  timeout server 10s\n"
	 "listen proxy\n"
	 "  bind " NEAR4 ":8080 shards by-thread\n"
	 "  server far " FAR4 ":9000\n"},
	{"nginx, proxy_pass", "nginx", "%s -e stderr -c " SCRATCH "/nginx.conf",
	 "daemon off;\n"
	 "user root;\n"
	 "worker_processes 1;\n"
	 "pid " SCRATCH "/nginx.pid;\n"
	 "error_log stderr;\n"
	 "events { worker_connections 512; }\n"
	 "http {\n"
	 "  access_log off;\n"
	 "  client_body_temp_path " SCRATCH "/t1;\n"
	 "  proxy_temp_path " SCRATCH "/t2;\n"
	 "  fastcgi_temp_path " SCRATCH "/t3;\n"
	 "  uwsgi_temp_path " SCRATCH "/t4;\n"
	 "  scgi_temp_path " SCRATCH "/t5;\n"
	 "  server {\n"
	 "    listen " NEAR4 ":8080;\n"
	 "    location / { proxy_pass http://" FAR4 ":9000; }\n"
	 "  }\n"
	 "}\n"},
};

/* One request after the other is exact; chance would be an eighth of the busy ones. */
static void event_loops_are_right_as_a_rule(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/proxy");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	char path[64];
	size_t i;

	apply(tb, TRUST);
	for (i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		const struct program *p = &programs[i];

		snprintf(path, sizeof(path), SCRATCH "/%s.conf", p->file);
		write_file(path, p->config);
		server_start(tb, FAR4);
		process_start(tb, &near, p->command, server_program(p->file));
		AWAIT(netns_listens(tb->near, IPPROTO_TCP, 8080));
		print_message("%s:\n", p->name);
		assert_int_equal(load(tb, c, 1, 40), 40);
		assert_true(load(tb, c, BUSY_CLIENTS, 10) > BUSY_CLIENTS * 10 / 2);
		process_end_all(tb);
	}
}

/* This program as the proxy: connections in, which it takes a byte from, and out. */
static struct connection come_in(struct testbed *tb, int port, const char *from, int dscp)
{
	struct place near = near_place(tb, "/proxy"), far = far_place(tb);
	struct connection c;

	c.listener = tcp_listener(&near, NEAR4, port);
	c.client = tcp_socket(&far, NEAR4);
	bind_to(c.client, from, 0);
	set_option(c.client, IPPROTO_IP, IP_TOS, dscp << 2);
	connect_to(c.client, NEAR4, port);
	c.server = accept_from(c.listener);
	return c;
}

static void serve(struct connection in)
{
	send_bytes(in.client, 1);
	receive_bytes(in.server, 1);
}

static void answer(struct connection in)
{
	send_bytes(in.server, 1);
	receive_bytes(in.client, 1);
}

static struct connection go_out(struct testbed *tb)
{
	struct place near = near_place(tb, "/proxy"), far = far_place(tb);
	struct connection c = tcp_connection(&near, &far, FAR4, SERVER_PORT);

	send_bytes(c.client, 1);
	receive_bytes(c.server, 1);
	return c;
}

static void close_all(struct connection c)
{
	close(c.client), close(c.server), close(c.listener);
}

static void judge_next(struct testbed *tb, struct capture *c, int dscp)
{
	struct connection out;

	capture_clear(c);
	out = go_out(tb);
	judge(c, FLOW(.from_port = local_port(out.client), .to_port = SERVER_PORT), dscp, 3);
	close_all(out);
}

static void the_connection_served_last_counts(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection a, b;

	apply(tb, TRUST);
	judge_next(tb, c, EF);
	a = come_in(tb, 7001, FAR4, AF21);
	b = come_in(tb, 7002, FAR4, AF41);
	serve(a);
	judge_next(tb, c, AF21);
	judge_next(tb, c, AF21);
	serve(b);
	judge_next(tb, c, AF41);
	serve(a);
	judge_next(tb, c, AF21);
	close_all(a);
	close_all(b);
}

/* Those taken in together are connected for in their order, as an event loop does. */
static void the_one_that_waits_longest_comes_first(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection a, b;

	apply(tb, TRUST);
	a = come_in(tb, 7001, FAR4, AF21);
	b = come_in(tb, 7002, FAR4, AF41);
	serve(a);
	serve(b);
	judge_next(tb, c, AF21);
	judge_next(tb, c, AF41);
	judge_next(tb, c, AF41);
	close_all(a);
	close_all(b);
}

static void who_has_been_answered_waits_no_more(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection a, b;

	apply(tb, TRUST);
	a = come_in(tb, 7001, FAR4, AF21);
	b = come_in(tb, 7002, FAR4, AF41);
	serve(a);
	answer(a);
	serve(b);
	judge_next(tb, c, AF41);
	answer(b);
	serve(a);
	close_all(a);
	serve(b);
	judge_next(tb, c, AF41);
	close_all(b);
}

/* Neither trusted nor allowed: the class's own, not that of the connection before. */
static void whom_nobody_trusts_gets_the_classs_own(void **state)
{
	static const struct {
		const char *from;
		int dscp, expected;
	} clients[] = {
		{FAR4, AF21, AF21}, {FAR4_B, AF21, EF}, {FAR4, AF41, AF41}, {FAR4, AF42, EF}};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i;

	apply(tb, TRUST);
	for (i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
		struct connection in = come_in(tb, 7000, clients[i].from, clients[i].dscp);

		serve(in);
		judge_next(tb, c, clients[i].expected);
		close_all(in);
	}
}

static void connected_datagram_sockets_too(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/proxy"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection in;
	int sink = udp_sink(&far, "::", SERVER_PORT), fd = udp_socket(&near, FAR4);

	apply(tb, TRUST);
	in = come_in(tb, 7000, FAR4, AF21);
	serve(in);
	connect_to(fd, FAR4, SERVER_PORT);
	send_bytes(fd, 100);
	await_packets(c, FLOW(.protocol = IPPROTO_UDP), 1);
	judge(c, FLOW(.protocol = IPPROTO_UDP), AF21, 1);
	/* For whom it sends elsewhere nobody knows. */
	assert_int_equal(send_to(fd, FAR4_B, SERVER_PORT, 100), 0);
	await_packets(c, FLOW(.protocol = IPPROTO_UDP, .to = FAR4_B), 1);
	judge(c, FLOW(.protocol = IPPROTO_UDP, .to = FAR4_B), EF, 1);
	close(fd);
	close(sink);
	close_all(in);
}

static void judge_live(struct testbed *tb, struct capture *c, struct connection out,
		       const char *policy, int dscp)
{
	apply(tb, policy);
	capture_clear(c);
	send_bytes(out.client, 1);
	receive_bytes(out.server, 1);
	judge(c, FLOW(.to_port = SERVER_PORT, .data = true), dscp, 1);
}

static void reload_of_a_live_connection(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection in, out;

	apply(tb, TRUST);
	in = come_in(tb, 7000, FAR4, AF21);
	serve(in);
	out = go_out(tb);
	judge_live(tb, c, out, NO_MIRROR, EF);
	judge_live(tb, c, out, TRUST, AF21);
	judge_live(tb, c, out, POLICY("192.0.2.0/24"), EF);
	judge_live(tb, c, out, TRUST, AF21);
	close_all(in);
	close_all(out);
}

static const char *const hooks[] = {"thread_received", "thread_accepted4", "thread_accepted6",
				    "thread_connects4", "thread_connects6"};

static void expect_upstream(struct testbed *tb, bool expected)
{
	char path[128];
	size_t i;

	for (i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		assert_int_equal(has_hook(tb, hooks[i]), expected);
	snprintf(path, sizeof(path), "/sys/fs/bpf/hostqos/%s/maps/threads", tb->instance);
	assert_int_equal(access(path, F_OK), expected ? 0 : -1);
}

/* What sees all of the system is there for a policy that asks for it alone. */
static void attached_only_where_asked_for(void **state)
{
	struct testbed *tb = *state;
	struct bpf_ids ids;

	apply(tb, NO_MIRROR);
	expect_upstream(tb, false);
	apply(tb, TRUST);
	expect_upstream(tb, true);
	bpf_ids_collect(tb, &ids);
	apply(tb, TRUST);
	expect_upstream(tb, true);
	apply(tb, NO_MIRROR);
	expect_upstream(tb, false);
	detach(tb);
	AWAIT(bpf_ids_alive(&ids) == 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(thread_for_each_connection_is_exact),
		NET_TEST(event_loops_are_right_as_a_rule),
		NET_TEST(both_families_in_any_combination),
		NET_TEST(the_connection_served_last_counts),
		NET_TEST(the_one_that_waits_longest_comes_first),
		NET_TEST(who_has_been_answered_waits_no_more),
		NET_TEST(whom_nobody_trusts_gets_the_classs_own),
		NET_TEST(connected_datagram_sockets_too),
		NET_TEST(reload_of_a_live_connection),
		NET_TEST(attached_only_where_asked_for),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
