/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Other programs that run at tc egress ahead of ours: a packet with which one
 * of them ends the chain is hidden from hostqos. Each is warned of.
 */
#ifndef HOSTQOS_LOADER_AHEAD_H
#define HOSTQOS_LOADER_AHEAD_H

#include <hostqos/abi.h>

/* Ahead of a program on tcx, after which comes all of clsact. */
void ahead_of_link(const char *interface, __u32 ifindex, __u32 program);

/* Ahead of a filter of clsact, in this network namespace. */
void ahead_of_filter(const char *interface, __u32 ifindex, const struct hq_interface *note);

#endif
