/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Live sockets of cgroups that a reload governs no more: `attach.cgroup` is another.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"

#define AF11 10
#define EF   46

#define UDP_PORT     7000
#define CLIENT_PORT  7001
#define LISTEN_PORT  7002
#define BOUND_PORT   7003
#define ALONE_PORT   7004
#define OUTSIDE_PORT 100 /* more than a port of the cgroup that stays governed */

#define GOVERNED(cgroup, interfaces)                                                               \
	"hostqos: 1\nattach: { cgroup: @" cgroup ", interfaces: [" interfaces "] }\n"
#define VOICE                                                                                      \
	"classes: { voice: { dscp: EF, priority: 5, egress: { rate: 24mbit } } }\n"                \
	"rules: [{ match: { type: [stream, dgram] }, class: voice }]\n"

static const char wide[] = GOVERNED("/x", NEAR_IF) VOICE;
static const char narrow[] = GOVERNED("/x/a", NEAR_IF) VOICE;
static const char beside[] = GOVERNED("/x/b", NEAR_IF) VOICE;
static const char plain_narrow[] = GOVERNED("/x/a", NEAR_IF) "classes: { voice: { dscp: keep } }\n";

enum kind { UDP, CLIENT, LISTENER, SERVER, BOUND, KINDS };
static const char *const names[] = {"UDP", "TCP client", "TCP listener", "TCP server", "bound TCP"};

struct options {
	int tos, priority;
	uint64_t pacing;
};

/* The sockets of a cgroup, with their peers in far, and what they have without hostqos. */
struct live {
	struct place near;
	int fd[KINDS], ports;
	int sink, far_listener, far_server, far_client;
	struct options own[KINDS];
};

static struct options options_of(int fd)
{
	struct options o = {.tos = get_option(fd, IPPROTO_IP, IP_TOS),
			    .priority = get_option(fd, SOL_SOCKET, SO_PRIORITY)};
	socklen_t size = sizeof(o.pacing);

	if (getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &o.pacing, &size))
		fail_msg("SO_MAX_PACING_RATE: %s", strerror(errno));
	return o;
}

/* IP_TOS sets the priority too, so that comes after it. */
static void set_own_options(int fd)
{
	set_option(fd, IPPROTO_IP, IP_TOS, AF11 << 2);
	set_option(fd, SOL_SOCKET, SO_PRIORITY, 3);
	set_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE, 50000000);
}

static struct live live_begin(struct testbed *tb, const char *cgroup, int ports)
{
	struct live l = {.near = near_place(tb, cgroup), .ports = ports};
	struct place far = far_place(tb);
	int kind;

	l.sink = udp_socket(&far, FAR4);
	bind_to(l.sink, FAR4, UDP_PORT + ports);
	l.far_listener = tcp_listener(&far, FAR4, CLIENT_PORT + ports);
	l.fd[UDP] = udp_socket(&l.near, FAR4);
	connect_to(l.fd[UDP], FAR4, UDP_PORT + ports);
	l.fd[CLIENT] = tcp_client(&l.near, FAR4, CLIENT_PORT + ports);
	l.far_server = accept_from(l.far_listener);
	l.fd[LISTENER] = tcp_listener(&l.near, NEAR4, LISTEN_PORT + ports);
	l.far_client = tcp_client(&far, NEAR4, LISTEN_PORT + ports);
	l.fd[SERVER] = accept_from(l.fd[LISTENER]);
	l.fd[BOUND] = tcp_socket(&l.near, NEAR4);
	bind_to(l.fd[BOUND], NEAR4, BOUND_PORT + ports);
	for (kind = 0; kind < KINDS; kind++) {
		set_own_options(l.fd[kind]);
		l.own[kind] = options_of(l.fd[kind]);
	}
	return l;
}

static void live_end(struct live *l)
{
	int kind;

	for (kind = 0; kind < KINDS; kind++)
		close(l->fd[kind]);
	close(l->sink);
	close(l->far_listener);
	close(l->far_server);
	close(l->far_client);
}

