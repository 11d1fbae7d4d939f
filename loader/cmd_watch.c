/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * watch: waits for events, and after each fits whatever policy is in force to
 * the machine as it is then. Nothing of a policy is remembered between two
 * events, so that one which somebody put in force meanwhile is never replaced
 * by an older one. What matters is watched before it is looked at.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <netlink/netlink.h>

#include "apply.h"
#include "clock.h"
#include "exe.h"
#include "homes.h"
#include "log.h"
#include "output.h"
#include "service_manager.h"
#include "verbs.h"
#include "watch_moves.h"
#include "watch_paths.h"

/* After a failure that no event need follow, such as a lack of memory. */
#define RETRY_NS (10 * SECOND_NS)

struct watch {
	const struct options *options;
	struct nl_sock *links;
	struct paths paths; /* all else that is looked at in files */
	struct moves moves;
	int claim;
	bool over;
	int err;     /* of the last look */
	__u64 retry; /* monotonic_ns(): then all is looked at again; 0: nothing calls for that */
	__u32 generation; /* what was told last; 0: that there is none */
	char *interfaces;
	char *gone;
};

/* Between two looks, and while a lock is waited for, nothing is half done. */
static void end(int signal)
{
	(void)signal;
	_exit(EXIT_DONE);
}

static void hold_signals(int how)
{
	static const int ends[] = {SIGTERM, SIGINT, SIGHUP};
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		sigaddset(&set, ends[i]);
		signal(ends[i], end);
	}
	sigprocmask(how, &set, NULL);
}

/* For a policy_exe_fn, which has no argument for it. */
static struct paths *exe_paths;

/* It is what it is even if it cannot be watched. */
static int watch_exe(const char *path, __u32 *device, __u64 *inode)
{
	paths_add(exe_paths, path);
	return exe_resolve(path, device, inode);
}

/* Each policy that comes into force is pinned anew (tables_pin()); a trial's end unpins it. */
static int watch_known(struct paths *paths, const struct instance *in)
{
	static const char *const pins[] = {"header", "trial"};
	static const char *const accounts[] = {"/etc/passwd", "/etc/group"};
	char path[PATH_MAX];
	int i, err = 0;

	for (i = 0; i < 2 && !err; i++) {
		err = join_path(path, in->maps, pins[i]);
		if (!err)
			err = paths_add(paths, path);
		if (!err)
			err = paths_add(paths, accounts[i]);
	}
	return err;
}

static int watch_cgroup(struct paths *paths, const struct apply *a)
{
	char path[PATH_MAX];

	if (snprintf(path, PATH_MAX, "%s%s", a->in.cgroup2, a->source.policy->attach_cgroup) >=
	    PATH_MAX)
		return -ENAMETOOLONG;
	return paths_add(paths, path);
}

static void print_event(const char *event, struct json_object *o)
{
	json_add_string(o, "event", event);
	json_print_line(o);
}

static void tell_policy(struct watch *w, const struct apply *a)
{
	struct json_object *o;

	if (w->generation == a->generation)
		return;
	w->generation = a->generation;
	if (!w->options->json) {
		say("%s, generation %u: %s\n", a->old.header.file, a->generation,
		    a->flipped ? "what it names has changed" : "in force");
		return;
	}
	o = json_object_new_object();
	json_add_string(o, "policy", a->old.header.file);
	json_add_count(o, "generation", a->generation);
	print_event(a->flipped ? "names" : "policy", o);
}

static void tell_interfaces(struct watch *w, const struct apply *a)
{
	struct json_object *names = interfaces_json(&a->chosen), *o;
	const char *text = json_object_to_json_string(names);

	if (!w->interfaces || strcmp(w->interfaces, text)) {
		free(w->interfaces);
		w->interfaces = strdup(text);
		if (w->options->json) {
			o = json_object_new_object();
			json_add(o, "interfaces", json_object_get(names));
			print_event("interfaces", o);
		} else {
			interfaces_print(&a->chosen);
		}
	}
	json_object_put(names);
}

