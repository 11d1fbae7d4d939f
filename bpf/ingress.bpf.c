// SPDX-License-Identifier: GPL-2.0-only
/*
 * What comes in: SYNs to listeners that refuse them, and the DSCPs of the
 * latest datagram from each peer, of each connection's latest packet, and of
 * what opens a connection. Attached only where a policy asks for it.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "flow.h"
#include "handshake.h"
#include "mptcp.h"
#include "parse.h"

/* A SYN, seen with its listener: 0 drops it before there is a request socket. */
static __always_inline int on_syn(struct hq_flow *flow, const struct network *n,
				  struct transport *t, __u32 generation)
{
	struct hq_decision decision;

	key_set_direction(&t->key, HQ_INBOUND);
	key_set_inbound_dscp(&t->key, hq_dscp(n->dsfield));
	decision = decide(flow, &t->key, generation);
	if (!decision.refuse || decision.provisional)
		return 1;
	count_refused(flow, &t->key, decision);
	return 0;
}

static __always_inline void on_datagram(struct __sk_buff *skb, const struct network *n,
					const struct transport *t)
{
	__u8 dscp = hq_dscp(n->dsfield), *known;
	struct peer_key peer;

	peer_key_init(&peer, bpf_get_socket_cookie(skb), t->key.remote, t->key.remote_port);
	known = bpf_map_lookup_elem(&peers, &peer);
	if (!known || *known != dscp)
		bpf_map_update_elem(&peers, &peer, &dscp, BPF_ANY);
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	__u32 generation = active_generation();
	const struct hq_header *h;
	struct hq_flow *flow;
	struct transport t = {}; /* or older verifiers hand it to no global function */
	struct bpf_sock *sk;
	struct network n;

	sk = skb->sk;
	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	if (!generation || !sk)
		return 1;
	if (sk->protocol == IPPROTO_TCP && sk->state != TCP_LISTEN)
		return 1;
	flow = flow_of_any(sk);
	h = policy_header_of(generation);
	if (!flow || !h || parse_network(skb, 0, &n) || parse_transport(skb, &n, &t, 1))
		return 1;
	if (h->features & HQ_FEATURE_INBOUND_DSCP) {
		if (t.protocol == IPPROTO_TCP)
			handshake_remember(&t.key, hq_dscp(n.dsfield));
		else
			on_datagram(skb, &n, &t);
	}
	if (t.protocol == IPPROTO_TCP && is_syn(skb, &t))
		return on_syn(flow, &n, &t, generation);
	return 1;
}

/* For classes that mirror it. */
SEC("cgroup_skb/ingress")
int latest_dscp(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct hq_flow *flow;
	struct network n;

	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	if (!sk || sk->protocol != IPPROTO_TCP || sk->state == TCP_LISTEN)
		return 1;
	flow = flow_of(sk);
	if (flow && !parse_network(skb, 0, &n))
		flow->latest_dscp = hq_dscp(n.dsfield);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
