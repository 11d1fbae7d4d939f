// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Names, numbers and quantities. Addresses and ports are in address.c. */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <hostqos/dscp.h>

#include "print.h"
#include "scalar.h"
#include "suggest.h"

/* https://www.iana.org/assignments/dscp-registry */
const struct scalar_name scalar_dscps[] = {
	{"CS0", 0},   {"CS1", 8},   {"CS2", 16},  {"CS3", 24},	{"CS4", 32},	     {"CS5", 40},
	{"CS6", 48},  {"CS7", 56},  {"AF11", 10}, {"AF12", 12}, {"AF13", 14},	     {"AF21", 18},
	{"AF22", 20}, {"AF23", 22}, {"AF31", 26}, {"AF32", 28}, {"AF33", 30},	     {"AF41", 34},
	{"AF42", 36}, {"AF43", 38}, {"EF", 46},	  {"LE", 1},	{"VOICE-ADMIT", 44}, {0},
};

const struct scalar_name scalar_protocols[] = {
	{"tcp", IPPROTO_TCP},
	{"udp", IPPROTO_UDP},
	{"udplite", IPPROTO_UDPLITE},
	{"sctp", IPPROTO_SCTP},
	{"icmp", IPPROTO_ICMP},
	{"icmpv6", IPPROTO_ICMPV6},
	{0},
};

const struct scalar_name scalar_families[] = {{"ipv4", 4}, {"ipv6", 6}, {0}};

const struct scalar_name scalar_types[] = {
	{"stream", SOCK_STREAM},
	{"dgram", SOCK_DGRAM},
	{"raw", SOCK_RAW},
	{"seqpacket", SOCK_SEQPACKET},
	{0},
};

const struct scalar_name scalar_directions[] = {
	{"inbound", HQ_INBOUND},
	{"outbound", HQ_OUTBOUND},
	{0},
};

const struct scalar_name scalar_origins[] = {
	{"local", HQ_LOCAL},
	{"forwarded", HQ_FORWARDED},
	{0},
};

const struct scalar_name scalar_booleans[] = {{"false", 0}, {"true", 1}, {0}};

const struct scalar_name scalar_mirrors[] = {{"syn", HQ_MIRROR_SYN},
					     {"latest", HQ_MIRROR_LATEST},
					     {"upstream", HQ_MIRROR_UPSTREAM},
					     {0}};

/* A unit and what it multiplies by; rates and sizes as tc(8), "UNITS". */
struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit rate_units[] = {
	{"bit", 1},
	{"kbit", 1000},
	{"mbit", 1000000},
	{"gbit", 1000000000},
	{"kibit", 1ULL << 10},
	{"mibit", 1ULL << 20},
	{"gibit", 1ULL << 30},
	{"", 1},
	{0},
};

/* Of what may be meant as bytes per second: "mb", "MB/s", and tc's "mbps". */
static const struct unit byte_rate_prefixes[] = {
	{"", 1},
	{"k", 1000},
	{"m", 1000000},
	{"g", 1000000000},
	{"ki", 1ULL << 10},
	{"mi", 1ULL << 20},
	{"gi", 1ULL << 30},
	{0},
};

static const struct unit size_units[] = {
	{"b", 1},
	{"k", 1ULL << 10},
	{"kb", 1ULL << 10},
	{"m", 1ULL << 20},
	{"mb", 1ULL << 20},
	{"g", 1ULL << 30},
	{"gb", 1ULL << 30},
	{"", 1},
	{0},
};

static const struct unit time_units[] = {
	{"us", 1},	 {"usec", 1},	 {"usecs", 1},	   {"ms", 1000},      {"msec", 1000},
	{"msecs", 1000}, {"s", 1000000}, {"sec", 1000000}, {"secs", 1000000}, {0},
};

int scalar_fail(struct scalar_error *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->why, sizeof(error->why), format, args);
	va_end(args);
	return -EINVAL;
}

