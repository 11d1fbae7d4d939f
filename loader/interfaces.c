/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>
#include <linux/if_arp.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <netlink/route/classifier.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>

#include "interfaces.h"
#include "log.h"
#include "output.h"
#include "policy.h"

static int route_socket(struct nl_sock **sock)
{
	int err;

	*sock = nl_socket_alloc();
	if (!*sock)
		return -ENOMEM;
	err = nl_connect(*sock, NETLINK_ROUTE);
	if (!err)
		return 0;
	nl_socket_free(*sock);
	return -EIO; /* libnl's own error numbers stay here */
}

static int link_cache(struct nl_cache **links)
{
	struct nl_sock *sock;
	int err = route_socket(&sock);

	if (err)
		return err;
	err = rtnl_link_alloc_cache(sock, AF_UNSPEC, links);
	nl_socket_free(sock);
	return err ? -EIO : 0;
}

/* The next device of the cache, from the first if `link` is NULL. */
static struct rtnl_link *next_link(struct nl_cache *links, struct rtnl_link *link)
{
	struct nl_object *o = link ? nl_cache_get_next(OBJ_CAST(link)) : nl_cache_get_first(links);

	return (struct rtnl_link *)o;
}

static bool is_master(struct nl_cache *links, int ifindex)
{
	struct rtnl_link *l = NULL;

	while ((l = next_link(links, l)))
		if (rtnl_link_get_master(l) == ifindex)
			return true;
	return false;
}

/*
 * Does the device send through another one of this namespace? Then its
 * packets are seen there. A veth's IFLA_LINK is its peer, not a lower device.
 */
static bool is_upper(struct nl_cache *links, struct rtnl_link *l)
{
	const char *kind = rtnl_link_get_type(l);
	int netns;

	if (rtnl_link_get_link(l) && rtnl_link_get_link_netnsid(l, &netns) &&
	    (!kind || strcmp(kind, "veth")))
		return true;
	return is_master(links, rtnl_link_get_ifindex(l));
}

static bool chosen_by_default(struct nl_cache *links, struct rtnl_link *l)
{
	return rtnl_link_get_arptype(l) != ARPHRD_LOOPBACK && !is_upper(links, l);
}

/* Marks in matched[] which patterns the name matches. Where all exclude, `otherwise` stands. */
static bool chosen_by_pattern(const struct policy *policy, const char *name, bool *matched,
			      bool otherwise)
{
	bool included = otherwise, excluded = false;
	size_t i;

	for (i = 0; i < policy->interface_count; i++)
		included &= policy->interfaces[i].exclude;
	for (i = 0; i < policy->interface_count; i++) {
		const struct policy_interface *p = &policy->interfaces[i];

		if (fnmatch(p->glob, name, 0))
			continue;
		matched[i] = true;
		if (p->exclude)
			excluded = true;
		else
			included = true;
	}
	return included && !excluded;
}

/* Where a packet of this kind of device begins, or NULL if hostqos cannot tell. */
static const char *egress_program(int arptype)
{
	switch (arptype) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		return "egress_ether";
	case ARPHRD_NONE:
	case ARPHRD_PPP:
	case ARPHRD_RAWIP:
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
	case ARPHRD_IP6GRE:
		return "egress_ip";
	default:
		return NULL;
	}
}

