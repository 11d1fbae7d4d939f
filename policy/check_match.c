// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Keys of one rule that exclude each other. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "check.h"
#include "scalar.h"

#define IPV4 1
#define IPV6 2

static unsigned int families_of_values(const struct policy_term *term)
{
	unsigned int families = 0;
	size_t i;

	for (i = 0; i < term->count; i++)
		families |= scalar_is_ipv4(&term->values[i]) ? IPV4 : IPV6;
	return families;
}

/* IPv4 and IPv6 as `family`, `local` and `remote` leave them. */
static void check_families(const struct policy_match *match, struct diag *diag)
{
	static const enum policy_key sides[] = {POLICY_LOCAL, POLICY_REMOTE};
	const struct policy_term *term = policy_term(match, POLICY_FAMILY);
	unsigned int families = IPV4 | IPV6;
	size_t i;

	if (term && term->count) {
		families = 0;
		for (i = 0; i < term->count; i++)
			families |= term->values[i].number == 4 ? IPV4 : IPV6;
	}
	for (i = 0; i < 2; i++) {
		term = policy_term(match, sides[i]);
		if (!term || !term->count)
			continue;
		families &= families_of_values(term);
		if (!families) {
			diag_error(diag, term->at,
				   "'%s' is of a family that another key of this rule excludes",
				   policy_key_name(term->key));
			return;
		}
	}
}

static bool has_ports(uint32_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

static bool any_with_ports(const struct policy_term *protocols)
{
	size_t i;

	for (i = 0; i < protocols->count; i++)
		if (has_ports(protocols->values[i].number))
			return true;
	return !protocols->count;
}

static void check_ports(const struct policy_match *match, struct diag *diag)
{
	static const enum policy_key keys[] = {POLICY_LOCAL_PORT, POLICY_REMOTE_PORT};
	const struct policy_term *protocols = policy_term(match, POLICY_PROTOCOL);
	size_t i;

	if (!protocols || any_with_ports(protocols))
		return;
	for (i = 0; i < 2; i++) {
		const struct policy_term *ports = policy_term(match, keys[i]);

		if (ports)
			diag_error(diag, ports->at, "'%s', but no protocol of this rule has ports",
				   policy_key_name(ports->key));
	}
}

/* Which socket types a protocol can have: inet_create()'s inetsw, and SCTP's. */
static bool type_fits(uint32_t type, uint32_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return type == SOCK_STREAM;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return type == SOCK_DGRAM;
	case IPPROTO_SCTP:
		return type == SOCK_STREAM || type == SOCK_SEQPACKET;
	default:
		return true;
	}
}

static void check_types(const struct policy_match *match, struct diag *diag)
{
	const struct policy_term *protocols = policy_term(match, POLICY_PROTOCOL);
	const struct policy_term *types = policy_term(match, POLICY_TYPE);
	size_t p, t;

	if (!protocols || !types || !protocols->count || !types->count)
		return;
	for (p = 0; p < protocols->count; p++)
		for (t = 0; t < types->count; t++)
			/* A raw socket can send anything. */
			if (types->values[t].number == SOCK_RAW ||
			    type_fits(types->values[t].number, protocols->values[p].number))
				return;
	diag_error(diag, types->at, "no protocol of this rule has sockets of that type");
}

bool check_says(const struct policy_rule *rule, enum policy_key key)
{
	size_t i;

	for (i = 0; i < rule->nots_count; i++)
		if (policy_term(&rule->nots[i], key))
			return true;
	return policy_term(&rule->match, key);
}

static unsigned int origins_of_values(const struct policy_term *term)
{
	unsigned int origins = 0;
	size_t i;

	for (i = 0; term && i < term->count; i++)
		origins |= HQ_BIT(term->values[i].number);
	return origins;
}

unsigned int check_origins(const struct policy_rule *rule)
{
	const struct policy_term *term = policy_term(&rule->match, POLICY_ORIGIN);
	unsigned int origins = HQ_BIT(HQ_LOCAL) | HQ_BIT(HQ_FORWARDED);
	size_t i;

	if (!check_says(rule, POLICY_ORIGIN))
		return HQ_BIT(HQ_LOCAL);
	if (term && term->count)
		origins = origins_of_values(term);
	for (i = 0; i < rule->nots_count; i++)
		origins &= ~origins_of_values(policy_term(&rule->nots[i], POLICY_ORIGIN));
	return origins;
}

static void check_forwarded(const struct policy_match *match, struct diag *diag)
{
	static const enum policy_key of_sockets[] = {POLICY_CGROUP,   POLICY_UNIT,  POLICY_EXE,
						     POLICY_USER,     POLICY_GROUP, POLICY_TYPE,
						     POLICY_DIRECTION};
	size_t i;

	for (i = 0; i < sizeof(of_sockets) / sizeof(*of_sockets); i++) {
		const struct policy_term *term = policy_term(match, of_sockets[i]);

		if (term)
			diag_error(diag, term->at,
				   "'%s' is of a socket, which a forwarded packet does not have "
				   "here; use 'origin: local', or addresses and ports",
				   policy_key_name(term->key));
	}
}

static void check_origin(const struct policy_rule *rule, struct diag *diag)
{
	unsigned int origins = check_origins(rule);
	size_t i;

	if (!origins)
		diag_error(diag, rule->at, "'not' excludes every 'origin' of this rule");
	if (!(origins & HQ_BIT(HQ_FORWARDED)))
		return;
	check_forwarded(&rule->match, diag);
	for (i = 0; i < rule->nots_count; i++)
		check_forwarded(&rule->nots[i], diag);
}

void check_match(const struct policy_rule *rule, struct diag *diag)
{
	check_families(&rule->match, diag);
	check_ports(&rule->match, diag);
	check_types(&rule->match, diag);
	check_origin(rule, diag);
}
