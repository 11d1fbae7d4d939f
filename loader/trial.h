/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A policy on trial: at its deadline the former one comes back, unless somebody
 * confirms. Its tables stay in their slot meanwhile, so that going back is one
 * word; a process of `hostqos try` sees to it and to all that follows, and
 * should it be killed, the kernel's timer flips the word.
 */
#ifndef HOSTQOS_LOADER_TRIAL_H
#define HOSTQOS_LOADER_TRIAL_H

#include <hostqos/trial.h>

#include "instance.h"

struct json_object;

/* How a policy is put on trial; what becomes of it. */
struct trial {
	__u64 duration; /* ns */
	struct hq_trial record;
};

/*
 * The trial that is on, or ran out without an end. -ENOENT, not reported, where
 * there is none, or a killed command left the record of one that is over or
 * never began.
 */
int trial_read(const struct instance *in, struct hq_trial *t);
bool trial_ran_out(const struct hq_trial *t);

/* The same where there need be none: *on tells. 0 or -errno, reported. */
int trial_look(const struct instance *in, struct hq_trial *t, bool *on);

/* For people and for programs. */
struct json_object *trial_json(const struct instance *in, const struct hq_trial *t);
void trial_print(struct json_object *trial);

/* All that follows is called under the lock. 0 or -errno, reported. */

/* Before the flip to `generation`: from now on the kernel will go back to `back`. */
int trial_begin(const struct instance *in, struct trial *trial, __u32 generation, __u32 back);

/* Who waits for its end. */
int trial_set_waiter(const struct instance *in, pid_t pid);

/*
 * What is on trial stays. On return the slot of the former policy may be
 * refilled. -ETIME where the kernel has gone back meanwhile.
 */
int trial_keep(const struct instance *in);

/* The record of a trial that is not on goes, if there is one, and the kernel's timer with it. */
int trial_forget(const struct instance *in);

/* Put the former policy in force, if the kernel has not, and end the trial. */
int trial_go_back(const struct instance *in);

/* The same of one that ran out with nobody left to end it. */
int trial_settle(const struct instance *in);

#endif
