/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * hostqos under ptrace(2): stopped, or killed, at the system calls by which it
 * changes something.
 */
#ifndef HOSTQOS_TEST_TRACED_H
#define HOSTQOS_TEST_TRACED_H

#include "testbed.h"

/* What its first thread is about to do. */
enum traced_call {
	TRACED_UPDATE, /* write an element of a BPF map */
	TRACED_UNLINK,
	TRACED_THREAD, /* start a thread */
};

/* `hostqos --instance INSTANCE VERB FILE [OPTION VALUE]`, stopped at its first instruction. */
pid_t traced_start(struct testbed *tb, const char *verb, const char *file, const char *option,
		   const char *value);

/* Let it run up to the next such call, which is not made yet. False: it has ended, and is reaped.
 */
bool traced_until(pid_t pid, enum traced_call call);

void traced_kill(pid_t pid);

/* Let it run to its end: the exit status. */
int traced_finish(pid_t pid);

#endif
