/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Events of `monitor` as lines: text for people, or one JSON object each.
 */
#ifndef HOSTQOS_LOADER_MONITOR_EVENTS_H
#define HOSTQOS_LOADER_MONITOR_EVENTS_H

#include "instance.h"
#include "output.h"

struct teller {
	bool json;
	struct in_force f;	/* the policy whose names are told */
	struct in_force before; /* the one before, whose last events may still come */
	const struct instance *in;
};

/* Where another policy is in force now, tell so. 0; -ENODEV where there is none any more. */
int teller_follow(struct teller *t);
void teller_close(struct teller *t);

void tell_start(struct teller *t, const char *instance);
void tell_event(struct teller *t, const struct hq_event *e);
void tell_fault(struct teller *t, __u32 fault, __u64 count);

/* `window` of `monitor_windows`: events that are missing, being "suppressed" or "lost". */
void tell_missing(struct teller *t, const char *how, __u32 window, __u64 count);

/* For so long nobody was told anything. */
void tell_gap(struct teller *t, __u64 ns);

#endif
