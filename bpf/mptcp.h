/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MPTCP (RFC 8684): the process has the MPTCP socket, which passed sock_create
 * and has the identity; all that is sent is sent by its subflows, TCP sockets
 * that the kernel makes without a hook (mptcp_subflow_create_socket()). Each
 * subflow is a flow of its own, by its own addresses and its owner's identity.
 */
#ifndef HOSTQOS_BPF_MPTCP_H
#define HOSTQOS_BPF_MPTCP_H

#include "flow.h"

/*
 * The MPTCP socket that owns the subflow; NULL for any other socket. The helper
 * takes whatever has IPPROTO_TCP for a struct tcp_sock: raw sockets too, as the
 * one by which the kernel sends RSTs, and reads past them.
 */
static __always_inline struct mptcp_sock *owner_of(struct bpf_sock *subflow)
{
	if (!bpf_core_type_exists(struct mptcp_sock) || subflow->type != SOCK_STREAM)
		return NULL;
	return bpf_skc_to_mptcp_sock(subflow);
}

/* What is known of a subflow that no hook has seen. */
static __always_inline void subflow_begin(struct hq_flow *flow, __u16 family, __u8 state,
					  int connected)
{
	flow->decision = (struct hq_decision){};
	flow->saved.bits = 0;
	flow->saved.window = flow->began = 0;
	flow->counted = 0;
	flow->inbound_dscp = flow->latest_dscp = HQ_DSCP_NONE;
	flow->trusted = flow->busy = 0;
	flow->family = family;
	flow->bits &= HQ_FLOW_ADOPTED | HQ_FLOW_DIRECTED | HQ_FLOW_INBOUND;
	if (state == TCP_LISTEN)
		flow->bits |= HQ_FLOW_LISTENER;
	else if (connected)
		flow->bits |= HQ_FLOW_CONNECTED;
}

/* The flow of a socket that has none yet: NULL, but for a subflow, which gets it of its owner. */
static __noinline struct hq_flow *flow_of_subflow(struct bpf_sock *sk)
{
	struct mptcp_sock *owner = owner_of(sk);
	struct hq_flow *known = owner ? flow_of(owner) : NULL, *flow;

	if (!known)
		return NULL;
	flow = bpf_sk_storage_get(&flows, sk, known, BPF_SK_STORAGE_GET_F_CREATE);
	if (flow)
		subflow_begin(flow, sk->family, sk->state, sk->dst_port);
	else
		fault(HQ_FAULT_STORAGE);
	return flow;
}

/*
 * `owners`: flows of MPTCP sockets for where the kernel shows nothing but their
 * address: to a subflow that joins, before it has a socket, and to the socket
 * iterators. The token (RFC 8684, 3.2) tells it from a later socket there.
 */
struct owner_key {
	__u64 socket;
	__u32 token;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct owner_key);
	__type(value, struct hq_flow);
} owners MAP;

static __always_inline void owner_remember(const void *socket, __u32 token,
					   const struct hq_flow *flow)
{
	struct owner_key key = {.socket = (__u64)socket, .token = token};

	bpf_map_update_elem(&owners, &key, flow, BPF_ANY);
}

static __always_inline void owner_forget(const void *socket, __u32 token)
{
	struct owner_key key = {.socket = (__u64)socket, .token = token};

	bpf_map_delete_elem(&owners, &key);
}

static __always_inline struct hq_flow *owner_find(const void *socket, __u32 token)
{
	struct owner_key key = {.socket = (__u64)socket, .token = token};

	return bpf_map_lookup_elem(&owners, &key);
}

/* The flow of any full socket that a hook is shown. */
static __always_inline struct hq_flow *flow_of_any(struct bpf_sock *sk)
{
	struct hq_flow *flow = flow_of(sk);

	return flow ?: flow_of_subflow(sk);
}

#endif
