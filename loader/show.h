/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#ifndef HOSTQOS_LOADER_SHOW_H
#define HOSTQOS_LOADER_SHOW_H

#include "instance.h"

/* `show flows`: live sockets with their class, rule and reason. 0 or -errno, reported. */
int show_flows(const struct instance *in, const struct in_force *f, bool json);

/* {name, value}; the value of `keep` is null. */
struct json_object *dscp_json(__u8 dscp);

#endif
