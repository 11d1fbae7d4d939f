/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <unistd.h>

#include "container.h"
#include "process.h"

int container_new(struct testbed *tb)
{
	struct place near = near_place(tb, NULL);
	int container = netns_new();

	run(tb, &near,
	    "ip link add " OUTER_IF " index 30 type veth peer name " INNER_IF
	    " index 40 netns /proc/%d/fd/%d",
	    getpid(), container);
	run(tb, &near, "ip link set " OUTER_IF " up");
	run(tb, &(struct place){.netns = container}, "ip link set lo up");
	run(tb, &(struct place){.netns = container}, "ip link set " INNER_IF " up");
	return container;
}

int container_routed(struct testbed *tb)
{
	struct place near = near_place(tb, NULL), far = far_place(tb);
	int container = container_new(tb);
	struct place inner = {.netns = container};

	netns_sysctl(tb->near, "ipv4/ip_forward", "1");
	netns_sysctl(tb->near, "ipv6/conf/all/forwarding", "1");
	run(tb, &near, "ip address add " OUTER4 "/24 dev " OUTER_IF);
	run(tb, &near, "ip address add " OUTER6 "/64 dev " OUTER_IF " nodad");
	/* ndisc_solicit() asks from these for others' packets; the testbed makes none. */
	run(tb, &near, "ip address add fe80::1/64 dev " NEAR_IF " nodad");
	run(tb, &near, "ip address add fe80::1/64 dev " OUTER_IF " nodad");
	run(tb, &inner, "ip address add " INNER4 "/24 dev " INNER_IF);
	run(tb, &inner, "ip address add " INNER6 "/64 dev " INNER_IF " nodad");
	run(tb, &inner, "ip route add default via " OUTER4);
	run(tb, &inner, "ip route add default via " OUTER6);
	run(tb, &far, "ip route add 10.9.2.0/24 via " NEAR4);
	run(tb, &far, "ip route add fd00:9:2::/64 via " NEAR6);
	return container;
}
