/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Live sockets and a policy that has just come into force: each is classified
 * again and gets its class's marks, or its own back.
 */
#ifndef HOSTQOS_LOADER_ADOPT_H
#define HOSTQOS_LOADER_ADOPT_H

#include "sockets.h"

struct json_object;

struct adoption {
	struct sockets before;	     /* the flip */
	size_t moved;		     /* changed their class */
	size_t kept;		     /* a rule would refuse them, had they not lived already */
	struct json_object *refused; /* array: sockets that did not take their marks, and why */
};

/*
 * Before the flip: what every socket is. A busy one is classified again by its
 * own next packet, so that afterwards nobody could tell. 0 or -errno, reported.
 */
int adopt_prepare(struct adoption *result, const struct instance *in);

/*
 * After it, with the `classes` of the policy in force. What fails for a socket
 * is told in the result; 0, or -errno, reported, where the pass as a whole
 * could not be made.
 */
int adopt(struct adoption *result, const struct instance *in, const struct hq_class *classes);
void adoption_free(struct adoption *result);

#endif
