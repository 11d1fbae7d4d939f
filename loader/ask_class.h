/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Asking for a flow's class: the policy in force, by the kernel's own
 * classifier, or a policy file, by the same code without a kernel.
 */
#ifndef HOSTQOS_LOADER_ASK_CLASS_H
#define HOSTQOS_LOADER_ASK_CLASS_H

#include "explain.h"
#include "sockets.h"
#include "source.h"

struct asked {
	struct instance in;
	struct in_force f;	  /* the policy in force; generation 0: a file */
	struct source source;	  /* its text, or the file, compiled */
	struct hostqos_bpf *skel; /* the program that is asked */
	policy_exe_fn exe;
};

/* As the classifier said it. */
struct verdict {
	__u32 rule; /* compiled entry, or HQ_RULE_NONE */
	bool provisional;
};

/* 0 or -errno, reported. To be closed in any case. */
int ask_open(struct asked *a, const char *instance);
int ask_open_file(struct asked *a, const char *file, bool json);
void ask_close(struct asked *a);

/*
 * `cookie` of a live socket: its flow's inbound DSCP is learned, if its peer is
 * known; else 0. 0; -EAGAIN where another policy came into force; other -errno
 * reported.
 */
int ask(struct asked *a, struct policy_flow *flow, __u64 cookie, struct verdict *verdict);

/* The flow of a live socket, as the hooks see it. `path`: its cgroup, or NULL where that is gone.
 */
void ask_flow_of(struct policy_flow *flow, const struct hq_socket *s, const char *path);

const struct hq_rule *ask_rule(const struct asked *a, __u32 rule);
const struct hq_class *ask_class(const struct asked *a, __u16 class);

#endif