/* Users, groups and executables that the policy names. */
static void tell_gone(struct watch *w, const struct apply *a)
{
	const struct hq_image *image = a->source.image;
	size_t i, size;
	char *text;
	FILE *out;

	if (!image) /* they were not looked up */
		return;
	out = open_memstream(&text, &size);
	if (!out)
		return;
	for (i = 0; i < image->gone_count; i++)
		fprintf(out, "%s%s", i ? ", " : "", image->gone[i]);
	fclose(out);
	if (size && (!w->gone || strcmp(w->gone, text)))
		log_warning("the policy keeps the number of what is not there any more: %s", text);
	free(w->gone);
	w->gone = text;
}

static void tell_sockets(struct watch *w, const struct rehoming *r)
{
	size_t i, n = json_object_array_length(r->rehomed);
	struct json_object *o;

	if (n && w->options->json) {
		o = json_object_new_object();
		json_add(o, "sockets", json_object_get(r->rehomed));
		print_event("rehomed", o);
		return;
	}
	for (i = 0; i < n; i++)
		rehomed_print(json_object_array_get_idx(r->rehomed, i));
}

/* What lasts is told once, not at every event. */
static void tell_failure(struct watch *w, struct apply *a, int err)
{
	if (err != w->err && a->old.generation)
		source_report(&a->source, false);
	else if (err != w->err && err == -ENOENT)
		log_note("no policy is in force (instance '%s'); waiting for one", a->in.name);
	if (err == -ENOENT && !a->old.generation)
		w->generation = 0;
}

static int lock(struct instance *in)
{
	int err;

	hold_signals(SIG_UNBLOCK);
	err = instance_lock_existing(in);
	hold_signals(SIG_BLOCK);
	return err;
}

/* The installation and its policy, which must be ours to touch. */
static int reopen(struct watch *w, struct apply *a)
{
	int err = lock(&a->in);

	if (!err)
		err = instance_claim(&a->in, a->in.links, "watches", &w->claim);
	if (!err)
		err = apply_reopen(a);
	w->over = err == -EBUSY || err == -EXDEV || err == -EPROTO;
	return err;
}

/* At the interfaces; with `paths`, which it fills, at all else too. */
static int look(struct watch *w, struct apply *a, struct paths *paths)
{
	int err = instance_init(&a->in, w->options->instance, false);

	if (!err && paths)
		err = watch_known(paths, &a->in);
	if (!err)
		err = reopen(w, a);
	if (!err && paths)
		err = watch_cgroup(paths, a);
	exe_paths = paths;
	if (!err)
		err = apply_again(a, paths ? watch_exe : NULL);
	if (!err) {
		tell_policy(w, a);
		tell_interfaces(w, a);
		tell_gone(w, a);
	} else {
		tell_failure(w, a, err);
	}
	return err;
}

/* Sockets whose processes were moved; under the lock, after reopen(). */
static int take_home(struct watch *w, const struct apply *a)
{
	struct rehoming r = {};
	int err = rehome(&r, &a->in, &a->old);

	if (!err)
		tell_sockets(w, &r);
	rehoming_free(&r);
	return err;
}

static int look_at_interfaces(struct watch *w)
{
	struct apply a = APPLY_INIT;
	int err = look(w, &a, NULL);

	apply_release(&a);
	return err;
}

