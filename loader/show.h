/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#ifndef HOSTQOS_LOADER_SHOW_H
#define HOSTQOS_LOADER_SHOW_H

#include "instance.h"
#include "output.h"
#include "sockets.h"

/* `show flows`: live sockets with their class, rule and reason. 0 or -errno, reported. */
int show_flows(const struct instance *in, const struct in_force *f, bool json);

/* {name, value}; the value of `keep` is null. */
struct json_object *dscp_json(__u8 dscp);

/* The marks that an application asked for, and those that its class grants: "asked", "granted". */
void marks_json(struct json_object *o, const struct in_force *f, const struct hq_socket *s);
/* The DSCPs of both, for a table: of the family that the socket talks. */
void marks_cells(struct text_table *table, const struct in_force *f, const struct hq_socket *s);
__u8 granted_dscp(const struct in_force *f, const struct hq_socket *s);

#endif
