// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <hostqos/dscp.h>

#include "print.h"
#include "scalar.h"

#define PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./@-"

struct unit {
	const char *name;
	uint64_t factor;
};

/* In the largest unit that leaves a whole number; the last unit's factor is 1. */
static const char *print_quantity(char buffer[PRINT_SCALAR], uint64_t value,
				  const struct unit *unit)
{
	while (value % unit->factor || (!value && unit->factor > 1))
		unit++;
	snprintf(buffer, PRINT_SCALAR, "%" PRIu64 "%s", value / unit->factor, unit->name);
	return buffer;
}

const char *print_rate(char buffer[PRINT_SCALAR], uint64_t bits_per_second)
{
	static const struct unit units[] = {
		{"gbit", 1000000000}, {"mbit", 1000000}, {"kbit", 1000}, {"bit", 1}};

	return print_quantity(buffer, bits_per_second, units);
}

const char *print_size(char buffer[PRINT_SCALAR], uint64_t bytes)
{
	static const struct unit units[] = {
		{"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}, {"b", 1}};

	return print_quantity(buffer, bytes, units);
}

static const char *print_time(char buffer[PRINT_SCALAR], uint64_t usecs)
{
	static const struct unit units[] = {{"s", 1000000}, {"ms", 1000}, {"us", 1}};

	return print_quantity(buffer, usecs, units);
}

/* The name if there is one, else the number. */
static const char *print_named(char buffer[PRINT_SCALAR], const struct scalar_name *table,
			       uint32_t value)
{
	const char *name = scalar_name_of(table, value);

	if (name)
		snprintf(buffer, PRINT_SCALAR, "%s", name);
	else
		snprintf(buffer, PRINT_SCALAR, "%" PRIu32, value);
	return buffer;
}

const char *print_dscp(char buffer[PRINT_SCALAR], uint8_t dscp)
{
	if (dscp != HQ_KEEP)
		return print_named(buffer, scalar_dscps, dscp);
	strcpy(buffer, "keep");
	return buffer;
}

static const char *print_prefix(char buffer[PRINT_SCALAR], const struct policy_value *value)
{
	bool ipv4 = scalar_is_ipv4(value);
	unsigned int length = value->prefix.length - (ipv4 ? SCALAR_IPV4_BITS : 0);
	size_t used;

	inet_ntop(ipv4 ? AF_INET : AF_INET6, value->prefix.address + (ipv4 ? 12 : 0), buffer,
		  PRINT_SCALAR);
	used = strlen(buffer);
	if (value->prefix.length < 128)
		snprintf(buffer + used, PRINT_SCALAR - used, "/%u", length);
	return buffer;
}

static const char *print_ports(char buffer[PRINT_SCALAR], const struct policy_value *value)
{
	if (value->ports.first == value->ports.last)
		snprintf(buffer, PRINT_SCALAR, "%u", value->ports.first);
	else
		snprintf(buffer, PRINT_SCALAR, "%u-%u", value->ports.first, value->ports.last);
	return buffer;
}

static void print_quoted(FILE *out, const char *prefix, const char *text)
{
	fprintf(out, "\"%s", prefix);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

/* Text as a YAML scalar within a flow, in quotes where it needs them. */
static void print_text(FILE *out, const char *text)
{
	if (*text && *text != '-' && *text != '.' && *text != '@' && !text[strspn(text, PLAIN)])
		fputs(text, out);
	else
		print_quoted(out, "", text);
}

void print_value(FILE *out, enum policy_key key, const struct policy_value *value)
{
	static const struct scalar_name *const tables[POLICY_KEYS] = {
		[POLICY_FAMILY] = scalar_families,    [POLICY_PROTOCOL] = scalar_protocols,
		[POLICY_TYPE] = scalar_types,	      [POLICY_DIRECTION] = scalar_directions,
		[POLICY_INBOUND_DSCP] = scalar_dscps, [POLICY_MULTICAST] = scalar_booleans,
		[POLICY_ORIGIN] = scalar_origins,
	};
	char buffer[PRINT_SCALAR];

	if (value->text)
		print_text(out, value->text);
	else if (tables[key])
		fputs(print_named(buffer, tables[key], value->number), out);
	else if (key == POLICY_LOCAL || key == POLICY_REMOTE)
		print_text(out, print_prefix(buffer, value)); /* "::1" needs quotes */
	else
		fputs(print_ports(buffer, value), out);
}

static void print_terms(FILE *out, const struct policy_match *match)
{
	const char *separator = "";
	size_t i, v;

	for (i = 0; i < match->count; i++) {
		const struct policy_term *term = &match->terms[i];

		fprintf(out, "%s%s: %s", separator, policy_key_name(term->key),
			term->count > 1 ? "[" : "");
		for (v = 0; v < term->count; v++) {
			fputs(v ? ", " : "", out);
			print_value(out, term->key, &term->values[v]);
		}
		fputs(term->count > 1 ? "]" : "", out);
		separator = ", ";
	}
}

void print_match(FILE *out, const struct policy_rule *rule)
{
	size_t i;

	if (!rule->match.count && !rule->nots_count) {
		fputs("{}", out);
		return;
	}
	fputs("{ ", out);
	print_terms(out, &rule->match);
	if (rule->nots_count) {
		fprintf(out, "%snot: %s", rule->match.count ? ", " : "",
			rule->nots_count > 1 ? "[" : "");
		for (i = 0; i < rule->nots_count; i++) {
			fputs(i ? ", { " : "{ ", out);
			print_terms(out, &rule->nots[i]);
			fputs(" }", out);
		}
		fputs(rule->nots_count > 1 ? "]" : "", out);
	}
	fputs(" }", out);
}

/* What a printer prints, as a string to be freed. */
#define PRINTED(printer, what)                                                                     \
	({                                                                                         \
		char *printed_ = NULL;                                                             \
		size_t size_;                                                                      \
		FILE *out_ = open_memstream(&printed_, &size_);                                    \
                                                                                                   \
		if (out_) {                                                                        \
			printer(out_, what);                                                       \
			fclose(out_);                                                              \
		}                                                                                  \
		printed_;                                                                          \
	})

char *print_match_text(const struct policy_rule *rule)
{
	return PRINTED(print_match, rule);
}

static void print_egress(FILE *out, const struct policy_egress *egress)
{
	char buffer[PRINT_SCALAR];

	fprintf(out, "egress: { rate: %s", print_rate(buffer, egress->rate));
	if (egress->burst)
		fprintf(out, ", burst: %s", print_size(buffer, egress->burst));
	if (egress->burst_usecs)
		fprintf(out, ", burst: %s", print_time(buffer, egress->burst_usecs));
	if (egress->exceed == HQ_EXCEED_DROP)
		fputs(", exceed: drop }", out);
	else
		fprintf(out, ", exceed: { remark: %s } }", print_dscp(buffer, egress->exceed_dscp));
}

static void print_mirror(FILE *out, const struct policy_mirror *mirror)
{
	char buffer[PRINT_SCALAR];
	const char *separator = "";
	size_t i;

	fputs("{ from: [", out);
	for (i = 0; i < mirror->from_count; i++) {
		fputs(i ? ", " : "", out);
		print_text(out, print_prefix(buffer, &mirror->from[i]));
	}
	fputs("], allow: [", out);
	for (i = 0; i < 64; i++) {
		if (!(mirror->allow >> i & 1))
			continue;
		fprintf(out, "%s%s", separator, print_dscp(buffer, i));
		separator = ", ";
	}
	fprintf(out, "], of: %s }", scalar_name_of(scalar_mirrors, mirror->of));
}

char *print_mirror_text(const struct policy_mirror *mirror)
{
	return PRINTED(print_mirror, mirror);
}

static void print_app_dscp(FILE *out, const struct policy_class *class)
{
	static const char *const words[] = {
		[POLICY_IGNORE] = "ignore", [POLICY_HONOR] = "honor", [POLICY_DENY] = "deny"};
	const char *separator = "[";
	char buffer[PRINT_SCALAR];
	uint8_t dscp;

	fputs("app_dscp: ", out);
	if (class->app_dscp != POLICY_HONOR || class->honored == UINT64_MAX) {
		fputs(words[class->app_dscp], out);
		return;
	}
	fputs("{ honor: ", out);
	for (dscp = 0; dscp <= HQ_DSCP_MAX; dscp++) {
		if (!(class->honored >> dscp & 1))
			continue;
		fprintf(out, "%s%s", separator, print_dscp(buffer, dscp));
		separator = ", ";
	}
	fputs("] }", out);
}

void print_class(FILE *out, const struct policy_class *class)
{
	const char *separator = "{ ";
	char buffer[PRINT_SCALAR];

	if (class->dscp != HQ_KEEP) {
		fprintf(out, "%sdscp: %s", separator, print_dscp(buffer, class->dscp));
		separator = ", ";
	}
	if (class->syn_ack != class->dscp) {
		fprintf(out, "%ssyn_ack: %s", separator, print_dscp(buffer, class->syn_ack));
		separator = ", ";
	}
	if (class->cgroup) {
		fprintf(out, "%scgroup: ", separator);
		print_text(out, class->cgroup);
		separator = ", ";
	}
	if (class->egress.rate) {
		fputs(separator, out);
		print_egress(out, &class->egress);
		separator = ", ";
	}
	if (class->priority != HQ_KEEP) {
		fprintf(out, "%spriority: %u", separator, class->priority);
		separator = ", ";
	}
	if (class->mirror.of) {
		fprintf(out, "%smirror: ", separator);
		print_mirror(out, &class->mirror);
		separator = ", ";
	}
	if (class->app_dscp != POLICY_APP_DSCP_UNSAID) {
		fputs(separator, out);
		print_app_dscp(out, class);
		separator = ", ";
	}
	fputs(*separator == '{' ? "{}" : " }", out);
}

char *print_class_text(const struct policy_class *class)
{
	return PRINTED(print_class, class);
}

static void print_attach(FILE *out, const struct policy *policy)
{
	size_t i;

	fputs("attach: { cgroup: ", out);
	print_text(out, policy->attach_cgroup);
	for (i = 0; i < policy->interface_count; i++) {
		fputs(i ? ", " : ", interfaces: [", out);
		print_quoted(out, policy->interfaces[i].exclude ? "!" : "",
			     policy->interfaces[i].glob);
	}
	fputs(i ? "] }\n" : " }\n", out);
}

void print_policy(FILE *out, const struct policy *policy)
{
	size_t i;

	fputs("hostqos: 1\n", out);
	print_attach(out, policy);
	fputs("classes:\n", out);
	for (i = 0; i < policy->class_count; i++) {
		fprintf(out, "  %s: ", policy->classes[i].name);
		print_class(out, &policy->classes[i]);
		fputc('\n', out);
	}
	fputs("rules:\n", out);
	for (i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		fputs("  - { ", out);
		if (rule->name)
			fprintf(out, "name: %s, ", rule->name);
		fputs("match: ", out);
		print_match(out, rule);
		if (rule->refuse)
			fputs(", refuse: true }\n", out);
		else
			fprintf(out, ", class: %s }\n", policy->classes[rule->class].name);
	}
}
