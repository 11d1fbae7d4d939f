// SPDX-License-Identifier: GPL-2.0-only
/*
 * tc egress, for the two kinds of devices.
 */
#include "egress.h"

SEC("tc")
int egress_ether(struct __sk_buff *skb)
{
	return egress(skb, ETH_HLEN);
}

/* Devices without a link header. */
SEC("tc")
int egress_ip(struct __sk_buff *skb)
{
	return egress(skb, 0);
}

char LICENSE[] SEC("license") = "GPL";