static void assert_own_options(const struct live *l)
{
	int kind;

	for (kind = 0; kind < KINDS; kind++) {
		struct options have = options_of(l->fd[kind]), own = l->own[kind];

		if (have.tos != own.tos || have.priority != own.priority ||
		    have.pacing != own.pacing)
			fail_msg(
				"the %s socket has TOS %#x, priority %d, pacing %#lx, not %#x, %d, "
				"%#lx",
				names[kind], have.tos, have.priority, (unsigned long)have.pacing,
				own.tos, own.priority, (unsigned long)own.pacing);
	}
}

/* All of them send, the listener by a new connection. */
static void expect_marks(struct testbed *tb, struct capture *c, struct live *l, int dscp)
{
	struct place far = far_place(tb);
	int client, server, port;

	capture_clear(c);
	send_bytes(l->fd[UDP], 100);
	receive_bytes(l->sink, 100);
	send_bytes(l->fd[CLIENT], 100);
	receive_bytes(l->far_server, 100);
	send_bytes(l->fd[SERVER], 100);
	receive_bytes(l->far_client, 100);
	client = tcp_client(&far, NEAR4, LISTEN_PORT + l->ports);
	server = accept_from(l->fd[LISTENER]);
	close(server);
	receive_end(client);
	port = local_port(client);
	close(client);
	/* The last is the answer to the client's FIN. */
	await_packets(c, FLOW(.from_port = LISTEN_PORT + l->ports, .to_port = port), 3);
	judge(c, FLOW(.to_port = UDP_PORT + l->ports), dscp, 1);
	judge(c, FLOW(.to_port = CLIENT_PORT + l->ports, .data = true), dscp, 1);
	judge(c, FLOW(.from_port = LISTEN_PORT + l->ports, .to_port = port), dscp, 3);
}

static size_t count_flows(struct testbed *tb)
{
	struct json_object *json = hostqos_json(tb, 0, "show flows");
	size_t n = json_object_array_length(json_member(json, "flows"));

	json_object_put(json);
	return n;
}

/*
 * Apply; so many sockets come into the class, or are governed no more where it is
 * NULL and were in the class voice. None refuses that.
 */
static void expect_moves(struct testbed *tb, const char *policy, const char *to, int sockets)
{
	struct json_object *json, *move;
	char verb[128];

	snprintf(verb, sizeof(verb), "apply %s", policy_file(tb, policy));
	json = hostqos_json(tb, 0, verb);
	assert_int_equal(json_object_get_int(json_member(json, "moved")), sockets);
	assert_int_equal(json_object_get_int(json_member(json, "kept")), 0);
	assert_int_equal(json_object_array_length(json_member(json, "refused")), 0);
	assert_int_equal(json_object_array_length(json_member(json, "moves")), 1);
	move = json_object_array_get_idx(json_member(json, "moves"), 0);
	assert_string_equal(json_object_get_string(json_member(move, "from")),
			    to ? "default" : "voice");
	if (to)
		assert_string_equal(json_object_get_string(json_member(move, "to")), to);
	else
		assert_null(json_member(move, "to"));
	assert_int_equal(json_member(move, "rule") != NULL, to != NULL);
	assert_int_equal(json_object_get_int(json_member(move, "sockets")), sockets);
	json_object_put(json);
}

static void sockets_outside_get_their_own_back(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct live in = live_begin(tb, "/x/a", 0), out = live_begin(tb, "/x/b", OUTSIDE_PORT);

	apply(tb, wide);
	expect_marks(tb, c, &in, EF);
	expect_marks(tb, c, &out, EF);
	expect_moves(tb, narrow, NULL, KINDS);
	assert_own_options(&out);
	expect_marks(tb, c, &out, AF11);
	expect_marks(tb, c, &in, EF);
	assert_int_equal(count_flows(tb), KINDS);
	/* Nothing is left of them for a later reload. */
	apply(tb, narrow);
	detach(tb);
	assert_own_options(&in);
	assert_own_options(&out);
	expect_marks(tb, c, &out, AF11);
	live_end(&in);
	live_end(&out);
}

