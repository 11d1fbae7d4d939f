/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a socket carries: its flow, in socket storage.
 */
#ifndef HOSTQOS_BPF_FLOW_H
#define HOSTQOS_BPF_FLOW_H

#include <bpf/bpf_core_read.h>

#include "kernel.h"
#include "classify.h"

#define SOCK_STREAM 1
#define SOCK_DGRAM  2
#define SOCK_RAW    3

/* A raw socket of IPPROTO_TCP is none: it writes packets to anywhere. */
static __always_inline int is_tcp(const struct hq_flow *flow)
{
	return flow->protocol == IPPROTO_TCP && flow->type != SOCK_RAW;
}

#define TCP_ESTABLISHED	 1
#define TCP_SYN_RECV	 3
#define TCP_TIME_WAIT	 6
#define TCP_CLOSE	 7
#define TCP_CLOSE_WAIT	 8
#define TCP_LISTEN	 10
#define TCP_NEW_SYN_RECV 12

/* The flow of a socket that sock_create has seen (or adoption), else NULL. */
#define flow_of(sk) ((struct hq_flow *)bpf_sk_storage_get(&flows, sk, 0, 0))

static __always_inline __u8 flow_protocol(__u32 sk_protocol)
{
	return sk_protocol == IPPROTO_MPTCP ? IPPROTO_TCP : sk_protocol;
}

/*
 * Keep the compiler from merging this load with one of another field of
 * struct bpf_sock: that would take arithmetic on the socket pointer, which the
 * verifier forbids.
 */
#define load_now(value) asm volatile("" : "+r"(value))

static __always_inline void sock_local(struct bpf_sock *sk, __u8 address[16])
{
	__u32 ip4 = sk->src_ip4, *w = (__u32 *)address;

	load_now(ip4);
	if (sk->family != AF_INET6) {
		set_mapped(address, ip4);
		return;
	}
	w[0] = sk->src_ip6[0];
	w[1] = sk->src_ip6[1];
	w[2] = sk->src_ip6[2];
	w[3] = sk->src_ip6[3];
}

static __always_inline void sock_remote(struct bpf_sock *sk, __u8 address[16])
{
	__u32 ip4 = sk->dst_ip4, *w = (__u32 *)address;

	load_now(ip4);
	if (sk->family != AF_INET6) {
		set_mapped(address, ip4);
		return;
	}
	w[0] = sk->dst_ip6[0];
	w[1] = sk->dst_ip6[1];
	w[2] = sk->dst_ip6[2];
	w[3] = sk->dst_ip6[3];
}

/* The same of a socket that is the kernel's own struct. */
static __always_inline void kernel_address(const struct sock *sk, __u8 address[16], int remote)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		set_mapped(address, remote ? BPF_CORE_READ(sk, __sk_common.skc_daddr)
					   : BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else if (remote)
		BPF_CORE_READ_INTO((struct in6_addr___kernel *)address, sk,
				   __sk_common.skc_v6_daddr);
	else
		BPF_CORE_READ_INTO((struct in6_addr___kernel *)address, sk,
				   __sk_common.skc_v6_rcv_saddr);
}

/* inet_num of a raw socket is its protocol. */
static __always_inline __u16 own_port(const struct hq_flow *flow, __u16 num)
{
	return flow->type == SOCK_RAW ? 0 : num;
}

/*
 * Both ends as the socket has them. What a socket does not have yet (a
 * wildcard, port 0) stays unknown; hooks that know more add it.
 */
static __always_inline void key_from_sock(struct flow_key *key, const struct hq_flow *flow,
					  struct bpf_sock *sk)
{
	__builtin_memset(key, 0, sizeof(*key));
	sock_local(sk, key->local);
	sock_remote(sk, key->remote);
	if (sk->family == AF_INET) {
		key->family = 4;
		key->known = HQ_BIT(HQ_DIM_FAMILY);
	}
	key_set_local(key, own_port(flow, sk->src_port));
	if (sk->dst_port)
		key_set_remote(key, bpf_ntohs(sk->dst_port));
	if (flow->bits & HQ_FLOW_DIRECTED)
		key_set_direction(key, flow->bits & HQ_FLOW_INBOUND ? HQ_INBOUND : HQ_OUTBOUND);
}

/*
 * The direction of a datagram socket with a local port: inbound if bound to it
 * on purpose and not connected, else outbound. (After a bind() that failed the
 * socket has none, or gets one that nobody asked for.)
 */
static __always_inline __u8 datagram_direction(const struct hq_flow *flow, __u16 port,
					       int connected)
{
	return port && flow->bound_port == port && !connected ? HQ_INBOUND : HQ_OUTBOUND;
}

/* `peers`: the DSCP of the latest datagram that a socket got from a peer. */
struct peer_key {
	__u64 cookie;
	__u8 address[16];
	__u16 port;
	__u8 pad[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct peer_key);
	__type(value, __u8);
} peers MAP;

static __always_inline void peer_key_init(struct peer_key *peer, __u64 cookie,
					  const __u8 address[16], __u16 port)
{
	__builtin_memset(peer, 0, sizeof(*peer));
	peer->cookie = cookie;
	__builtin_memcpy(peer->address, address, 16);
	peer->port = port;
}

static __always_inline __u8 peer_dscp(__u64 cookie, const __u8 address[16], __u16 port)
{
	struct peer_key peer;
	__u8 *dscp;

	peer_key_init(&peer, cookie, address, port);
	dscp = bpf_map_lookup_elem(&peers, &peer);
	return dscp ? *dscp : HQ_DSCP_NONE;
}

#endif
