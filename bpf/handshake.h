/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The DSCP of a handshake's segment while the kernel works on it. Under SYN
 * cookies it keeps nothing of a SYN: neither its SYN-ACK nor the connection
 * that the ACK opens can be asked for the inbound DSCP. Both are made in the
 * very softirq that took the segment in (tcp_conn_request(),
 * cookie_v4_check()), so one segment to a CPU is all there is to remember.
 */
#ifndef HOSTQOS_BPF_HANDSHAKE_H
#define HOSTQOS_BPF_HANDSHAKE_H

#include "classify.h"

/* `handshakes`: the latest segment that a listener got, for policies that read inbound_dscp. */
struct handshake {
	__u8 remote[16];
	__u16 remote_port;
	__u16 local_port;
	__u8 dscp;
	__u8 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct handshake);
} handshakes MAP;

static __always_inline void handshake_remember(const struct flow_key *key, __u8 dscp)
{
	__u32 zero = 0;
	struct handshake *h = bpf_map_lookup_elem(&handshakes, &zero);

	if (!h)
		return;
	__builtin_memcpy(h->remote, key->remote, sizeof(h->remote));
	h->remote_port = key->remote_port;
	h->local_port = key->local_port;
	h->dscp = dscp;
}

/* HQ_DSCP_NONE where the latest segment was another connection's. */
static __always_inline __u8 handshake_dscp(const struct flow_key *key)
{
	__u32 zero = 0;
	struct handshake *h = bpf_map_lookup_elem(&handshakes, &zero);

	if (!h || h->remote_port != key->remote_port || h->local_port != key->local_port ||
	    !same_address(h->remote, key->remote))
		return HQ_DSCP_NONE;
	return h->dscp;
}

#endif
