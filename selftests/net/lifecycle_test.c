/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Live sockets under policies that come, change and go.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"

#define AF11 10
#define AF21 18
#define EF   46

#define VOICE "rules: [{ match: { cgroup: @/app }, class: voice }]\n"

/* A class that sets all that hostqos can set on a socket. */
static const char policy[] =
	"classes: { voice: { dscp: EF, priority: 5, egress: { rate: 24mbit } } }\n" VOICE;
static const char other_policy[] = "classes: { voice: { dscp: AF21 } }\n" VOICE;
static const char empty_policy[] = "classes: { voice: { dscp: EF } }\n";

struct options {
	int tos, tclass, priority;
	uint64_t pacing;
};

static struct options options_of(int fd)
{
	socklen_t size = sizeof(uint64_t);
	struct options o = {0};

	o.tos = get_option(fd, IPPROTO_IP, IP_TOS);
	if (get_option(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET6)
		o.tclass = get_option(fd, IPPROTO_IPV6, IPV6_TCLASS);
	o.priority = get_option(fd, SOL_SOCKET, SO_PRIORITY);
	if (getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &o.pacing, &size))
		fail_msg("SO_MAX_PACING_RATE: %s", strerror(errno));
	return o;
}

/* IP_TOS sets the priority too, so that comes after it. */
static void set_own_options(int fd)
{
	set_option(fd, IPPROTO_IP, IP_TOS, AF11 << 2);
	if (get_option(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, AF11 << 2);
	set_option(fd, SOL_SOCKET, SO_PRIORITY, 3);
	set_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE, 50000000);
}

/* Sockets of every kind at /app, each with a peer in far. */
enum kind { TCP_CLIENT, TCP_SERVER, TCP_LISTENER, UDP_CONNECTED, KINDS };
static const char *const kind_names[] = {"TCP client", "TCP server", "TCP listener",
					 "connected UDP"};

static const struct host {
	const char *own, *peer, *peer_listens;
} hosts[] = {
	{NEAR4, FAR4, FAR4},
	{NEAR6, FAR6, FAR6},
	{"::", MAPPED FAR4, FAR4},
};

#define HOSTS (sizeof(hosts) / sizeof(hosts[0]))

struct live {
	int fd[HOSTS][KINDS], peer[HOSTS][KINDS];
	struct options own[HOSTS][KINDS];
};

static int port_of(size_t host, int kind)
{
	return 7000 + 10 * host + kind;
}

static void make_kinds(struct testbed *tb, struct live *l, size_t i)
{
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct connection c;

	c = tcp_connection(&near, &far, hosts[i].peer, port_of(i, TCP_CLIENT));
	l->fd[i][TCP_CLIENT] = c.client;
	l->peer[i][TCP_CLIENT] = c.server;
	close(c.listener);
	l->fd[i][TCP_LISTENER] = tcp_listener(&near, hosts[i].own, port_of(i, TCP_LISTENER));
	l->peer[i][TCP_SERVER] =
		tcp_client(&far, i == 2 ? NEAR4 : hosts[i].own, port_of(i, TCP_LISTENER));
	l->fd[i][TCP_SERVER] = accept_from(l->fd[i][TCP_LISTENER]);
	l->fd[i][UDP_CONNECTED] = udp_socket(&near, hosts[i].peer);
	connect_to(l->fd[i][UDP_CONNECTED], hosts[i].peer, port_of(i, UDP_CONNECTED));
	l->peer[i][UDP_CONNECTED] = udp_socket(&far, hosts[i].peer_listens);
	bind_to(l->peer[i][UDP_CONNECTED], hosts[i].peer_listens, port_of(i, UDP_CONNECTED));
}

static void make_live(struct testbed *tb, struct live *l, bool own_options)
{
	size_t i, kind;

	for (i = 0; i < HOSTS; i++) {
		make_kinds(tb, l, i);
		for (kind = 0; kind < KINDS; kind++) {
			if (own_options)
				set_own_options(l->fd[i][kind]);
			l->own[i][kind] = options_of(l->fd[i][kind]);
		}
	}
}

static void close_live(struct live *l)
{
	size_t i, kind;

	for (i = 0; i < HOSTS; i++) {
		for (kind = 0; kind < KINDS; kind++) {
			close(l->fd[i][kind]);
			if (kind != TCP_LISTENER)
				close(l->peer[i][kind]);
		}
	}
}

