/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Nearly every datagram: plain headers, and it goes where one went before. This
 * finds in the memo what classify_sent() would, and leaves all that is special
 * to it. Inline to the last: a function call would cost more than its lookups.
 */
#ifndef HOSTQOS_BPF_REMEMBERED_H
#define HOSTQOS_BPF_REMEMBERED_H

#include "datagram.h"

/* As parse_transport() of what leaves, where the UDP header is right behind the IP header. */
static __always_inline int parse_plain_udp(struct __sk_buff *skb, const struct network *n,
					   struct transport *t)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct udphdr *udp;

	if (n->offset > MAX_DIRECT)
		return -1;
	data += n->offset;
	if (n->family == 4) {
		const struct iphdr *ip = data;

		udp = (const void *)(ip + 1);
		if ((const void *)(udp + 1) > end || ip->ihl != 5 || ip->protocol != IPPROTO_UDP ||
		    ip->frag_off & bpf_htons(0x3fff))
			return -1;
		set_mapped(t->key.local, ip->saddr);
		set_mapped(t->key.remote, ip->daddr);
	} else {
		const struct ipv6hdr *ip = data;

		udp = (const void *)(ip + 1);
		if ((const void *)(udp + 1) > end || ip->nexthdr != IPPROTO_UDP)
			return -1;
		__builtin_memcpy(t->key.local, &ip->saddr, 16);
		__builtin_memcpy(t->key.remote, &ip->daddr, 16);
	}
	t->key.local_port = bpf_ntohs(udp->source);
	t->key.remote_port = bpf_ntohs(udp->dest);
	t->protocol = IPPROTO_UDP;
	t->fragmented = 0;
	t->first = 1;
	return 0;
}

static __always_inline int is_remembered(struct __sk_buff *skb, struct hq_flow *flow,
					 struct packet *p)
{
	struct transport *t = &p->transport;
	struct bpf_sock *sk = skb->sk;
	int to_peer;

	if (!sk || flow->protocol != IPPROTO_UDP || flow->type != SOCK_DGRAM || monitored() ||
	    parse_plain_udp(skb, &p->net, t) || !is_own_datagram(skb, flow, sk, t))
		return 0;
	to_peer = goes_to_peer(sk, t);
	if (!(to_peer && comes_from_socket(sk, t)) && tracked_as(skb))
		return 0;
	t->key.direction = datagram_direction(flow, t->key.local_port, to_peer);
	if (!recall_by_ends(flow, &t->key, p->generation, &p->decision) || p->decision.refuse ||
	    (to_peer && !is_settled_as(flow, p->decision)))
		return 0;
	p->datagram = p->alone = 1;
	return 1;
}

#endif
