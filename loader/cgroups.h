/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Cgroups: those that classes ask for are made below the cgroup2 mount and
 * noted in `made_cgroups`; what is noted and empty goes at detach.
 */
#ifndef HOSTQOS_LOADER_CGROUPS_H
#define HOSTQOS_LOADER_CGROUPS_H

#include <sys/types.h>

#include "instance.h"

struct policy;

/* Open a cgroup by its path from the cgroup2 mount. Descriptor or -errno. */
int cgroup_open(const struct instance *in, const char *path);

/* The kernel's id of an open cgroup. 0 or -errno. */
int cgroup_id(int fd, __u64 *id);

/* Path from the cgroup2 mount of the cgroup with this id. 0, or -ENOENT if it is gone. */
int cgroup_path(const struct instance *in, __u64 id, char path[PATH_MAX]);

/* Depth below the cgroup2 mount of a path from there, as the policy has it. */
__u32 cgroup_level(const char *path);

/* Make the classes' cgroups with their ancestors. 0 or -errno, reported. */
int cgroups_make(const struct instance *in, const struct policy *policy);

/* Remove those that hostqos made and nobody uses, but what `keep` (may be NULL) asks for. */
void cgroups_remove(const struct instance *in, const struct policy *keep);

#endif