static void assert_same(const char *option, uint64_t have, uint64_t wanted, size_t host,
			size_t kind)
{
	if (have != wanted)
		fail_msg("%s of the %s at %s is %#lx, not %#lx", option, kind_names[kind],
			 hosts[host].own, (unsigned long)have, (unsigned long)wanted);
}

static void assert_own_options(const struct live *l)
{
	size_t i, kind;

	for (i = 0; i < HOSTS; i++) {
		for (kind = 0; kind < KINDS; kind++) {
			struct options have = options_of(l->fd[i][kind]);
			const struct options *own = &l->own[i][kind];

			assert_same("IP_TOS", have.tos, own->tos, i, kind);
			assert_same("IPV6_TCLASS", have.tclass, own->tclass, i, kind);
			assert_same("SO_PRIORITY", have.priority, own->priority, i, kind);
			assert_same("SO_MAX_PACING_RATE", have.pacing, own->pacing, i, kind);
		}
	}
}

/* All of them send, the listener by a new connection; all have the mark. */
static void expect_marks(struct testbed *tb, struct capture *c, struct live *l, int dscp)
{
	struct place far = far_place(tb);
	size_t i, kind;
	int client, server, port;

	capture_clear(c);
	for (i = 0; i < HOSTS; i++) {
		for (kind = 0; kind < KINDS; kind++) {
			if (kind == TCP_LISTENER)
				continue;
			send_bytes(l->fd[i][kind], 100);
			receive_bytes(l->peer[i][kind], 100);
		}
		client = tcp_client(&far, i == 2 ? NEAR4 : hosts[i].own, port_of(i, TCP_LISTENER));
		server = accept_from(l->fd[i][TCP_LISTENER]);
		send_bytes(server, 100);
		receive_bytes(client, 100);
		close(server);
		receive_end(client);
		port = local_port(client);
		close(client);
		judge(c, FLOW(.to_port = port_of(i, TCP_CLIENT), .data = true), dscp, 1);
		judge(c, FLOW(.to_port = port_of(i, UDP_CONNECTED)), dscp, 1);
		judge(c, FLOW(.from_port = port_of(i, TCP_LISTENER), .data = true), dscp, 2);
		/* Of the new connection, from SYN-ACK to FIN. */
		judge(c, FLOW(.from_port = port_of(i, TCP_LISTENER), .to_port = port), dscp, 3);
	}
}

static void sockets_older_than_the_policy_are_adopted(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct live l;

	make_live(tb, &l, false);
	expect_marks(tb, c, &l, 0);
	apply(tb, policy);
	expect_marks(tb, c, &l, EF);
	close_live(&l);
}

static void detach_gives_adopted_sockets_their_own_back(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct live plain, own;

	make_live(tb, &plain, false);
	apply(tb, policy);
	detach(tb);
	assert_own_options(&plain);
	expect_marks(tb, c, &plain, 0);
	close_live(&plain);
	make_live(tb, &own, true);
	apply(tb, policy);
	expect_marks(tb, c, &own, EF);
	detach(tb);
	assert_own_options(&own);
	expect_marks(tb, c, &own, AF11);
	close_live(&own);
}

static void default_gives_sockets_their_own_back(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct live own;

	make_live(tb, &own, true);
	apply(tb, policy);
	expect_marks(tb, c, &own, EF);
	apply(tb, empty_policy);
	assert_own_options(&own);
	expect_marks(tb, c, &own, AF11);
	close_live(&own);
}

/* What a socket would have had, had there never been a policy. */
static void detach_gives_sockets_born_under_it_their_own_back(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct live before, under;

	make_live(tb, &before, false);
	close_live(&before);
	apply(tb, policy);
	make_live(tb, &under, false);
	expect_marks(tb, c, &under, EF);
	detach(tb);
	memcpy(under.own, before.own, sizeof(under.own));
	assert_own_options(&under);
	expect_marks(tb, c, &under, 0);
	close_live(&under);
}

static void options_set_under_the_policy_are_the_sockets_own(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct live before, under;

	make_live(tb, &before, true);
	close_live(&before);
	apply(tb, policy);
	make_live(tb, &under, true);
	expect_marks(tb, c, &under, EF);
	detach(tb);
	memcpy(under.own, before.own, sizeof(under.own));
	assert_own_options(&under);
	expect_marks(tb, c, &under, AF11);
	close_live(&under);
}