/* The same where no class of the new policy marks: it needs no hook at setsockopt(). */
static void sockets_outside_a_policy_without_marks(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct live out;

	near_place(tb, "/x/a");
	near_place(tb, "/x/b");
	apply(tb, wide);
	out = live_begin(tb, "/x/b", OUTSIDE_PORT);
	expect_marks(tb, c, &out, EF);
	expect_moves(tb, plain_narrow, NULL, KINDS);
	assert_int_equal(count_flows(tb), 0);
	expect_marks(tb, c, &out, AF11);
	detach(tb);
	assert_own_options(&out);
	live_end(&out);
}

static void attachment_moves_beside_and_back(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct live a = live_begin(tb, "/x/a", 0), b = live_begin(tb, "/x/b", OUTSIDE_PORT);
	struct process *apply;
	char *said;

	expect_moves(tb, narrow, "voice", KINDS);
	expect_marks(tb, c, &a, EF);
	expect_marks(tb, c, &b, AF11);
	apply = hostqos_start(tb, "apply %s", policy_file(tb, beside));
	assert_int_equal(process_wait(apply), 0);
	said = process_output(apply);
	assert_non_null(strstr(said, "5 from voice: not governed any more\n"));
	free(said);
	assert_own_options(&a);
	expect_marks(tb, c, &a, AF11);
	expect_marks(tb, c, &b, EF);
	expect_moves(tb, wide, "voice", KINDS);
	expect_marks(tb, c, &a, EF);
	expect_marks(tb, c, &b, EF);
	detach(tb);
	assert_own_options(&a);
	assert_own_options(&b);
	live_end(&a);
	live_end(&b);
}

static long escaped(struct testbed *tb)
{
	struct json_object *json = hostqos_json(tb, 0, "status"), *o;
	long n;

	o = json_member(json_member(json_member(json, "escapes"), "other_cgroup"), "packets");
	n = json_object_get_int64(o);
	json_object_put(json);
	return n;
}

/* As a socket that is made there under the new policy. */
static void unconnected_udp_outside_leaves_as_others_do(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place b = near_place(tb, "/x/b");
	int old, young;
	long before;

	near_place(tb, "/x/a");
	apply(tb, wide);
	old = udp_socket(&b, FAR4);
	assert_int_equal(send_to(old, FAR4, ALONE_PORT, 100), 0);
	await_packets(c, FLOW(.to_port = ALONE_PORT), 1);
	judge(c, FLOW(.to_port = ALONE_PORT), EF, 1);
	apply(tb, narrow);
	before = escaped(tb);
	young = udp_socket(&b, FAR4);
	capture_clear(c);
	assert_int_equal(send_to(old, FAR4, ALONE_PORT, 100), 0);
	assert_int_equal(send_to(young, FAR4, ALONE_PORT, 100), 0);
	await_packets(c, FLOW(.to_port = ALONE_PORT), 2);
	judge(c, FLOW(.to_port = ALONE_PORT), 0, 2);
	assert_int_equal(escaped(tb) - before, 2);
	close(old);
	close(young);
}

/* The subflows are no process's; their owner has the identity that the next one would begin with.
 */
static void mptcp_outside_gets_its_own_back(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place b = near_place(tb, "/x/b"), far = far_place(tb);
	int listener = mptcp_socket(&far, FAR4), client, server;

	near_place(tb, "/x/a");
	bind_to(listener, FAR4, CLIENT_PORT);
	assert_int_equal(listen(listener, 8), 0);
	apply(tb, wide);
	client = mptcp_socket(&b, FAR4);
	connect_to(client, FAR4, CLIENT_PORT);
	server = accept_from(listener);
	send_bytes(client, 100);
	receive_bytes(server, 100);
	judge(c, FLOW(.to_port = CLIENT_PORT), EF, 3);
	expect_moves(tb, narrow, NULL, 1);
	capture_clear(c);
	send_bytes(client, 100);
	receive_bytes(server, 100);
	judge(c, FLOW(.to_port = CLIENT_PORT, .data = true), 0, 1);
	assert_int_equal(count_flows(tb), 0);
	close(client);
	close(server);
	close(listener);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(sockets_outside_get_their_own_back),
		NET_TEST(sockets_outside_a_policy_without_marks),
		NET_TEST(attachment_moves_beside_and_back),
		NET_TEST(unconnected_udp_outside_leaves_as_others_do),
		NET_TEST(mptcp_outside_gets_its_own_back),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
