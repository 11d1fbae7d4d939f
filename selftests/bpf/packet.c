// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <string.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ipv6.h>
#include <netinet/ip.h>

#include "packet.h"

static void put(struct built *b, const void *from, size_t length)
{
	memcpy(b->bytes + b->length, from, length);
	b->length += length;
}

static uint16_t ones_sum(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < length; i += 2)
		sum += bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void put_ethernet(struct built *b, const struct packet_spec *spec)
{
	uint16_t proto = htons(spec->family == 4 ? ETH_P_IP : ETH_P_IPV6);
	uint16_t tag[2] = {htons(ETH_P_8021Q), htons(5)};
	unsigned int i;

	put(b, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
	for (i = 0; i < spec->vlan_tags; i++)
		put(b, tag, sizeof(tag));
	put(b, &proto, sizeof(proto));
	b->network = b->length;
}

static void put_ip4(struct built *b, const struct packet_spec *spec)
{
	static const uint8_t nops[40] = {[0 ... 39] = 1};
	struct iphdr ip = {
		.version = 4,
		.ihl = 5 + spec->options / 4,
		.tos = spec->dsfield,
		.id = htons(spec->fragment_id),
		.ttl = 64,
		.protocol = spec->protocol,
		.tot_len = htons(20 + spec->options + 8 + spec->payload),
		.frag_off = htons(spec->fragment == 1	? IP_MF
				  : spec->fragment == 2 ? 64
							: 0),
	};
	uint16_t check;

	inet_pton(AF_INET, spec->source ?: "192.0.2.1", &ip.saddr);
	inet_pton(AF_INET, spec->destination ?: "198.51.100.1", &ip.daddr);
	put(b, &ip, sizeof(ip));
	put(b, nops, spec->options);
	check = htons(~ones_sum(b->bytes + b->network, ip.ihl * 4));
	memcpy(b->bytes + b->network + 10, &check, 2);
}

static void put_ip6(struct built *b, const struct packet_spec *spec)
{
	uint8_t extension[8] = {0, 0, 1, 4}, fragment[8] = {spec->protocol};
	uint32_t first = htonl(6u << 28 | (uint32_t)spec->dsfield << 20 | spec->flow_label);
	uint16_t place = htons(spec->fragment == 1 ? 1 : 64 * 8);
	uint32_t id = htonl(spec->fragment_id);
	uint8_t last = spec->fragment ? IPPROTO_FRAGMENT : spec->protocol;
	struct ipv6hdr ip = {.hop_limit = 64};
	unsigned int i;

	memcpy(&ip, &first, 4);
	ip.payload_len = htons(8 * spec->extensions + (spec->fragment ? 8 : 0) + 8 + spec->payload);
	ip.nexthdr = spec->extensions ? IPPROTO_HOPOPTS : last;
	inet_pton(AF_INET6, spec->source ?: "2001:db8::1", &ip.saddr);
	inet_pton(AF_INET6, spec->destination ?: "2001:db8:1::1", &ip.daddr);
	put(b, &ip, sizeof(ip));
	for (i = 0; i < spec->extensions; i++) {
		extension[0] = i + 1 < spec->extensions ? IPPROTO_DSTOPTS : last;
		put(b, extension, sizeof(extension));
	}
	if (spec->fragment) {
		memcpy(fragment + 2, &place, 2);
		memcpy(fragment + 4, &id, 4);
		put(b, fragment, sizeof(fragment));
	}
}

void packet_build(struct built *b, const struct packet_spec *spec)
{
	uint16_t transport[4] = {htons(spec->source_port), htons(spec->destination_port),
				 htons(8 + spec->payload), 0};

	memset(b, 0, sizeof(*b));
	put_ethernet(b, spec);
	if (spec->family == 4)
		put_ip4(b, spec);
	else
		put_ip6(b, spec);
	put(b, transport, sizeof(transport));
	b->length += spec->payload;
}

uint8_t packet_dsfield(const struct built *b, const uint8_t *bytes)
{
	const uint8_t *ip = bytes + b->network;

	return ip[0] >> 4 == 4 ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);
}

int packet_checksum_right(const struct built *b, const uint8_t *bytes)
{
	const uint8_t *ip = bytes + b->network;

	return ones_sum(ip, (ip[0] & 15) * 4) == 0xffff;
}
