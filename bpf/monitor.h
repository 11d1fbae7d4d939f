/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `hostqos monitor` is told of, while it runs: nothing here is on the way
 * of a packet whose class is known and whose bucket has room.
 */
#ifndef HOSTQOS_BPF_MONITOR_H
#define HOSTQOS_BPF_MONITOR_H

#include "maps.h"

struct flow_key;

/* Does anybody watch? */
static __always_inline int monitored(void)
{
#ifdef UNWATCHED
	return 0;
#endif
	__u32 zero = 0;
	struct hq_monitor *m = bpf_map_lookup_elem(&monitor, &zero);

	return m && *(volatile __u64 *)&m->until;
}

/*
 * One event; `decision` is a struct hq_decision as one word. (A global function:
 * the verifier checks it once for each program.)
 */
int monitor_event(struct hq_flow *flow, struct flow_key *key, __u64 decision, __u32 kind,
		  __u32 bytes);

#endif
