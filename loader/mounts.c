/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mounts.h"

#define BPFFS_DEFAULT "/sys/fs/bpf"

/* Where a file system of this type is mounted, `preferred` if it is there too. */
static int find_mount(const char *type, const char *preferred, char out[PATH_MAX])
{
	struct mntent *m;
	FILE *mounts;
	int err = -ENOENT;

	mounts = setmntent("/proc/self/mounts", "re");
	if (!mounts)
		return -errno;
	while ((m = getmntent(mounts))) {
		bool best = preferred && !strcmp(m->mnt_dir, preferred);

		if (strcmp(m->mnt_type, type) || (!err && !best))
			continue;
		snprintf(out, PATH_MAX, "%s", m->mnt_dir);
		err = 0;
	}
	endmntent(mounts);
	return err;
}

/* 0 above the first process, and of one that is gone. */
static int parent_of(int pid)
{
	char path[64], line[256];
	int parent = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = fopen(path, "re");
	if (!status)
		return 0;
	while (fgets(line, sizeof(line), status) && sscanf(line, "PPid: %d", &parent) != 1)
		;
	fclose(status);
	return parent;
}

/*
 * Is this a mount namespace that began with a process above us, as `ip netns
 * exec` makes one? All of them are asked: not every root may look at the first.
 */
static bool has_own_mounts(void)
{
	struct stat ours, theirs;
	char path[64];
	int pid;

	if (stat("/proc/self/ns/mnt", &ours))
		return false;
	for (pid = getppid(); pid > 0; pid = parent_of(pid)) {
		snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
		if (!stat(path, &theirs) && theirs.st_ino != ours.st_ino)
			return true;
	}
	return false;
}

#define GO_OUTSIDE                                                                                 \
	"run hostqos outside of it (instead of `ip netns exec`, `nsenter --net=/run/netns/NAME` "  \
	"enters the network namespace alone)"

int find_cgroup2(char path[PATH_MAX])
{
	if (!find_mount("cgroup2", NULL, path))
		return 0;
	if (has_own_mounts())
		log_error(0, "no cgroup v2 is mounted in this mount namespace; " GO_OUTSIDE);
	else
		log_error(0, "no cgroup v2 is mounted; mount one, for example: mount -t cgroup2 "
			     "none /sys/fs/cgroup");
	return -ENOENT;
}

int find_bpffs(char path[PATH_MAX], bool mount_it)
{
	if (!find_mount("bpf", BPFFS_DEFAULT, path))
		return 0;
	strcpy(path, BPFFS_DEFAULT);
	if (!mount_it)
		return 0;
	/* What is pinned there is all that holds a policy in force. */
	if (has_own_mounts()) {
		log_error(0, "no BPF file system is mounted in this mount namespace, and one "
			     "mounted here would vanish with it; " GO_OUTSIDE);
		return -ENOENT;
	}
	if (mount("none", path, "bpf", 0, "mode=0700"))
		return log_error(-errno, "cannot mount bpffs at %s", path);
	return 0;
}
