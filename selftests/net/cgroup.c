/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The tests' own cgroups, /hostqos-test-PID-N below the cgroup2 mount.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testbed.h"

#define PREFIX "hostqos-test-"

/* Where it is mounted differs: /sys/fs/cgroup, or .../unified in the hybrid layout. */
const char *cgroup_mount(void)
{
	static char path[128];
	struct mntent *entry;
	FILE *mounts;

	if (path[0])
		return path;
	mounts = setmntent("/proc/self/mounts", "r");
	while (mounts && !path[0] && (entry = getmntent(mounts)))
		if (!strcmp(entry->mnt_type, "cgroup2"))
			snprintf(path, sizeof(path), "%s", entry->mnt_dir);
	if (mounts)
		endmntent(mounts);
	if (!path[0]) {
		fprintf(stderr, "no cgroup2 is mounted; mount one for the tests\n");
		exit(1);
	}
	return path;
}

static const char *whole_path(char *buffer, size_t size, const char *path)
{
	snprintf(buffer, size, "%s%s", cgroup_mount(), path);
	return buffer;
}

void cgroup_make(const char *path)
{
	char whole[PATH_MAX], *slash;

	whole_path(whole, sizeof(whole), path);
	for (slash = whole + strlen(cgroup_mount()) + 1; slash; *slash++ = '/') {
		slash = strchr(slash, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(whole, 0755) && errno != EEXIST)
			fail_msg("mkdir %s: %s", whole, strerror(errno));
		if (!slash)
			return;
	}
}

bool cgroup_exists(const char *path)
{
	char whole[PATH_MAX];

	return !access(whole_path(whole, sizeof(whole), path), F_OK);
}

/* A cgroup's id is its directory's inode number (kernfs). */
uint64_t cgroup_id(const char *path)
{
	char whole[PATH_MAX];
	struct stat st;

	if (stat(whole_path(whole, sizeof(whole), path), &st))
		fail_msg("stat %s: %s", whole, strerror(errno));
	return st.st_ino;
}

static void kill_all(const char *whole)
{
	char path[PATH_MAX + sizeof("/cgroup.kill")];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.kill", whole);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "1", 1) < 0)
		fprintf(stderr, "kill all of %s: %s\n", whole, strerror(errno));
	close(fd);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_DP ? rmdir(path) : 0;
}

void cgroup_remove(const char *path)
{
	uint64_t end = now_ns() + patience(30) * 1e9;
	char whole[PATH_MAX];

	whole_path(whole, sizeof(whole), path);
	kill_all(whole);
	/* A killed process leaves its cgroup a little later: EBUSY until then. */
	while (nftw(whole, remove_one, 16, FTW_DEPTH | FTW_PHYS) && errno == EBUSY &&
	       now_ns() < end)
		await_nap();
}

/* The pid in a test's cgroup's name, or 0. */
static pid_t owner(const char *name)
{
	if (strncmp(name, PREFIX, strlen(PREFIX)))
		return 0;
	return atoi(name + strlen(PREFIX));
}

static void remove_where(bool (*wanted)(pid_t owner, pid_t pid), pid_t pid)
{
	DIR *dir = opendir(cgroup_mount());
	char path[NAME_MAX + 2];
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (!owner(entry->d_name) || !wanted(owner(entry->d_name), pid))
			continue;
		snprintf(path, sizeof(path), "/%s", entry->d_name);
		cgroup_remove(path);
	}
	if (dir)
		closedir(dir);
}

static bool is_own(pid_t owner, pid_t pid)
{
	return owner == pid;
}

static bool is_dead(pid_t owner, pid_t pid)
{
	(void)pid;
	return kill(owner, 0) && errno == ESRCH;
}

void cgroup_remove_all_of(pid_t pid)
{
	remove_where(is_own, pid);
}

void cgroup_remove_stale(void)
{
	remove_where(is_dead, 0);
}
