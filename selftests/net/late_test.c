/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What is there later than the policy, or was there before it: cgroups from
 * their first packet on, connections whose beginning nobody saw.
 */
#include <stdio.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"

#define EF 46

#define RULE(match)                                                                                \
	"classes: { hit: { dscp: EF } }\n"                                                         \
	"rules: [{ match: { " match " }, class: hit }]\n"

/* All that a cgroup's first sockets send: a connection that it makes, one that it accepts. */
static void expect_first_packets(struct testbed *tb, struct capture *c, const char *cgroup,
				 int dscp)
{
	struct place near, far = far_place(tb);
	struct connection out, in;
	char path[sizeof(near.cgroup)];

	snprintf(path, sizeof(path), "%s%s", tb->cgroup, cgroup);
	assert_false(cgroup_exists(path));
	near = near_place(tb, cgroup);
	capture_clear(c);
	out = tcp_connection(&near, &far, FAR4, 7000);
	in = tcp_connection(&far, &near, NEAR4, 7001);
	send_bytes(in.server, 1);
	receive_bytes(in.client, 1);
	judge(c, FLOW(.to_port = 7000, .with = TCP_SYN), dscp, 1);
	judge(c, FLOW(.from_port = 7001, .with = TCP_SYN), dscp, 1);
	judge(c, FLOW(.from_port = local_port(out.client)), dscp, 2);
	judge(c, FLOW(.to_port = local_port(in.client)), dscp, 2);
	close_with_reset(out.client), close(out.server), close(out.listener);
	close_with_reset(in.client), close(in.server), close(in.listener);
}

static void path_is_known_before_its_cgroup(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, RULE("cgroup: @/late"));
	expect_first_packets(tb, c, "/late", EF);
	expect_first_packets(tb, c, "/late/below", EF);
	expect_first_packets(tb, c, "/later", 0);
}

static void globs_are_known_before_their_cgroups(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, RULE("cgroup: [ \"@/app-*/main\", \"@/**/deep-*\" ]"));
	expect_first_packets(tb, c, "/app-1/main", EF);
	expect_first_packets(tb, c, "/app-1/other", 0);
	expect_first_packets(tb, c, "/app-1/other/main", 0);
	expect_first_packets(tb, c, "/x/y/deep-1", EF);
	expect_first_packets(tb, c, "/x/deep-1/below", EF);
	expect_first_packets(tb, c, "/x/deep", 0);
}

static void unit_is_known_before_it_is_started(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, RULE("unit: late.service"));
	expect_first_packets(tb, c, "/system.slice/late.service", EF);
	expect_first_packets(tb, c, "/user.slice/app.slice/late.service/init", EF);
	expect_first_packets(tb, c, "/system.slice/too-late.service", 0);
}

/* As by a service's restart: the same path, another cgroup; also with another class in between. */
static void cgroup_that_is_made_again_is_matched_again(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	char path[128];
	int i;

	snprintf(path, sizeof(path), "%s/late", tb->cgroup);
	apply(tb, RULE("cgroup: @/late"));
	for (i = 0; i < 3; i++) {
		expect_first_packets(tb, c, "/late", EF);
		cgroup_remove(path);
	}
	apply(tb, RULE("cgroup: @/other"));
	expect_first_packets(tb, c, "/late", 0);
	cgroup_remove(path);
	apply(tb, RULE("cgroup: @/late"));
	expect_first_packets(tb, c, "/late", EF);
}

/* Who sent the SYN, of connections that are older than hostqos. */
static void older_connections_have_their_direction(void **state)
{
	static const struct {
		const char *listen, *connect;
	} services[] = {{NEAR4, NEAR4}, {NEAR6, NEAR6}, {"::", NEAR4}};
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int client[3], server[3], listener, far_listener, made, accepted;
	size_t i;

	for (i = 0; i < 3; i++) {
		listener = tcp_listener(&near, services[i].listen, 7000 + i);
		client[i] = tcp_client(&far, services[i].connect, 7000 + i);
		server[i] = accept_from(listener);
		close(listener);
	}
	/* From a port at which somebody listens by now. */
	far_listener = tcp_listener(&far, FAR4, 7010);
	made = tcp_socket(&near, FAR4);
	bind_to(made, NEAR4, 7011);
	connect_to(made, FAR4, 7010);
	accepted = accept_from(far_listener);
	listener = tcp_listener(&near, NEAR4, 7011);
	apply(tb, RULE("direction: inbound"));
	for (i = 0; i < 3; i++) {
		send_bytes(server[i], 1);
		receive_bytes(client[i], 1);
		judge(c, FLOW(.from_port = 7000 + i, .data = true), EF, 1);
		close(client[i]), close(server[i]);
	}
	send_bytes(made, 1);
	receive_bytes(accepted, 1);
	judge(c, FLOW(.from_port = 7011, .data = true), 0, 1);
	close(made), close(accepted), close(listener), close(far_listener);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(path_is_known_before_its_cgroup),
		NET_TEST(globs_are_known_before_their_cgroups),
		NET_TEST(unit_is_known_before_it_is_started),
		NET_TEST(cgroup_that_is_made_again_is_matched_again),
		NET_TEST(older_connections_have_their_direction),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
