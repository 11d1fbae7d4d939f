/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets as tc and cgroup_skb see them. `offset` is where the network header
 * begins in the skb's data.
 */
#ifndef HOSTQOS_BPF_PARSE_H
#define HOSTQOS_BPF_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#include <hostqos/dscp.h>

#define MAX_VLAN_TAGS  2
#define MAX_EXTENSIONS 6

struct network {
	__u32 offset;
	__u8 family; /* 4 or 6 */
	__u8 dsfield;
	__u16 pad;
};

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

#define MAX_DIRECT 256 /* further on the verifier lets nobody look without a bound */

/*
 * Bytes of the packet: where they are if that is in the linear data, as headers
 * mostly are, else copied into `room`. NULL past the packet's end.
 */
static __always_inline const void *look(struct __sk_buff *skb, __u32 offset, void *room, __u32 size)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (offset <= MAX_DIRECT && data + offset + size <= end)
		return data + offset;
	return bpf_skb_load_bytes(skb, offset, room, size) ? NULL : room;
}

/*
 * Find the network header behind `l2` bytes of link header and VLAN tags that
 * are in the data. 0; 1 for a packet that is not IP; -1 if it is cut short.
 */
static __always_inline int parse_network(struct __sk_buff *skb, __u32 l2, struct network *n)
{
	__be16 proto = skb->protocol;
	struct vlan_tag tag;
	const __u8 *head;
	__u8 room[2];
	int i;

	for (i = 0; i < MAX_VLAN_TAGS; i++) {
		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if (bpf_skb_load_bytes(skb, l2, &tag, sizeof(tag)))
			return -1;
		proto = tag.proto;
		l2 += sizeof(tag);
	}
	if (proto != bpf_htons(ETH_P_IP) && proto != bpf_htons(ETH_P_IPV6))
		return 1;
	head = look(skb, l2, room, sizeof(room));
	if (!head)
		return -1;
	n->offset = l2;
	n->pad = 0;
	n->family = head[0] >> 4;
	if (n->family == 4 && proto == bpf_htons(ETH_P_IP))
		n->dsfield = head[1];
	else if (n->family == 6 && proto == bpf_htons(ETH_P_IPV6))
		n->dsfield = hq_ip6_get_dsfield(head);
	else
		return -1;
	return 0;
}

/* A packet's ends as its host sees them, and its place in a fragmented datagram. */
struct transport {
	struct flow_key key; /* addresses; ports are 0 where there are none */
	__u32 offset;	     /* of the transport header */
	__u32 fragment_id;
	__u8 protocol;
	__u8 fragmented;
	__u8 first; /* no fragment, or the first one */
	__u8 pad;
};

/* The end that a packet's source is for this host, and the one that its destination is. */
static __always_inline __u8 *source_end(struct transport *t, int received)
{
	return received ? t->key.remote : t->key.local;
}

static __always_inline __u8 *destination_end(struct transport *t, int received)
{
	return received ? t->key.local : t->key.remote;
}

static __always_inline int parse_ip4(struct __sk_buff *skb, const struct network *n,
				     struct transport *t, int received)
{
	const struct iphdr *ip;
	struct iphdr room;
	__u16 fragment;

	ip = look(skb, n->offset, &room, sizeof(room));
	if (!ip || ip->ihl < 5)
		return -1;
	set_mapped(source_end(t, received), ip->saddr);
	set_mapped(destination_end(t, received), ip->daddr);
	fragment = bpf_ntohs(ip->frag_off) & 0x3fff; /* MF and the offset */
	t->fragmented = fragment != 0;
	t->first = !(fragment & 0x1fff);
	t->fragment_id = ip->id;
	t->protocol = ip->protocol;
	t->offset = n->offset + ip->ihl * 4;
	return 0;
}

struct extension {
	__u8 next;
	__u8 length; /* beyond the first 8 octets: in units of 8, for AH of 4 */
	__be16 fragment;
	__be32 id;
};

/* Walk the extension headers (RFC 8200, 4) to the transport header or the fragment's data. */
static __always_inline int parse_ip6(struct __sk_buff *skb, const struct network *n,
				     struct transport *t, int received)
{
	struct extension ext;
	const struct ipv6hdr *ip;
	struct ipv6hdr room;
	int i;

