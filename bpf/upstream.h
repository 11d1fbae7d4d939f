/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whom a connection is opened for: the inbound connection that its thread
 * served last. upstream.bpf.c, loaded only where a class mirrors it, finds that
 * out; the others read it here.
 */
#ifndef HOSTQOS_BPF_UPSTREAM_H
#define HOSTQOS_BPF_UPSTREAM_H

#include "maps.h"

struct served {
	__u8 peer[16];
	__u8 dscp; /* of its SYN, or HQ_DSCP_NONE */
	__u8 pad[7];
};

/* `upstreams`: of a socket that is connected. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct served);
} upstreams MAP;

/* The socket may be of any type that the calling program type has. */
#define upstream_of(sk) ((struct served *)bpf_sk_storage_get(&upstreams, sk, 0, 0))

#endif