const char *scalar_name_of(const struct scalar_name *table, uint32_t value)
{
	for (; table->name; table++)
		if (table->value == value)
			return table->name;
	return NULL;
}

/* 0 and the value of a name; letter case does not matter. */
static int find_name(const struct scalar_name *table, const char *text, uint32_t *value)
{
	for (; table->name; table++) {
		if (strcasecmp(table->name, text))
			continue;
		*value = table->value;
		return 0;
	}
	return -ENOENT;
}

static const char *suggest_name(const struct scalar_name *table, const char *text)
{
	struct suggestion suggestion = {.word = text};

	for (; table->name; table++)
		suggest_offer(&suggestion, table->name);
	return suggest_text(&suggestion);
}

int scalar_named(const struct scalar_name *table, const char *what, const char *text,
		 uint32_t *value, struct scalar_error *error)
{
	if (!find_name(table, text, value))
		return 0;
	return scalar_fail(error, "'%.64s' is not %s%s", text, what, suggest_name(table, text));
}

static bool all_digits(const char *text)
{
	return *text && !text[strspn(text, "0123456789")];
}

int scalar_number(const char *what, const char *text, uint64_t most, uint64_t *value,
		  struct scalar_error *error)
{
	uint64_t number = 0;
	const char *p;

	if (!all_digits(text))
		return scalar_fail(error, "'%.64s' is not %s", text, what);
	for (p = text; *p; p++) {
		number = number * 10 + (*p - '0');
		if (number > most)
			return scalar_fail(error, "'%.64s' is out of range for %s: at most %llu",
					   text, what, (unsigned long long)most);
	}
	*value = number;
	return 0;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
	for (; units->name; units++)
		if (!strcasecmp(units->name, name))
			return units;
	return NULL;
}

/* "1.5mbit": the number in millionths and where the unit begins. */
static int split_quantity(const char *text, uint64_t *millionths, const char **unit)
{
	size_t whole = strspn(text, "0123456789");
	uint64_t value = 0, scale = 1000000;
	size_t i;

	if (!whole || whole > 12)
		return -EINVAL;
	for (i = 0; i < whole; i++)
		value = value * 10 + (text[i] - '0');
	value *= scale;
	text += whole;
	if (*text == '.' && isdigit((unsigned char)text[1]))
		for (text++; isdigit((unsigned char)*text); text++) {
			scale /= 10;
			value += scale * (*text - '0');
		}
	*millionths = value;
	*unit = text;
	return 0;
}

static uint64_t scaled(uint64_t millionths, uint64_t factor)
{
	unsigned __int128 product = (unsigned __int128)millionths * factor / 1000000;

	return product > UINT64_MAX ? UINT64_MAX : product;
}

static int quantity(const struct unit *units, const char *what, const char *text, uint64_t *value,
		    struct scalar_error *error)
{
	struct suggestion suggestion = {0};
	const struct unit *unit;
	uint64_t millionths;
	const char *name;

	if (split_quantity(text, &millionths, &name))
		return scalar_fail(error, "'%.64s' is not %s", text, what);
	unit = find_unit(units, name);
	if (unit) {
		*value = scaled(millionths, unit->factor);
		return 0;
	}
	suggestion.word = name;
	for (unit = units; unit->name; unit++)
		suggest_offer(&suggestion, unit->name);
	return scalar_fail(error, "unknown unit '%.32s' in %s%s", name, what,
			   suggest_text(&suggestion));
}

/* What the prefix of such a unit multiplies by; 0 for any other unit. */
static uint64_t byte_rate_factor(const char *name)
{
	const struct unit *prefix;

	for (prefix = byte_rate_prefixes; prefix->name; prefix++) {
		size_t length = strlen(prefix->name);

		if (!strncasecmp(name, prefix->name, length) &&
		    (!strcasecmp(name + length, "b") || !strcasecmp(name + length, "b/s") ||
		     !strcasecmp(name + length, "bps")))
			return prefix->factor;
	}
	return 0;
}

