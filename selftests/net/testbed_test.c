/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The judge judged: without hostqos, traffic of known marks.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "capture.h"
#include "process.h"
#include "sockets.h"

static void capture_reads_marks_of_both_families(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/a");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int v4 = udp_socket(&near, NEAR4), v6 = udp_socket(&near, NEAR6);

	set_option(v4, IPPROTO_IP, IP_TOS, 46 << 2 | 1);
	set_option(v6, IPPROTO_IPV6, IPV6_TCLASS, 10 << 2 | 2);
	assert_int_equal(send_to(v4, FAR4, 7000, 100), 0);
	assert_int_equal(send_to(v6, FAR6, 7001, 100), 0);
	await_packets(c, FLOW(.to_port = 7000, .family = 4, .dsfield = DS_IS(46 << 2 | 1)), 1);
	await_packets(c, FLOW(.to_port = 7001, .family = 6, .dsfield = DS_IS(10 << 2 | 2)), 1);
	judge(c, FLOW(.to_port = 7000), 46, 1);
	judge(c, FLOW(.to_port = 7001), 10, 1);
	assert_int_equal(c->packets[c->count - 1].payload, 100);
	assert_int_equal(c->packets[c->count - 1].wire, 14 + 40 + 8 + 100);
	close(v4);
	close(v6);
}

static void capture_finds_ports_of_fragments(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int v4 = udp_socket(&near, NEAR4), v6 = udp_socket(&near, NEAR6);

	assert_int_equal(send_to(v4, FAR4, 7000, 8000), 0);
	assert_int_equal(send_to(v6, FAR6, 7001, 8000), 0);
	await_packets(c, FLOW(.to_port = 7000, .family = 4), 6);
	await_packets(c, FLOW(.to_port = 7001, .family = 6), 6);
	close(v4);
	close(v6);
}

static void capture_sees_a_whole_connection(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection tcp = tcp_connection(&near, &far, FAR6, 7000);

	send_bytes(tcp.client, 100000);
	receive_bytes(tcp.server, 100000);
	close(tcp.client);
	receive_end(tcp.server);
	capture_read(c);
	assert_int_equal(flow_count(c, FLOW(.to_port = 7000, .with = TCP_SYN)), 1);
	assert_int_equal(flow_count(c, FLOW(.to_port = 7000, .with = TCP_FIN)), 1);
	assert_true(flow_wire_bytes(c, FLOW(.to_port = 7000, .data = true)) > 100000);
	judge(c, FLOW(.protocol = IPPROTO_TCP), 0, 5);
	close(tcp.server);
	close(tcp.listener);
}

/* A judge that never convicts proves nothing. */
static void judge_convicts(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, NEAR4);
	struct packet *p;

	set_option(fd, IPPROTO_IP, IP_TOS, 46 << 2);
	assert_int_equal(send_to(fd, FAR4, 7000, 100), 0);
	assert_int_equal(send_to(fd, FAR4, 7000, 100), 0);
	await_packets(c, FLOW(.to_port = 7000), 2);
	p = &c->packets[c->count - 1];
	assert_true(flow_has(FLOW(.to_port = 7000, .from = NEAR4, .to = FAR4), p));
	assert_false(flow_has(FLOW(.to_port = 7001), p));
	assert_false(flow_has(FLOW(.from = FAR4), p));
	assert_false(flow_has(FLOW(.family = 6), p));
	assert_false(flow_has(FLOW(.dsfield = DS_IS(0)), p));
	assert_int_equal(verdict_of(c, FLOW(.to_port = 7000), 46).wrong, 0);
	assert_int_equal(verdict_of(c, FLOW(.to_port = 7000), 10).wrong, 2);
	assert_int_equal(verdict_of(c, FLOW(.to_port = 7001), 46).packets, 0);
	p->dsfield ^= 46 << 2;
	assert_int_equal(verdict_of(c, FLOW(.to_port = 7000), 46).wrong, 1);
	p->dsfield ^= 46 << 2;
	p->checksum_wrong = true;
	assert_int_equal(verdict_of(c, FLOW(.to_port = 7000), 46).wrong, 1);
	close(fd);
}

static void process_has_the_cgroup_and_user_of_its_place(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/a");
	struct process *id;

	near.uid = 65534;
	near.gid = 65533;
	id = process_start(tb, &near, "cat /proc/self/cgroup /proc/self/status");
	assert_int_equal(process_wait(id), 0);
	assert_non_null(strstr(process_output(id), near.cgroup));
	assert_non_null(strstr(process_output(id), "Uid:\t65534"));
	assert_non_null(strstr(process_output(id), "Gid:\t65533"));
}

/* What another copy of this program does until it is killed. */
static void sleep_in_a_cgroup(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/a");

	process_start(tb, &near, "sleep 1000");
	pause();
}

static void killed_program_leaves_no_cgroup(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct process *victim;
	char path[64];

	victim = process_start(tb, &near, "/proc/%d/exe sleep", getpid());
	snprintf(path, sizeof(path), "/hostqos-test-%d-0/a", victim->pid);
	AWAIT(cgroup_exists(path));
	process_kill(victim, SIGKILL);
	*strrchr(path, '/') = '\0';
	AWAIT(!cgroup_exists(path));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest sleeper[] = {NET_TEST(sleep_in_a_cgroup)};
	const struct CMUnitTest tests[] = {
		NET_TEST(capture_reads_marks_of_both_families),
		NET_TEST(capture_finds_ports_of_fragments),
		NET_TEST(capture_sees_a_whole_connection),
		NET_TEST(judge_convicts),
		NET_TEST(process_has_the_cgroup_and_user_of_its_place),
		NET_TEST(killed_program_leaves_no_cgroup),
	};

	if (argc > 1 && !strcmp(argv[1], "sleep"))
		return RUN_NET_TESTS(1, argv, sleeper);
	return RUN_NET_TESTS(argc, argv, tests);
}
