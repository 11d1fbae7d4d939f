/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A policy on trial: `trial` and `trial_timer` exist only meanwhile; the
 * kernel's timer puts the former policy back in force, whoever died.
 */
#ifndef HOSTQOS_TRIAL_H
#define HOSTQOS_TRIAL_H

#include <linux/types.h>

struct hq_trial {
	__u64 deadline;	  /* ns of CLOCK_BOOTTIME */
	__u64 fallback;	  /* likewise: when the kernel does it, should nobody have */
	__u32 generation; /* on trial */
	__u32 back;	  /* what comes back; 0: nothing is on trial any more */
	__u32 detaches;	  /* nothing was in force before: what comes back is empty */
	__u32 pid;	  /* who waits for the deadline */
};

#endif