/* tc's mbps are megabytes per second, which hardly anyone means: say what either would be. */
static int refuse_byte_rate(const char *text, struct scalar_error *error)
{
	char bits[PRINT_SCALAR], bytes[PRINT_SCALAR];
	uint64_t millionths, factor;
	const char *name;

	if (split_quantity(text, &millionths, &name))
		return 0;
	factor = byte_rate_factor(name);
	if (!factor)
		return 0;
	return scalar_fail(error, "'%.32s' %s; write '%s' for bits, or '%s' for as many bytes",
			   text,
			   strcasestr(name, "bps") ? "means bytes per second to tc(8)"
						   : "can mean bits or bytes per second",
			   print_rate(bits, scaled(millionths, factor)),
			   print_rate(bytes, scaled(millionths, 8 * factor)));
}

int scalar_rate(const char *text, uint64_t *rate, struct scalar_error *error)
{
	uint64_t value;

	if (refuse_byte_rate(text, error))
		return -EINVAL;
	if (quantity(rate_units, "a rate, as in '20mbit'", text, &value, error))
		return -EINVAL;
	if (value < SCALAR_RATE_LEAST || value > SCALAR_RATE_MOST)
		return scalar_fail(error, "rate '%.32s' is out of range: 8kbit to 400gbit", text);
	*rate = value;
	return 0;
}

int scalar_size(const char *text, uint64_t *bytes, struct scalar_error *error)
{
	uint64_t value;

	if (quantity(size_units, "a size, as in '64kb'", text, &value, error))
		return -EINVAL;
	if (!value || value > SCALAR_SIZE_MOST)
		return scalar_fail(error, "size '%.32s' is out of range: 1b to 2gb less a byte",
				   text);
	*bytes = value;
	return 0;
}

bool scalar_is_time(const char *text)
{
	uint64_t millionths;
	const char *name;

	return !split_quantity(text, &millionths, &name) && find_unit(time_units, name);
}

int scalar_time(const char *text, uint64_t *usecs, struct scalar_error *error)
{
	uint64_t value;

	if (quantity(time_units, "a time, as in '10ms'", text, &value, error))
		return -EINVAL;
	if (!value || value > SCALAR_TIME_MOST)
		return scalar_fail(error, "time '%.32s' is out of range: 1us to 60s", text);
	*usecs = value;
	return 0;
}

/* What people write in the belief that it is a DSCP. */
static int explain_dscp(const char *text, struct scalar_error *error)
{
	uint64_t tos;

	if (!strcasecmp(text, "BE") || !strcasecmp(text, "DF"))
		return scalar_fail(error, "'%s' is not a DSCP of IANA's; the default is 'CS0'",
				   text);
	if (!scalar_number("", text, 255, &tos, error) && !(tos & HQ_ECN_MASK))
		return scalar_fail(error,
				   "DSCP '%s' is out of range 0 to 63; as a TOS octet it would be "
				   "DSCP %u",
				   text, hq_dscp(tos));
	if (all_digits(text))
		return scalar_fail(error, "DSCP '%.32s' is out of range 0 to 63", text);
	return scalar_fail(error, "'%.64s' is not a DSCP%s", text,
			   suggest_name(scalar_dscps, text));
}

int scalar_dscp(const char *text, uint32_t *dscp, struct scalar_error *error)
{
	uint64_t number;

	if (!find_name(scalar_dscps, text, dscp))
		return 0;
	if (scalar_number("", text, HQ_DSCP_MAX, &number, error))
		return explain_dscp(text, error);
	*dscp = number;
	return 0;
}

int scalar_protocol(const char *text, uint32_t *protocol, struct scalar_error *error)
{
	uint64_t number;

	if (all_digits(text)) {
		if (scalar_number("a protocol number", text, 255, &number, error))
			return -EINVAL;
		*protocol = number;
		return 0;
	}
	if (!strcasecmp(text, "mptcp"))
		return scalar_fail(error, "'%s' is matched as 'tcp'", text);
	return scalar_named(scalar_protocols, "a protocol", text, protocol, error);
}
