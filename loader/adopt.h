/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Live sockets and a policy that has just come into force: each is classified
 * again and gets its class's marks, or its own back. Those that it governs no
 * more, its attach.cgroup being another, get their own back too.
 */
#ifndef HOSTQOS_LOADER_ADOPT_H
#define HOSTQOS_LOADER_ADOPT_H

#include "sockets.h"
#include "tables.h"

struct json_object;
struct hq_image;

#define HQ_NO_CLASS HQ_MAX_CLASSES

/* Sockets that changed their class, by one rule. */
struct move {
	__u16 from, to; /* classes; HQ_NO_CLASS: governed no more */
	__u16 rule;	/* of the policy in force now; HQ_RULE_NONE: none matched */
	size_t sockets;
};

struct adoption {
	struct sockets before; /* the flip */
	size_t moved;	       /* sockets that changed their class */
	struct move *list;     /* how */
	size_t move_count;
	struct json_object *moves; /* the same in names: [{from, to (or null), rule, sockets}] */
	/* Arrays of sockets: a rule would refuse them, had they not lived already, and which. */
	struct json_object *kept;
	struct json_object *refused; /* they did not take their marks, and why */
};

/*
 * Before the flip: what every socket is. A busy one is classified again by its
 * own next packet, so that afterwards nobody could tell. 0 or -errno, reported.
 */
int adopt_prepare(struct adoption *result, const struct instance *in);

/*
 * After it: `image` is in force, `old` was. What fails for a socket is told in
 * the result; 0, or -errno, reported, where the pass as a whole could not be
 * made.
 */
int adopt(struct adoption *result, const struct instance *in, const struct in_force *old,
	  const struct hq_image *image);
void adoption_free(struct adoption *result);

#endif
