/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostqos.h"

#define MAX_ARGUMENTS 64

static void become(const struct place *place)
{
	if (setns(place->netns, CLONE_NEWNET))
		_exit(126);
	if (place->gid && (setgroups(0, NULL) || setresgid(place->gid, place->gid, place->gid)))
		_exit(126);
	if (place->uid && setresuid(place->uid, place->uid, place->uid))
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

pid_t place_fork(const struct place *place, uint64_t clone_flags)
{
	struct clone_args args = {.flags = clone_flags, .exit_signal = SIGCHLD};
	char path[PATH_MAX];
	int cgroup = -1;
	pid_t pid;

	if (place->cgroup[0]) {
		snprintf(path, sizeof(path), "%s%s", cgroup_mount(), place->cgroup);
		cgroup = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (cgroup < 0)
			fail_msg("%s: %s", path, strerror(errno));
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = cgroup;
	}
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		become(place);
		return 0;
	}
	if (pid < 0)
		fail_msg("clone3: %s", strerror(errno));
	if (cgroup >= 0)
		close(cgroup);
	return pid;
}

static struct process *process_new(const char *name)
{
	struct process *process = calloc(1, sizeof(*process));

	process->out = memfd_create("output", MFD_CLOEXEC);
	process->err = memfd_create("errors", MFD_CLOEXEC);
	process->status = -1;
	snprintf(process->name, sizeof(process->name), "%s", name);
	return process;
}

/* It runs: the testbed ends it. */
static struct process *process_running(struct testbed *tb, struct process *process)
{
	if (tb) {
		process->next = tb->processes;
		tb->processes = process;
	}
	return process;
}

struct process *process_startv(struct testbed *tb, const struct place *place, char *const argv[])
{
	struct process *process = process_new(argv[0]);

	process->pid = place_fork(place, 0);
	if (process->pid == 0) {
		dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
		dup2(process->out, 1);
		dup2(process->err, 2);
		signal(SIGPIPE, SIG_DFL);
		alarm(0);
		execvp(argv[0], argv);
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	return process_running(tb, process);
}

struct process *process_call(struct testbed *tb, const struct place *place, void (*f)(void *),
			     void *arg)
{
	struct process *process = process_new("a function");

	process->pid = place_fork(place, 0);
	if (process->pid == 0) {
		alarm(0);
		f(arg);
		_exit(0);
	}
	return process_running(tb, process);
}

static struct process *start_line(struct testbed *tb, const struct place *place, const char *format,
				  va_list arguments)
{
	char *argv[MAX_ARGUMENTS + 1], line[2048], *rest = line;
	size_t argc = 0;

	vsnprintf(line, sizeof(line), format, arguments);
	while (argc < MAX_ARGUMENTS && (argv[argc] = strsep(&rest, " ")))
		if (argv[argc][0])
			argc++;
	argv[argc] = NULL;
	return process_startv(tb, place, argv);
}

struct process *process_start(struct testbed *tb, const struct place *place, const char *format,
			      ...)
{
	struct process *process;
	va_list arguments;

	va_start(arguments, format);
	process = start_line(tb, place, format, arguments);
	va_end(arguments);
	return process;
}

bool process_ended(struct process *process)
{
	return process->status != -1 ||
	       waitpid(process->pid, &process->status, WNOHANG) == process->pid;
}

int process_wait(struct process *process)
{
	uint64_t end = now_ns() + patience(60) * 1e9;

	while (!process_ended(process)) {
		if (now_ns() > end)
			fail_msg("%s does not end:\n%s%s", process->name, process_output(process),
				 process_errors(process));
		await_nap();
	}
	if (WIFSIGNALED(process->status))
		return 128 + WTERMSIG(process->status);
	return WEXITSTATUS(process->status);
}

void process_kill(struct process *process, int signal)
{
	if (!process_ended(process))
		kill(process->pid, signal);
}

static char *read_all(int fd)
{
	struct stat st;
	char *text;

	fstat(fd, &st);
	text = calloc(1, st.st_size + 1);
	if (pread(fd, text, st.st_size, 0) != st.st_size)
		fail_msg("cannot read what a process printed: %s", strerror(errno));
	return text;
}

char *process_output(const struct process *process)
{
	return read_all(process->out);
}

char *process_errors(const struct process *process)
{
	return read_all(process->err);
}

static void free_process(struct process *process)
{
	process_kill(process, SIGKILL);
	if (process->status == -1)
		waitpid(process->pid, &process->status, 0);
	close(process->out);
	close(process->err);
	free(process);
}

void process_end_all(struct testbed *tb)
{
	while (tb->processes) {
		struct process *process = tb->processes;

		tb->processes = process->next;
		free_process(process);
	}
}

void run(struct testbed *tb, const struct place *place, const char *format, ...)
{
	struct process *process;
	va_list arguments;
	int status;

	va_start(arguments, format);
	process = start_line(tb, place, format, arguments);
	va_end(arguments);
	status = process_wait(process);
	if (status)
		fail_msg("%s (%s): exit status %d: %s%s", process->name, format, status,
			 process_output(process), process_errors(process));
	if (!tb)
		free_process(process);
}

const char *server_program(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "/usr/sbin/%s", name);
	if (!access(path, X_OK))
		return path;
	snprintf(path, sizeof(path), "%s", hostqos_binary());
	if (strrchr(path, '/'))
		sprintf(strrchr(path, '/') + 1, "unpacked/%s/usr/sbin/%s", name, name);
	return path;
}

void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	if (!file || fputs(text, file) < 0 || fclose(file))
		fail_msg("%s: %s", path, strerror(errno));
}

/* Takes the text over. */
static bool has(char *text, const char *what, int times)
{
	const char *found = text;

	while (times && (found = strstr(found, what))) {
		found += strlen(what);
		times--;
	}
	free(text);
	return !times;
}

bool process_said(const struct process *process, const char *what, int times)
{
	return has(process_output(process), what, times);
}

bool process_complained(const struct process *process, const char *what, int times)
{
	return has(process_errors(process), what, times);
}

bool pid_gone(pid_t pid)
{
	char path[64], line[512] = "", *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return true;
	state = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	fclose(file);
	return state && state[2] == 'Z'; /* nobody here reaps it */
}
