/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Putting a compiled policy in force, and taking an installation away.
 */
#ifndef HOSTQOS_LOADER_FORCE_H
#define HOSTQOS_LOADER_FORCE_H

#include "instance.h"
#include "source.h"

/*
 * Fill the slot that is not in force, clear what new class and rule ids count
 * with, flip. *generation is that of the policy that was in force, and becomes
 * the new one. Until this returns 0 the old policy is in force.
 */
int force_flip(const struct instance *in, struct source *s, const struct in_force *old,
	       struct tables *tables, __u32 *generation);

/* Remove every link, filter, cgroup, map and directory of the installation. */
int force_remove(struct instance *in);

/* Go to the network namespace of this inode number, if a process can show the way. */
int netns_enter(__u32 inode);

#endif
