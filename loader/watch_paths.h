/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Paths whose meaning is watched (inotify(7)): what they lead to may appear, be
 * replaced or vanish, and so may every directory and symbolic link on the way.
 */
#ifndef HOSTQOS_LOADER_WATCH_PATHS_H
#define HOSTQOS_LOADER_WATCH_PATHS_H

#include <stdbool.h>
#include <stddef.h>

struct paths {
	int fd; /* becomes readable at events, of other names in those directories too */
	struct path_step *steps;
	size_t count;
	int err; /* of the last paths_add() that failed */
};

/* 0 or -errno. */
int paths_open(struct paths *p);
void paths_close(struct paths *p);

/* Watch an absolute path, which need not exist. 0 or -errno. */
int paths_add(struct paths *p, const char *path);

/* Has any of them since the last call? */
bool paths_changed(struct paths *p);

#endif
