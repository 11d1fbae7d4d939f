/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Packets built by hand, an Ethernet header first.
 */
#ifndef HOSTQOS_SELFTESTS_PACKET_H
#define HOSTQOS_SELFTESTS_PACKET_H

#include <stddef.h>
#include <stdint.h>

struct packet_spec {
	int family;	 /* 4 or 6 */
	uint8_t dsfield; /* DSCP and ECN */
	uint8_t protocol;
	uint16_t source_port, destination_port;
	const char *source, *destination; /* NULL: addresses of the family's documentation range */
	unsigned int vlan_tags;		  /* in the data */
	unsigned int options;		  /* IPv4: octets of NOP, a multiple of 4 */
	unsigned int extensions;	  /* IPv6: hop-by-hop headers of 8 octets */
	int fragment;			  /* 0: whole, 1: first, 2: a later one */
	uint32_t fragment_id;
	uint32_t flow_label;
	unsigned int payload;
};

struct built {
	uint8_t bytes[4096];
	unsigned int length;
	unsigned int network; /* offset of the IP header */
};

void packet_build(struct built *b, const struct packet_spec *spec);

/* Of the IP header at b->network in bytes. */
uint8_t packet_dsfield(const struct built *b, const uint8_t *bytes);
int packet_checksum_right(const struct built *b, const uint8_t *bytes);

#endif
