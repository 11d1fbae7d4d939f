/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A socket is at home in the cgroup whose rules it is classified by: that of
 * its creator, until the processes that hold it live elsewhere. The kernel's
 * own note (sk_cgrp_data) never changes, and says which hooks run.
 */
#ifndef HOSTQOS_BPF_HOMES_H
#define HOSTQOS_BPF_HOMES_H

#include "identity.h"

#define PF_FORKNOEXEC 0x40

/* `homes`: sockets, by cookie, that are to go to another cgroup (its id). The loader's choice. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u64);
} homes MAP;

struct governed {
	struct cgroup *cgroup;
	__u64 root;
	int found;
};

static long is_ancestor(__u32 level, void *context)
{
	struct governed *g = context;
	struct cgroup *ancestor = NULL;
	void *slot = (void *)g->cgroup + bpf_core_field_offset(struct cgroup, ancestors);

	bpf_probe_read_kernel(&ancestor, sizeof(ancestor), slot + level * sizeof(ancestor));
	g->found = BPF_CORE_READ(ancestor, kn, id) == g->root;
	return g->found;
}

/* Is the cgroup in the subtree that the hooks are attached to? */
static __always_inline int is_governed(struct cgroup *cgroup)
{
	__u32 zero = 0;
	struct hq_install *installed = bpf_map_lookup_elem(&install, &zero);
	struct governed g = {.cgroup = cgroup};

	if (!installed || !cgroup)
		return 0;
	g.root = installed->cgroup;
	bpf_loop(BPF_CORE_READ(cgroup, level) + 1, is_ancestor, &g, 0);
	return g.found;
}

static __always_inline struct cgroup *cgroup_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp);
}

/* systemd, its user instances, and what else keeps to its naming of cgroups. */
static __always_inline int is_manager(struct task_struct *task)
{
	static const char scope[] = "init.scope";
	struct cgroup *cgroup = cgroup_of(task);
	char name[16] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(cgroup, kn, name));
	return !bpf_strncmp(name, sizeof(name), scope);
}

/*
 * A service that a manager is about to start: its child in the service's cgroup
 * already, but with all that the manager holds, before execve(2); or systemd's
 * executor, by its name at first and then by that of the service in brackets.
 * A daemon whose parent has ended is the manager's child too, of another program.
 */
static __always_inline int is_being_started(struct task_struct *task)
{
	static const char executor[] = "systemd-executo";
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	char name[16] = {};

	if (!is_manager(parent))
		return 0;
	BPF_CORE_READ_STR_INTO(&name, task, comm);
	if (name[0] == '(' || !bpf_strncmp(name, sizeof(name), executor))
		return 1;
	return (BPF_CORE_READ(task, flags) & PF_FORKNOEXEC) &&
	       BPF_CORE_READ(task, mm, exe_file, f_inode) ==
		       BPF_CORE_READ(parent, mm, exe_file, f_inode);
}

/* Does the process hold sockets for others only, for services that it starts? */
static __always_inline int holds_for_others(struct task_struct *task)
{
	return is_manager(task) || is_being_started(task);
}

/*
 * Take a socket to where the loader wants it, by the first process found there:
 * one that was moved itself is the same otherwise, of another program all is new.
 */
static __always_inline void go_home(struct hq_flow *flow, __u64 cookie, struct task_struct *task)
{
	struct cgroup *cgroup = cgroup_of(task);
	struct hq_identity holder = {};
	__u64 *home;

	home = bpf_map_lookup_elem(&homes, &cookie);
	if (!home || *home != BPF_CORE_READ(cgroup, kn, id))
		return;
	bpf_map_delete_elem(&homes, &cookie);
	identity_capture(&holder, task, cgroup);
	if (holder.exe_inode == flow->id.exe_inode && holder.exe_device == flow->id.exe_device)
		identity_set_cgroup(&flow->id, cgroup);
	else
		flow->id = holder;
}

#endif
