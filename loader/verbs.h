/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The verbs of the command line, one file each (cmd_*.c).
 */
#ifndef HOSTQOS_LOADER_VERBS_H
#define HOSTQOS_LOADER_VERBS_H

#include <stdbool.h>

#include <linux/types.h>

#include "model.h"

/* Exit statuses. */
enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE };

/* What `shadow` is to do. */
enum shadow_action { SHADOW_LOAD, SHADOW_SHOW, SHADOW_PROMOTE, SHADOW_DISCARD };

struct options {
	const char *instance;
	const char *class;    /* of `run` and `monitor` */
	const char *duration; /* of `try`; NULL: as it is usual */
	enum shadow_action shadow;
	int shadow_actions;	       /* how many were asked for */
	const char *flow[POLICY_KEYS]; /* of `explain`: the flow in words */
	const char *policy;	       /* of `explain`: a file instead of what is in force */
	__u32 pid;		       /* of `explain` and `monitor`; 0: none was given */
	const char *rule;	       /* of `monitor`, as `limit` */
	__u32 limit;
	bool live;
	bool json;
};

/* Arguments are what remains after options. Returns the exit status. */
int cmd_adopt(const struct options *options, int argc, char **argv);
int cmd_apply(const struct options *options, int argc, char **argv);
int cmd_check(const struct options *options, int argc, char **argv);
int cmd_detach(const struct options *options, int argc, char **argv);
int cmd_diff(const struct options *options, int argc, char **argv);
int cmd_explain(const struct options *options, int argc, char **argv);
int cmd_keep(const struct options *options, int argc, char **argv);
int cmd_monitor(const struct options *options, int argc, char **argv);
int cmd_run(const struct options *options, int argc, char **argv);
int cmd_shadow(const struct options *options, int argc, char **argv);
int cmd_show(const struct options *options, int argc, char **argv);
int cmd_status(const struct options *options, int argc, char **argv);
int cmd_watch(const struct options *options, int argc, char **argv);
int cmd_try(const struct options *options, int argc, char **argv);

#endif
