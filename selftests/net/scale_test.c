/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A policy of 10,000 rules: it is applied soon, takes little memory, decides
 * rightly, and a connection costs hardly more than under ten rules.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "large.h"
#include "sockets.h"

#define EF 46

#define MOST_MEMORY  (128UL << 20)
#define MOST_SECONDS 3.0 /* of CPU: others' load does not count */

#define LAST                                                                                       \
	"cgroup: @/app, protocol: tcp, remote: [10.9.0.0/24, \"fd00:9::/64\"], remote_port: 7000"

static void apply_large(struct testbed *tb, int rules)
{
	char *text = large_policy("", rules, LAST);

	apply(tb, text);
	free(text);
}

static double seconds_of(const struct rusage *used)
{
	return used->ru_utime.tv_sec + used->ru_stime.tv_sec +
	       (used->ru_utime.tv_usec + used->ru_stime.tv_usec) / 1e6;
}

/* CPU time of children that have ended. */
static double seconds_of_children(void)
{
	struct rusage used;

	getrusage(RUSAGE_CHILDREN, &used);
	return seconds_of(&used);
}

/* The first apply loads the programs, whatever the policy; the second fills the other slot. */
static void ten_thousand_rules_fit(void **state)
{
	struct testbed *tb = *state;
	struct bpf_ids *ids = calloc(1, sizeof(*ids));
	double begin, first, second;
	uint64_t memory;

	begin = seconds_of_children();
	apply_large(tb, LARGE_RULES);
	first = seconds_of_children() - begin;
	apply_large(tb, LARGE_RULES - 1);
	second = seconds_of_children() - begin - first;
	bpf_ids_collect(tb, ids);
	memory = bpf_ids_memory(ids);
	print_message("applied in %.2f s of CPU, again in %.2f; %.1f MB in %zu maps\n", first,
		      second, memory / 1048576.0, ids->map_count);
	assert_true(memory > 1UL << 20);
	assert_true(memory < MOST_MEMORY);
	assert_true(second < patience(MOST_SECONDS));
	free(ids);
}

static void expect_syn(struct testbed *tb, struct capture *c, const char *cgroup, const char *to,
		       int port, int dscp)
{
	struct place near = near_place(tb, cgroup);
	struct address a = address_of(to, port);
	int fd = socket_at(&near, address_family(to), SOCK_STREAM | SOCK_NONBLOCK);

	capture_clear(c);
	assert_int_equal(connect(fd, (void *)&a.storage, a.length), -1);
	assert_int_equal(errno, EINPROGRESS);
	await_packets(c, FLOW(.to_port = port, .with = TCP_SYN), 1);
	judge(c, FLOW(.to_port = port, .with = TCP_SYN), dscp, 1);
	close(fd);
}

/* Rule i as large_rule() writes it: the first, some in between, the last. */
static void each_rule_is_found_among_them(void **state)
{
	static const int rules[] = {1, 17, 511, 512, 4999, 7777, 9998};
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	char cgroup[64], to[64];
	size_t n;

	run(tb, &near, "ip route add 172.0.0.0/8 via " FAR4);
	apply_large(tb, LARGE_RULES);
	for (n = 0; n < sizeof(rules) / sizeof(rules[0]); n++) {
		int i = rules[n], prefix = i % LARGE_PREFIXES, port = 1 + i * 7 % LARGE_PORTS;

		snprintf(cgroup, sizeof(cgroup), "/s%d/service-%d", i % 50, i % LARGE_CGROUPS);
		snprintf(to, sizeof(to), "172.%d.%d.1", prefix >> 8, prefix & 255);
		expect_syn(tb, c, cgroup, to, port, 8 + i % 10);
		expect_syn(tb, c, cgroup, to, port + 1, 0);
	}
	expect_syn(tb, c, "/app/below", FAR4, 7000, EF);
}

#define ROUNDS	    4
#define CONNECTIONS 3000

/* Seconds of CPU a connection, of a process that is born where it is governed. */
static double cost_of_connections(struct testbed *tb, int listener)
{
	struct place near = near_place(tb, "/app");
	pid_t pid = place_fork(&near, 0);
	int i, client, status;
	struct rusage used;

	if (!pid) {
		for (i = 0; i < CONNECTIONS; i++) {
			client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			if (connect_try(client, FAR4, 7000))
				_exit(1);
			close(accept_from(listener));
			close_with_reset(client);
		}
		_exit(0);
	}
	assert_int_equal(wait4(pid, &status, 0, &used), pid);
	assert_int_equal(status, 0);
	return seconds_of(&used) / CONNECTIONS;
}

static void a_connection_costs_no_more_than_twice(void **state)
{
	static const int sizes[] = {10, LARGE_RULES};
	double cost[] = {1e9, 1e9}, seconds;
	struct testbed *tb = *state;
	struct place far = far_place(tb);
	int listener = tcp_listener(&far, FAR4, 7000), round, i;

	for (round = 0; round < ROUNDS; round++)
		for (i = 0; i < 2; i++) {
			apply_large(tb, sizes[i]);
			seconds = cost_of_connections(tb, listener);
			cost[i] = seconds < cost[i] ? seconds : cost[i];
		}
	print_message("a connection takes %.1f us under 10 rules, %.1f under %d\n", cost[0] * 1e6,
		      cost[1] * 1e6, LARGE_RULES);
	assert_true(cost[1] < 2 * cost[0]);
	close(listener);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(ten_thousand_rules_fit),
		NET_TEST(each_rule_is_found_among_them),
		NET_TEST(a_connection_costs_no_more_than_twice),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