static void reload_changes_live_flows_at_the_next_packet(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct live old, young;

	make_live(tb, &old, false);
	apply(tb, policy);
	expect_marks(tb, c, &old, EF);
	apply(tb, other_policy);
	expect_marks(tb, c, &old, AF21);
	close_live(&old);
	make_live(tb, &young, false);
	expect_marks(tb, c, &young, AF21);
	apply(tb, policy);
	expect_marks(tb, c, &young, EF);
	close_live(&young);
}

static void unconnected_udp_follows_the_policy(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int old = udp_socket(&near, NEAR6), young;

	apply(tb, policy);
	young = udp_socket(&near, NEAR4);
	assert_int_equal(send_to(old, MAPPED FAR4, 7000, 100), 0);
	assert_int_equal(send_to(young, FAR4, 7000, 100), 0);
	await_packets(c, FLOW(.to_port = 7000), 2);
	judge(c, FLOW(.to_port = 7000), EF, 2);
	apply(tb, other_policy);
	assert_int_equal(send_to(old, FAR6, 7001, 100), 0);
	assert_int_equal(send_to(young, FAR4, 7001, 100), 0);
	await_packets(c, FLOW(.to_port = 7001), 2);
	judge(c, FLOW(.to_port = 7001), AF21, 2);
	detach(tb);
	assert_int_equal(send_to(old, FAR6, 7002, 100), 0);
	assert_int_equal(send_to(young, FAR4, 7002, 100), 0);
	await_packets(c, FLOW(.to_port = 7002), 2);
	judge(c, FLOW(.to_port = 7002), 0, 2);
	close(old);
	close(young);
}

/* SO_PRIORITY is the class's; where that names none, IP_TOS does not change it either. */
static void priority_is_the_classes_or_stays(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	int named, unnamed;

	apply(tb, policy);
	named = udp_socket(&near, FAR4);
	connect_to(named, FAR4, 7000);
	assert_int_equal(flow_mark(tb, named, "granted", "priority"), 5);
	apply(tb, other_policy);
	assert_int_equal(flow_mark(tb, named, "granted", "priority"), 0);
	unnamed = udp_socket(&near, FAR4);
	connect_to(unnamed, FAR4, 7000);
	assert_int_equal(flow_mark(tb, unnamed, "granted", "tos"), AF21);
	assert_int_equal(flow_mark(tb, unnamed, "granted", "priority"), 0);
	close(named);
	close(unnamed);
}

/* Sends by old and by new sockets of every kind until it is killed. */
static void send_for_ever(const struct live *l, const struct place *near, int listener)
{
	struct timespec pause = {.tv_nsec = 200000};
	int fd;

	for (;;) {
		send(l->fd[0][TCP_CLIENT], "x", 1, MSG_DONTWAIT);
		send(l->fd[1][UDP_CONNECTED], "x", 1, MSG_DONTWAIT);
		fd = udp_socket(near, FAR4);
		send_to(fd, FAR4, 7777, 1);
		close(fd);
		fd = tcp_socket(near, NEAR4);
		connect_to(fd, FAR4, 7778);
		close(accept_from(listener));
		close(fd);
		nanosleep(&pause, NULL);
	}
}

/* Each packet is of the one policy or the other, never of none or of half of both. */
static void reload_leaves_no_packet_without_policy(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int listener = tcp_listener(&far, FAR4, 7778), i;
	struct flow ours = {.protocol = IPPROTO_UDP};
	struct live l;
	pid_t sender;

	apply(tb, policy);
	make_live(tb, &l, false);
	capture_clear(c);
	sender = place_fork(&near, 0);
	if (sender == 0)
		send_for_ever(&l, &near, listener);
	for (i = 0; i < 6; i++) {
		apply(tb, i % 2 ? policy : other_policy);
		await_packets(c, FLOW(.to_port = 7777, .after = now_ns()), 10);
	}
	kill(sender, SIGKILL);
	waitpid(sender, NULL, 0);
	for (i = 0; i < 2; i++, ours.protocol = IPPROTO_TCP) {
		struct verdict voice, other;

		do { /* the last packets may come in between */
			voice = verdict_of(c, &ours, EF);
			other = verdict_of(c, &ours, AF21);
		} while (voice.packets != other.packets);
		assert_true(voice.wrong < voice.packets && other.wrong < other.packets);
		assert_int_equal(voice.wrong + other.wrong, voice.packets);
	}
	close(listener);
	close_live(&l);
}

