/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Processes that live where they are told to, for tests of sockets whose
 * holders move.
 */
#ifndef HOSTQOS_TEST_PUPPET_H
#define HOSTQOS_TEST_PUPPET_H

#include <sys/types.h>

#include "testbed.h"

/* A process that does what it is told by single letters. */
struct puppet {
	pid_t pid;
	int orders;
};

/* `be` reads its orders; it does not return. */
struct puppet puppet_start(const struct place *place, void (*be)(int orders));
void puppet_order(const struct puppet *p, char letter);
/* It ends where its orders do. */
void puppet_end(struct puppet *p);

void move_to(const struct testbed *tb, pid_t pid, const char *cgroup);

/* A child of it; 0: it has none. */
pid_t child_of(pid_t pid);

/* `hostqos adopt` takes so many sockets home, and leaves so many. */
void expect_adoption(struct testbed *tb, size_t rehomed, size_t undecided);

#endif
