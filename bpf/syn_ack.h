/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel sends in a socket's name without that socket on the packet:
 * SYN-ACKs, of a request socket, and RSTs, of the kernel's control socket.
 */
#ifndef HOSTQOS_BPF_SYN_ACK_H
#define HOSTQOS_BPF_SYN_ACK_H

#include "packet.h"

/* A SYN-ACK: the request's listener has the identity, the packet the addresses. */
static __always_inline int classify_syn_ack(struct __sk_buff *skb, struct packet *p)
{
	struct tcp_request_sock *request;
	struct bpf_sock *listener, *sk = skb->sk;
	struct flow_key *key = &p->transport.key;
	struct hq_flow *flow;

	if (!sk)
		return 0;
	listener = bpf_get_listener_sock(sk);
	flow = listener ? flow_of(listener) : NULL;
	if (!flow)
		return 0;
	if (parse_transport(skb, &p->net, &p->transport, 0)) {
		fault(HQ_FAULT_PARSE);
		return 0;
	}
	key_set_direction(key, HQ_INBOUND);
	request = bpf_skc_to_tcp_request_sock(sk);
	key_set_inbound_dscp(key, request ? hq_dscp(request->syn_tos) : HQ_DSCP_NONE);
	p->decision = decide(flow, key, p->generation);
	p->syn_ack = 1;
	p->flow = flow;
	return 1;
}

/*
 * What the kernel's control socket sends in a live socket's name: a RST after
 * data for a closed end (tcp_v4_send_reset()). A TIME_WAIT's ACK has the
 * connection's mark from the kernel; a RST for a closed port is nobody's.
 */
static __noinline int classify_reset(struct __sk_buff *skb, struct packet *p)
{
	const struct flow_key *key = &p->transport.key;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *found, *sk;
	struct hq_flow *flow = NULL;
	__u32 size;

	if (parse_transport(skb, &p->net, &p->transport, 0) || p->transport.protocol != IPPROTO_TCP)
		return 0;
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
	found = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!found)
		return 0;
	sk = bpf_sk_fullsock(found);
	if (sk && sk->state != TCP_LISTEN)
		flow = flow_of(sk);
	if (flow) {
		p->decision = flow_load_decision(flow);
		p->flow = flow;
	}
	bpf_sk_release(found);
	return flow && p->decision.generation == p->generation;
}

#endif
