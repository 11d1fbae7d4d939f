// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Addresses, prefixes and ports as scalars of the policy language. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "scalar.h"

static const uint8_t ipv4_mapped[12] = {[10] = 0xff, [11] = 0xff};

bool scalar_is_ipv4(const struct policy_value *prefix)
{
	return prefix->prefix.length >= SCALAR_IPV4_BITS &&
	       !memcmp(prefix->prefix.address, ipv4_mapped, sizeof(ipv4_mapped));
}

bool scalar_covers(const struct policy_value *wide, const struct policy_value *narrow)
{
	unsigned int length = wide->prefix.length;
	const uint8_t *a = wide->prefix.address, *b = narrow->prefix.address;

	return length <= narrow->prefix.length && !memcmp(a, b, length / 8) &&
	       (length % 8 == 0 || !((a[length / 8] ^ b[length / 8]) >> (8 - length % 8)));
}

static int parse_address(const char *text, uint8_t address[16], bool *ipv4)
{
	*ipv4 = inet_pton(AF_INET, text, address + sizeof(ipv4_mapped)) == 1;
	if (*ipv4) {
		memcpy(address, ipv4_mapped, sizeof(ipv4_mapped));
		return 0;
	}
	return inet_pton(AF_INET6, text, address) == 1 ? 0 : -EINVAL;
}

/* Clear the bits after `length`; says whether any was set. */
static bool mask_address(uint8_t address[16], unsigned int length)
{
	bool changed = false;
	unsigned int i;

	for (i = length / 8; i < 16; i++) {
		uint8_t mask = i == length / 8 ? ~(0xff >> length % 8) : 0;

		changed |= address[i] & ~mask;
		address[i] &= mask;
	}
	return changed;
}

static int fail_host_bits(const char *text, const struct policy_value *masked, bool ipv4,
			  struct scalar_error *error)
{
	char address[INET6_ADDRSTRLEN];

	inet_ntop(ipv4 ? AF_INET : AF_INET6, masked->prefix.address + (ipv4 ? 12 : 0), address,
		  sizeof(address));
	return scalar_fail(error, "prefix '%.64s' has bits set after its length; write '%s/%u'",
			   text, address, masked->prefix.length - (ipv4 ? SCALAR_IPV4_BITS : 0));
}

int scalar_prefix(const char *text, struct policy_value *value, struct scalar_error *error)
{
	struct policy_value parsed = {.prefix.length = 128};
	const char *slash = strchrnul(text, '/');
	char address[INET6_ADDRSTRLEN + 1];
	uint64_t length;
	bool ipv4;

	snprintf(address, sizeof(address), "%.*s", (int)(slash - text), text);
	if (slash - text >= (ptrdiff_t)sizeof(address) ||
	    parse_address(address, parsed.prefix.address, &ipv4))
		return scalar_fail(error,
				   "'%.64s' is not an IPv4 or IPv6 address or prefix, as in "
				   "'192.0.2.0/24'",
				   text);
	if (!ipv4 && !memcmp(parsed.prefix.address, ipv4_mapped, sizeof(ipv4_mapped)))
		return scalar_fail(
			error, "'%.64s' is an IPv4 address in IPv6 form; write it as IPv4", text);
	if (*slash) {
		if (scalar_number("a prefix length", slash + 1, ipv4 ? 32 : 128, &length, error))
			return -EINVAL;
		parsed.prefix.length = length + (ipv4 ? SCALAR_IPV4_BITS : 0);
		if (mask_address(parsed.prefix.address, parsed.prefix.length))
			return fail_host_bits(text, &parsed, ipv4, error);
	}
	value->prefix = parsed.prefix;
	return 0;
}

static int parse_port(const char *text, size_t length, uint16_t *port, struct scalar_error *error)
{
	char digits[64];
	uint64_t number;

	snprintf(digits, sizeof(digits), "%.*s", (int)(length < 63 ? length : 63), text);
	if (scalar_number("a port", digits, UINT16_MAX, &number, error))
		return -EINVAL;
	if (!number)
		return scalar_fail(error, "port '%s' is out of range 1 to 65535", digits);
	*port = number;
	return 0;
}

int scalar_ports(const char *text, struct policy_value *value, struct scalar_error *error)
{
	const char *dash = strchr(text, '-');
	uint16_t first, last;

	if (parse_port(text, dash ? (size_t)(dash - text) : strlen(text), &first, error))
		return -EINVAL;
	last = first;
	if (dash && parse_port(dash + 1, strlen(dash + 1), &last, error))
		return -EINVAL;
	if (last < first)
		return scalar_fail(error, "port range '%.32s' runs backwards; write '%u-%u'", text,
				   last, first);
	value->ports.first = first;
	value->ports.last = last;
	return 0;
}
