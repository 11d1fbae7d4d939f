/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A flow in words: values of match keys as people give them to `explain`, and
 * read them there. Nothing of it need exist; what is not said is not known.
 */
#ifndef HOSTQOS_DESCRIBE_H
#define HOSTQOS_DESCRIBE_H

#include "lookup.h"
#include "policy.h"
#include "scalar.h"

/*
 * Takes in what words[key] says (NULL: nothing), and what follows from it. The
 * words must outlive the flow. 0, or -EINVAL with the reason in `error` and
 * whose it is in *wrong.
 */
int describe_flow(struct policy_flow *flow, const char *const words[POLICY_KEYS], policy_exe_fn exe,
		  enum policy_key *wrong, struct scalar_error *error);

/*
 * What check_match() refuses in a rule is no flow either. 0, or -EINVAL as
 * above. Not for the words that choose live sockets: of a ping socket, the
 * kernel has its ICMP id for a port.
 */
int describe_contradiction(const struct policy_flow *flow, enum policy_key *wrong,
			   struct scalar_error *error);

bool describe_is_ipv4(const uint8_t address[16]);

/* The family on the wire and multicast follow from the remote address. */
void describe_remote(struct policy_flow *flow);

/* The flow's value of a key whose values are numbers. */
uint32_t describe_number(const struct policy_flow *flow, enum policy_key key);

/* The flow's value of a key that it has, as the policy would write it. */
void describe_value(FILE *out, const struct policy_flow *flow, enum policy_key key);

#endif