static int append(struct interfaces *chosen, const struct interface *interface)
{
	struct interface *list = realloc(chosen->list, (chosen->count + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	chosen->list = list;
	list[chosen->count++] = *interface;
	return 0;
}

static int choose(struct interfaces *chosen, struct rtnl_link *l)
{
	struct interface interface = {.ifindex = rtnl_link_get_ifindex(l),
				      .program = egress_program(rtnl_link_get_arptype(l))};

	if (!interface.program) {
		log_warning("interface %s is left out: its link layer (ARPHRD %u) is not known",
			    rtnl_link_get_name(l), rtnl_link_get_arptype(l));
		return 0;
	}
	snprintf(interface.name, sizeof(interface.name), "%s", rtnl_link_get_name(l));
	return append(chosen, &interface);
}

static int by_ifindex(const void *a, const void *b)
{
	__u32 ia = ((const struct interface *)a)->ifindex;
	__u32 ib = ((const struct interface *)b)->ifindex;

	return ia < ib ? -1 : ia > ib;
}

int interfaces_choose(struct interfaces *chosen, const struct policy *policy, struct diag *diag)
{
	bool *matched = calloc(policy->interface_count + 1, sizeof(*matched));
	struct rtnl_link *l = NULL;
	struct nl_cache *links;
	size_t i;
	int err;

	memset(chosen, 0, sizeof(*chosen));
	if (!matched)
		return -ENOMEM;
	err = link_cache(&links);
	if (err) {
		free(matched);
		return err;
	}
	while (!err && (l = next_link(links, l)))
		if (chosen_by_pattern(policy, rtnl_link_get_name(l), matched,
				      chosen_by_default(links, l)))
			err = choose(chosen, l);
	if (chosen->count)
		qsort(chosen->list, chosen->count, sizeof(*chosen->list), by_ifindex);
	for (i = 0; i < policy->interface_count; i++)
		if (!matched[i] && !policy->interfaces[i].exclude)
			diag_warning(diag, policy->interfaces[i].at,
				     "no interface of this network namespace matches '%s'",
				     policy->interfaces[i].glob);
	nl_cache_free(links);
	free(matched);
	if (err)
		interfaces_free(chosen);
	return err;
}

int interfaces_add(struct interfaces *chosen, const struct interfaces *more)
{
	size_t i;
	int err = 0;

	for (i = 0; i < more->count && !err; i++)
		if (!interfaces_have(chosen, more->list[i].ifindex))
			err = append(chosen, &more->list[i]);
	if (chosen->count)
		qsort(chosen->list, chosen->count, sizeof(*chosen->list), by_ifindex);
	return err;
}

void interfaces_free(struct interfaces *chosen)
{
	free(chosen->list);
	memset(chosen, 0, sizeof(*chosen));
}

struct json_object *interfaces_json(const struct interfaces *chosen)
{
	struct json_object *names = json_object_new_array();
	size_t i;

	for (i = 0; i < chosen->count; i++)
		json_object_array_add(names, json_object_new_string(chosen->list[i].name));
	return names;
}

void interfaces_print(const struct interfaces *chosen)
{
	size_t i;

	printf("interfaces:");
	for (i = 0; i < chosen->count; i++)
		say(" %s", chosen->list[i].name);
	printf("%s\n", chosen->count ? "" : " none: sockets are marked, no packet is metered");
}

bool interfaces_have(const struct interfaces *chosen, __u32 ifindex)
{
	size_t i;

	for (i = 0; i < chosen->count; i++)
		if (chosen->list[i].ifindex == ifindex)
			return true;
	return false;
}

int interfaces_watch(struct nl_sock **sock)
{
	int err = route_socket(sock);

	if (err)
		return err;
	nl_socket_disable_seq_check(*sock); /* nobody asked for what comes */
	if (!nl_socket_set_nonblocking(*sock) &&
	    !nl_socket_add_memberships(*sock, RTNLGRP_LINK, RTNLGRP_NONE))
		return 0;
	nl_socket_free(*sock);
	return -EIO;
}

bool interfaces_changed(struct nl_sock *sock)
{
	int err = nl_recvmsgs_default(sock);
	bool told = err != -NLE_AGAIN; /* also that messages were lost */

	while (err != -NLE_AGAIN && err != -NLE_BAD_SOCK)
		err = nl_recvmsgs_default(sock);
	return told;
}

int interface_has_clsact(__u32 ifindex)
{
	struct nl_cache *qdiscs;
	struct rtnl_qdisc *q;
	struct nl_sock *sock;
	int err = route_socket(&sock);

	if (err)
		return err;
	err = rtnl_qdisc_alloc_cache(sock, &qdiscs);
	nl_socket_free(sock);
	if (err)
		return -EIO;
	/* The ingress qdisc has the same place, TC_H_CLSACT being TC_H_INGRESS. */
	q = rtnl_qdisc_get_by_parent(qdiscs, ifindex, TC_H_CLSACT);
	err = q != NULL;
	if (q)
		rtnl_qdisc_put(q);
	nl_cache_free(qdiscs);
	return err;
}

static int count_filters(struct nl_sock *sock, __u32 ifindex, __u32 parent)
{
	struct nl_cache *filters;
	int n, err = rtnl_cls_alloc_cache(sock, ifindex, parent, &filters);

	if (err)
		return -EIO;
	n = nl_cache_nitems(filters);
	nl_cache_free(filters);
	return n;
}

int interface_has_filters(__u32 ifindex)
{
	struct nl_sock *sock;
	int n, err = route_socket(&sock);

	if (err)
		return err;
	n = count_filters(sock, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS));
	if (!n)
		n = count_filters(sock, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS));
	nl_socket_free(sock);
	return n;
}

struct nl_cache *interface_filters(__u32 ifindex)
{
	__u32 egress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);
	struct nl_cache *filters;
	struct nl_sock *sock;
	int err = route_socket(&sock);

	if (err)
		return NULL;
	err = rtnl_cls_alloc_cache(sock, ifindex, egress, &filters);
	nl_socket_free(sock);
	return err ? NULL : filters;
}
