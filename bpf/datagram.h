/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Datagrams of sockets that have no one remote end, or sent one elsewhere: each
 * is classified by its own destination, with its socket's identity.
 */
#ifndef HOSTQOS_BPF_DATAGRAM_H
#define HOSTQOS_BPF_DATAGRAM_H

#include "packet.h"

/*
 * Does the socket's one remote end hold for this packet? Not for a socket that
 * is not connected, that was disconnected (connect() to AF_UNSPEC runs no
 * hook), or that sent this datagram elsewhere (sendto()).
 */
static __always_inline int goes_to_peer(const struct hq_flow *flow, struct bpf_sock *sk,
					const struct transport *t)
{
	__u8 remote[16] __attribute__((aligned(8)));

	if (!(flow->bits & HQ_FLOW_CONNECTED) || !sk->dst_port)
		return 0;
	if (t->first && has_ports(t->protocol) && t->key.remote_port != bpf_ntohs(sk->dst_port))
		return 0;
	sock_remote(sk, remote);
	return same_address(remote, t->key.remote);
}

/*
 * Is this the socket's own datagram, and not a tunnel's packet around it? Raw
 * sockets may write any header (IP_HDRINCL).
 */
static __always_inline int is_own_datagram(const struct hq_flow *flow, struct bpf_sock *sk,
					   const struct transport *t)
{
	if (flow->type == SOCK_RAW)
		return 1;
	if (t->protocol != flow->protocol)
		return 0;
	return !t->first || !has_ports(t->protocol) || !sk->src_port ||
	       t->key.local_port == sk->src_port;
}

/* A datagram that does not go to its socket's one peer: by its own destination. */
static __always_inline int goes_elsewhere(struct hq_flow *flow, struct bpf_sock *sk,
					  struct packet *p)
{
	p->datagram = is_own_datagram(flow, sk, &p->transport);
	return p->datagram && !goes_to_peer(flow, sk, &p->transport);
}

/* A datagram of a socket without one remote end, by its own destination. */
static __always_inline struct hq_decision decide_datagram(struct __sk_buff *skb,
							  struct hq_flow *flow, struct packet *p)
{
	struct fragment_fate *fate = is_fragment(p, 0) ? fragment_find(p) : NULL;
	struct flow_key *key = &p->transport.key;
	struct hq_decision decision;

	if (fate && fate->decision.generation == p->generation)
		return fate->decision;
	key_set_direction(key, datagram_direction(flow, 0));
	key_set_inbound_dscp(key,
			     peer_dscp(bpf_get_socket_cookie(skb), key->remote, key->remote_port));
	decision = decide(flow, key, p->generation);
	if (!decision.refuse)
		watched(flow, key, decision, HQ_EVENT_PACKET);
	return decision;
}

#endif
