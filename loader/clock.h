/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The clocks in ns. CLOCK_MONOTONIC is bpf_ktime_get_ns()'s.
 */
#ifndef HOSTQOS_LOADER_CLOCK_H
#define HOSTQOS_LOADER_CLOCK_H

#include <linux/types.h>
#include <time.h>

#define SECOND_NS 1000000000ULL

static inline __u64 clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static inline __u64 monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

#endif
