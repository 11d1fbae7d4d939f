/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The automaton that reads a cgroup's path (abi.h, `paths`).
 */
#ifndef HOSTQOS_BPF_PATH_H
#define HOSTQOS_BPF_PATH_H

#include "policy.h"

/* The state after a byte. 0, or -1 where the table lacks it. */
static __always_inline int path_step(const struct hq_header *h, void *paths, __u32 *state,
				     __u8 byte)
{
	__u32 cell = *state * h->path_stride + h->byte_class[byte];
	__u32 *next = bpf_map_lookup_elem(paths, &cell);

	if (!next)
		return -1;
	*state = *next;
	return 0;
}

/* The row of a path that ends in this state. */
static __always_inline int path_end(const struct hq_header *h, void *paths, __u32 state, __u32 *row)
{
	__u32 cell = (state + 1) * h->path_stride - 1;
	__u32 *found = bpf_map_lookup_elem(paths, &cell);

	if (!found)
		return -1;
	*row = *found;
	return 0;
}

#endif
