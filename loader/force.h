/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Putting a compiled policy in force, and taking an installation away.
 */
#ifndef HOSTQOS_LOADER_FORCE_H
#define HOSTQOS_LOADER_FORCE_H

#include "instance.h"
#include "source.h"
#include "trial.h"

/* The policy that leaves everything alone. */
#define EMPTY_POLICY "hostqos: 1\n"

/*
 * Fill a free slot, clear what new class and rule ids count with, flip; a trial
 * that is on is over then, and goes on until then. *generation is that of the
 * policy that was in force, and becomes the new one. With `trial` (else NULL)
 * the new one is on trial, where none was. Until this returns 0 the old policy
 * is in force.
 */
int force_flip(const struct instance *in, struct source *s, const struct in_force *old,
	       struct trial *trial, struct tables *tables, __u32 *generation);

/*
 * A generation that no policy had, for one that does not come into force, where
 * none is on trial. 0 or -errno, reported.
 */
int force_reserve(const struct instance *in, __u32 *generation);

/* Fill the bucket of a class in a map of struct hq_bucket. 0 or -errno. */
int bucket_fill(int map, __u32 class);

/* Flip back to a policy that is in its slot still. */
int force_back(const struct instance *in, const struct in_force *from, const struct in_force *to);

/* As `detach` does, under the lock: own marks to live sockets, then everything goes. */
struct adoption;
int detach_all(struct instance *in, struct adoption *adoption);

/* Remove every link, filter, cgroup, map and directory of the installation. */
int force_remove(struct instance *in);

/* Go to the network namespace of this inode number, if a name or a process can show the way. */
int netns_enter(__u32 inode);

#endif
