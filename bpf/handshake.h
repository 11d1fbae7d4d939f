/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The DSCP of a handshake's segment while the kernel works on it. Under SYN
 * cookies it keeps nothing of a SYN: neither its SYN-ACK nor the connection
 * that the ACK opens can be asked for the inbound DSCP. Both are made in the
 * very softirq that took the segment in (tcp_conn_request(),
 * cookie_v4_check()), but the SYN-ACK may have to wait until its neighbour's
 * link address is known (neigh_resolve_output()), and meets tc egress when
 * others have come, on any CPU.
 */
#ifndef HOSTQOS_BPF_HANDSHAKE_H
#define HOSTQOS_BPF_HANDSHAKE_H

#include "classify.h"

#define HANDSHAKE_BITS 14

/* One word, so that it is read and replaced whole. */
struct handshake {
	__u64 dscp : 6;
	__u64 ends : 58; /* of key_hash_ends() */
};

/*
 * `handshakes`: the latest segments that listeners got, by their ends, for
 * policies that read inbound_dscp. In a flood each is forgotten by the time
 * that as many others have come, which is after its answer, save for a wait.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << HANDSHAKE_BITS);
	__type(key, __u32);
	__type(value, struct handshake);
} handshakes MAP;

union handshake_word {
	struct handshake handshake;
	__u64 word;
};

static __always_inline __u64 *handshake_slot(__u64 hash)
{
	__u32 slot = hash >> (64 - HANDSHAKE_BITS);

	return bpf_map_lookup_elem(&handshakes, &slot);
}

static __always_inline void handshake_remember(const struct flow_key *key, __u8 dscp)
{
	__u64 hash = key_hash_ends(key, 0), *slot = handshake_slot(hash);
	union handshake_word now = {.handshake = {.dscp = dscp, .ends = hash}};

	if (slot)
		*(volatile __u64 *)slot = now.word;
}

/* HQ_DSCP_NONE where the segment is forgotten. */
static __always_inline __u8 handshake_dscp(const struct flow_key *key)
{
	__u64 hash = key_hash_ends(key, 0), *slot = handshake_slot(hash);
	union handshake_word wanted = {.handshake.ends = hash}, found = {};

	if (slot)
		found.word = *(volatile __u64 *)slot;
	return found.handshake.ends == wanted.handshake.ends ? found.handshake.dscp : HQ_DSCP_NONE;
}

#endif
