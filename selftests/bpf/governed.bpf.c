// SPDX-License-Identifier: GPL-2.0-only
/*
 * BPF_PROG_RUN gives each call a new socket, and no hook has seen that one. The
 * flow that the test wants on it is in `given`; then the real program runs.
 */
#include "../../bpf/egress.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hq_flow);
} given MAP;

/* A repeated run sees the same skb again: it was not metered yet, whatever it says. */
static __always_inline void give_flow(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct hq_flow *flow, *wanted;
	__u32 zero = 0;

	skb->tc_index = 0;
	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	wanted = bpf_map_lookup_elem(&given, &zero);
	if (!sk || !wanted || flow_of(sk))
		return;
	flow = bpf_sk_storage_get(&flows, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (flow)
		__builtin_memcpy(flow, wanted, sizeof(*flow));
}

/* Puts the flow there, then does what egress_ether does. */
SEC("tc")
int governed(struct __sk_buff *skb)
{
	give_flow(skb);
	return egress(skb, ETH_HLEN);
}

/* The first datagram of somebody new each time. */
SEC("tc")
int governed_first(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct hq_flow *flow;

	give_flow(skb);
	flow = sk ? flow_of(sk) : NULL;
	if (flow)
		flow->id.gid++;
	return egress(skb, ETH_HLEN);
}

/* As two stacked devices show one packet. */
SEC("tc")
int governed_twice(struct __sk_buff *skb)
{
	int verdict;

	give_flow(skb);
	verdict = egress(skb, ETH_HLEN);
	return verdict == TC_ACT_UNSPEC ? egress(skb, ETH_HLEN) : verdict;
}

/* What giving the flow costs by itself, for the bench to take away. */
SEC("tc")
int given_only(struct __sk_buff *skb)
{
	give_flow(skb);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int ungoverned(struct __sk_buff *skb)
{
	return egress(skb, ETH_HLEN);
}

SEC("tc")
int empty(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
