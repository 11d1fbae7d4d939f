/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * tc filters of somebody else.
 */
#ifndef HOSTQOS_TEST_FILTER_H
#define HOSTQOS_TEST_FILTER_H

/* Attach a program at NEAR_IF's egress, from within near (netns_do()); makes clsact where needed.
 */
void filter_add(int program, unsigned int priority);

#endif
