/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Programs run at a place, with what they print kept.
 */
#ifndef HOSTQOS_TEST_PROCESS_H
#define HOSTQOS_TEST_PROCESS_H

#include "testbed.h"

struct process {
	pid_t pid;
	int status; /* as waitpid(2) tells it; -1 while it runs */
	int out, err;
	struct process *next;
	char name[64];
};

/*
 * fork(2) whose child begins life at the place: it is born into the cgroup and
 * has the place's network namespace and user. Returns 0 in the child, which
 * must end by exec or _exit.
 */
pid_t place_fork(const struct place *place, uint64_t clone_flags);

/* A command line for execvp(3), split at blanks: no quoting, no shell. */
struct process *process_start(struct testbed *tb, const struct place *place, const char *format,
			      ...) __attribute__((format(printf, 3, 4)));
struct process *process_startv(struct testbed *tb, const struct place *place, char *const argv[]);
/* A function of this program instead; its child ends when it returns. */
struct process *process_call(struct testbed *tb, const struct place *place, void (*f)(void *),
			     void *arg);

/* Exit status; 128 + the signal's number where one ended it. */
int process_wait(struct process *process);
void process_kill(struct process *process, int signal);
bool process_ended(struct process *process);
/* The same of one that is no child of this process. */
bool pid_gone(pid_t pid);
/* Standard output and error so far, NUL-terminated, to be freed. */
char *process_output(const struct process *process);
char *process_errors(const struct process *process);

/* Has it printed this so often by now? The same of its errors. */
bool process_said(const struct process *process, const char *what, int times);
bool process_complained(const struct process *process, const char *what, int times);
void process_end_all(struct testbed *tb);

/* Start, wait, and fail the test unless it exits with 0. */
void run(struct testbed *tb, const struct place *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * A server that may have been unpacked beside the build instead of installed,
 * where it would have been started. Static storage.
 */
const char *server_program(const char *name);
void write_file(const char *path, const char *text);

#endif
