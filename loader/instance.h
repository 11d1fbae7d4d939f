/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * An installation: the directory <bpffs>/hostqos/NAME/{links,maps,programs}, its
 * lock, and what is pinned there. Nothing about it is kept anywhere else.
 *
 * Socket storage (`flows`, `upstreams`) and `events` are pinned beside the two:
 * bpftool can dump every map in maps/, but the kernel lists socket storage
 * through an iterator only, and a ring buffer not at all.
 */
#ifndef HOSTQOS_LOADER_INSTANCE_H
#define HOSTQOS_LOADER_INSTANCE_H

#include <limits.h>
#include <stdbool.h>

#include <hostqos/abi.h>

#include "tables.h"

/* The maps of bpf/maps.h besides the tables. Names in instance.c. */
enum map {
	MAP_ACTIVE,
	MAP_FLOWS,
	MAP_CGROUP_ROWS,
	MAP_BUCKETS,
	MAP_CLASS_COUNTERS,
	MAP_RULE_COUNTERS,
	MAP_FAULTS,
	MAP_ESCAPES,
	MAP_HOMES,
	MAP_INTERFACES,
	MAP_MADE_CGROUPS,
	MAP_INSTALL,
	NMAPS
};

struct instance {
	const char *name;
	char dir[PATH_MAX];   /* <bpffs>/hostqos/NAME */
	char links[PATH_MAX]; /* below it */
	char maps[PATH_MAX];
	char programs[PATH_MAX]; /* of tc egress, for interfaces that come later */
	char shadow[PATH_MAX];	 /* links and maps of a shadow policy, as long as there is one */
	char cgroup2[PATH_MAX];	 /* where cgroup v2 is mounted */
	bool made;		 /* by instance_lock() */
	int lock;		 /* the locked directory, or -1 */
	int map[NMAPS];		 /* descriptors, or -1 */
	int outer[NTABLES];	 /* the slots of each table, or -1 */
};

/* Where a map of the BPF object is pinned: in maps/, those of a shadow in shadow/. */
int map_pin_path(char out[PATH_MAX], const struct instance *in, const char *name);

/* Privileges enough for anything but `check`? Says so if not. 0 or -EPERM. */
int require_privileges(void);

/*
 * Find bpffs (`mount` it if need be) and cgroup2, fill in the paths. Opens
 * nothing yet. 0 or -errno, reported.
 */
int instance_init(struct instance *in, const char *name, bool mount);
void instance_close(struct instance *in);
void instance_close_maps(struct instance *in);

/* Make the directories and take the lock; waits for another holder. 0 or -errno, reported. */
int instance_lock(struct instance *in);

/* Take the lock of an instance that exists. -ENOENT, not reported, where there is none. */
int instance_lock_existing(struct instance *in);

/*
 * Be the one process that `does` ("watches", "monitors") something with the
 * instance, for as long as *claim (-1 at first) is open. The lock is on `dir`:
 * on links/ the watch's, on maps/ the monitor's, so that neither is in the
 * other's way. -EBUSY, reported, where another one has it; -ENOENT, not
 * reported, where there is no instance.
 */
int instance_claim(const struct instance *in, const char *dir, const char *does, int *claim);

/* Open the pinned maps that exist. 0 if all do, -ENOENT if some do not, other -errno reported. */
int instance_open(struct instance *in);

/* Let go of the maps of bpf/upstream.bpf.c, where no class mirrors across a proxy any more. */
int instance_forget_upstream(const struct instance *in);

/* Remove maps and directories; the lock goes with them. 0 or -errno, reported. */
int instance_remove(struct instance *in);

/* Remove a directory and the pins in it; none there is no error. 0 or -errno, reported. */
int remove_directory(const char *dir);

/* The one element of `active` and of `install`. 0 or -errno. */
int instance_active(const struct instance *in, struct hq_active *active);
int instance_generation(const struct instance *in, __u32 *generation);
int instance_install(const struct instance *in, struct hq_install *install);

/* Pin `fd` at DIR/NAME, also over an older pin, without a moment of neither. */
int pin_replace(int fd, const char *dir, const char *name);

/* Visit the entries of a directory. The visitor's non-zero answer ends the walk. */
int for_each_entry(const char *dir, int (*visit)(const char *name, void *arg), void *arg);

int join_path(char out[PATH_MAX], const char *dir, const char *name);

#endif
