/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The tc egress programs: tcx links where the kernel has them (6.6 and newer),
 * else filters of a clsact qdisc. The map `interfaces` notes what was attached,
 * before it is.
 */
#ifndef HOSTQOS_LOADER_EGRESS_H
#define HOSTQOS_LOADER_EGRESS_H

#include "links.h"

/* A filter of a clsact qdisc. */
struct filter {
	struct interface interface;
	struct hq_interface note;
	bool ok;    /* in place, and it runs our program */
	bool added; /* by this command */
};

struct egress {
	struct filter *filters;
	size_t count;
	bool no_tcx;
};

/* Which of the chosen interfaces are served already? The others are added to `l` as tcx links. */
int egress_survey(struct egress *e, struct links *l, const struct instance *in,
		  const struct interfaces *chosen);
void egress_free(struct egress *e);

/* links_attach() too: attach everything, by filters where there is no tcx. */
int egress_attach(struct egress *e, struct links *l, const struct instance *in,
		  struct bpf_object *object, const struct link_targets *want);

/* Forget interfaces that are no longer chosen, with their filters. */
int egress_commit(const struct instance *in, const struct interfaces *chosen);
void egress_undo(struct egress *e, const struct instance *in);

/* Is the noted filter there, with a program of this installation? */
bool filter_in_place(const struct instance *in, __u32 ifindex, const struct hq_interface *note);

/* Visit the notes of `interfaces`. */
int for_each_interface(const struct instance *in,
		       int (*visit)(__u32 ifindex, const struct hq_interface *note, void *arg),
		       void *arg);

#endif
