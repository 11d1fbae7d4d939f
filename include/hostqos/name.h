/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Names as keys: the hash of an executable's base name, or of a rule's.
 */
#ifndef HOSTQOS_NAME_H
#define HOSTQOS_NAME_H

#include <linux/types.h>

/* FNV-1a, 64 bits: start with HQ_NAME_HASH_INIT, add the name's bytes without NUL. */
#define HQ_NAME_HASH_INIT 0xcbf29ce484222325ULL

static inline __u64 hq_name_hash_add(__u64 hash, __u8 byte)
{
	return (hash ^ byte) * 0x100000001b3ULL;
}

#endif
