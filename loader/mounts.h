/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Where the file systems are that hostqos works on.
 */
#ifndef HOSTQOS_LOADER_MOUNTS_H
#define HOSTQOS_LOADER_MOUNTS_H

#include <limits.h>
#include <stdbool.h>

/* 0 or -errno, reported. */
int find_cgroup2(char path[PATH_MAX]);

/* Where it is, or would be; `mount_it` if it is not there. 0 or -errno, reported. */
int find_bpffs(char path[PATH_MAX], bool mount_it);

#endif
