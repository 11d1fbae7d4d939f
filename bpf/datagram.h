/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Datagrams: each is classified by its own addresses, with its socket's
 * identity. Nothing of the answer is kept on the socket, which other threads
 * may connect and send from meanwhile; what keeps it cheap is memo.h.
 */
#ifndef HOSTQOS_BPF_DATAGRAM_H
#define HOSTQOS_BPF_DATAGRAM_H

#include "memo.h"
#include "nat.h"
#include "packet.h"

/*
 * To the one peer of a connected socket, as sendto() need not, and as nothing
 * goes after connect() to AF_UNSPEC, which runs no hook?
 */
static __always_inline int goes_to_peer(struct bpf_sock *sk, const struct transport *t)
{
	__u8 remote[16] __attribute__((aligned(8)));

	if (!sk->dst_port)
		return 0;
	if (t->first && has_ports(t->protocol) && t->key.remote_port != bpf_ntohs(sk->dst_port))
		return 0;
	sock_remote(sk, remote);
	return same_address(remote, t->key.remote);
}

static __always_inline int comes_from_socket(struct bpf_sock *sk, const struct transport *t)
{
	__u8 local[16] __attribute__((aligned(8)));

	if (t->first && has_ports(t->protocol) && t->key.local_port != sk->src_port)
		return 0;
	sock_local(sk, local);
	return same_address(local, t->key.local);
}

/*
 * Is this the socket's own datagram, and not a tunnel's packet around it? Raw
 * sockets may write any header (IP_HDRINCL). From another port than the socket's:
 * - a whole packet is a tunnel's if it has inner headers (iptunnel_handle_offloads());
 *   else it was sent before the socket lost that port, or got another;
 * - a fragment has none, whoever sent it (ip_do_fragment()): it is a tunnel's,
 *   unless the socket has no port any more.
 * Later fragments are what their first was; those of an own one that is
 * forgotten have the class of the socket.
 */
static __always_inline int is_own_datagram(struct __sk_buff *skb, const struct hq_flow *flow,
					   struct bpf_sock *sk, const struct transport *t)
{
	if (flow->type == SOCK_RAW)
		return 1;
	if (t->protocol != flow->protocol)
		return 0;
	if (!has_ports(t->protocol))
		return 1;
	if (!t->first)
		return fragment_find(t) != NULL;
	if (t->key.local_port == sk->src_port)
		return 1;
	return (!t->fragmented || !sk->src_port) && !SKB_READ(skb, inner_network_header);
}

/* The DSCP of the latest datagram from the peer. (Not inline: stack is scarce.) */
static __noinline __u8 latest_from(struct __sk_buff *skb, const struct flow_key *key)
{
	return peer_dscp(bpf_get_socket_cookie(skb), key->remote, key->remote_port);
}

/*
 * What the packet does not tell: the direction, and with what mark the peer sent
 * last. A packet that waited for its neighbour's address may have outlived its
 * socket's port (sk_common_release()); a later fragment has none of its own.
 */
static __always_inline void complete_key(struct __sk_buff *skb, const struct hq_flow *flow,
					 struct bpf_sock *sk, struct packet *p, int to_peer)
{
	struct flow_key *key = &p->transport.key;
	__u16 port = key->local_port ?: sk->src_port;

	key_set_direction(key, datagram_direction(flow, port, to_peer));
	if (policy_reads(p->generation, HQ_DIM_INBOUND_DSCP))
		key_set_inbound_dscp(key, latest_from(skb, key));
}

/* Later fragments have no ports; they follow the first. */
static __always_inline struct hq_decision decide_datagram(struct __sk_buff *skb,
							  struct hq_flow *flow, struct bpf_sock *sk,
							  struct packet *p, int to_peer)
{
	struct fragment_fate *fate = is_fragment(p, 0) ? fragment_find(&p->transport) : NULL;
	struct hq_decision decision;

	if (fate && fate->decision.generation == p->generation)
		return fate->decision;
	complete_key(skb, flow, sk, p, to_peer);
	decision = recall(flow, &p->transport.key, p->generation);
	if (!decision.refuse && !to_peer)
		watched(flow, &p->transport.key, decision, HQ_EVENT_PACKET);
	return decision;
}

static __always_inline int is_settled_as(const struct hq_flow *flow, struct hq_decision decision)
{
	struct hq_decision known = flow_load_decision(flow);

	return !__builtin_memcmp(&known, &decision, sizeof(known));
}

/* A connected socket's class is that of its latest datagram to the peer: for `show flows`. */
static __always_inline void settle_connected(struct hq_flow *flow, struct flow_key *key,
					     struct hq_decision decision)
{
	if (is_settled_as(flow, decision))
		return;
	if (flow_load_decision(flow).generation)
		flow_keep(flow, decision);
	flow_settle(flow, key, decision);
}

/* 1: in p->decision; 0: the packet is not its socket's own, whatever it is around it. */
static __always_inline int classify_datagram(struct __sk_buff *skb, struct hq_flow *flow,
					     struct bpf_sock *sk, struct packet *p)
{
	struct transport *t = &p->transport;
	int to_peer = goes_to_peer(sk, t);

	if ((!to_peer || !comes_from_socket(sk, t)) && untranslate(skb, t))
		to_peer = goes_to_peer(sk, t);
	p->datagram = is_own_datagram(skb, flow, sk, t);
	if (!p->datagram) {
		if (t->fragmented && t->first)
			fragment_forget(t);
		return 0;
	}
	p->alone = 1;
	p->decision = decide_datagram(skb, flow, sk, p, to_peer);
	if (to_peer)
		settle_connected(flow, &t->key, p->decision);
	if (p->decision.refuse &&
	    (to_peer ? flow->bits & HQ_FLOW_KEPT : is_older_than_rule(flow, p->decision)))
		p->decision.refuse = 0;
	return 1;
}

#endif
