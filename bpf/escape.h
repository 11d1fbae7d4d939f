/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets that leave a governed interface outside the policy are counted, each
 * by its reason: what belongs to a class is charged there, all else here.
 */
#ifndef HOSTQOS_BPF_ESCAPE_H
#define HOSTQOS_BPF_ESCAPE_H

#include "forwarded.h"

#define AF_PACKET 17

struct sock___kernel {
	__u32 sk_kern_sock : 1;
} __attribute__((preserve_access_index));

struct sk_buff___sock {
	struct sock___kernel *sk;
} __attribute__((preserve_access_index));

/* Made by the kernel for itself (sock_create_kern()): no hook sees such a socket. */
static __always_inline int is_kernel_socket(struct __sk_buff *skb)
{
	struct sock___kernel *sk = BPF_CORE_READ((struct sk_buff___sock *)skb, sk);

	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock);
}

static __always_inline int is_other_cgroup(struct __sk_buff *skb)
{
	__u32 zero = 0;
	const struct hq_install *i = bpf_map_lookup_elem(&install, &zero);

	return i && bpf_skb_ancestor_cgroup_id(skb, i->cgroup_level) != i->cgroup;
}

/* Of a packet that has no class. */
static __noinline __u32 escape_reason(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (is_forwarded(skb))
		return HQ_ESCAPE_FORWARDED;
	if (!sk)
		return HQ_ESCAPE_NO_SOCKET;
	if (sk->state == TCP_TIME_WAIT)
		return HQ_ESCAPE_KERNEL_SOCKET;
	sk = bpf_sk_fullsock(sk); /* of a request socket the helper below finds the listener */
	if (sk && is_kernel_socket(skb))
		return HQ_ESCAPE_KERNEL_SOCKET;
	if (is_other_cgroup(skb))
		return HQ_ESCAPE_OTHER_CGROUP;
	return sk && sk->family == AF_PACKET ? HQ_ESCAPE_RAW : HQ_ESCAPE_INTERNAL;
}

static __noinline int escape(struct __sk_buff *skb, __u32 reason)
{
	struct hq_escape_counters *n = bpf_map_lookup_elem(&escapes, &reason);

	if (n) {
		n->packets += skb->gso_segs ?: 1;
		n->bytes += skb->wire_len;
	}
	return PASS_ON;
}

#endif