	ip = look(skb, n->offset, &room, sizeof(room));
	if (!ip)
		return -1;
	__builtin_memcpy(source_end(t, received), &ip->saddr, 16);
	__builtin_memcpy(destination_end(t, received), &ip->daddr, 16);
	t->protocol = ip->nexthdr;
	t->offset = n->offset + sizeof(*ip);
	t->first = 1;
	for (i = 0; i < MAX_EXTENSIONS && t->first; i++) {
		if (t->protocol != IPPROTO_HOPOPTS && t->protocol != IPPROTO_ROUTING &&
		    t->protocol != IPPROTO_DSTOPTS && t->protocol != IPPROTO_FRAGMENT &&
		    t->protocol != IPPROTO_AH)
			break;
		if (bpf_skb_load_bytes(skb, t->offset, &ext, sizeof(ext)))
			return -1;
		if (t->protocol == IPPROTO_FRAGMENT) {
			t->fragmented = 1;
			t->fragment_id = ext.id;
			t->first = !(bpf_ntohs(ext.fragment) & 0xfff8);
			t->offset += 8;
		} else if (t->protocol == IPPROTO_AH) {
			t->offset += (ext.length + 2) * 4;
		} else {
			t->offset += (ext.length + 1) * 8;
		}
		t->protocol = ext.next;
	}
	return 0;
}

static __always_inline int has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

/*
 * 0, or -1 where the packet is cut short. What the packet tells of the flow is
 * known in t->key then. (A global function: the verifier checks its ways once
 * for each program, not at each call.)
 */
__weak __noinline int parse_transport(struct __sk_buff *skb, const struct network *n,
				      struct transport *t, int received)
{
	__be16 none[2] = {}, room[2];
	const __be16 *ports = none;

	if (!n || !t)
		return -1;
	__builtin_memset(t, 0, sizeof(*t));
	if (n->family == 4 ? parse_ip4(skb, n, t, received) : parse_ip6(skb, n, t, received))
		return -1;
	if (t->first && has_ports(t->protocol))
		ports = look(skb, t->offset, room, sizeof(room));
	if (!ports)
		return -1;
	key_set_local(&t->key, bpf_ntohs(ports[received ? 1 : 0]));
	key_set_remote(&t->key, bpf_ntohs(ports[received ? 0 : 1]));
	if (!t->first) /* a later fragment's ports are not known; 0 is for those without any */
		t->key.known &= ~(HQ_BIT(HQ_DIM_LOCAL_PORT) | HQ_BIT(HQ_DIM_REMOTE_PORT));
	return 0;
}

#define TCP_SYN 0x02
#define TCP_ACK 0x10

/* SYN and ACK of a parsed segment: the octet behind data offset and reserved bits (RFC 9293, 3.1).
 */
static __always_inline __u8 tcp_syn_and_ack(struct __sk_buff *skb, const struct transport *t)
{
	__u8 flags;

	if (bpf_skb_load_bytes(skb, t->offset + 13, &flags, 1))
		return 0;
	return flags & (TCP_SYN | TCP_ACK);
}

static __always_inline int is_syn(struct __sk_buff *skb, const struct transport *t)
{
	return tcp_syn_and_ack(skb, t) == TCP_SYN;
}

static __always_inline int is_syn_ack(struct __sk_buff *skb, const struct transport *t)
{
	return tcp_syn_and_ack(skb, t) == (TCP_SYN | TCP_ACK);
}

/* Put a DSCP into the header, ECN and the IPv4 checksum kept right. 0 or -errno. */
static __always_inline int rewrite_dscp(struct __sk_buff *skb, const struct network *n, __u8 dscp)
{
	__u8 head[2], dsfield = hq_dsfield(n->dsfield, dscp);
	int err;

	if (n->family == 6) {
		err = bpf_skb_load_bytes(skb, n->offset, head, 2);
		if (err)
			return err;
		hq_ip6_set_dsfield(head, dsfield);
		return bpf_skb_store_bytes(skb, n->offset, head, 2, 0);
	}
	err = bpf_l3_csum_replace(skb, n->offset + offsetof(struct iphdr, check),
				  bpf_htons(n->dsfield), bpf_htons(dsfield), 2);
	if (err)
		return err;
	return bpf_skb_store_bytes(skb, n->offset + offsetof(struct iphdr, tos), &dsfield, 1, 0);
}

#endif
