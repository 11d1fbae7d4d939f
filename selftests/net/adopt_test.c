/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Sockets whose processes live in another cgroup than the sockets were made in.
 */
#include <fcntl.h>
#include <limits.h>
#include <netinet/ip.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "puppet.h"
#include "sockets.h"
#include "traffic.h"

#define AF21 18
#define EF   46

#define UDP_PORT    7000
#define TCP_PORT    7001
#define LISTEN_PORT 7002

static const char policy[] = "classes: { a: { dscp: EF, cgroup: @/a }, b: { dscp: AF21 } }\n"
			     "rules: [{ match: { cgroup: @/b }, class: b }]\n";

enum { UDP, TCP, LISTENER, SOCKETS };

static void open_sockets(int fd[SOCKETS])
{
	fd[UDP] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	connect_to(fd[UDP], FAR4, UDP_PORT);
	fd[TCP] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	connect_to(fd[TCP], FAR4, TCP_PORT);
	fd[LISTENER] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bind_to(fd[LISTENER], NEAR4, LISTEN_PORT);
	listen(fd[LISTENER], 8);
}

/* 's': send by each; 'f': have a child that holds them too. */
static void be_puppet(int orders)
{
	int fd[SOCKETS];
	char order;

	open_sockets(fd);
	while (read(orders, &order, 1) == 1) {
		if (order == 'f' && fork() == 0) {
			pause();
			_exit(0);
		}
		if (order != 's')
			continue;
		send_bytes(fd[UDP], 1);
		send_bytes(fd[TCP], 1);
		close(accept(fd[LISTENER], NULL, NULL));
	}
	_exit(0);
}

/* The scene: a puppet at /a, the far side, its ends of the connections. */
struct scene {
	struct testbed *tb;
	struct capture *c;
	struct puppet puppet;
	int listener, server;
};

static struct scene begin(struct testbed *tb)
{
	struct place near = near_place(tb, "/a"), far = far_place(tb);
	struct scene s = {.tb = tb, .c = capture_start(tb, tb->far, FAR_IF)};

	s.listener = tcp_listener(&far, FAR4, TCP_PORT);
	s.puppet = puppet_start(&near, be_puppet);
	s.server = accept_from(s.listener);
	AWAIT(netns_listens(tb->near, IPPROTO_TCP, LISTEN_PORT));
	return s;
}

static void finish(struct scene *s)
{
	puppet_end(&s->puppet);
	close(s->server);
	close(s->listener);
}

/* What its datagrams, its connection and the connections that it accepts bear. */
static void expect_marks(struct scene *s, int dscp)
{
	struct place far = far_place(s->tb);
	int client, port;

	capture_clear(s->c);
	puppet_order(&s->puppet, 's');
	receive_bytes(s->server, 1);
	client = tcp_client(&far, NEAR4, LISTEN_PORT);
	port = local_port(client);
	receive_end(client);
	close(client);
	judge(s->c, FLOW(.to_port = UDP_PORT), dscp, 1);
	judge(s->c, FLOW(.to_port = TCP_PORT, .data = true), dscp, 1);
	judge(s->c, FLOW(.from_port = LISTEN_PORT, .to_port = port), dscp, 2);
}

/* How many flows `show flows` calls stale, all of them held there. */
static int count_stale(struct testbed *tb, const char *held_in)
{
	struct json_object *json = hostqos_json(tb, 0, "show flows"), *flow;
	struct place place = near_place(tb, held_in);
	int stale = 0;
	size_t i;

	for (i = 0; i < json_object_array_length(json_member(json, "flows")); i++) {
		flow = json_object_array_get_idx(json_member(json, "flows"), i);
		if (!json_object_get_boolean(json_member(flow, "stale")))
			continue;
		assert_string_equal(json_object_get_string(json_member(flow, "held_in")),
				    place.cgroup);
		stale++;
	}
	json_object_put(json);
	return stale;
}

