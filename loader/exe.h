/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * An executable's device and inode as the kernel's own structures have them:
 * stat(2) is answered by overlayfs and btrfs with numbers of their making.
 */
#ifndef HOSTQOS_LOADER_EXE_H
#define HOSTQOS_LOADER_EXE_H

#include <linux/types.h>

/* The loaded program `exe_files` that exe_resolve() asks. */
void exe_use_program(int program);

/* A policy_exe_fn (policy.h). */
int exe_resolve(const char *path, __u32 *device, __u64 *inode);

#endif