/* It is in no table of TCP's, only among its holder's files. */
static void detach_gives_merely_bound_tcp_its_own_back(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct options own[HOSTS], have;
	int fd[HOSTS];
	size_t i;

	apply(tb, policy);
	for (i = 0; i < HOSTS; i++) {
		fd[i] = tcp_socket(&near, hosts[i].own);
		set_own_options(fd[i]);
		own[i] = options_of(fd[i]);
		bind_to(fd[i], hosts[i].own, port_of(i, 0));
		assert_int_equal(flow_mark(tb, fd[i], "granted", i ? "tclass" : "tos"), EF);
	}
	detach(tb);
	for (i = 0; i < HOSTS; i++) {
		have = options_of(fd[i]);
		assert_int_equal(have.tos, own[i].tos);
		assert_int_equal(have.tclass, own[i].tclass);
		close(fd[i]);
	}
}

/* This program holds a listener of a network namespace that is neither its own nor hostqos's. */
static void sockets_of_a_namespace_that_no_process_is_in(void **state)
{
	struct testbed *tb = *state;
	struct place inside = near_place(tb, "/app");
	int netns = netns_new(), fd;

	inside.netns = netns;
	run(tb, &inside, "ip link set lo up");
	fd = tcp_listener(&inside, "127.0.0.1", 7000);
	set_option(fd, IPPROTO_IP, IP_TOS, AF11 << 2);
	apply(tb, policy);
	assert_int_equal(flow_mark(tb, fd, "granted", "tos"), EF);
	detach(tb);
	assert_int_equal(get_option(fd, IPPROTO_IP, IP_TOS), AF11 << 2);
	close(fd);
	close(netns);
}

static void connecting_again_ends_the_pacing(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int listener = tcp_listener(&far, "::", 7000), fd;
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	apply(tb, "classes: { slow: { dscp: EF, egress: { rate: 24mbit } } }\n"
		  "rules: [{ match: { cgroup: @/app, remote: " FAR4 " }, class: slow }]\n");
	fd = tcp_client(&near, FAR4, 7000);
	assert_true(options_of(fd).pacing < 24000000 / 8);
	assert_int_equal(connect(fd, &none, sizeof(none)), 0);
	connect_to(fd, FAR4_B, 7000);
	assert_int_equal(options_of(fd).pacing, ~0UL);
	close(fd);
	close(listener);
}

/* Who asked for less than the class's rate is not made faster: when it connects, or lives already.
 */
static void slower_socket_stays_slower(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int listener = tcp_listener(&far, FAR4, 7000), fd[2], i;

	for (i = 0; i < 2; i++) {
		fd[i] = socket_at(&near, AF_INET, SOCK_STREAM);
		set_option(fd[i], SOL_SOCKET, SO_MAX_PACING_RATE, 125000);
		connect_to(fd[i], FAR4, 7000);
		assert_int_equal(options_of(fd[i]).pacing, 125000);
		apply(tb,
		      "classes: { slow: { dscp: EF, cgroup: @/app, egress: { rate: 24mbit } } }\n");
		assert_int_equal(flow_mark(tb, fd[i], "granted", "tos"), EF);
		assert_int_equal(options_of(fd[i]).pacing, 125000);
	}
	detach(tb);
	for (i = 0; i < 2; i++) {
		assert_int_equal(options_of(fd[i]).pacing, 125000);
		close(fd[i]);
	}
	close(listener);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(sockets_older_than_the_policy_are_adopted),
		NET_TEST(detach_gives_adopted_sockets_their_own_back),
		NET_TEST(default_gives_sockets_their_own_back),
		NET_TEST(detach_gives_sockets_born_under_it_their_own_back),
		NET_TEST(options_set_under_the_policy_are_the_sockets_own),
		NET_TEST(reload_changes_live_flows_at_the_next_packet),
		NET_TEST(unconnected_udp_follows_the_policy),
		NET_TEST(priority_is_the_classes_or_stays),
		NET_TEST(reload_leaves_no_packet_without_policy),
		NET_TEST(detach_gives_merely_bound_tcp_its_own_back),
		NET_TEST(sockets_of_a_namespace_that_no_process_is_in),
		NET_TEST(connecting_again_ends_the_pacing),
		NET_TEST(slower_socket_stays_slower),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
