/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <hostqos/bucket.h>

#include "cgroups.h"
#include "clock.h"
#include "egress.h"
#include "force.h"
#include "log.h"
#include "shadow.h"
#include "sockets.h"
#include "trial.h"

/* Zero one element of a per-CPU array. */
static int clear_counters(int map, __u32 index, size_t value_size)
{
	int cpus = libbpf_num_possible_cpus(), err = 0;
	void *zeros;

	if (cpus < 0)
		return cpus;
	zeros = calloc(cpus, (value_size + 7) & ~7UL);
	if (!zeros)
		return -ENOMEM;
	if (bpf_map_update_elem(map, &index, zeros, BPF_ANY))
		err = -errno;
	free(zeros);
	return err;
}

int bucket_fill(int map, __u32 class)
{
	struct hq_bucket full = {.tat = hq_bucket_full(hq_ticks(monotonic_ns()))};

	return bpf_map_update_elem(map, &class, &full, BPF_ANY) ? -errno : 0;
}

/* Ids that the old policy does not use may have served an earlier one. */
static int clear_new_classes(const struct instance *in, const struct hq_image *image,
			     const struct in_force *old)
{
	__u32 id;
	int err = 0;

	for (id = 0; id < HQ_MAX_CLASSES && !err; id++) {
		if (!image->classes[id].defined || (old->generation && old->classes[id].defined))
			continue;
		err = clear_counters(in->map[MAP_CLASS_COUNTERS], id,
				     sizeof(struct hq_class_counters));
		if (!err)
			err = bucket_fill(in->map[MAP_BUCKETS], id);
	}
	return err;
}

