// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who holds which sockets, and when that may have changed.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "homes.h"

#define THREADS_MAX 65536

/* A thread of a process, as the list of them goes on. */
struct thread_walk {
	struct list_head *next, *end;
	__u64 home;
	int found;
};

static long is_at_home(__u32 index, void *context)
{
	struct thread_walk *w = context;
	struct list_head *next = w->next;
	struct task_struct *thread;

	(void)index;
	if (!next || next == w->end)
		return 1;
	thread = (void *)next - bpf_core_field_offset(struct task_struct, thread_node);
	w->found = BPF_CORE_READ(thread, cgroups, dfl_cgrp, kn, id) == w->home;
	w->next = BPF_CORE_READ(next, next);
	return w->found;
}

/*
 * Is some thread of the process where the socket is at home? They share their
 * files, of which the iterator shows those of the first alone, but threaded
 * cgroups (cgroup-v2.rst, "Threads") part them.
 */
static __always_inline int has_thread_at(struct task_struct *task, __u64 home)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	struct thread_walk w = {.home = home};

	w.end = (void *)signal + bpf_core_field_offset(struct signal_struct, thread_head);
	w.next = BPF_CORE_READ(signal, thread_head.next);
	bpf_loop(THREADS_MAX, is_at_home, &w, 0);
	return w.found;
}

SEC("iter/task_file")
int socket_holders(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct hq_holding holding = {};
	struct socket *socket = file ? bpf_sock_from_file(file) : NULL;
	struct sock *sk = socket ? socket->sk : NULL;
	struct hq_flow *flow;
	struct cgroup *cgroup;

	flow = task && sk ? flow_of(sk) : NULL;
	if (!flow)
		return 0;
	holding.cookie = bpf_get_socket_cookie(sk);
	holding.home = flow->id.cgroup;
	holding.pid = task->tgid;
	if (!holds_for_others(task)) {
		cgroup = cgroup_of(task);
		holding.holder = BPF_CORE_READ(cgroup, kn, id);
		if (holding.holder != holding.home && has_thread_at(task, holding.home))
			holding.holder = holding.home;
		holding.outside = holding.holder != holding.home && !is_governed(cgroup);
	}
	bpf_seq_write(ctx->meta->seq, &holding, sizeof(holding));
	return 0;
}

/*
 * `moves`: processes that may not be where their sockets are at home, any more.
 * For `hostqos watch`, which alone loads what follows.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} moves SEC(".maps");

static __always_inline int tell(struct task_struct *task)
{
	__u32 pid = BPF_CORE_READ(task, tgid);

	bpf_ringbuf_output(&moves, &pid, sizeof(pid), 0);
	return 0;
}

/* TP_PROTO(cgroup, path, task, threadgroup); hierarchies of cgroup v1 have it too. */
SEC("?tp_btf/cgroup_attach_task")
int process_moved(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[2];

	return cgroup_of(task) == (struct cgroup *)ctx[0] ? tell(task) : 0;
}

/*
 * TP_PROTO(task, old_pid, bprm). A service's program begins: from here on it
 * holds only what it was given.
 */
SEC("?tp_btf/sched_process_exec")
int process_executed(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];

	return is_manager(BPF_CORE_READ(task, real_parent)) ? tell(task) : 0;
}

char LICENSE[] SEC("license") = "GPL";
