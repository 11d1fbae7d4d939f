/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Capture with libpcap's ring, large enough that nobody need read it while the
 * traffic runs. What a socket behind the interface has received is in the ring
 * already: the tap comes before the protocols.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pcap/pcap.h>
#include <stdio.h>

#include "capture.h"

#define SNAPLEN 192
#define RING	(24 << 20)

struct opening {
	const char *interface;
	pcap_t *pcap;
};

static void open_pcap(void *arg)
{
	char error[PCAP_ERRBUF_SIZE];
	struct opening *o = arg;
	pcap_t *p = pcap_create(o->interface, error);

	if (!p)
		fail_msg("capture at %s: %s", o->interface, error);
	pcap_set_snaplen(p, SNAPLEN);
	pcap_set_buffer_size(p, RING);
	pcap_set_immediate_mode(p, 1);
	pcap_set_tstamp_precision(p, PCAP_TSTAMP_PRECISION_NANO);
	if (pcap_activate(p) < 0 || pcap_setdirection(p, PCAP_D_IN) ||
	    pcap_setnonblock(p, 1, error) || pcap_datalink(p) != DLT_EN10MB)
		fail_msg("capture at %s: %s", o->interface, pcap_geterr(p));
	o->pcap = p;
}

struct capture *capture_start(struct testbed *tb, int netns, const char *interface)
{
	struct opening o = {.interface = interface};
	struct capture *c;

	netns_do(netns, open_pcap, &o);
	c = calloc(1, sizeof(*c));
	c->pcap = o.pcap;
	c->next = tb->captures;
	tb->captures = c;
	return c;
}

void capture_only(struct capture *c, const char *expression)
{
	struct bpf_program filter;

	if (pcap_compile(c->pcap, &filter, expression, 1, PCAP_NETMASK_UNKNOWN) ||
	    pcap_setfilter(c->pcap, &filter))
		fail_msg("capture of %s: %s", expression, pcap_geterr(c->pcap));
	pcap_freecode(&filter);
}

void capture_stop(struct capture *c)
{
	pcap_close(c->pcap);
	free(c->packets);
	free(c);
}

struct cursor {
	const uint8_t *at, *end;
};

static const void *take(struct cursor *c, size_t bytes)
{
	const uint8_t *at = c->at;

	if ((size_t)(c->end - at) < bytes)
		return NULL;
	c->at += bytes;
	return at;
}

/* RFC 1071 over a whole header, its checksum included: 0xffff when right. */
static bool checksum_wrong(const uint8_t *header, size_t length)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i + 1 < length; i += 2)
		sum += header[i] << 8 | header[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum != 0xffff;
}

static void map_address(struct in6_addr *to, uint32_t from)
{
	memset(to, 0, sizeof(*to));
	to->s6_addr[10] = to->s6_addr[11] = 0xff;
	memcpy(&to->s6_addr[12], &from, 4);
}

static bool parse_ipv4(struct cursor *c, struct packet *p)
{
	const uint8_t *start = c->at;
	const struct iphdr *ip = take(c, sizeof(*ip));
	uint16_t offset;

	if (!ip || ip->ihl < 5 || !take(c, ip->ihl * 4 - sizeof(*ip)))
		return false;
	offset = ntohs(ip->frag_off);
	p->family = 4;
	p->protocol = ip->protocol;
	p->dsfield = ip->tos;
	p->ttl = ip->ttl;
	map_address(&p->source, ip->saddr);
	map_address(&p->destination, ip->daddr);
	p->checksum_wrong = checksum_wrong(start, ip->ihl * 4);
	p->dont_fragment = offset & 0x4000;
	p->more_fragments = offset & 0x2000;
	p->fragment_offset = (offset & 0x1fff) * 8;
	p->fragment = p->more_fragments || p->fragment_offset;
	p->fragment_id = ntohs(ip->id);
	p->payload = ntohs(ip->tot_len) - ip->ihl * 4;
	return true;
}

