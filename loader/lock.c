/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * One command at a time changes an instance: flock(2) on its directory, which
 * a killed command gives back by itself. Readers take no lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "instance.h"
#include "log.h"

/* How long another holder is waited for in silence. */
#define QUIET_POLL_US 50000
#define QUIET_POLLS   10

/* The process that holds a flock on this inode, from /proc/locks; 0 if unknown. */
static int lock_holder(const struct stat *st)
{
	char line[256], type[16];
	uintmax_t inode;
	int pid, holder = 0;
	FILE *locks;

	locks = fopen("/proc/locks", "re");
	if (!locks)
		return 0;
	/* "1: FLOCK  ADVISORY  WRITE 4711 00:1c:12345 0 EOF"; waiters have "->" in front. */
	while (!holder && fgets(line, sizeof(line), locks))
		if (sscanf(line, "%*d: %15s %*s %*s %d %*x:%*x:%ju", type, &pid, &inode) == 3 &&
		    !strcmp(type, "FLOCK") && inode == (uintmax_t)st->st_ino)
			holder = pid;
	fclose(locks);
	return holder;
}

static int wait_for_lock(int fd, const char *dir)
{
	struct stat st;
	int i, pid;

	for (i = 0; i < QUIET_POLLS; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		usleep(QUIET_POLL_US);
	}
	pid = fstat(fd, &st) ? 0 : lock_holder(&st);
	if (pid)
		log_note("waiting for process %d, which has locked %s", pid, dir);
	else
		log_note("waiting for another process, which has locked %s", dir);
	while (flock(fd, LOCK_EX))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Is what we locked still what the path names? `detach` removes the directory. */
static bool still_there(int fd, const char *dir)
{
	struct stat locked, named;

	return !fstat(fd, &locked) && !stat(dir, &named) && locked.st_ino == named.st_ino &&
	       locked.st_dev == named.st_dev;
}

int instance_lock_existing(struct instance *in)
{
	int fd, err;

	for (;;) {
		fd = open(in->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return errno == ENOENT ? -ENOENT
					       : log_error(-errno, "cannot open %s", in->dir);
		err = wait_for_lock(fd, in->dir);
		if (err) {
			close(fd);
			return log_error(err, "cannot lock %s", in->dir);
		}
		if (still_there(fd, in->dir)) {
			in->lock = fd;
			return 0;
		}
		close(fd);
	}
}

static void refuse_second(const char *name, const char *does, int fd)
{
	struct stat st;
	int pid = fstat(fd, &st) ? 0 : lock_holder(&st);

	if (pid)
		log_error(0, "process %d %s instance '%s' already", pid, does, name);
	else
		log_error(0, "another process %s instance '%s' already", does, name);
}

/* What commands lock is the directory above. */
int instance_claim(const struct instance *in, const char *dir, const char *does, int *claim)
{
	int fd, err = 0;

	if (*claim >= 0 && still_there(*claim, dir))
		return 0;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : log_error(-errno, "cannot open %s", dir);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = -errno;
		if (err != -EWOULDBLOCK)
			log_error(err, "cannot lock %s", dir);
		else
			refuse_second(in->name, does, fd);
		close(fd);
		return err == -EWOULDBLOCK ? -EBUSY : err;
	}
	if (*claim >= 0)
		close(*claim);
	*claim = fd;
	return 0;
}

/* 1 if it was made, 0 if it was there, or -errno. */
static int make_directory(const char *path)
{
	if (!mkdir(path, 0700))
		return 1;
	return errno == EEXIST ? 0 : -errno;
}

int instance_lock(struct instance *in)
{
	char base[PATH_MAX];
	int err;

	strcpy(base, in->dir);
	*strrchr(base, '/') = '\0';
	/* A detach may remove either directory between our steps: then make them again. */
	do {
		err = make_directory(base);
		if (err >= 0)
			err = make_directory(in->dir);
		in->made = err == 1;
		if (err >= 0)
			err = instance_lock_existing(in);
		else if (err != -ENOENT)
			return log_error(err, "cannot make %s", in->dir);
	} while (err == -ENOENT);
	if (err)
		return err;
	err = make_directory(in->links);
	if (err >= 0)
		err = make_directory(in->maps);
	if (err < 0)
		return log_error(err, "cannot make the directories of %s", in->dir);
	return 0;
}