static void moved_process_keeps_its_class_until_it_is_adopted(void **state)
{
	struct testbed *tb = *state;
	struct scene s;

	apply(tb, policy);
	s = begin(tb);
	expect_marks(&s, EF);
	expect_adoption(tb, 0, 0);
	move_to(tb, s.puppet.pid, "/b");
	expect_marks(&s, EF);
	assert_int_equal(count_stale(tb, "/b"), SOCKETS);
	expect_adoption(tb, SOCKETS, 0);
	expect_marks(&s, AF21);
	assert_int_equal(count_stale(tb, "/b"), 0);
	/* What is at home there stays there. */
	apply(tb, policy);
	expect_marks(&s, AF21);
	move_to(tb, s.puppet.pid, "/a");
	expect_adoption(tb, SOCKETS, 0);
	expect_marks(&s, EF);
	finish(&s);
}

/* Sockets older than hostqos are of the cgroup that they were made in, as all are. */
static void moved_process_older_than_the_policy_is_adopted(void **state)
{
	struct testbed *tb = *state;
	struct scene s = begin(tb);

	move_to(tb, s.puppet.pid, "/b");
	apply(tb, policy);
	expect_marks(&s, EF);
	expect_adoption(tb, SOCKETS, 0);
	expect_marks(&s, AF21);
	detach(tb);
	expect_marks(&s, 0);
	finish(&s);
}

static void holders_that_differ_leave_it_where_it_is(void **state)
{
	struct testbed *tb = *state;
	struct process *text;
	struct scene s;
	pid_t child;

	apply(tb, policy);
	s = begin(tb);
	puppet_order(&s.puppet, 'f');
	AWAIT((child = child_of(s.puppet.pid)));
	/* One of them is where the socket was made. */
	move_to(tb, child, "/b");
	expect_adoption(tb, 0, 0);
	/* None is, and each is somewhere else. */
	move_to(tb, s.puppet.pid, "/c");
	expect_adoption(tb, 0, SOCKETS);
	text = hostqos_start(tb, "adopt");
	assert_int_equal(process_wait(text), 0);
	assert_non_null(strstr(process_output(text), "several cgroups"));
	expect_marks(&s, EF);
	/* Both agree. */
	move_to(tb, s.puppet.pid, "/b");
	expect_adoption(tb, SOCKETS, 0);
	expect_marks(&s, AF21);
	kill(child, SIGKILL);
	finish(&s);
}

/* The policy's reach is the cgroup that a socket was made in. */
static void socket_does_not_leave_the_governed_cgroup(void **state)
{
	struct testbed *tb = *state;
	struct scene s;

	near_place(tb, "/a");
	apply(tb, "hostqos: 1\nattach: { cgroup: @/a, interfaces: [" NEAR_IF "] }\n"
		  "classes: { default: { dscp: EF } }\n");
	s = begin(tb);
	move_to(tb, s.puppet.pid, "/outside");
	expect_adoption(tb, 0, SOCKETS);
	expect_marks(&s, EF);
	finish(&s);
}

/* Nothing holds a cgroup for a socket that is at home there by adoption. */
static void home_that_is_gone_is_not_read(void **state)
{
	struct testbed *tb = *state;
	struct place b = near_place(tb, "/b");
	struct scene s;

	apply(tb, policy);
	s = begin(tb);
	move_to(tb, s.puppet.pid, "/b");
	expect_adoption(tb, SOCKETS, 0);
	move_to(tb, s.puppet.pid, "/c");
	cgroup_remove(b.cgroup);
	apply(tb, "classes: { default: { dscp: CS1 }, c: { dscp: EF, cgroup: @/c } }\n");
	puppet_order(&s.puppet, 's');
	receive_bytes(s.server, 1);
	expect_adoption(tb, SOCKETS, 0);
	close(tcp_client(&(struct place){.netns = tb->far}, NEAR4, LISTEN_PORT));
	expect_marks(&s, EF);
	finish(&s);
}

/* Its thread moves to the cgroup, and sends by a socket that it makes there when it is told to. */
static const char *thread_cgroup;

