/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A container behind a veth: its packets pass through the near host.
 *
 *	inner0 ----veth---- outer0 | near | near0 ----veth---- far0
 */
#ifndef HOSTQOS_TEST_CONTAINER_H
#define HOSTQOS_TEST_CONTAINER_H

#include "testbed.h"

#define INNER_IF "inner0"
#define OUTER_IF "outer0"
#define INNER4	 "10.9.2.2"
#define INNER6	 "fd00:9:2::2"
#define OUTER4	 "10.9.2.1"
#define OUTER6	 "fd00:9:2::1"

/* The container's namespace, joined to near by a veth pair. */
int container_new(struct testbed *tb);
/* Its network is its own, and near routes. */
int container_routed(struct testbed *tb);

#endif
