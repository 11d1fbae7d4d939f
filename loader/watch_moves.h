/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Processes that were moved to another cgroup, and services that were started,
 * as the kernel tells it through bpf/homes.bpf.c.
 */
#ifndef HOSTQOS_LOADER_WATCH_MOVES_H
#define HOSTQOS_LOADER_WATCH_MOVES_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/types.h>

#define MOVES_MAX 64

struct moves {
	struct hostqos_bpf *skel; /* NULL: nothing is told */
	struct ring_buffer *ring;
	__u32 pids[MOVES_MAX]; /* as of the last moves_read() */
	size_t count;
	size_t told; /* with those that were told before */
	bool many;   /* more than that, or some may have been lost */
};

/* 0, or -errno where this kernel does not tell. */
int moves_watch(struct moves *m);
void moves_close(struct moves *m);

/* Becomes readable when there are some; -1 where nothing is told. */
int moves_fd(const struct moves *m);
void moves_read(struct moves *m);

#endif
