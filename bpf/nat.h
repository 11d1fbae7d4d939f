/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where netfilter translates addresses, tc egress sees what the wire gets. The
 * policy speaks of what the socket sees, and conntrack knows that.
 */
#ifndef HOSTQOS_BPF_NAT_H
#define HOSTQOS_BPF_NAT_H

#include <linux/netfilter/nf_conntrack_common.h>

#include "parse.h"
#include "skb.h"

#define NFCT_INFOMASK 7UL /* linux/skbuff.h: of skb->_nfct, which way the packet goes */

/* skb->_nfct of a packet that conntrack knows, else 0. */
static __always_inline unsigned long tracked_as(struct __sk_buff *skb)
{
	unsigned long nfct;

	if (!bpf_core_field_exists(struct sk_buff, _nfct))
		return 0;
	nfct = SKB_READ(skb, _nfct);
	return nfct & ~NFCT_INFOMASK ? nfct : 0;
}

static __always_inline void read_end(__u8 address[16], const void *from, __u8 family)
{
	__be32 ip4 = 0;

	if (family == 6) {
		bpf_probe_read_kernel(address, 16, from);
		return;
	}
	bpf_probe_read_kernel(&ip4, sizeof(ip4), from);
	set_mapped(address, ip4);
}

/*
 * A connection's tuple of either direction is the one that a packet has before
 * any translation (nf_ct_get_tuple()). 1 where there is any.
 */
static __noinline int read_original(struct transport *t, unsigned long nfct)
{
	const struct nf_conn *ct = (void *)(nfct & ~NFCT_INFOMASK);
	const struct nf_conntrack_tuple *tuple;

	if (!(BPF_CORE_READ(ct, status) & (IPS_SRC_NAT | IPS_DST_NAT)))
		return 0;
	tuple = (void *)ct + bpf_core_field_offset(struct nf_conn, tuplehash) +
		bpf_core_field_offset(struct nf_conntrack_tuple_hash, tuple);
	if ((nfct & NFCT_INFOMASK) >= IP_CT_IS_REPLY)
		tuple = (void *)tuple + bpf_core_type_size(struct nf_conntrack_tuple_hash);
	read_end(t->key.local,
		 (void *)tuple + bpf_core_field_offset(struct nf_conntrack_tuple, src.u3),
		 t->key.family);
	read_end(t->key.remote,
		 (void *)tuple + bpf_core_field_offset(struct nf_conntrack_tuple, dst.u3),
		 t->key.family);
	if (has_ports(t->protocol)) {
		t->key.local_port = bpf_ntohs(BPF_CORE_READ(tuple, src.u.all));
		t->key.remote_port = bpf_ntohs(BPF_CORE_READ(tuple, dst.u.all));
	}
	return 1;
}

/* Put a translated packet's ends back to what they were when it left its socket. */
static __always_inline int untranslate(struct __sk_buff *skb, struct transport *t)
{
	unsigned long nfct = tracked_as(skb);

	return nfct ? read_original(t, nfct) : 0;
}

#endif
