/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's own struct of a packet, at tc: what __sk_buff does not show.
 */
#ifndef HOSTQOS_BPF_SKB_H
#define HOSTQOS_BPF_SKB_H

#include <bpf/bpf_core_read.h>

#include "kernel.h"

/* libbpf 1.1 cannot link two object files that call one kfunc: one of them goes without. */
#ifdef WITHOUT_KFUNCS
#define can_cast_skb() 0
#define cast_skb(skb)  ((struct sk_buff *)NULL)
#else
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

/* Linux 6.2 and later have it; the verifier knows it by this number. */
enum special_kfunc_type { KF_bpf_cast_to_kern_ctx };

#define can_cast_skb() bpf_core_enum_value_exists(enum special_kfunc_type, KF_bpf_cast_to_kern_ctx)
#define cast_skb(skb)  ((struct sk_buff *)bpf_cast_to_kern_ctx(skb))
#endif

/* A field of it. A plain load costs a tenth of bpf_probe_read_kernel(). */
#define SKB_READ(skb, field)                                                                       \
	(can_cast_skb() ? cast_skb(skb)->field : BPF_CORE_READ((struct sk_buff *)(skb), field))

#endif
