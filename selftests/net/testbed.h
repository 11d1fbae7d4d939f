/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A testbed: two network namespaces joined by a veth pair, a cgroup of its own
 * and a private bpffs. What is governed runs in `near`; what judges it captures
 * in `far`, on the other end of the wire.
 *
 *	near0 10.9.0.1 fd00:9::1  ----veth----  far0 10.9.0.2 fd00:9::2
 *	                                             10.9.0.3 fd00:9::3
 *
 * Nothing of it has a name outside this process but the cgroup, so that copies
 * run side by side, and all of it goes with the process, whatever ends that.
 * Whatever goes wrong in these functions fails the test that called them.
 */
#ifndef HOSTQOS_TESTBED_H
#define HOSTQOS_TESTBED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#define NEAR_IF "near0"
#define FAR_IF	"far0"
#define NEAR4	"10.9.0.1"
#define FAR4	"10.9.0.2"
#define FAR4_B	"10.9.0.3"
#define NEAR6	"fd00:9::1"
#define FAR6	"fd00:9::2"
#define FAR6_B	"fd00:9::3"
#define MAPPED	"::ffff:"

/* A scratch directory, private to the test program. */
#define SCRATCH "/mnt"

struct testbed {
	int near, far;	   /* network namespaces */
	char cgroup[64];   /* from the cgroup2 mount: "/hostqos-test-PID-N" */
	char instance[64]; /* of hostqos */
	struct capture *captures;
	struct process *processes;
};

/* Where a process or socket is born, and whose it is. */
struct place {
	int netns;
	char cgroup[192]; /* from the cgroup2 mount; empty: the test program's own */
	uid_t uid;
	gid_t gid;
};

/*
 * cmocka's main for a file of tests, each with a testbed as its *state. Runs
 * those whose names match the glob in argv[1], if given.
 */
#define SEND_DATAGRAM "send-datagram" /* ADDRESS PORT: makes the program do just that */
int testbed_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count);
int testbed_setup(void **state);
int testbed_teardown(void **state);

#define NET_TEST(f) cmocka_unit_test_setup_teardown(f, testbed_setup, testbed_teardown)
#define RUN_NET_TESTS(argc, argv, tests)                                                           \
	testbed_main(argc, argv, tests, sizeof(tests) / sizeof((tests)[0]))

/* A place in the near namespace, in the testbed's cgroup below it; NULL: ungoverned. */
struct place near_place(const struct testbed *tb, const char *cgroup);
struct place far_place(const struct testbed *tb);

/* Seconds on this machine: `seconds` times HOSTQOS_SLOW from the environment. */
double patience(double seconds);
uint64_t now_ns(void);

/* Waits until `condition` holds, for a bounded time; the macro names it if it never does. */
#define AWAIT(condition)                                                                           \
	do {                                                                                       \
		uint64_t await_end = now_ns() + patience(30) * 1e9;                                \
		while (!(condition)) {                                                             \
			if (now_ns() > await_end)                                                  \
				fail_msg("never came true: %s", #condition);                       \
			await_nap();                                                               \
		}                                                                                  \
	} while (0)
void await_nap(void);

/* cgroup.c: paths are from the cgroup2 mount */
const char *cgroup_mount(void);
void cgroup_make(const char *path);
bool cgroup_exists(const char *path);
uint64_t cgroup_id(const char *path);
/* Kills what runs below and removes the tree; for use out of tests too. */
void cgroup_remove(const char *path);
void cgroup_remove_all_of(pid_t pid);
void cgroup_remove_stale(void);

/* netns.c */
int netns_new(void);
/* Runs f in the namespace; the caller is back in its own afterwards. */
void netns_do(int netns, void (*f)(void *), void *arg);
void netns_join(int netns_a, const char *name_a, int netns_b, const char *name_b);
void netns_sysctl(int netns, const char *name, const char *value);
/* With segmentation off, what crosses the veth are the packets of a real wire. */
void netns_no_segmentation(int netns, const char *interface);
bool netns_listens(int netns, int protocol, int port);
/* A counter of the kernel in the namespace, by its name in /proc/net/netstat. */
uint64_t netns_counter(int netns, const char *name);

#endif
