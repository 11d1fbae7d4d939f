/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Marks derived from inbound ones. Which inbound mark a connection takes over
 * is on its flow; whether its peer is trusted with that was settled when its
 * class was (HQ_SIDE_MIRROR in `prefixes`).
 */
#ifndef HOSTQOS_MIRROR_H
#define HOSTQOS_MIRROR_H

#include "abi.h"

/* May the class take this DSCP over? Never HQ_DSCP_NONE. */
static __always_inline int hq_mirror_allows(const struct hq_class *class, __u8 dscp)
{
	return dscp < HQ_DSCP_NONE && (class->mirror_allow >> dscp & 1);
}

/* What a connection takes over in its class, or HQ_DSCP_NONE. */
static __always_inline __u8 hq_mirrored(const struct hq_class *class, const struct hq_flow *flow)
{
	__u8 dscp = class->mirror == HQ_MIRROR_LATEST ? flow->latest_dscp : flow->inbound_dscp;

	if (!class->mirror || !flow->trusted || !hq_mirror_allows(class, dscp))
		return HQ_DSCP_NONE;
	return dscp;
}

/* What its packets bear: that, or the class's own. */
static __always_inline __u8 hq_connection_dscp(const struct hq_class *class,
					       const struct hq_flow *flow)
{
	__u8 dscp = hq_mirrored(class, flow);

	return dscp == HQ_DSCP_NONE ? class->dscp : dscp;
}

#endif
