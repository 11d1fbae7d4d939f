/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket's own marks: IP_TOS, IPV6_TCLASS, SO_PRIORITY, SO_MAX_PACING_RATE.
 * Set on the socket they cost nothing per packet, reach what the kernel sends
 * in the connection's name (TIME_WAIT ACKs) and are inherited by tunnels. What
 * the application has set, or the socket began with, is kept in its flow, is
 * what counts where the class honours it, and is given back when a class does
 * not want the option any more.
 */
#ifndef HOSTQOS_BPF_OPTION_H
#define HOSTQOS_BPF_OPTION_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <hostqos/app_dscp.h>

#include "kernel.h"

#define SOL_SOCKET	   1
#define SO_PRIORITY	   12
#define SO_MAX_PACING_RATE 47
#define SOL_TCP		   6
#define TCP_SAVE_SYN	   27
#define SOL_IP		   0
#define IP_TOS		   1
#define SOL_IPV6	   41
#define IPV6_TCLASS	   67

#define WINDOW_UNLIMITED 0x7fffffff

/* Whatever bpf_setsockopt() takes in the calling program type. */
typedef void *hq_socket_ref;

static __always_inline int hq_option_get(hq_socket_ref s, int level, int name, __s32 *value)
{
	return bpf_getsockopt(s, level, name, value, sizeof(*value));
}

static __always_inline int hq_option_set(hq_socket_ref s, int level, int name, __s32 value)
{
	return bpf_setsockopt(s, level, name, &value, sizeof(value));
}

#define HQ_DSFIELD_MASK ((__s32)(0xff & ~HQ_ECN_MASK))

/* In which of an option's values an application is honoured. */
static __always_inline int hq_keeps_own(const struct hq_saved *saved, __u32 bit, __s32 own,
					__s32 mask, __u64 honored)
{
	__u32 value = mask == HQ_DSFIELD_MASK ? hq_dscp(own) : (__u32)own;

	return honored && hq_asks(saved, bit, value) && hq_honors(honored, value);
}

/*
 * Make one option `want` in the bits of `mask`, or give it back where !wanted,
 * or where the application asked for a value of its own that is `honored`, or
 * to be slower; a pacing rate of 0 is none (tcp_update_skb_after_send()).
 * *was and *set are the flow's memory of it, `bit` says whether they are in
 * use. A change that no program saw (a 32-bit process's, see sockopt.bpf.c) is
 * the application's. 0 or -errno.
 */
static __always_inline int hq_mark_option(hq_socket_ref s, struct hq_saved *saved, __u32 bit,
					  int level, int name, __s32 *was, __s32 *set, __s32 mask,
					  int wanted, __s32 want, __u64 honored)
{
	__s32 current = 0;
	int err;

	if (!wanted && !(saved->bits & bit))
		return 0;
	err = hq_option_get(s, level, name, &current);
	if (err)
		return err;
	if (!(saved->bits & bit) || ((current ^ *set) & mask))
		*was = current;
	if (!wanted || hq_keeps_own(saved, bit, *was, mask, honored) ||
	    (bit == HQ_SAVED_PACING && *was && (__u32)*was < (__u32)want))
		want = *was;
	want = (current & ~mask) | (want & mask);
	if (want != current)
		err = hq_option_set(s, level, name, want);
	if (err)
		return err;
	*set = want;
	saved->bits = wanted ? saved->bits | bit : saved->bits & ~bit;
	return 0;
}

/* IPv4's DS field, or that of an IPv6 socket for its IPv4 peers. */
static __always_inline int hq_mark_tos(hq_socket_ref s, struct hq_saved *saved, __u8 dscp,
				       __u64 honored)
{
	return hq_mark_option(s, saved, HQ_SAVED_TOS, SOL_IP, IP_TOS, &saved->tos, &saved->set_tos,
			      HQ_DSFIELD_MASK, dscp != HQ_KEEP, dscp << 2, honored);
}

static __always_inline int hq_mark_tclass(hq_socket_ref s, struct hq_saved *saved, __u8 dscp,
					  __u64 honored)
{
	return hq_mark_option(s, saved, HQ_SAVED_TCLASS, SOL_IPV6, IPV6_TCLASS, &saved->tclass,
			      &saved->set_tclass, HQ_DSFIELD_MASK, dscp != HQ_KEEP, dscp << 2,
			      honored);
}

/* 0, or -errno where the socket refused the DS field of its own family. */
static __always_inline int hq_mark_dsfield(hq_socket_ref s, struct hq_flow *flow, __u8 dscp,
					   __u64 honored)
{
	/* Where the kernel lets an IPv6 socket have no IP_TOS, tc egress marks. */
	int err4 = hq_mark_tos(s, &flow->saved, flow->bits & HQ_FLOW_IPV6_ONLY ? HQ_KEEP : dscp,
			       honored);

	return flow->family == AF_INET6 ? hq_mark_tclass(s, &flow->saved, dscp, honored) : err4;
}

/*
 * DS field and priority of a class; `dscp` is its dscp or its syn_ack. Setting
 * IP_TOS changes sk_priority as a side effect (do_ip_setsockopt(),
 * rt_tos2priority()); that is undone, or replaced by the class's own.
 */
static __always_inline int hq_mark(hq_socket_ref s, struct hq_flow *flow,
				   const struct hq_class *class, __u8 dscp)
{
	struct hq_saved *saved = &flow->saved;
	__s32 before = 0, after = 0;
	int err;

	if (dscp == HQ_KEEP && class->priority == HQ_KEEP && !(saved->bits & HQ_SAVED_MARKS))
		return 0;
	err = hq_option_get(s, SOL_SOCKET, SO_PRIORITY, &before);
	if (err)
		return err;
	err = hq_mark_dsfield(s, flow, dscp, class->honored);
	if (!hq_option_get(s, SOL_SOCKET, SO_PRIORITY, &after) && after != before)
		hq_option_set(s, SOL_SOCKET, SO_PRIORITY, before);
	hq_mark_option(s, saved, HQ_SAVED_PRIORITY, SOL_SOCKET, SO_PRIORITY, &saved->priority,
		       &saved->set_priority, ~0, class->priority != HQ_KEEP, class->priority,
		       hq_honored_priorities(class));
	return err;
}

/* SO_MAX_PACING_RATE in bytes/s of payload; 0 gives the socket its own back. */
static __always_inline int hq_mark_pacing(hq_socket_ref s, struct hq_saved *saved, __u32 rate)
{
	return hq_mark_option(s, saved, HQ_SAVED_PACING, SOL_SOCKET, SO_MAX_PACING_RATE,
			      (__s32 *)&saved->pacing, (__s32 *)&saved->set_pacing, ~0, rate != 0,
			      rate, 0);
}

/*
 * TCP's congestion window, at most so many segments; 0: as many as it likes
 * again. Sets snd_ssthresh as well.
 */
static __always_inline void hq_mark_window(hq_socket_ref s, struct hq_saved *saved, __u32 segments)
{
	if (segments == saved->window ||
	    hq_option_set(s, SOL_TCP, TCP_BPF_SNDCWND_CLAMP, segments ?: WINDOW_UNLIMITED))
		return;
	saved->window = segments;
}

#endif
