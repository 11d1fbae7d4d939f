/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The policy of a large host: 2,000 cgroups, 5,000 prefixes and 3,000 ports in
 * as many rules as are wanted. The last rule is the one that is asked for.
 */
#ifndef HOSTQOS_TEST_LARGE_H
#define HOSTQOS_TEST_LARGE_H

#include <stdio.h>

#define LARGE_RULES    10000
#define LARGE_CGROUPS  2000
#define LARGE_PREFIXES 5000
#define LARGE_PORTS    3000

static inline void large_rule(FILE *out, int i)
{
	int prefix = i % LARGE_PREFIXES;

	fprintf(out, "  - { match: { cgroup: @/s%d/service-%d, protocol: tcp, remote_port: %d, ",
		i % 50, i % LARGE_CGROUPS, 1 + i * 7 % LARGE_PORTS);
	if (prefix % 5)
		fprintf(out, "remote: 172.%d.%d.0/24", prefix >> 8, prefix & 255);
	else
		fprintf(out, "remote: \"2001:db8:%x::/48\"", prefix);
	fprintf(out, " }, class: c%d }\n", i % 10);
}

/* To be freed. `last` is the last rule's match; its class is `last`, of DSCP EF. */
static inline char *large_policy(const char *head, int rules, const char *last)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int i;

	fprintf(out, "%sclasses:\n  last: { dscp: EF }\n", head);
	for (i = 0; i < 10; i++)
		fprintf(out, "  c%d: { dscp: %d }\n", i, 8 + i);
	fprintf(out, "rules:\n");
	for (i = 0; i < rules - 1; i++)
		large_rule(out, i);
	fprintf(out, "  - { name: last, match: { %s }, class: last }\n", last);
	fclose(out);
	return text;
}

#endif