static bool parse_ipv6(struct cursor *c, struct packet *p)
{
	const struct ip6_hdr *ip = take(c, sizeof(*ip));
	const struct ip6_ext *extension;
	const struct ip6_frag *fragment;
	uint32_t flow;

	if (!ip)
		return false;
	flow = ntohl(ip->ip6_flow);
	p->family = 6;
	p->dsfield = flow >> 20 & 0xff;
	p->flow_label = flow & 0xfffff;
	p->ttl = ip->ip6_hlim;
	p->protocol = ip->ip6_nxt;
	p->source = ip->ip6_src;
	p->destination = ip->ip6_dst;
	p->payload = ntohs(ip->ip6_plen);
	while (p->protocol == IPPROTO_HOPOPTS || p->protocol == IPPROTO_DSTOPTS) {
		extension = take(c, sizeof(*extension));
		if (!extension || !take(c, extension->ip6e_len * 8 + 6))
			return false;
		p->protocol = extension->ip6e_nxt;
		p->payload -= extension->ip6e_len * 8 + 8;
	}
	if (p->protocol == IPPROTO_FRAGMENT) {
		fragment = take(c, sizeof(*fragment));
		if (!fragment)
			return false;
		p->fragment = true;
		p->protocol = fragment->ip6f_nxt;
		p->fragment_id = ntohl(fragment->ip6f_ident);
		p->fragment_offset = ntohs(fragment->ip6f_offlg) & 0xfff8;
		p->more_fragments = ntohs(fragment->ip6f_offlg) & 1;
		p->payload -= sizeof(*fragment);
	}
	return true;
}

static void parse_transport(struct cursor *c, struct packet *p)
{
	const struct tcphdr *tcp;
	const struct udphdr *udp;

	if (p->protocol == IPPROTO_TCP && (tcp = take(c, sizeof(*tcp)))) {
		p->source_port = ntohs(tcp->source);
		p->destination_port = ntohs(tcp->dest);
		p->tcp_flags = ((const uint8_t *)tcp)[13];
		p->tcp_seq = ntohl(tcp->seq);
		p->tcp_ack = ntohl(tcp->ack_seq);
		p->tcp_header = tcp->doff * 4;
		p->payload -= tcp->doff * 4;
	} else if (p->protocol == IPPROTO_UDP && (udp = take(c, sizeof(*udp)))) {
		p->source_port = ntohs(udp->source);
		p->destination_port = ntohs(udp->dest);
		p->payload -= sizeof(*udp);
	}
}

/* A later fragment has no ports: they are those of the first, which came before. */
static void find_first_fragment(const struct capture *c, struct packet *p)
{
	const struct packet *first = c->packets + c->count;

	while (first-- > c->packets) {
		if (!first->fragment || first->fragment_offset || first->family != p->family ||
		    first->fragment_id != p->fragment_id ||
		    memcmp(&first->source, &p->source, sizeof(p->source)) ||
		    memcmp(&first->destination, &p->destination, sizeof(p->destination)))
			continue;
		p->source_port = first->source_port;
		p->destination_port = first->destination_port;
		return;
	}
	fail_msg("a fragment came without its first: %s", packet_text(p));
}

static void take_in(u_char *arg, const struct pcap_pkthdr *header, const u_char *bytes)
{
	struct cursor cursor = {bytes, bytes + header->caplen};
	struct capture *c = (struct capture *)arg;
	const struct ethhdr *link = take(&cursor, sizeof(*link));
	struct packet p = {.wire = header->len};

	p.ns = header->ts.tv_sec * 1000000000ULL + header->ts.tv_usec;
	if (!link)
		return;
	p.sender = link->h_source[ETH_ALEN - 1];
	if (ntohs(link->h_proto) == ETH_P_IP	 ? !parse_ipv4(&cursor, &p)
	    : ntohs(link->h_proto) == ETH_P_IPV6 ? !parse_ipv6(&cursor, &p)
						 : true)
		return;
	if (p.fragment_offset)
		find_first_fragment(c, &p);
	else
		parse_transport(&cursor, &p);
	if (c->count == c->room) {
		c->room = c->room ? c->room * 2 : 256;
		c->packets = realloc(c->packets, c->room * sizeof(*c->packets));
	}
	c->packets[c->count++] = p;
}

void capture_read(struct capture *c)
{
	struct pcap_stat stats;

	while (pcap_dispatch(c->pcap, -1, take_in, (u_char *)c) > 0)
		;
	if (pcap_stats(c->pcap, &stats))
		fail_msg("pcap_stats: %s", pcap_geterr(c->pcap));
	if (stats.ps_drop)
		fail_msg("the capture lost %u packets", stats.ps_drop);
}

void capture_clear(struct capture *c)
{
	capture_read(c);
	c->count = 0;
}
