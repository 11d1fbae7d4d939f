// SPDX-License-Identifier: GPL-2.0-only
/*
 * bind(), connect() and sendmsg() to an address: each tells more of the flow.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "marks.h"
#include "memo.h"
#include "mptcp.h"

static __always_inline void set_user_address(__u8 address[16], struct bpf_sock_addr *ctx, int v6)
{
	__u32 *w = (__u32 *)address;

	if (!v6) {
		set_mapped(address, ctx->user_ip4);
		return;
	}
	w[0] = ctx->user_ip6[0];
	w[1] = ctx->user_ip6[1];
	w[2] = ctx->user_ip6[2];
	w[3] = ctx->user_ip6[3];
}

static __always_inline __u16 user_port(struct bpf_sock_addr *ctx)
{
	return bpf_ntohs((__u16)ctx->user_port);
}

/* 0 refuses with EPERM. */
static __always_inline int refused(struct hq_flow *flow, struct flow_key *key,
				   struct hq_decision decision)
{
	if (!decision.refuse || decision.provisional)
		return 0;
	count_refused(flow, key, decision);
	return 1;
}

/*
 * What bind() makes of the socket, after this hook: sk_ipv6only, __inet6_bind().
 * Of a socket that is bound already it makes nothing: it fails.
 */
static __always_inline void note_bind(struct hq_flow *flow, struct bpf_sock *sk,
				      const struct flow_key *to, __u16 port, int v6)
{
	if (sk->src_port)
		return;
	flow->bound_port = port;
	if (v6 && !is_any(to->local) && !is_mapped(to->local))
		flow->bits |= HQ_FLOW_IPV6_ONLY;
	else
		flow->bits &= ~HQ_FLOW_IPV6_ONLY;
}

static __always_inline int on_bind(struct bpf_sock_addr *ctx, int v6)
{
	__u32 generation = active_generation();
	struct bpf_sock *sk = ctx->sk;
	struct hq_flow *flow;
	struct flow_key key;

	flow = sk ? flow_of(sk) : NULL;
	if (!flow)
		return 1;
	key_from_sock(&key, flow, sk);
	set_user_address(key.local, ctx, v6);
	note_bind(flow, sk, &key, user_port(ctx), v6);
	if (!generation)
		return 1;
	key_set_local(&key, user_port(ctx));
	if (flow->protocol != IPPROTO_TCP && user_port(ctx))
		key_set_direction(&key, HQ_INBOUND);
	settle(ctx, flow, &key, decide(flow, &key, generation));
	return 1;
}

/*
 * The kernel takes a wildcard for this host, after this hook: for its own address
 * (ip_route_output_key_hash_rcu()), or for that of loopback (tcp_v6_connect(),
 * __ip6_datagram_connect(), udpv6_sendmsg()).
 */
static __always_inline void resolve_wildcard(__u8 to[16], const __u8 local[16])
{
	if (!is_any(to))
		return;
	if (is_mapped(to) && !is_any(local))
		__builtin_memcpy(to, local, 16);
	else if (is_mapped(to) || is_mapped(local))
		set_mapped(to, bpf_htonl(INADDR_LOOPBACK));
	else
		to[15] = 1;
}

/* The flow as connect(), or sendmsg() to other than the peer, makes it. */
static __always_inline void key_from_destination(struct flow_key *key, struct bpf_sock_addr *ctx,
						 const struct hq_flow *flow, __u32 generation,
						 int v6, int connected)
{
	__u8 to[16] __attribute__((aligned(8)));

	key_from_sock(key, flow, ctx->sk);
	set_user_address(to, ctx, v6);
	resolve_wildcard(to, key->local);
	connected |= key->remote_port == user_port(ctx) && same_address(key->remote, to);
	__builtin_memcpy(key->remote, to, sizeof(to));
	key_set_remote(key, user_port(ctx));
	if (flow->protocol == IPPROTO_TCP) {
		key_set_direction(key, HQ_OUTBOUND);
		key_set_inbound_dscp(key, HQ_DSCP_NONE);
		return;
	}
	key_set_direction(key, datagram_direction(flow, key->local_port, connected));
	if (policy_reads(generation, HQ_DIM_INBOUND_DSCP))
		key_set_inbound_dscp(
			key, peer_dscp(bpf_get_socket_cookie(ctx), key->remote, key->remote_port));
}

/* TCP is decided when its own port is known too (BPF_SOCK_OPS_TCP_CONNECT_CB); here it may fail. */
static __always_inline int decides_at_connect(const struct hq_flow *flow, __u32 generation)
{
	const struct hq_header *h = policy_header_of(generation);

	return flow->protocol != IPPROTO_TCP || (h && (h->features & HQ_FEATURE_REFUSE));
}

static __always_inline int on_connect(struct bpf_sock_addr *ctx, int v6)
{
	__u32 generation = active_generation();
	struct hq_decision decision;
	struct hq_flow *flow;
	struct flow_key key;

	flow = ctx->sk ? flow_of_any(ctx->sk) : NULL;
	if (!flow || !generation || !decides_at_connect(flow, generation))
		return 1;
	key_from_destination(&key, ctx, flow, generation, v6, 1);
	decision = decide(flow, &key, generation);
	if (refused(flow, &key, decision))
		return 0;
	if (flow->protocol == IPPROTO_TCP)
		return 1;
	flow->bits |= HQ_FLOW_CONNECTED;
	if (is_any(key.local)) /* a bind() failed, or there was none */
		flow->bits &= ~HQ_FLOW_IPV6_ONLY;
	/* connect() may still fail and leave the old peer: the first packet tells. */
	decision.provisional = 1;
	settle(ctx, flow, &key, decision);
	return 1;
}

/* Only refuses: a datagram that may go is classified at egress. */
static __always_inline int on_sendmsg(struct bpf_sock_addr *ctx, int v6)
{
	__u32 generation = active_generation();
	struct hq_decision decision;
	struct hq_flow *flow;
	struct flow_key key;

	flow = ctx->sk ? flow_of(ctx->sk) : NULL;
	if (!flow || !generation)
		return 1;
	key_from_destination(&key, ctx, flow, generation, v6, 0);
	decision = recall(flow, &key, generation);
	if (decision.refuse && is_older_than_rule(flow, decision))
		return 1;
	return !refused(flow, &key, decision);
}

#define ADDRESS_HOOK(name, body, v6)                                                               \
	SEC("cgroup/" #name) int name(struct bpf_sock_addr *ctx)                                   \
	{                                                                                          \
		return body(ctx, v6);                                                              \
	}

ADDRESS_HOOK(bind4, on_bind, 0)
ADDRESS_HOOK(bind6, on_bind, 1)
ADDRESS_HOOK(connect4, on_connect, 0)
ADDRESS_HOOK(connect6, on_connect, 1)
ADDRESS_HOOK(sendmsg4, on_sendmsg, 0)
ADDRESS_HOOK(sendmsg6, on_sendmsg, 1)

char LICENSE[] SEC("license") = "GPL";
