/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * try: apply, and a process that undoes it at the deadline. It has a session of
 * its own and nothing of the terminal's. Should it be killed as well, as a
 * session's scope of systemd may be, the kernel's timer takes its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <syslog.h>
#include <unistd.h>

#include "apply.h"
#include "clock.h"
#include "force.h"
#include "log.h"
#include "output.h"
#include "verbs.h"

#define DEFAULT_DURATION "60s"
#define LONGEST		 (7 * 86400) /* s */

/* "90s", "5m", "1h": ns; 0 where it is no such thing. */
static __u64 parse_duration(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10), unit = 0;

	if (!strcmp(end, "s"))
		unit = 1;
	else if (!strcmp(end, "m"))
		unit = 60;
	else if (!strcmp(end, "h"))
		unit = 3600;
	if (*text < '0' || *text > '9' || !unit || n > LONGEST / unit)
		return 0;
	return n * unit * SECOND_NS;
}

/* What a terminal sends: to the waiter too, as long as it has no session of its own. */
static sigset_t terminal_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	return set;
}

/* Nothing that ends the command, its terminal or its session is to end this process too. */
static void detach_process(void)
{
	int null;

	setsid();
	close_range(3, ~0U, 0);
	null = open("/dev/null", O_RDWR);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	if (chdir("/"))
		_exit(EXIT_FAILED);
}

/* Is it still the one that this process waits for? */
static bool is_on(const struct instance *in, const struct hq_trial *ours)
{
	struct hq_trial t;

	return !trial_read(in, &t) && t.generation == ours->generation &&
	       t.deadline == ours->deadline;
}

/* Until the deadline. False where the trial was ended before: its map's pin has gone. */
static bool await_deadline(const struct instance *in, const struct hq_trial *t)
{
	struct itimerspec at = {.it_value = {.tv_sec = t->deadline / SECOND_NS,
					     .tv_nsec = t->deadline % SECOND_NS}};
	int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
	int gone = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd events[] = {{.fd = timer, .events = POLLIN}, {.fd = gone, .events = POLLIN}};
	char drain[4096];

	timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
	inotify_add_watch(gone, in->maps, IN_DELETE);
	while (is_on(in, t)) {
		if (poll(events, 2, -1) > 0 && events[0].revents)
			return true;
		while (read(gone, drain, sizeof(drain)) > 0)
			;
	}
	return false;
}

/* The former policy as if it were applied: from its text, with all that follows. */
static int apply_former(struct instance *in, const struct hq_trial *t)
{
	struct apply a = APPLY_INIT;
	struct in_force former = {};
	int err = in_force_read_of(in, t->back, &former);

	a.in = *in;
	instance_close_maps(&a.in);
	if (!err)
		err = source_parse_again(&a.source, &former);
	if (!err)
		err = apply_policy(&a);
	*in = a.in;
	in_force_free(&former);
	return err;
}

static int detach_again(struct instance *in)
{
	struct adoption adoption = {};
	int err = trial_go_back(in);

	if (!err) {
		instance_close_maps(in);
		err = detach_all(in, &adoption);
	}
	adoption_free(&adoption);
	return err;
}

static int go_back(const char *name, const struct hq_trial *t)
{
	struct instance in;
	int err = instance_init(&in, name, false);

	if (err || !await_deadline(&in, t))
		return err;
	err = instance_lock_existing(&in);
	if (!err && is_on(&in, t)) {
		err = instance_open(&in);
		if (!err)
			err = t->detaches ? detach_again(&in) : apply_former(&in, t);
	}
	instance_close(&in);
	return err == -ENOENT ? 0 : err;
}

static int start_waiter(const struct apply *a)
{
	const struct hq_trial *t = &a->trial->record;
	sigset_t held = terminal_signals(), before;
	pid_t pid;

	sigprocmask(SIG_BLOCK, &held, &before);
	pid = fork();
	if (pid == 0) {
		detach_process();
		if (go_back(a->in.name, t))
			syslog(LOG_ERR,
			       "instance '%s': the trial ran out; not all could be made as it was "
			       "before, apply the former policy again",
			       a->in.name);
		_exit(EXIT_DONE);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return -errno;
	a->trial->record.pid = pid;
	return trial_set_waiter(&a->in, pid);
}

static int refuse_second(const struct instance *in)
{
	struct hq_trial t;
	bool on;
	int err = trial_look(in, &t, &on);

	if (err || !on || trial_ran_out(&t))
		return err;
	log_error(0, "a policy is on trial already; keep it, wait for its end, or apply another");
	return -EBUSY;
}

int cmd_try(const struct options *options, int argc, char **argv)
{
	const char *duration = options->duration ?: DEFAULT_DURATION;
	struct trial trial = {.duration = parse_duration(duration)};
	struct apply a = APPLY_INIT;
	int err;

	(void)argc;
	if (!trial.duration) {
		fprintf(stderr, "hostqos try: not '%s', but a time such as 90s, 5m or 1h\n",
			duration);
		return EXIT_USAGE;
	}
	a.trial = &trial;
	err = apply_begin(&a, options->instance, argv[0]);
	if (!err)
		err = refuse_second(&a.in);
	if (!err)
		err = apply_policy(&a);
	if (a.flipped && start_waiter(&a))
		log_warning("no process waits for the end: live sockets will not follow at once");
	return finish(apply_report(&a, err, options->json), options->json);
}
