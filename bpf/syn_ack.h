/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel sends in a socket's name without that socket on the packet:
 * SYN-ACKs, of a request socket or under SYN cookies of none, and RSTs, of the
 * kernel's control socket.
 */
#ifndef HOSTQOS_BPF_SYN_ACK_H
#define HOSTQOS_BPF_SYN_ACK_H

#include "handshake.h"
#include "mptcp.h"
#include "nat.h"
#include "packet.h"

/* The listener has the identity, the packet, which is parsed, the addresses. */
static __always_inline void decide_syn_ack(struct packet *p, struct hq_flow *listener,
					   __u8 inbound_dscp)
{
	struct flow_key *key = &p->transport.key;

	key_set_direction(key, HQ_INBOUND);
	key_set_inbound_dscp(key, inbound_dscp);
	p->decision = decide(listener, key, p->generation);
	p->syn_ack = p->alone = 1;
}

/*
 * The request socket of a packet that has one. (By address: for a MPTCP
 * listener's bpf_skc_to_tcp_request_sock() gives nothing.)
 */
static __always_inline struct tcp_request_sock *request_of(struct __sk_buff *skb)
{
	return (struct tcp_request_sock *)BPF_CORE_READ((struct sk_buff *)skb, sk);
}

/* The flow of the owner that a SYN asks to join; NULL for any other request. */
static __noinline struct hq_flow *flow_of_joined(struct __sk_buff *skb)
{
	struct mptcp_subflow_request_sock *join = (void *)request_of(skb);
	struct mptcp_sock *owner;

	if (!bpf_core_type_exists(struct mptcp_sock) ||
	    !BPF_CORE_READ((struct tcp_request_sock *)join, is_mptcp))
		return NULL;
	owner = BPF_CORE_READ(join, msk);
	return owner ? owner_find(owner, BPF_CORE_READ(join, token)) : NULL;
}

/* A SYN-ACK of a request socket, first or repeated. */
static __always_inline struct hq_flow *classify_syn_ack(struct __sk_buff *skb, struct packet *p)
{
	struct bpf_sock *listener, *sk = skb->sk;
	struct hq_flow *flow;

	if (!sk || sk->state != TCP_NEW_SYN_RECV)
		return NULL;
	flow = flow_of_joined(skb);
	if (!flow) {
		listener = bpf_get_listener_sock(sk);
		flow = listener ? flow_of_any(listener) : NULL;
	}
	if (!flow)
		return NULL;
	if (parse_transport(skb, &p->net, &p->transport, 0)) {
		fault(HQ_FAULT_PARSE);
		return NULL;
	}
	untranslate(skb, &p->transport);
	decide_syn_ack(p, flow, hq_dscp(BPF_CORE_READ(request_of(skb), syn_tos)));
	return flow;
}

/* Where the kernel would take the peer's next segment. To be released. */
static __always_inline struct bpf_sock *find_socket(struct __sk_buff *skb, const struct packet *p)
{
	const struct flow_key *key = &p->transport.key;
	struct bpf_sock_tuple tuple = {};
	__u32 size;

	if (p->net.family == 4) {
		tuple.ipv4.saddr = ((__u32 *)key->remote)[3];
		tuple.ipv4.daddr = ((__u32 *)key->local)[3];
		tuple.ipv4.sport = bpf_htons(key->remote_port);
		tuple.ipv4.dport = bpf_htons(key->local_port);
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, key->remote, 16);
		__builtin_memcpy(tuple.ipv6.daddr, key->local, 16);
		tuple.ipv6.sport = bpf_htons(key->remote_port);
		tuple.ipv6.dport = bpf_htons(key->local_port);
		size = sizeof(tuple.ipv6);
	}
	return bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* As the above; p->syn_ack tells whether the packet is a listener's SYN-ACK. */
static __noinline struct hq_flow *find_flow(struct __sk_buff *skb, struct packet *p)
{
	struct hq_flow *flow;
	struct bpf_sock *sk;

	if (parse_transport(skb, &p->net, &p->transport, 0) || p->transport.protocol != IPPROTO_TCP)
		return NULL;
	untranslate(skb, &p->transport);
	sk = find_socket(skb, p);
	if (!sk)
		return NULL;
	flow = flow_of_any(sk);
	p->syn_ack = sk->state == TCP_LISTEN;
	bpf_sk_release(sk);
	return p->syn_ack && !is_syn_ack(skb, &p->transport) ? NULL : flow;
}

/*
 * What names no socket, or the kernel's control socket: a SYN-ACK under SYN
 * cookies (tcp_make_synack(), TCP_SYNACK_COOKIE), or a RST after data for a
 * closed end (tcp_v4_send_reset()). In a group of SO_REUSEPORT the addresses
 * find the listener that got the SYN, as they did for the SYN itself. A
 * TIME_WAIT's ACK has the connection's mark from the kernel; a RST for a
 * closed port is nobody's.
 */
static __always_inline struct hq_flow *classify_answer(struct __sk_buff *skb, struct packet *p)
{
	struct hq_flow *flow = find_flow(skb, p);

	if (!flow)
		return NULL;
	if (p->syn_ack) {
		decide_syn_ack(p, flow, handshake_dscp(&p->transport.key));
		return flow;
	}
	p->decision = flow_load_decision(flow);
	return p->decision.generation == p->generation ? flow : NULL;
}

/*
 * Fast Open: the connection's own socket is there before its SYN-ACK, and may
 * send data beside it (tcp_make_synack(), TCP_SYNACK_FASTOPEN).
 */
static __always_inline int opens_fast(struct __sk_buff *skb, struct packet *p)
{
	struct bpf_sock *sk = skb->sk;

	return sk && sk->state == TCP_SYN_RECV &&
	       !parse_transport(skb, &p->net, &p->transport, 0) && is_syn_ack(skb, &p->transport);
}

#endif
