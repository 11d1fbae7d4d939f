// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Keys of one rule that exclude each other. */
#include <netinet/in.h>
#include <string.h>
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

static unsigned int families_of_protocols(const struct policy_term *term)
{
	unsigned int families = 0;
	size_t i;

	for (i = 0; i < term->count; i++)
		families |= term->values[i].number == IPPROTO_ICMP     ? IPV4
			    : term->values[i].number == IPPROTO_ICMPV6 ? IPV6
								       : IPV4 | IPV6;
	return families;
}

static unsigned int families_of(const struct policy_term *term)
{
	unsigned int families = 0;
	size_t i;

	if (!term || !term->count)
		return IPV4 | IPV6;
	if (term->key == POLICY_PROTOCOL)
		return families_of_protocols(term);
	if (term->key != POLICY_FAMILY)
		return families_of_values(term);
	for (i = 0; i < term->count; i++)
		families |= term->values[i].number == 4 ? IPV4 : IPV6;
	return families;
}

/* IPv4 and IPv6 as each of these keys leaves them. */
static void check_families(const struct policy_match *match, struct diag *diag)
{
	static const enum policy_key keys[] = {POLICY_FAMILY, POLICY_PROTOCOL, POLICY_LOCAL,
					       POLICY_REMOTE};
	unsigned int families = IPV4 | IPV6;
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const struct policy_term *term = policy_term(match, keys[i]);

		families &= families_of(term);
		if (!families) {
			diag_error(diag, term->at,
				   "'%s' is of a family that another key of this rule excludes",
				   policy_key_name(term->key));
			return;
		}
	}
}

bool check_has_ports(uint32_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

static bool any_with_ports(const struct policy_term *protocols)
{
	size_t i;

	for (i = 0; i < protocols->count; i++)
		if (check_has_ports(protocols->values[i].number))
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

/* inet_create()'s inetsw, and SCTP's. */
bool check_type_fits(uint32_t type, uint32_t protocol)
{
	if (type == SOCK_RAW) /* can send anything */
		return true;
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
			if (check_type_fits(types->values[t].number, protocols->values[p].number))
				return;
	diag_error(diag, types->at, "no protocol of this rule has sockets of that type");
}

/* What a list of prefixes has in common with the multicast groups (RFC 5771, RFC 4291 2.7). */
static void find_groups(const struct policy_term *remote, bool *some, bool *others)
{
	static const struct policy_value groups[] = {
		{.prefix = {{[10] = 0xff, [11] = 0xff, [12] = 0xe0}, SCALAR_IPV4_BITS + 4}},
		{.prefix = {{0xff}, 8}}};
	size_t i;

	*some = *others = false;
	for (i = 0; i < remote->count; i++) {
		const struct policy_value *value = &remote->values[i];
		const struct policy_value *group = &groups[scalar_is_ipv4(value) ? 0 : 1];
		bool within = scalar_covers(group, value);

		*some |= within || scalar_covers(value, group);
		*others |= !within;
	}
}

static bool all_tcp(const struct policy_term *protocols)
{
	size_t i;

	for (i = 0; protocols && i < protocols->count; i++)
		if (protocols->values[i].number != IPPROTO_TCP)
			return false;
	return protocols && protocols->count;
}

static void check_multicast(const struct policy_match *match, struct diag *diag)
{
	const struct policy_term *term = policy_term(match, POLICY_MULTICAST);
	const struct policy_term *remote = policy_term(match, POLICY_REMOTE);
	bool some = true, others = true, wanted;

	if (!term || !term->count)
		return;
	wanted = term->values[0].number;
	if (wanted && all_tcp(policy_term(match, POLICY_PROTOCOL)))
		diag_error(diag, term->at, "'multicast: true', but TCP has no multicast");
	if (remote && remote->count)
		find_groups(remote, &some, &others);
	if (wanted ? !some : !others)
		diag_error(diag, term->at, "'multicast: %s', but 'remote' has %s",
			   wanted ? "true" : "false",
			   wanted ? "no multicast address" : "multicast addresses only");
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

/* Is whatever has the one value of a key excluded by the other? */
static bool includes(enum policy_key key, const struct policy_value *wide,
		     const struct policy_value *narrow)
{
	switch (key) {
	case POLICY_CGROUP:
	case POLICY_UNIT:
	case POLICY_EXE:
		return !strcmp(wide->text, narrow->text);
	case POLICY_LOCAL:
	case POLICY_REMOTE:
		return scalar_covers(wide, narrow);
	case POLICY_LOCAL_PORT:
	case POLICY_REMOTE_PORT:
		return wide->ports.first <= narrow->ports.first &&
		       wide->ports.last >= narrow->ports.last;
	default:
		return wide->number == narrow->number;
	}
}

static bool excludes_all(const struct policy_term *excluded, const struct policy_term *term)
{
	size_t i, n;

	for (i = 0; i < term->count; i++) {
		for (n = 0; n < excluded->count; n++)
			if (includes(term->key, &excluded->values[n], &term->values[i]))
				break;
		if (n == excluded->count)
			return false;
	}
	return term->count;
}

/* `block` is one of the rule's under `not`. */
static void check_not(const struct policy_match *match, const struct policy_match *block,
		      struct diag *diag)
{
	size_t i;

	for (i = 0; i < block->count; i++) {
		const struct policy_term *excluded = &block->terms[i];
		const struct policy_term *term = policy_term(match, excluded->key);

		if (term && term->key != POLICY_ORIGIN && excludes_all(excluded, term))
			diag_warning(
				diag, excluded->at,
				"'not' excludes every '%s' of this rule, which matches nothing",
				policy_key_name(term->key));
	}
}

void check_match(const struct policy_rule *rule, struct diag *diag)
{
	size_t i;

	for (i = 0; i < rule->nots_count; i++)
		check_not(&rule->match, &rule->nots[i], diag);
	check_families(&rule->match, diag);
	check_ports(&rule->match, diag);
	check_types(&rule->match, diag);
	check_multicast(&rule->match, diag);
	check_origin(rule, diag);
}
