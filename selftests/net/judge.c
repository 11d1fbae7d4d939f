/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <arpa/inet.h>
#include <stdio.h>

#include "capture.h"

static bool same_address(const char *text, const struct in6_addr *address)
{
	struct in6_addr wanted;
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : MAPPED, text);
	if (inet_pton(AF_INET6, mapped, &wanted) != 1)
		fail_msg("not an address: %s", text);
	return !memcmp(&wanted, address, sizeof(wanted));
}

bool flow_has(const struct flow *f, const struct packet *p)
{
	return (!f->family || f->family == p->family) &&
	       (!f->protocol || f->protocol == p->protocol) &&
	       (!f->from || same_address(f->from, &p->source)) &&
	       (!f->to || same_address(f->to, &p->destination)) &&
	       (!f->from_port || f->from_port == p->source_port) &&
	       (!f->to_port || f->to_port == p->destination_port) &&
	       (p->tcp_flags & f->with) == f->with && !(p->tcp_flags & f->without) &&
	       (!f->dsfield || f->dsfield == DS_IS(p->dsfield)) && (!f->data || p->payload) &&
	       p->ns >= f->after;
}

size_t flow_count(struct capture *c, const struct flow *flow)
{
	size_t i, n = 0;

	capture_read(c);
	for (i = 0; i < c->count; i++)
		n += flow_has(flow, &c->packets[i]);
	return n;
}

uint64_t flow_wire_bytes(struct capture *c, const struct flow *flow)
{
	uint64_t bytes = 0;
	size_t i;

	capture_read(c);
	for (i = 0; i < c->count; i++)
		if (flow_has(flow, &c->packets[i]))
			bytes += c->packets[i].wire;
	return bytes;
}

static void put_endpoint(char *text, size_t size, const struct in6_addr *address, uint16_t port)
{
	char name[INET6_ADDRSTRLEN];

	if (IN6_IS_ADDR_V4MAPPED(address))
		inet_ntop(AF_INET, &address->s6_addr[12], name, sizeof(name));
	else
		inet_ntop(AF_INET6, address, name, sizeof(name));
	snprintf(text, size, "%s.%u", name, port);
}

static void put_flags(char text[9], uint8_t flags)
{
	static const char names[] = "FSRP.UEW";
	int i, n = 0;

	for (i = 0; i < 8; i++)
		if (flags & 1 << i)
			text[n++] = names[i];
	text[n] = '\0';
}

const char *packet_text(const struct packet *p)
{
	static char texts[4][256];
	static unsigned int turn;
	char *text = texts[turn++ % 4], source[64], destination[64], flags[9], fragment[64] = "";

	put_endpoint(source, sizeof(source), &p->source, p->source_port);
	put_endpoint(destination, sizeof(destination), &p->destination, p->destination_port);
	put_flags(flags, p->tcp_flags);
	if (p->fragment)
		snprintf(fragment, sizeof(fragment), ", frag id %u offset %u%s", p->fragment_id,
			 p->fragment_offset, p->more_fragments ? "+" : "");
	snprintf(text, 256, "IP%u %s > %s: proto %u, Flags [%s], length %u, dscp %u, ecn %u%s",
		 p->family, source, destination, p->protocol, flags, p->payload, DSCP(p), ECN(p),
		 fragment);
	return text;
}

static bool is_wrong(const struct packet *p, int dscp)
{
	return DSCP(p) != dscp || p->checksum_wrong;
}

struct verdict verdict_of(struct capture *c, const struct flow *flow, int dscp)
{
	struct verdict v = {0};
	size_t i;

	capture_read(c);
	for (i = 0; i < c->count; i++) {
		if (!flow_has(flow, &c->packets[i]))
			continue;
		v.packets++;
		v.wrong += is_wrong(&c->packets[i], dscp);
	}
	return v;
}

void judge_at(struct capture *c, const struct flow *flow, int dscp, size_t least, const char *file,
	      int line)
{
	struct verdict v = verdict_of(c, flow, dscp);
	size_t i, shown = 0;

	if (!v.wrong && v.packets >= least)
		return;
	print_error("of %zu packets (at least %zu wanted) %zu do not have DSCP %d:\n", v.packets,
		    least, v.wrong, dscp);
	for (i = 0; i < c->count && shown < 5; i++) {
		const struct packet *p = &c->packets[i];

		if (!flow_has(flow, p) || !is_wrong(p, dscp))
			continue;
		shown++;
		print_error("%s%s\n", packet_text(p), p->checksum_wrong ? ", bad cksum" : "");
	}
	_fail(file, line);
}

void await_packets_at(struct capture *c, const struct flow *flow, size_t least, const char *file,
		      int line)
{
	uint64_t end = now_ns() + patience(30) * 1e9;
	size_t i;

	while (flow_count(c, flow) < least) {
		if (now_ns() < end) {
			await_nap();
			continue;
		}
		print_error("%zu packets of the flow came, not %zu; the last of all:\n",
			    flow_count(c, flow), least);
		for (i = c->count < 5 ? 0 : c->count - 5; i < c->count; i++)
			print_error("%s\n", packet_text(&c->packets[i]));
		_fail(file, line);
	}
}
