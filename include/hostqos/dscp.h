/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The DS field (RFC 2474): six bits of DSCP above two of ECN (RFC 3168), in
 * IPv4's second octet and across IPv6's first two.
 */
#ifndef HOSTQOS_DSCP_H
#define HOSTQOS_DSCP_H

#include <linux/types.h>

#define HQ_DSCP_MAX 63
#define HQ_ECN_MASK 0x03

/* The DS field that carries dscp (0..63) beside the ECN bits of `old`. */
static inline __u8 hq_dsfield(__u8 old, __u8 dscp)
{
	return (__u8)(dscp << 2) | (old & HQ_ECN_MASK);
}

static inline __u8 hq_dscp(__u8 dsfield)
{
	return dsfield >> 2;
}

/* Traffic class of an IPv6 header, from its first two octets. */
static inline __u8 hq_ip6_get_dsfield(const __u8 head[2])
{
	return (__u8)(head[0] << 4) | head[1] >> 4;
}

/* Put a traffic class there; version and flow label stay. */
static inline void hq_ip6_set_dsfield(__u8 head[2], __u8 dsfield)
{
	head[0] = (head[0] & 0xf0) | dsfield >> 4;
	head[1] = (__u8)(dsfield << 4) | (head[1] & 0x0f);
}

#endif
