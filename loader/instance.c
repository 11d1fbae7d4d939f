/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "instance.h"
#include "log.h"
#include "mounts.h"

static const char *const map_names[NMAPS] = {
	[MAP_ACTIVE] = "active",
	[MAP_FLOWS] = "flows",
	[MAP_CGROUP_ROWS] = "cgroup_rows",
	[MAP_BUCKETS] = "buckets",
	[MAP_CLASS_COUNTERS] = "class_counters",
	[MAP_RULE_COUNTERS] = "rule_counters",
	[MAP_FAULTS] = "faults",
	[MAP_ESCAPES] = "escapes",
	[MAP_HOMES] = "homes",
	[MAP_INTERFACES] = "interfaces",
	[MAP_MADE_CGROUPS] = "made_cgroups",
	[MAP_INSTALL] = "install",
};

/* Socket storage is listed by an iterator alone, and a ring buffer has no elements. */
static const char *const not_dumpable[] = {"flows", "upstreams", "events"};

static bool is_dumpable(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(not_dumpable) / sizeof(not_dumpable[0]); i++)
		if (!strcmp(name, not_dumpable[i]))
			return false;
	return true;
}

int map_pin_path(char out[PATH_MAX], const struct instance *in, const char *name)
{
	if (!is_dumpable(name))
		return join_path(out, in->dir, name);
	return join_path(out, strncmp(name, "shadow", 6) ? in->maps : in->shadow, name);
}

int join_path(char out[PATH_MAX], const char *dir, const char *name)
{
	int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int instance_init(struct instance *in, const char *name, bool mount_it)
{
	char bpffs[PATH_MAX], base[PATH_MAX];
	int err;

	memset(in, 0, sizeof(*in));
	in->name = name;
	in->lock = -1;
	memset(in->map, -1, sizeof(in->map));
	memset(in->outer, -1, sizeof(in->outer));

	err = find_cgroup2(in->cgroup2);
	if (!err)
		err = find_bpffs(bpffs, mount_it);
	if (err)
		return err;
	if (join_path(base, bpffs, "hostqos") || join_path(in->dir, base, name) ||
	    join_path(in->links, in->dir, "links") || join_path(in->maps, in->dir, "maps") ||
	    join_path(in->programs, in->dir, "programs") ||
	    join_path(in->shadow, in->dir, "shadow"))
		return log_error(-ENAMETOOLONG, "the path of bpffs, %s", bpffs);
	return 0;
}

void instance_close_maps(struct instance *in)
{
	int i;

	for (i = 0; i < NMAPS; i++)
		if (in->map[i] >= 0)
			close(in->map[i]);
	for (i = 0; i < NTABLES; i++)
		if (in->outer[i] >= 0)
			close(in->outer[i]);
	memset(in->map, -1, sizeof(in->map));
	memset(in->outer, -1, sizeof(in->outer));
}

void instance_close(struct instance *in)
{
	/* Never initialised: its zeros are no descriptors. */
	if (!in->name)
		return;
	instance_close_maps(in);
	if (in->lock >= 0)
		close(in->lock);
	in->lock = -1;
}

/* Open what may be missing; *missing notes that it was. */
static int open_pin(const struct instance *in, const char *name, int *fd, bool *missing)
{
	char path[PATH_MAX];
	int err;

	err = map_pin_path(path, in, name);
	if (err)
		return err;
	*fd = bpf_obj_get(path);
	if (*fd >= 0)
		return 0;
	if (errno != ENOENT)
		return log_error(-errno, "cannot open %s", path);
	*missing = true;
	return 0;
}

int instance_open(struct instance *in)
{
	bool missing = false;
	int i, err;

	for (i = 0; i < NMAPS; i++) {
		err = open_pin(in, map_names[i], &in->map[i], &missing);
		if (err)
			return err;
	}
	for (i = 0; i < NTABLES; i++) {
		err = open_pin(in, table_outer_name(i), &in->outer[i], &missing);
		if (err)
			return err;
	}
	return missing ? -ENOENT : 0;
}

int instance_active(const struct instance *in, struct hq_active *active)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(in->map[MAP_ACTIVE], &zero, active) ? -errno : 0;
}

int instance_generation(const struct instance *in, __u32 *generation)
{
	struct hq_active active;
	int err = instance_active(in, &active);

	if (!err)
		*generation = active.generation;
	return err;
}

int instance_install(const struct instance *in, struct hq_install *install)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(in->map[MAP_INSTALL], &zero, install) ? -errno : 0;
}

int pin_replace(int fd, const char *dir, const char *name)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int err;

	if (join_path(path, dir, name) || snprintf(temporary, PATH_MAX, "%s_new", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	/* Left behind by a command that was killed. */
	if (unlink(temporary) && errno != ENOENT)
		return log_error(-errno, "cannot remove %s", temporary);
	if (bpf_obj_pin(fd, temporary))
		return log_error(-errno, "cannot pin %s", temporary);
	if (rename(temporary, path)) {
		err = -errno;
		unlink(temporary);
		return log_error(err, "cannot rename %s to %s", temporary, name);
	}
	return 0;
}

int for_each_entry(const char *dir, int (*visit)(const char *name, void *arg), void *arg)
{
	struct dirent *entry;
	DIR *d = opendir(dir);
	int err = 0;

	if (!d)
		return -errno;
	while (!err && (entry = readdir(d)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			err = visit(entry->d_name, arg);
	closedir(d);
	return err;
}

static int unlink_in(const char *name, void *dir)
{
	char path[PATH_MAX];
	int err = join_path(path, dir, name);

	if (!err && unlink(path) && errno != ENOENT)
		err = log_error(-errno, "cannot remove %s", path);
	return err;
}

int remove_directory(const char *dir)
{
	int err = for_each_entry(dir, unlink_in, (void *)dir);

	if (err == -ENOENT)
		return 0;
	if (!err && rmdir(dir) && errno != ENOENT)
		err = log_error(-errno, "cannot remove %s", dir);
	return err;
}

int instance_forget_upstream(const struct instance *in)
{
	static const char *const maps[] = {"threads", "connected_for"};
	size_t i;
	int err = 0;

	for (i = 0; i < sizeof(maps) / sizeof(maps[0]) && !err; i++)
		err = unlink_in(maps[i], (void *)in->maps);
	return err;
}

int instance_remove(struct instance *in)
{
	char base[PATH_MAX];
	size_t i;
	int err = 0;

	for (i = 0; !err && i < sizeof(not_dumpable) / sizeof(not_dumpable[0]); i++)
		err = unlink_in(not_dumpable[i], in->dir);
	if (!err)
		err = remove_directory(in->maps);
	if (!err)
		err = remove_directory(in->programs);
	if (!err)
		err = remove_directory(in->shadow);
	if (err)
		return err;
	if (rmdir(in->dir) && errno != ENOENT)
		return log_error(-errno, "cannot remove %s", in->dir);
	/* The parent is shared by all instances: it goes with the last. */
	strcpy(base, in->dir);
	*strrchr(base, '/') = '\0';
	rmdir(base);
	return 0;
}
