/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>

#include "clock.h"
#include "force.h"
#include "links.h"
#include "log.h"
#include "object.h"
#include "output.h"
#include "trial.h"

#define TRIAL "trial"

/* So long has a process time to go back as it should be done, with all that follows. */
#define FALLBACK_NS (2 * SECOND_NS)

bool trial_ran_out(const struct hq_trial *t)
{
	return clock_ns(CLOCK_BOOTTIME) >= t->deadline;
}

/* Descriptor of the map, or -errno. */
static int open_trial(const struct instance *in)
{
	char path[PATH_MAX];
	int fd = map_pin_path(path, in, TRIAL) ? -1 : bpf_obj_get(path);

	return fd < 0 ? -errno : fd;
}

static int write_trial(int fd, const struct hq_trial *t)
{
	__u32 zero = 0;

	return bpf_map_update_elem(fd, &zero, t, BPF_ANY) ? -errno : 0;
}

static int read_trial(int fd, struct hq_trial *t)
{
	__u32 zero = 0;

	if (bpf_map_lookup_elem(fd, &zero, t))
		return -errno;
	return t->back ? 0 : -ENOENT;
}

/* By its pin: who waits for the end of a trial keeps no map open. */
static int read_active(const struct instance *in, struct hq_active *active)
{
	char path[PATH_MAX];
	__u32 zero = 0;
	int err = map_pin_path(path, in, "active"), fd = err ? -1 : bpf_obj_get(path);

	if (fd < 0)
		return err ?: -errno;
	err = bpf_map_lookup_elem(fd, &zero, active) ? -errno : 0;
	close(fd);
	return err;
}

/*
 * The flip makes it the newest generation. It is older than that where the
 * command that began it was killed before, and newer than it was where one that
 * ended it was killed after.
 */
static int check_newest(const struct instance *in, const struct hq_trial *t)
{
	struct hq_active active;
	int err = read_active(in, &active);

	return !err && active.newest != t->generation ? -ENOENT : err;
}

int trial_read(const struct instance *in, struct hq_trial *t)
{
	int fd = open_trial(in), err;

	if (fd < 0)
		return fd;
	err = read_trial(fd, t);
	close(fd);
	return err ? err : check_newest(in, t);
}

int trial_look(const struct instance *in, struct hq_trial *t, bool *on)
{
	int err = trial_read(in, t);

	*on = !err;
	return err && err != -ENOENT ? log_error(err, "cannot read what is on trial") : 0;
}

/* A map goes with its last user, and its timer with it. */
int trial_forget(const struct instance *in)
{
	static const char *const maps[] = {TRIAL, TRIAL "_timer"};
	char path[PATH_MAX];
	size_t i;
	int err = 0;

	for (i = 0; i < sizeof(maps) / sizeof(maps[0]) && !err; i++) {
		err = map_pin_path(path, in, maps[i]);
		if (!err && unlink(path) && errno != ENOENT)
			err = log_error(-errno, "cannot remove %s", path);
	}
	return err;
}

static int start_timer(struct bpf_object *object)
{
	char packet[ETH_ZLEN] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	int program = object_program(object, "trial_start");

	if (program < 0)
		return program;
	if (bpf_prog_test_run_opts(program, &opts))
		return log_error(-errno, "cannot run the program 'trial_start'");
	return opts.retval ? log_error((int)opts.retval, "cannot start the kernel's timer") : 0;
}

int trial_begin(const struct instance *in, struct trial *trial, __u32 generation, __u32 back)
{
	struct hostqos_bpf *skel;
	int err = object_load(&skel, in, OBJECT_TRIAL, 0);

	if (err)
		return err;
	trial->record.generation = generation;
	trial->record.back = back;
	trial->record.deadline = clock_ns(CLOCK_BOOTTIME) + trial->duration;
	trial->record.fallback = trial->record.deadline + FALLBACK_NS;
	err = write_trial(bpf_object__find_map_fd_by_name(object_of(skel), TRIAL), &trial->record);
	if (err)
		log_error(err, "cannot write the map '" TRIAL "'");
	else
		err = start_timer(object_of(skel));
	object_unload(skel);
	return err;
}

