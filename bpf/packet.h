/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A packet at tc egress while its class is found, and the fate of fragments.
 */
#ifndef HOSTQOS_BPF_PACKET_H
#define HOSTQOS_BPF_PACKET_H

#include <linux/pkt_cls.h>

#include "flow.h"
#include "parse.h"
#include "meter.h"

#define PASS_ON TC_ACT_UNSPEC /* TCX_NEXT has the same value: other programs go on after */

/* A packet on its way through the program. */
struct packet {
	struct network net;
	struct hq_decision decision;
	__u32 generation;
	__u8 syn_ack;  /* 1: bears the class's syn_ack DSCP */
	__u8 datagram; /* 1: of its socket's own protocol, not a tunnel's packet */
	__u8 alone;    /* 1: transport.key, not the flow, tells the peer */
	__u8 pad;
	struct transport transport;
};

/*
 * `fragments`: what became of a datagram's first fragment. The later ones have
 * no ports, and one datagram has one mark.
 */
struct fragment_key {
	__u8 local[16];
	__u8 remote[16];
	__u32 id;
	__u32 protocol;
};

struct fragment_fate {
	struct hq_decision decision;
	__u16 colour; /* enum colour */
	__u16 dscp;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct fragment_key);
	__type(value, struct fragment_fate);
} fragments MAP;

static __always_inline void fragment_key_init(struct fragment_key *key, const struct transport *t)
{
	__builtin_memcpy(key->local, t->key.local, 16);
	__builtin_memcpy(key->remote, t->key.remote, 16);
	key->id = t->fragment_id;
	key->protocol = t->protocol;
}

static __always_inline int is_fragment(const struct packet *p, int first)
{
	return p->datagram && p->transport.fragmented && p->transport.first == first;
}

static __noinline struct fragment_fate *fragment_find(const struct transport *t)
{
	struct fragment_key key;

	fragment_key_init(&key, t);
	return bpf_map_lookup_elem(&fragments, &key);
}

/* An own datagram had the same id before: the later ones of this one do not follow that. */
static __noinline int fragment_forget(const struct transport *t)
{
	struct fragment_key key;

	fragment_key_init(&key, t);
	return bpf_map_delete_elem(&fragments, &key);
}

static __noinline void fragment_remember(const struct packet *p, __u16 colour, __u8 dscp)
{
	struct fragment_fate fate = {.decision = p->decision, .colour = colour, .dscp = dscp};
	struct fragment_key key;

	fragment_key_init(&key, &p->transport);
	bpf_map_update_elem(&fragments, &key, &fate, BPF_ANY);
}

#endif