static void *be_thread(void *orders)
{
	int fd, procs = open(thread_cgroup, O_WRONLY | O_CLOEXEC);
	char order;

	if (procs < 0 || write(procs, "0", 1) != 1)
		_exit(1);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	connect_to(fd, FAR4, UDP_PORT);
	while (read(*(int *)orders, &order, 1) == 1)
		send_bytes(fd, 1);
	return NULL;
}

static void be_threaded(int orders)
{
	pthread_t thread;

	pthread_create(&thread, NULL, be_thread, &orders);
	pthread_join(thread, NULL);
	_exit(0);
}

/* In a cgroup of threads a process is in several, and its socket at home with any of them. */
static void threads_of_a_process_have_their_own_sockets(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/b/thread");
	char type[PATH_MAX], threads[PATH_MAX];
	struct puppet p;

	snprintf(type, sizeof(type), "%s%s/cgroup.type", cgroup_mount(), near.cgroup);
	snprintf(threads, sizeof(threads), "%s%s/cgroup.threads", cgroup_mount(), near.cgroup);
	write_file(type, "threaded");
	apply(tb, "classes: { b: { dscp: AF21 }, thread: { dscp: EF } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/b/thread }, class: thread }\n"
		  "  - { match: { cgroup: @/b }, class: b }\n");
	thread_cgroup = threads;
	near = near_place(tb, "/b");
	p = puppet_start(&near, be_threaded);
	puppet_order(&p, 's');
	await_packets(c, FLOW(.to_port = UDP_PORT), 1);
	assert_int_equal(count_stale(tb, "/b"), 0);
	expect_adoption(tb, 0, 0);
	puppet_order(&p, 's');
	await_packets(c, FLOW(.to_port = UDP_PORT), 2);
	judge(c, FLOW(.to_port = UDP_PORT), EF, 2);
	puppet_end(&p);
}

static void watch_adopts_by_itself(void **state)
{
	struct testbed *tb = *state;
	struct process *watch;
	struct scene s;

	apply(tb, policy);
	s = begin(tb);
	watch = hostqos_start(tb, "watch");
	AWAIT(process_said(watch, "interfaces:", 1));
	move_to(tb, s.puppet.pid, "/b");
	AWAIT(process_said(watch, "class b", 1));
	expect_marks(&s, AF21);
	assert_int_equal(count_stale(tb, "/b"), 0);
	finish(&s);
}

/* More than it can be told while it does not listen, of another process. */
static void watch_looks_at_all_where_it_missed_some(void **state)
{
	struct testbed *tb = *state;
	struct place a = near_place(tb, "/a");
	struct process *watch, *other = process_start(tb, &a, "sleep 600");
	struct scene s;
	int i;

	apply(tb, policy);
	s = begin(tb);
	watch = hostqos_start(tb, "watch");
	AWAIT(process_said(watch, "interfaces:", 1));
	process_kill(watch, SIGSTOP);
	for (i = 0; i < 2500; i++) {
		move_to(tb, other->pid, "/b");
		move_to(tb, other->pid, "/a");
	}
	move_to(tb, s.puppet.pid, "/b");
	process_kill(watch, SIGCONT);
	AWAIT(process_said(watch, "class b", 1));
	expect_marks(&s, AF21);
	finish(&s);
}

static void another_pid_namespace_is_reported(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct process *apply;

	apply = process_start(tb, &near,
			      "unshare --pid --kill-child --mount-proc %s --instance %s apply %s",
			      hostqos_binary(), tb->instance, policy_file(tb, policy));
	assert_int_equal(process_wait(apply), 0);
	assert_non_null(strstr(process_errors(apply), "pid namespace"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(moved_process_keeps_its_class_until_it_is_adopted),
		NET_TEST(moved_process_older_than_the_policy_is_adopted),
		NET_TEST(holders_that_differ_leave_it_where_it_is),
		NET_TEST(socket_does_not_leave_the_governed_cgroup),
		NET_TEST(home_that_is_gone_is_not_read),
		NET_TEST(threads_of_a_process_have_their_own_sockets),
		NET_TEST(watch_adopts_by_itself),
		NET_TEST(watch_looks_at_all_where_it_missed_some),
		NET_TEST(another_pid_namespace_is_reported),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