int trial_set_waiter(const struct instance *in, pid_t pid)
{
	struct hq_trial t;
	int fd = open_trial(in), err = fd < 0 ? fd : read_trial(fd, &t);

	t.pid = pid;
	if (!err)
		err = write_trial(fd, &t);
	if (fd >= 0)
		close(fd);
	return err ? log_error(err, "cannot write the map '" TRIAL "'") : 0;
}

/* The timer finds nothing to do from now on, and has done what it had begun. */
static int disarm(const struct instance *in, int fd, const struct hq_trial *t, __u32 *generation)
{
	struct hq_trial over = *t;
	int err;

	over.back = 0;
	err = write_trial(fd, &over);
	if (!err)
		err = tables_grace(in);
	if (!err)
		err = instance_generation(in, generation);
	return err ? log_error(err, "cannot end the trial") : 0;
}

int trial_keep(const struct instance *in)
{
	__u32 generation;
	struct hq_trial t = {};
	int fd = open_trial(in), err = fd < 0 ? fd : read_trial(fd, &t);

	if (err)
		log_error(err, "cannot read the map '" TRIAL "'");
	else
		err = disarm(in, fd, &t, &generation);
	if (!err && generation != t.generation) {
		log_error(0, "too late: the trial has just run out, and the former policy is back");
		err = -ETIME;
	}
	/* It is on as before: who waits for its end goes back. */
	if (err && fd >= 0 && t.back)
		write_trial(fd, &t);
	if (fd >= 0)
		close(fd);
	return err ? err : trial_forget(in);
}

static int flip_back(const struct instance *in, const struct hq_trial *t)
{
	struct in_force tried = {}, former = {};
	int err = in_force_read(in, &tried);

	if (!err && tried.generation == t->generation) {
		err = in_force_read_of(in, t->back, &former);
		if (!err)
			err = force_back(in, &tried, &former);
	}
	in_force_free(&tried);
	in_force_free(&former);
	return err;
}

int trial_go_back(const struct instance *in)
{
	struct hq_trial t;
	int err = trial_read(in, &t);

	if (!err)
		err = flip_back(in, &t);
	if (!err)
		err = tables_grace(in);
	return err ? log_error(err, "cannot go back to the former policy") : trial_forget(in);
}

int trial_settle(const struct instance *in)
{
	struct hq_trial t;
	bool on;
	int err = trial_look(in, &t, &on);

	return !err && on && trial_ran_out(&t) ? trial_go_back(in) : err;
}

/* What comes back, as it was applied; NULL where that is nothing. To be freed. */
static char *former_file(const struct instance *in, const struct hq_trial *t)
{
	struct in_force former = {};
	char *file = NULL;

	if (!t->detaches && !in_force_read_of(in, t->back, &former))
		file = strdup(former.header.file);
	in_force_free(&former);
	return file;
}

struct json_object *trial_json(const struct instance *in, const struct hq_trial *t)
{
	struct json_object *o = json_object_new_object();
	__s64 left = (__s64)(t->deadline - clock_ns(CLOCK_BOOTTIME));
	char *back = former_file(in, t);

	json_add_count(o, "until", time(NULL) + left / (__s64)SECOND_NS);
	json_add_count(o, "seconds_left", left > 0 ? left / (__s64)SECOND_NS : 0);
	json_add_bool(o, "ran_out", left <= 0);
	json_add_string(o, "back", back);
	json_add(o, "pid", t->pid ? json_object_new_int64(t->pid) : NULL);
	free(back);
	return o;
}

void trial_print(struct json_object *trial)
{
	time_t until = json_object_get_int64(json_object_object_get(trial, "until"));
	const char *back = json_object_get_string(json_object_object_get(trial, "back"));
	bool ran_out = json_object_get_boolean(json_object_object_get(trial, "ran_out"));
	char clock[32];

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&until));
	if (!ran_out && back)
		say("until %s, then back to %s; `hostqos keep` keeps it\n", clock, back);
	else if (!ran_out)
		printf("until %s, then detached; `hostqos keep` keeps it\n", clock);
	else if (back)
		say("ran out at %s and %s is back, but live sockets may have marks of "
		    "what was tried; apply again\n",
		    clock, back);
	else
		printf("ran out at %s and all packets are left alone; detach\n", clock);
}
