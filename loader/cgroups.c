/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "cgroups.h"
#include "log.h"
#include "policy.h"

/* Key of the one directory that is about to be made and has no id yet. */
#define INTENTION 0ULL

int cgroup_open(const struct instance *in, const char *path)
{
	char full[PATH_MAX];
	int fd;

	if (snprintf(full, PATH_MAX, "%s%s", in->cgroup2, path) >= PATH_MAX)
		return -ENAMETOOLONG;
	fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A file handle of cgroup2: FILEID_KERNFS, whose handle is the cgroup's id. */
union kernfs_handle {
	struct file_handle handle;
	struct {
		__u32 bytes;
		__s32 type;
		__u64 id;
	};
};

#define HANDLE_TYPE_KERNFS 0xfe

int cgroup_id(int fd, __u64 *id)
{
	union kernfs_handle h = {.bytes = sizeof(h.id)};
	int mount;

	if (name_to_handle_at(fd, "", &h.handle, &mount, AT_EMPTY_PATH))
		return -errno;
	*id = h.id;
	return 0;
}

__u32 cgroup_level(const char *path)
{
	__u32 level = 0;

	if (strcmp(path, "/"))
		for (; *path; path++)
			level += *path == '/';
	return level;
}

int cgroup_path(const struct instance *in, __u64 id, char path[PATH_MAX])
{
	union kernfs_handle h = {.bytes = sizeof(h.id), .type = HANDLE_TYPE_KERNFS, .id = id};
	char link[64], full[PATH_MAX];
	size_t mount_length = strlen(in->cgroup2);
	int mount, fd;
	ssize_t n;

	mount = open(in->cgroup2, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mount < 0)
		return -errno;
	fd = open_by_handle_at(mount, &h.handle, O_RDONLY | O_CLOEXEC);
	close(mount);
	if (fd < 0)
		return -errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, full, sizeof(full) - 1);
	close(fd);
	if (n < 0 || (size_t)n < mount_length)
		return -ENOENT;
	full[n] = '\0';
	strcpy(path, full[mount_length] ? full + mount_length : "/");
	return 0;
}

static int note(const struct instance *in, __u64 id, const char *path)
{
	struct hq_made_cgroup made = {};

	if (strlen(path) >= sizeof(made.path))
		return log_error(-ENAMETOOLONG, "cgroup %s", path);
	strcpy(made.path, path);
	if (bpf_map_update_elem(in->map[MAP_MADE_CGROUPS], &id, &made, BPF_ANY))
		return log_error(-errno, "cannot note the cgroup %s", path);
	return 0;
}

static void forget(const struct instance *in, __u64 id)
{
	bpf_map_delete_elem(in->map[MAP_MADE_CGROUPS], &id);
}

/*
 * Make one directory unless it is there. It is noted before it is made, so
 * that a command killed in between leaves nothing unknown to detach.
 */
static int make_one(const struct instance *in, const char *path)
{
	__u64 intention = INTENTION, id = 0;
	char full[PATH_MAX];
	int fd, err;

	if (snprintf(full, PATH_MAX, "%s%s", in->cgroup2, path) >= PATH_MAX)
		return log_error(-ENAMETOOLONG, "cgroup %s", path);
	if (access(full, F_OK) == 0)
		return 0;
	err = note(in, intention, path);
	if (err)
		return err;
	if (mkdir(full, 0755)) {
		err = -errno;
		forget(in, intention);
		return err == -EEXIST ? 0 : log_error(err, "cannot make the cgroup %s", path);
	}
	fd = cgroup_open(in, path);
	err = fd < 0 ? fd : cgroup_id(fd, &id);
	if (fd >= 0)
		close(fd);
	if (err)
		return log_error(err, "cannot open the cgroup %s", path);
	err = note(in, id, path);
	if (!err)
		forget(in, intention);
	return err;
}

static int make_with_ancestors(const struct instance *in, const char *path)
{
	char part[PATH_MAX];
	size_t i;
	int err = 0;

	for (i = 1; !err && path[i - 1]; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		err = make_one(in, part);
	}
	return err;
}

int cgroups_make(const struct instance *in, const struct policy *policy)
{
	size_t i;
	int err = 0;

	for (i = 0; i < policy->class_count && !err; i++)
		if (policy->classes[i].cgroup)
			err = make_with_ancestors(in, policy->classes[i].cgroup);
	return err;
}

struct made {
	__u64 id;
	struct hq_made_cgroup cgroup;
};

static size_t read_made(const struct instance *in, struct made **out)
{
	struct made *all = NULL;
	__u64 key, last;
	size_t n = 0;

	while (!bpf_map_get_next_key(in->map[MAP_MADE_CGROUPS], n ? &last : NULL, &key)) {
		struct made *more = realloc(all, (n + 1) * sizeof(*all));

		if (!more)
			break;
		all = more;
		last = all[n].id = key;
		if (bpf_map_lookup_elem(in->map[MAP_MADE_CGROUPS], &key, &all[n].cgroup))
			break;
		n++;
	}
	*out = all;
	return n;
}

/* Longest path first: children before their parents. */
static int by_depth(const void *a, const void *b)
{
	size_t la = strlen(((const struct made *)a)->cgroup.path);
	size_t lb = strlen(((const struct made *)b)->cgroup.path);

	return la < lb ? 1 : la > lb ? -1 : 0;
}

/* Is the path still the cgroup that we made, and not somebody's new one? */
static bool same_cgroup(const struct instance *in, const struct made *m)
{
	int fd = cgroup_open(in, m->cgroup.path);
	__u64 id = 0;
	bool same;

	if (fd < 0)
		return false;
	same = m->id == INTENTION || (!cgroup_id(fd, &id) && id == m->id);
	close(fd);
	return same;
}

/* Do the classes ask for this cgroup, or for one below it? */
static bool asked_for(const struct policy *policy, const char *path)
{
	size_t i, n = strlen(path);

	for (i = 0; policy && i < policy->class_count; i++) {
		const char *p = policy->classes[i].cgroup;

		if (p && !strncmp(p, path, n) && (p[n] == '/' || p[n] == '\0'))
			return true;
	}
	return false;
}

void cgroups_remove(const struct instance *in, const struct policy *keep)
{
	struct made *all;
	size_t i, n = read_made(in, &all);
	char full[PATH_MAX + sizeof(all->cgroup.path)];

	if (n)
		qsort(all, n, sizeof(*all), by_depth);
	for (i = 0; i < n; i++) {
		const char *path = all[i].cgroup.path;

		if (asked_for(keep, path))
			continue;
		snprintf(full, sizeof(full), "%s%s", in->cgroup2, path);
		if (same_cgroup(in, &all[i]) && rmdir(full)) {
			log_warning("the cgroup %s stays: %s", path,
				    errno == EBUSY ? "it is in use" : strerror(errno));
			continue;
		}
		forget(in, all[i].id);
	}
	free(all);
}
