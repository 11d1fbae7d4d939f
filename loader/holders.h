/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Which sockets a process holds, by their cookies.
 */
#ifndef HOSTQOS_LOADER_HOLDERS_H
#define HOSTQOS_LOADER_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/types.h>

struct holders {
	__u64 *cookies;
	size_t count;
};

/* 0 or -errno, reported. */
int holders_read(struct holders *h, __u32 pid);
bool holders_have(const struct holders *h, __u64 cookie);
void holders_free(struct holders *h);

#endif
