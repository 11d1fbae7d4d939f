/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Putting a policy in force, for the verbs that do.
 */
#ifndef HOSTQOS_LOADER_APPLY_H
#define HOSTQOS_LOADER_APPLY_H

#include "adopt.h"
#include "egress.h"
#include "links.h"
#include "source.h"
#include "trial.h"

struct hostqos_bpf;
struct json_object;

struct apply {
	struct instance in;
	bool fresh;		  /* no policy was in force */
	bool flipped;		  /* the new one is */
	bool ended_trial;	  /* the old one was on trial */
	struct source source;	  /* the new policy */
	struct trial *trial;	  /* it comes into force on trial; NULL: for good */
	struct in_force old;	  /* the one in force, generation 0 if none is */
	struct source old_source; /* its text, parsed again; without policy if there is none */
	struct hq_install install;
	struct hostqos_bpf *skel; /* loaded only if something must be attached */
	int exe_program;	  /* `exe_files` as it runs already, or -1 */
	struct interfaces chosen;
	struct links links;
	struct egress egress;
	struct link_targets want;
	__u32 generation; /* in force: the old one's, then the new one's */
	struct json_object *changes;
	struct adoption adoption;
};

/* All of it without what the caller gives: `in`, locked, and `source`, parsed. */
#define APPLY_INIT                                                                                 \
	{                                                                                          \
		.want.cgroup_fd = -1, .exe_program = -1                                            \
	}

/* The policy of a file ("-": standard input) for an instance, which is locked. 0, or -errno, as the
 * next. */
int apply_begin(struct apply *a, const char *instance, const char *file);

/* Put a->source in force, under the lock. 0, or -errno, reported or in its `diag`. */
int apply_policy(struct apply *a);

/*
 * The policy in force, with its text as a->source: under the lock, before
 * apply_again(). -ENOENT, not reported, where none is in force, wholly; -EXDEV
 * or -EPROTO where it is not this command's to touch.
 */
int apply_reopen(struct apply *a);

/*
 * Fit the policy in force to the interfaces that there are now; and, if `exe`
 * is given to find executables, to these, to the users that it names, and to
 * its cgroup. a->flipped tells that its tables had to be others.
 */
int apply_again(struct apply *a, policy_exe_fn exe);
void apply_release(struct apply *a);

/* Say what came of it, on stdout unless `err`, and release it. Returns `err`. */
int apply_report(struct apply *a, int err, bool json);

#endif
