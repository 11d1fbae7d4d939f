/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * SYN-ACKs carry the mark of the connection that they open, from the first one.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"

#define AF11 10
#define AF21 18
#define AF41 34
#define CS5  40

#define SYN_ACK .with = TCP_SYN | TCP_ACK

/* How a server listens, and where its clients find it and come from. */
static const struct service {
	const char *listen, *connect, *from, *from_b;
} services[] = {
	{NEAR4, NEAR4, FAR4, FAR4_B},
	{NEAR6, NEAR6, FAR6, FAR6_B},
	{"::", NEAR4, FAR4, FAR4_B},
	{"::", NEAR6, FAR6, FAR6_B},
};

#define SERVICES (sizeof(services) / sizeof(services[0]))

/* A connection from the address, with a byte each way, closed by the server. */
static void visit(struct testbed *tb, int listener, const struct service *s, const char *from)
{
	struct place far = far_place(tb);
	int client = tcp_socket(&far, s->connect), server;

	bind_to(client, from, 0);
	connect_to(client, s->connect, local_port(listener));
	server = accept_from(listener);
	send_bytes(client, 1);
	receive_bytes(server, 1);
	send_bytes(server, 1);
	receive_bytes(client, 1);
	close(server);
	receive_end(client);
	close(client);
}

static void each_service(struct testbed *tb, int syn_ack, int rest)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");
	size_t i;

	for (i = 0; i < SERVICES; i++) {
		int listener = tcp_listener(&near, services[i].listen, 7000 + i);

		visit(tb, listener, &services[i], services[i].from);
		judge(c, FLOW(.from_port = 7000 + i, SYN_ACK), syn_ack, 1);
		judge(c, FLOW(.from_port = 7000 + i, .without = TCP_SYN), rest, 2);
		close(listener);
	}
}

static void syn_ack_has_the_mark_of_its_class(void **state)
{
	apply(*state, "classes: { web: { dscp: AF21, cgroup: @/web } }\n");
	each_service(*state, AF21, AF21);
}

static void syn_ack_may_have_a_mark_of_its_own(void **state)
{
	apply(*state, "classes: { web: { dscp: AF21, syn_ack: CS5, cgroup: @/web } }\n");
	each_service(*state, CS5, AF21);
}

/* A cookie's SYN-ACK belongs to no socket (tcp_make_synack()). */
static void syn_ack_under_cookies_is_marked(void **state)
{
	struct testbed *tb = *state;

	netns_sysctl(tb->near, "ipv4/tcp_syncookies", "2");
	apply(tb, "classes: { web: { dscp: AF21, cgroup: @/web } }\n");
	each_service(tb, AF21, AF21);
}

static void syn_ack_is_of_its_clients_class(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");
	size_t i;

	apply(tb, "classes:\n"
		  "  web: { dscp: AF21 }\n"
		  "  gold: { dscp: AF41, syn_ack: CS5 }\n"
		  "rules:\n"
		  "  - match: { cgroup: @/web, remote: [" FAR4_B ", \"" FAR6_B "\"] }\n"
		  "    class: gold\n"
		  "  - match: { cgroup: @/web }\n"
		  "    class: web\n");
	for (i = 0; i < SERVICES; i++) {
		const struct service *s = &services[i];
		int listener = tcp_listener(&near, s->listen, 7000 + i);

		visit(tb, listener, s, s->from);
		visit(tb, listener, s, s->from_b);
		judge(c, FLOW(.from_port = 7000 + i, .to = s->from), AF21, 3);
		judge(c, FLOW(.from_port = 7000 + i, .to = s->from_b, SYN_ACK), CS5, 1);
		judge(c, FLOW(.from_port = 7000 + i, .to = s->from_b, .without = TCP_SYN), AF41, 2);
		close(listener);
	}
}

/* The SYN-ACK is built from the listener's DS field, which bears the other clients' mark. */
static void exempt_client_gets_no_mark(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");
	size_t i;

	apply(tb, "classes: { web: { dscp: AF21 } }\n"
		  "rules:\n"
		  "  - match: { cgroup: @/web, remote: [" FAR4_B ", \"" FAR6_B "\"] }\n"
		  "    class: default\n"
		  "  - match: { cgroup: @/web }\n"
		  "    class: web\n");
	for (i = 0; i < SERVICES; i++) {
		const struct service *s = &services[i];
		int listener = tcp_listener(&near, s->listen, 7000 + i);

		visit(tb, listener, s, s->from_b);
		visit(tb, listener, s, s->from);
		judge(c, FLOW(.from_port = 7000 + i, .to = s->from_b, SYN_ACK), 0, 1);
		judge(c, FLOW(.from_port = 7000 + i, .to = s->from_b), 0, 3);
		judge(c, FLOW(.from_port = 7000 + i, .to = s->from, SYN_ACK), AF21, 1);
		judge(c, FLOW(.from_port = 7000 + i, .to = s->from), AF21, 3);
		close(listener);
	}
}

static void listener_older_than_the_policy_is_adopted(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");
	int listeners[SERVICES];
	size_t i;

	for (i = 0; i < SERVICES; i++)
		listeners[i] = tcp_listener(&near, services[i].listen, 7000 + i);
	apply(tb, "classes: { web: { dscp: AF21, syn_ack: AF11, cgroup: @/web } }\n");
	for (i = 0; i < SERVICES; i++) {
		visit(tb, listeners[i], &services[i], services[i].from);
		judge(c, FLOW(.from_port = 7000 + i, SYN_ACK), AF11, 1);
		judge(c, FLOW(.from_port = 7000 + i, .without = TCP_SYN), AF21, 2);
		close(listeners[i]);
	}
}

/* A client that hears nothing makes the server repeat its SYN-ACK. */
static void repeated_syn_acks_are_marked(void **state)
{
	struct sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &drop_all};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web"), far = far_place(tb);
	int listener, client;
	size_t i;

	apply(tb, "classes: { web: { dscp: AF21, cgroup: @/web } }\n");
	for (i = 0; i < 2; i++) {
		listener = tcp_listener(&near, services[i].listen, 7000 + i);
		client = tcp_socket(&far, services[i].connect);
		if (setsockopt(client, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
			fail_msg("SO_ATTACH_FILTER");
		fcntl(client, F_SETFL, O_NONBLOCK);
		connect_try(client, services[i].connect, 7000 + i);
		await_packets(c, FLOW(.from_port = 7000 + i, SYN_ACK), 2);
		judge(c, FLOW(.from_port = 7000 + i), AF21, 2);
		close(client);
		close(listener);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(syn_ack_has_the_mark_of_its_class),
		NET_TEST(syn_ack_may_have_a_mark_of_its_own),
		NET_TEST(syn_ack_under_cookies_is_marked),
		NET_TEST(syn_ack_is_of_its_clients_class),
		NET_TEST(exempt_client_gets_no_mark),
		NET_TEST(listener_older_than_the_policy_is_adopted),
		NET_TEST(repeated_syn_acks_are_marked),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
