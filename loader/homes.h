/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Sockets that are at home (bpf/homes.h) in another cgroup than the processes
 * that hold them: of a process that was moved, or of a service whose sockets
 * its manager opened.
 */
#ifndef HOSTQOS_LOADER_HOMES_H
#define HOSTQOS_LOADER_HOMES_H

#include "adopt.h"
#include "instance.h"

struct json_object;
struct in_force;

/* A socket that is not at home where it is held. */
struct stray {
	__u64 cookie;
	__u64 from, to; /* cgroups; to: where all its holders are, 0 if they are not in one */
	__u32 pid;	/* one of them */
	bool outside;	/* `to` is not governed: the socket stays */
};

struct strays {
	struct stray *list; /* by cookie */
	size_t count;
};

/* All of them, or those that one process holds. 0, or -errno, reported unless a process is gone. */
int strays_read(struct strays *s, const struct instance *in, __u32 pid);
const struct stray *strays_find(const struct strays *s, __u64 cookie);
void strays_free(struct strays *s);

struct rehoming {
	struct json_object *rehomed; /* arrays: what moved, and what could not be told where to */
	struct json_object *undecided;
	struct adoption adoption; /* the pass over live sockets that followed */
};

/*
 * Take the strays home and give them the marks of their new classes, under the
 * lock. `f` is the policy in force. 0 or -errno, reported.
 */
int rehome(struct rehoming *r, const struct instance *in, const struct in_force *f);
/* An element of either array, as a line. */
void rehomed_print(struct json_object *socket);
void rehoming_free(struct rehoming *r);

#endif
