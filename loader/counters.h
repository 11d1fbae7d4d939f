/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Per-CPU counters, summed.
 */
#ifndef HOSTQOS_LOADER_COUNTERS_H
#define HOSTQOS_LOADER_COUNTERS_H

#include <stddef.h>

#include <linux/types.h>

/* Element `index` of a per-CPU array of structs of __u64 only. 0 or -errno. */
int counters_read(int map, __u32 index, void *sum, size_t size);

/* What an enum hq_fault is called. */
const char *fault_name(__u32 fault);

#endif
