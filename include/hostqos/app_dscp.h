/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The application's own marks: what it asked for, and what its class grants.
 */
#ifndef HOSTQOS_APP_DSCP_H
#define HOSTQOS_APP_DSCP_H

#include "abi.h"
#include "dscp.h"

/* A class that honours whatever DSCP: then SO_PRIORITY is the application's too. */
#define HQ_HONOR_ALL (~0ULL)

/*
 * Did the application ask for what an option (a DSCP, a priority) is without
 * hostqos? Every socket begins with 0: that counts only where it was seen to
 * be set.
 */
static __always_inline int hq_asks(const struct hq_saved *saved, __u32 bit, __u32 own)
{
	return own || (saved->asked & bit);
}

static __always_inline int hq_honors(__u64 honored, __u32 value)
{
	return honored == HQ_HONOR_ALL || (value < 64 && (honored >> value & 1));
}

/* A priority is no DSCP: a list of those honours none. */
static __always_inline __u64 hq_honored_priorities(const struct hq_class *class)
{
	return class->honored == HQ_HONOR_ALL ? HQ_HONOR_ALL : 0;
}

/*
 * A private socket option that hostqos's cgroup/setsockopt program answers: it
 * marks the socket anew by its decision. The loader cannot set the marks
 * itself, since that program would take them for the application's.
 */
#define HQ_SOL_HOSTQOS 0x4851
#define HQ_SO_REMARK   1

#endif