/* What the bucket holds or owes, in bytes, stays. The programs go on charging it meanwhile. */
static void convert_bucket(struct hq_bucket *bucket, const struct hq_meter *from,
			   const struct hq_meter *to)
{
	__u64 tat = __atomic_load_n(&bucket->tat, __ATOMIC_RELAXED);

	while (!__atomic_compare_exchange_n(
		&bucket->tat, &tat, hq_bucket_convert(tat, hq_ticks(monotonic_ns()), from, to),
		false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* Classes that stay but for their rate. */
static int convert_buckets(const struct instance *in, const struct in_force *old,
			   const struct hq_class *classes)
{
	size_t size = HQ_MAX_CLASSES * sizeof(struct hq_bucket);
	struct hq_bucket *buckets;
	__u32 id;

	if (!old->generation)
		return 0;
	buckets = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, in->map[MAP_BUCKETS], 0);
	if (buckets == MAP_FAILED)
		return log_error(-errno, "cannot carry the buckets over");
	for (id = 0; id < HQ_MAX_CLASSES; id++) {
		const struct hq_meter *from = &old->classes[id].egress;
		const struct hq_meter *to = &classes[id].egress;

		if (from->rate && to->rate && from->rate != to->rate)
			convert_bucket(&buckets[id], from, to);
	}
	munmap(buckets, size);
	return 0;
}

static int clear_new_rules(const struct instance *in, const struct hq_image *image,
			   const struct in_force *old)
{
	bool *used = calloc(HQ_MAX_RULES + 1, sizeof(*used));
	__u32 i;
	int err = 0;

	if (!used)
		return -ENOMEM;
	for (i = 0; i < old->header.rules; i++)
		used[old->rules[i].counter] = true;
	for (i = 0; i < image->header.rules && !err; i++)
		if (!used[image->rules[i].counter])
			err = clear_counters(in->map[MAP_RULE_COUNTERS], image->rules[i].counter,
					     sizeof(struct hq_rule_counters));
	free(used);
	return err;
}

/*
 * A rule refuses no datagram of a socket that is older than itself. Rules with
 * one key are the same rule, and have the same counter.
 */
static int date_refusals(struct hq_image *image, const struct in_force *old)
{
	__u32 *since = calloc(HQ_MAX_RULES + 1, sizeof(*since)), i;

	if (!since)
		return -ENOMEM;
	for (i = 0; i < old->header.rules; i++)
		if (old->rules[i].refuse)
			since[old->rules[i].counter] = old->rules[i].since;
	for (i = 0; i < image->header.rules; i++) {
		struct hq_rule *rule = &image->rules[i];

		if (rule->refuse)
			rule->since = since[rule->counter] ? since[rule->counter]
							   : image->header.generation;
	}
	free(since);
	return 0;
}

/* The first slot that is neither. */
static __u32 free_slot(__u32 taken, __u32 taken_too)
{
	static const __u32 slots[] = {0, 1, HQ_SLOT_SPARE};
	size_t i = 0;

	while (slots[i] == taken || slots[i] == taken_too)
		i++;
	return slots[i];
}

/*
 * The next generation: of a slot that is not in force, nor what comes `back`.
 * After 2^31 of them they begin again.
 */
static __u32 generation_after(const struct hq_active *active, __u32 back)
{
	__u32 next = active->newest > active->generation ? active->newest : active->generation;
	__u32 slot = free_slot(hq_slot(active->generation), hq_slot(back));

	do {
		next = (next + 1) & 0x7fffffff;
	} while (!next || hq_slot(next) != slot);
	return next;
}

/*
 * What must not be refilled: what a trial goes back to, else what is in force.
 * The record of a trial that is not on would be taken for that of the next
 * generation, and goes.
 */
static int find_kept(const struct instance *in, const struct hq_active *active, __u32 *kept)
{
	struct hq_trial t;
	bool on;
	int err = trial_look(in, &t, &on);

	*kept = on ? t.back : active->generation;
	return err || on ? err : trial_forget(in);
}

static int set_active(const struct instance *in, const struct hq_active *active)
{
	__u32 zero = 0;

	if (bpf_map_update_elem(in->map[MAP_ACTIVE], &zero, active, BPF_ANY))
		return log_error(-errno, "cannot put the policy in force");
	return 0;
}

/* Its tables, filled and counted for from here on, but in no slot yet. */
static int make_tables(const struct instance *in, struct source *s, const struct in_force *old,
		       struct tables *tables)
{
	int err = clear_new_classes(in, s->image, old);

	if (!err)
		err = clear_new_rules(in, s->image, old);
	if (err)
		return log_error(err, "cannot clear counters");
	err = date_refusals(s->image, old);
	return err ? err : tables_create(tables, in->map[MAP_ACTIVE], s->image, s->text, s->length);
}

/*
 * A trial that is on can go back up to the very word that ends it: its
 * generation is not the newest one then, nor in force for the kernel's timer.
 */
int force_flip(const struct instance *in, struct source *s, const struct in_force *old,
	       struct trial *trial, struct tables *tables, __u32 *generation)
{
	struct hq_active active = {};
	int err = instance_active(in, &active);
	__u32 kept;

	if (err)
		return log_error(err, "cannot read the generation in force");
	err = find_kept(in, &active, &kept);
	if (err)
		return err;
	active.newest = s->image->header.generation = generation_after(&active, kept);
	err = make_tables(in, s, old, tables);
	if (err)
		return err;
	/* One that was killed may not have waited for those who read the slot. */
	if (active.generation && !tables_pinned(in))
		err = tables_grace(in);
	if (!err)
		err = tables_publish(in, tables, hq_slot(active.newest));
	if (!err && trial)
		err = trial_begin(in, trial, active.newest, active.generation);
	if (!err)
		err = convert_buckets(in, old, s->image->classes);
	active.generation = active.newest;
	if (!err)
		err = set_active(in, &active);
	if (err) {
		if (trial)
			trial_forget(in);
		tables_close(tables);
		return err;
	}
	/* Over already; what cannot be removed, the next command will. */
	if (!trial)
		trial_forget(in);
	*generation = active.generation;
	return 0;
}

int force_reserve(const struct instance *in, __u32 *generation)
{
	struct hq_active active = {};
	int err = instance_active(in, &active);

	if (err)
		return log_error(err, "cannot read the generation in force");
	err = trial_forget(in);
	active.newest = generation_after(&active, active.generation);
	if (!err)
		err = set_active(in, &active);
	if (!err)
		*generation = active.newest;
	return err;
}

int force_back(const struct instance *in, const struct in_force *from, const struct in_force *to)
{
	struct hq_active active = {};
	int err = instance_active(in, &active);

	if (err)
		return log_error(err, "cannot read the generation in force");
	active.generation = to->generation;
	err = convert_buckets(in, from, to->classes);
	return err ? err : set_active(in, &active);
}

/* Links held open while their pins go: closing the last reference detaches at once. */
struct held {
	const char *dir;
	int *fds;
	size_t count;
};

static int hold_link(const char *name, void *arg)
{
	struct held *held = arg;
	char path[PATH_MAX];
	int *fds, fd, err = join_path(path, held->dir, name);

	if (err)
		return err;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	fds = realloc(held->fds, (held->count + 1) * sizeof(*fds));
	if (!fds) {
		close(fd);
		return -ENOMEM;
	}
	held->fds = fds;
	fds[held->count++] = fd;
	return 0;
}

int force_remove(struct instance *in)
{
	struct held held = {.dir = in->links};
	int err = for_each_entry(in->links, hold_link, &held);

	if (!err || err == -ENOENT)
		err = remove_directory(in->links);
	while (held.count)
		close(held.fds[--held.count]);
	free(held.fds);
	if (!err)
		err = shadow_discard(in);
	if (!err && in->map[MAP_INTERFACES] >= 0)
		err = egress_commit(in, NULL);
	if (!err && in->map[MAP_MADE_CGROUPS] >= 0)
		cgroups_remove(in, NULL);
	return err ? err : instance_remove(in);
}

/* 1 where it is the one with this inode number, and this process has entered it. */
static int enter(const char *path, __u32 inode)
{
	struct stat st;
	int fd, err;

	if (stat(path, &st) || st.st_ino != inode)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	err = setns(fd, CLONE_NEWNET);
	close(fd);
	return err ? 0 : 1;
}

static int try_process(const char *name, void *inode)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%s/ns/net", name);
	return isdigit((unsigned char)*name) ? enter(path, *(__u32 *)inode) : 0;
}

static int try_name(const char *name, void *inode)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/run/netns/%s", name); /* ip-netns(8) */
	return enter(path, *(__u32 *)inode);
}

int netns_enter(__u32 inode)
{
	if (!inode || own_netns() == inode)
		return 0;
	return for_each_entry("/run/netns", try_name, &inode) == 1 ||
			       for_each_entry("/proc", try_process, &inode) == 1
		       ? 0
		       : -ENOENT;
}
