/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/ptrace.h>

#include "hostqos.h"
#include "traced.h"

#define SYSCALL_STOP (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */

static void request(int what, pid_t pid, long data)
{
	if (ptrace(what, pid, 0, data))
		fail_msg("ptrace(%d): %s", what, strerror(errno));
}

/* Its status at its next stop, or its end. */
static int next_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) != pid)
		fail_msg("waitpid: %s", strerror(errno));
	return status;
}

pid_t traced_start(struct testbed *tb, const char *verb, const char *file, const char *option,
		   const char *value)
{
	struct place near = near_place(tb, NULL);
	pid_t pid = place_fork(&near, 0);

	if (pid == 0) {
		if (!freopen("/dev/null", "w", stdout))
			_exit(127);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execl(hostqos_binary(), "hostqos", "--instance", tb->instance, verb, file, option,
		      value, NULL);
		_exit(127);
	}
	if (!WIFSTOPPED(next_stop(pid)))
		fail_msg("%s cannot be traced", hostqos_binary());
	request(PTRACE_SETOPTIONS, pid, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
	return pid;
}

static bool is_call(pid_t pid, enum traced_call call)
{
	struct ptrace_syscall_info info = {};

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
		fail_msg("PTRACE_GET_SYSCALL_INFO: %s", strerror(errno));
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	switch (call) {
	case TRACED_UPDATE:
		return info.entry.nr == SYS_bpf && info.entry.args[0] == BPF_MAP_UPDATE_ELEM;
	case TRACED_UNLINK:
		return info.entry.nr == SYS_unlink || info.entry.nr == SYS_unlinkat;
	case TRACED_THREAD:
		return info.entry.nr == SYS_clone || info.entry.nr == SYS_clone3;
	}
	return false;
}

bool traced_until(pid_t pid, enum traced_call call)
{
	int status, signal = 0;

	for (;;) {
		request(PTRACE_SYSCALL, pid, signal);
		status = next_stop(pid);
		if (!WIFSTOPPED(status))
			return false;
		signal = WSTOPSIG(status) == SYSCALL_STOP ? 0 : WSTOPSIG(status);
		if (!signal && is_call(pid, call))
			return true;
	}
}

void traced_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	while (WIFSTOPPED(next_stop(pid)))
		;
}

int traced_finish(pid_t pid)
{
	int status;

	request(PTRACE_DETACH, pid, 0);
	status = next_stop(pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
