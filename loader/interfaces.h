/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Which network devices of this network namespace the policy governs.
 */
#ifndef HOSTQOS_LOADER_INTERFACES_H
#define HOSTQOS_LOADER_INTERFACES_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/if.h>
#include <linux/types.h>

struct json_object;
struct policy;
struct diag;

struct interface {
	__u32 ifindex;
	char name[IFNAMSIZ];
	const char *program; /* egress_ether or egress_ip, by the link layer */
};

struct interfaces {
	struct interface *list;
	size_t count;
};

/*
 * Those that match the patterns of `attach: interfaces`; without any, those
 * that are no other device's upper, but lo. Patterns that match nothing are
 * warned of in `diag`. 0 or -errno.
 */
int interfaces_choose(struct interfaces *chosen, const struct policy *policy, struct diag *diag);
void interfaces_free(struct interfaces *chosen);

/* Those of `more` too. 0 or -ENOMEM. */
int interfaces_add(struct interfaces *chosen, const struct interfaces *more);

/* Their names, for people and for programs. */
struct json_object *interfaces_json(const struct interfaces *chosen);
void interfaces_print(const struct interfaces *chosen);
bool interfaces_have(const struct interfaces *chosen, __u32 ifindex);

/*
 * A socket that tells when links of this network namespace appear, change or
 * go. interfaces_changed() empties it: did it tell anything? 0 or -errno.
 */
struct nl_sock;
int interfaces_watch(struct nl_sock **sock);
bool interfaces_changed(struct nl_sock *sock);

/* Of an interface of this network namespace; has it a clsact or ingress qdisc, any filters there?
 */
int interface_has_clsact(__u32 ifindex);
int interface_has_filters(__u32 ifindex);

/* The filters of its clsact at egress, to be freed; NULL where they cannot be told. */
struct nl_cache;
struct nl_cache *interface_filters(__u32 ifindex);

#endif