/* Then a child may have what it held, as of a daemon that goes into the background. */
static bool has_ended(__u32 pid)
{
	struct pollfd end = {.fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	bool ended = end.fd < 0 || poll(&end, 1, 0);

	if (end.fd >= 0)
		close(end.fd);
	return ended;
}

/* Does a process that was moved, or has begun, hold any that are not at home with it? */
static bool hold_strays(const struct moves *moves, const struct instance *in)
{
	struct strays strays;
	size_t i, n = 0;

	if (moves->many || !sees_all_processes())
		return true;
	for (i = 0; i < moves->count && !n; i++) {
		if (strays_read(&strays, in, moves->pids[i]))
			continue; /* it has gone, or the policy */
		n = strays.count;
		strays_free(&strays);
	}
	for (i = 0; i < moves->count && !n; i++)
		n = has_ended(moves->pids[i]);
	return n;
}

static int look_at_sockets(struct watch *w)
{
	struct apply a = APPLY_INIT;
	int err = instance_init(&a.in, w->options->instance, false);

	if (!err && hold_strays(&w->moves, &a.in)) {
		err = reopen(w, &a);
		if (!err)
			err = take_home(w, &a);
	}
	apply_release(&a);
	return err;
}

static int look_at_all(struct watch *w)
{
	struct apply a = APPLY_INIT;
	struct paths paths;
	int err = paths_open(&paths);

	if (err)
		return log_error(err, "cannot watch paths");
	err = look(w, &a, &paths);
	if (!err)
		err = take_home(w, &a);
	if (paths.err && paths.err != w->err)
		log_error(paths.err, "cannot watch all paths that the policy names");
	if (paths.err)
		err = paths.err;
	apply_release(&a);
	paths_close(&w->paths);
	w->paths = paths;
	return err;
}

/* What events concern: bits. */
enum { INTERFACES = 1, SOCKETS = 2, ALL = 4 };

/* Does a failure call for another try, though nothing tells of a change? */
static bool must_retry(int err)
{
	return err && err != -ENOENT && err != -EINVAL;
}

/* What has failed is not forgotten when less than all is looked at with success. */
static void look_at(struct watch *w, int events)
{
	int err;

	if (w->retry && (events & INTERFACES))
		events |= ALL;
	if (events & ALL) {
		w->retry = 0;
		w->err = look_at_all(w);
	} else if (events & INTERFACES) {
		w->err = look_at_interfaces(w);
	}
	if (!w->over && (events & SOCKETS)) {
		err = look_at_sockets(w);
		if (w->over || must_retry(err))
			w->err = err;
	}
	if (must_retry(w->err) && !w->retry)
		w->retry = monotonic_ns() + RETRY_NS;
}

/* Wait for events that matter, or -errno. */
static int wait_for_events(struct watch *w)
{
	struct timespec limit;
	struct pollfd fds[] = {{.fd = w->paths.fd, .events = POLLIN},
			       {.fd = nl_socket_get_fd(w->links), .events = POLLIN},
			       {.fd = moves_fd(&w->moves), .events = POLLIN}};
	int n, events = 0;
	__u64 now, left;
	sigset_t none;

	sigemptyset(&none);
	while (!events) {
		now = monotonic_ns();
		left = w->retry > now ? w->retry - now : 0;
		limit = (struct timespec){.tv_sec = left / SECOND_NS, .tv_nsec = left % SECOND_NS};
		n = ppoll(fds, 3, w->retry ? &limit : NULL, &none);
		if (n < 0)
			return log_error(-errno, "cannot wait for events");
		moves_read(&w->moves);
		if (w->moves.count)
			events |= SOCKETS;
		if (interfaces_changed(w->links))
			events |= INTERFACES;
		if (paths_changed(&w->paths) || (w->retry && monotonic_ns() >= w->retry))
			events |= ALL;
	}
	return events;
}

static int watch(struct watch *w)
{
	int events = ALL;

	while (!w->over && events >= 0) {
		look_at(w, events);
		if (!w->over) {
			manager_tell("READY=1");
			events = wait_for_events(w);
		}
	}
	return w->over ? w->err : events;
}

int cmd_watch(const struct options *options, int argc, char **argv)
{
	struct watch w = {.options = options, .claim = -1, .paths.fd = -1};
	int err = require_privileges();

	(void)argc, (void)argv;
	if (!err) {
		setlinebuf(stdout);
		log_begin("watch", false); /* its messages cannot wait for its end */
		hold_signals(SIG_BLOCK);
		if (moves_watch(&w.moves))
			log_warning("this kernel does not tell when processes are moved to "
				    "another cgroup: run `hostqos adopt` then");
		err = interfaces_watch(&w.links);
		err = err ? log_error(err, "cannot listen to rtnetlink") : watch(&w);
	}
	moves_close(&w.moves);
	nl_socket_free(w.links);
	paths_close(&w.paths);
	free(w.interfaces);
	free(w.gone);
	if (w.claim >= 0)
		close(w.claim);
	return err ? EXIT_FAILED : EXIT_DONE;
}
