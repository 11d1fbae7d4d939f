// SPDX-License-Identifier: GPL-2.0-only
/*
 * TCP: a listener, an outgoing connection before its SYN, a connection made.
 */
#include <linux/bpf.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_helpers.h>

#include "handshake.h"
#include "marks.h"
#include "mptcp.h"
#include "pacing.h"

#define TCP_BPF_SYN_IP 1006

/*
 * DSCP of the SYN that opened an accepted connection, kept by TCP_SAVE_SYN.
 * Asked into a buffer smaller than the SYN, getsockopt fills the buffer and
 * returns -ENOSPC (bpf_sock_ops_get_syn()).
 */
static __always_inline __u8 syn_dscp(struct bpf_sock_ops *ctx)
{
	__u8 head[sizeof(struct iphdr)] = {};
	int err = bpf_getsockopt(ctx, SOL_TCP, TCP_BPF_SYN_IP, head, sizeof(head));

	if (err < 0 && !head[0])
		return HQ_DSCP_NONE;
	return hq_dscp(head[0] >> 4 == 6 ? hq_ip6_get_dsfield(head) : head[1]);
}

static __always_inline void on_listen(struct bpf_sock_ops *ctx, struct hq_flow *flow,
				      struct flow_key *key, __u32 generation)
{
	const struct hq_header *h = policy_header_of(generation);

	flow->bits |= HQ_FLOW_LISTENER;
	if (h)
		mark_syns(ctx, flow, h->features & HQ_FEATURE_INBOUND_DSCP);
	settle(ctx, flow, key, decide(flow, key, generation));
}

/*
 * Both ends are known. What mirrors the latest packet has its socket's own mark
 * brought up to date when it closes: a TIME_WAIT's ACKs bear that (tcp_time_wait()).
 */
static __always_inline void settle_connection(struct bpf_sock_ops *ctx, struct hq_flow *flow,
					      struct flow_key *key, __u32 generation)
{
	struct hq_decision decision = decide(flow, key, generation);
	const struct hq_class *class = policy_class_of(generation, decision.class);
	struct bpf_sock *sk = ctx->sk;

	if (sk)
		mirror_settle(flow, sk, decision, key->remote);
	settle(ctx, flow, key, decision);
	if (class && class->mirror == HQ_MIRROR_LATEST)
		bpf_sock_ops_cb_flags_set(ctx,
					  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* Both ends are known, and the SYN is not built yet (tcp_connect()). */
static __always_inline void on_connect(struct bpf_sock_ops *ctx, struct hq_flow *flow,
				       struct flow_key *key, __u32 generation)
{
	flow->bits = (flow->bits & ~HQ_FLOW_LISTENER) | HQ_FLOW_CONNECTED;
	flow->inbound_dscp = flow->latest_dscp = HQ_DSCP_NONE;
	flow->began = 0;
	settle_connection(ctx, flow, key, generation);
}

/* A subflow that joins may have come to another's listener than its owner's. */
static __always_inline void take_identity(struct hq_flow *flow, struct bpf_sock *sk)
{
	struct mptcp_sock *owner = owner_of(sk);
	struct hq_flow *known = owner ? flow_of(owner) : NULL;

	if (!known)
		return;
	flow->id = known->id;
	owner_remember(owner, owner->token, known);
}

/* The socket begins as its listener's copy (BPF_F_CLONE), but it is another flow. */
static __always_inline void on_accept(struct bpf_sock_ops *ctx, struct hq_flow *flow,
				      struct flow_key *key, __u32 generation)
{
	flow->bits = (flow->bits & ~HQ_FLOW_LISTENER) | HQ_FLOW_CONNECTED;
	flow->inbound_dscp = syn_dscp(ctx);
	/* No SYN was kept though that was asked: SYN cookies. The ACK stands for it. */
	if (flow->inbound_dscp == HQ_DSCP_NONE && (flow->saved.bits & HQ_SAVED_SYN))
		flow->inbound_dscp = handshake_dscp(key);
	flow->saved.bits &= ~HQ_SAVED_SYN;
	flow->latest_dscp = flow->inbound_dscp;
	flow->counted = 0;
	flow->began = 0;
	key_set_inbound_dscp(key, flow->inbound_dscp);
	settle_connection(ctx, flow, key, generation);
}

static __always_inline void on_state(struct bpf_sock_ops *ctx, struct hq_flow *flow)
{
	struct hq_decision decision = flow_load_decision(flow);
	const struct hq_class *class = policy_class_of(decision.generation, decision.class);

	if (class && class->mirror == HQ_MIRROR_LATEST)
		mark_socket(ctx, flow, decision);
}

SEC("sockops")
int socket_ops(struct bpf_sock_ops *ctx)
{
	__u32 generation = active_generation(), op = ctx->op;
	struct hq_flow *flow;
	struct flow_key key;
	struct bpf_sock *sk;

	if (op != BPF_SOCK_OPS_TCP_LISTEN_CB && op != BPF_SOCK_OPS_TCP_CONNECT_CB &&
	    op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB &&
	    op != BPF_SOCK_OPS_STATE_CB && op != BPF_SOCK_OPS_RTT_CB)
		return 1;
	sk = ctx->sk;
	flow = sk ? flow_of_any(sk) : NULL;
	if (!flow || !generation)
		return 1;
	if (op == BPF_SOCK_OPS_STATE_CB) {
		on_state(ctx, flow);
		return 1;
	}
	if (op == BPF_SOCK_OPS_RTT_CB) {
		pace(ctx, flow, sk, generation);
		return 1;
	}
	flow->bits |= HQ_FLOW_DIRECTED;
	if (op == BPF_SOCK_OPS_TCP_LISTEN_CB || op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		flow->bits |= HQ_FLOW_INBOUND;
	else
		flow->bits &= ~HQ_FLOW_INBOUND;
	key_from_sock(&key, flow, sk);
	if (!(flow->bits & HQ_FLOW_INBOUND))
		key_set_inbound_dscp(&key, HQ_DSCP_NONE);
	switch (op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		on_listen(ctx, flow, &key, generation);
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_connect(ctx, flow, &key, generation);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		pace(ctx, flow, sk, generation);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		take_identity(flow, sk);
		on_accept(ctx, flow, &key, generation);
		pace(ctx, flow, sk, generation);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
