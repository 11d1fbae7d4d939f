// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* Random policies and flows. Of the order in which it draws depends what a seed makes. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "../unit/policy_helper.h"
#include "oracle.h"

#define COUNT(array)	  (sizeof(array) / sizeof(*(array)))
#define PICK(seed, array) ((array)[helper_random(seed) % COUNT(array)])

/* What the policies say. */
static const char *const cgroups[] = {"/",     "/a",	  "/a/b",    "/a/*",	    "/a/**/b",
				      "/**/b", "/*/b",	  "/a*",     "/ab*c",	    "/**/c*",
				      "/x**y", "/a/x/**", "/*/*/b*", "/a/**/b/**/z"};
static const char *const units[] = {"foo", "bar.service", "user@1.service",
				    "f*",  "s.slice",	  "bar.scope"};
static const char *const exes[] = {"/exe/1", "/exe/2", "one", "two", "/gone"};
static const char *const ids[] = {"0", "1", "33", "4294967294"};
static const char *const families[] = {"ipv4", "ipv6"};
static const char *const protocols[] = {"tcp", "udp", "sctp", "89"};
static const char *const types[] = {"stream", "dgram", "raw"};
static const char *const directions[] = {"inbound", "outbound"};
static const char *const prefixes[] = {
	"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3",      "0.0.0.0/0",	 "::/0",	 "::/8",
	"::/80",      "10.1.2.2/31", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::1"};
static const char *const ports[] = {"80", "443", "1-1023", "1024-65535", "400-500", "65535", "1"};
static const char *const dscps[] = {"EF", "CS0", "63"};
static const char *const booleans[] = {"true", "false"};
static const char *const origins[] = {"local", "forwarded"};

static const struct {
	const char *const *values;
	size_t count;
} pools[POLICY_KEYS] = {
#define POOL(array)                                                                                \
	{                                                                                          \
		array, COUNT(array)                                                                \
	}
	[POLICY_CGROUP] = POOL(cgroups),
	[POLICY_UNIT] = POOL(units),
	[POLICY_EXE] = POOL(exes),
	[POLICY_USER] = POOL(ids),
	[POLICY_GROUP] = POOL(ids),
	[POLICY_FAMILY] = POOL(families),
	[POLICY_PROTOCOL] = POOL(protocols),
	[POLICY_TYPE] = POOL(types),
	[POLICY_DIRECTION] = POOL(directions),
	[POLICY_LOCAL] = POOL(prefixes),
	[POLICY_REMOTE] = POOL(prefixes),
	[POLICY_LOCAL_PORT] = POOL(ports),
	[POLICY_REMOTE_PORT] = POOL(ports),
	[POLICY_INBOUND_DSCP] = POOL(dscps),
	[POLICY_MULTICAST] = POOL(booleans),
	[POLICY_ORIGIN] = POOL(origins),
};

/* Class N's own cgroup is one level deeper than class N - 1's. */
static const char *const own_cgroups[ORACLE_CLASSES] = {"/own", "/own/c1", "/own/c1/deep",
							"/own/c1/deep/er"};

/* What the flows have. */
const char *const oracle_cgroups[] = {
	"",
	"/a",
	"/a/b",
	"/a/b/c",
	"/ab",
	"/abc",
	"/abxc/d",
	"/a/x/b",
	"/a/x/y/b/w/z",
	"/b",
	"/x/b",
	"/x/y/bb",
	"/c1/d",
	"/xa/by",
	"/foo.service",
	"/s.slice/foo.service/b",
	"/u.slice/user@1.service/app.slice/foo.service",
	"/user@1.service/bar.service/foo.service",
	"/bar.service/foo.service",
	"/q/bar.scope/fa.service",
	"/own/c1",
	"/own/c1/deep/er",
};
static const char *const flow_addresses[] = {
	"10.1.2.3", "10.1.2.2",	   "10.9.9.9",	    "192.0.2.1", "::1",	    "239.1.2.3",
	"ff02::5",  "2001:db8::1", "2001:db8:1::1", "fe80::1",	 "0.0.0.0", "2001:db8:1::2"};
static const uint16_t flow_ports[] = {0, 1, 80, 443, 450, 1023, 1024, 65535};
static const uint8_t flow_dscps[] = {46, 0, 63, 12, HQ_DSCP_NONE};
static const uint8_t flow_protocols[] = {6, 17, 132, 89, 1};
static const uint8_t flow_types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW};
static const uint32_t flow_ids[] = {0, 1, 33, 34, 4294967294};

/* While a policy is made. */
struct generator {
	uint64_t *seed;
	const char *cgroups[4]; /* of all patterns: one automaton cannot hold them all */
	bool origin;		/* half of the policies have no rule for forwarded packets */
};

static bool chance(uint64_t *seed, unsigned int one_in)
{
	return helper_random(seed) % one_in == 0;
}

static const char *pick_value(struct generator *g, int key)
{
	if (key == POLICY_CGROUP)
		return PICK(g->seed, g->cgroups);
	return pools[key].values[helper_random(g->seed) % pools[key].count];
}

static void make_block(struct generator *g, struct oracle_block *block, unsigned int one_in)
{
	int key, v;

	for (key = 0; key < POLICY_KEYS; key++) {
		if (!chance(g->seed, one_in) || (key == POLICY_ORIGIN && !g->origin))
			continue;
		block->used = true;
		for (v = 0; v < (key == POLICY_MULTICAST ? 1 : ORACLE_VALUES); v++)
			if (!v || chance(g->seed, 2))
				block->values[key][v] = pick_value(g, key);
			else
				break;
	}
}

static bool has_value(const struct oracle_block *block, int key, const char *value)
{
	int v;

	for (v = 0; v < ORACLE_VALUES && block->values[key][v]; v++)
		if (!strcmp(block->values[key][v], value))
			return true;
	return false;
}

bool oracle_rule_says(const struct oracle_rule *rule, enum policy_key key)
{
	int b;

	for (b = 0; b < ORACLE_BLOCKS; b++)
		if (rule->blocks[b].values[key][0])
			return true;
	return false;
}

static bool allows_origin(const struct oracle_rule *rule, const char *origin)
{
	int b;

	for (b = 1; b < ORACLE_BLOCKS; b++)
		if (has_value(&rule->blocks[b], POLICY_ORIGIN, origin))
			return false;
	return !rule->blocks[0].values[POLICY_ORIGIN][0] ||
	       has_value(&rule->blocks[0], POLICY_ORIGIN, origin);
}

static void forget(struct oracle_rule *rule, int key)
{
	int b, k;

	for (b = 0; b < ORACLE_BLOCKS; b++) {
		struct oracle_block *block = &rule->blocks[b];

		block->values[key][0] = NULL;
		block->used = false;
		for (k = 0; k < POLICY_KEYS; k++)
			block->used |= block->values[k][0] != NULL;
	}
}

/* What would be an error: no origin at all, or what only sockets have of a forwarded packet. */
static void correct_origin(struct oracle_rule *rule)
{
	static const int of_sockets[] = {POLICY_CGROUP, POLICY_UNIT, POLICY_EXE,      POLICY_USER,
					 POLICY_GROUP,	POLICY_TYPE, POLICY_DIRECTION};
	size_t i;

	if (!allows_origin(rule, "local") && !allows_origin(rule, "forwarded"))
		forget(rule, POLICY_ORIGIN);
	if (!oracle_rule_says(rule, POLICY_ORIGIN) || !allows_origin(rule, "forwarded"))
		return;
	for (i = 0; i < COUNT(of_sockets); i++)
		forget(rule, of_sockets[i]);
}

/* What would be an error, too: protocols and addresses that have no multicast, or nothing else. */
static void correct_multicast(struct oracle_rule *rule)
{
	const struct oracle_block *match = &rule->blocks[0];

	if (match->values[POLICY_MULTICAST][0] &&
	    (match->values[POLICY_PROTOCOL][0] || match->values[POLICY_REMOTE][0]))
		forget(rule, POLICY_MULTICAST);
}

static void make_rule(struct generator *g, struct oracle_rule *rule)
{
	int b;

	make_block(g, &rule->blocks[0], 5);
	for (b = 1; b < ORACLE_BLOCKS; b++)
		if (chance(g->seed, 4))
			make_block(g, &rule->blocks[b], 8);
	correct_origin(rule);
	correct_multicast(rule);
	rule->refuse = chance(g->seed, 8);
	rule->class = helper_random(g->seed) % ORACLE_CLASSES;
}

void oracle_make_policy(struct oracle_policy *policy, uint64_t *seed)
{
	struct generator g = {.seed = seed, .origin = chance(seed, 2)};
	size_t i;

	memset(policy, 0, sizeof(*policy));
	for (i = 0; i < COUNT(g.cgroups); i++)
		g.cgroups[i] = PICK(seed, cgroups);
	policy->count = chance(seed, 20) ? ORACLE_RULES : 1 + helper_random(seed) % 30;
	for (i = 0; i < policy->count; i++) {
		make_rule(&g, &policy->rules[i]);
		policy->says_origin |= oracle_rule_says(&policy->rules[i], POLICY_ORIGIN);
	}
	for (i = 0; i < ORACLE_CLASSES; i++)
		policy->own_cgroup[i] = chance(seed, 2) ? own_cgroups[i] : NULL;
}

static void write_block(FILE *out, const struct oracle_block *block, const char *top)
{
	const char *separator = "";
	int key, v;

	for (key = 0; key < POLICY_KEYS; key++) {
		if (!block->values[key][0])
			continue;
		fprintf(out, "%s%s: ", separator, policy_key_name(key));
		fputs(key == POLICY_MULTICAST ? "" : "[", out);
		for (v = 0; v < ORACLE_VALUES && block->values[key][v]; v++)
			fprintf(out, "%s\"%s%s\"", v ? ", " : "", key == POLICY_CGROUP ? top : "",
				block->values[key][v]);
		fputs(key == POLICY_MULTICAST ? "" : "]", out);
		separator = ", ";
	}
}

static void write_rule(FILE *out, const struct oracle_rule *rule, size_t i, const char *top)
{
	const char *separator = "";
	int b;

	fprintf(out, "- { name: r%zu, ", i);
	if (rule->refuse)
		fprintf(out, "refuse: true, match: { ");
	else
		fprintf(out, "class: c%d, match: { ", rule->class);
	write_block(out, &rule->blocks[0], top);
	fprintf(out, "%s", rule->blocks[0].used ? ", " : "");
	if (rule->blocks[1].used || rule->blocks[2].used) {
		fprintf(out, "not: [");
		for (b = 1; b < ORACLE_BLOCKS; b++) {
			if (!rule->blocks[b].used)
				continue;
			fprintf(out, "%s{ ", separator);
			write_block(out, &rule->blocks[b], top);
			fprintf(out, " }");
			separator = ", ";
		}
		fprintf(out, "]");
	}
	fprintf(out, " } }\n");
}

char *oracle_write_policy(const struct oracle_policy *policy, const char *top)
{
	char *text = NULL;
	size_t size, i;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	fprintf(out, "hostqos: 1\nclasses:\n");
	for (i = 0; i < ORACLE_CLASSES; i++)
		if (policy->own_cgroup[i])
			fprintf(out, "  c%zu: { cgroup: %s%s }\n", i, top, policy->own_cgroup[i]);
		else
			fprintf(out, "  c%zu: {}\n", i);
	fprintf(out, "rules:\n");
	for (i = 0; i < policy->count; i++)
		write_rule(out, &policy->rules[i], i, top);
	fclose(out);
	return text;
}

static void make_address(const char *text, uint8_t address[16])
{
	memset(address, 0, 16);
	if (inet_pton(AF_INET6, text, address) == 1)
		return;
	address[10] = address[11] = 0xff;
	inet_pton(AF_INET, text, address + 12);
}

static bool is_multicast(const uint8_t address[16])
{
	return address[0] ? address[0] == 0xff : (address[12] & 0xf0) == 0xe0;
}

struct policy_flow oracle_make_flow(const struct oracle_policy *policy, uint64_t *seed)
{
	struct policy_flow flow = {
		.known = helper_random(seed) | helper_random(seed),
		.cgroup = PICK(seed, oracle_cgroups),
		.exe_inode = helper_random(seed) % 4,
		.exe_device = 7 + chance(seed, 4),
		.exe_name = chance(seed, 2)   ? "one"
			    : chance(seed, 2) ? "two"
					      : "three",
		.uid = PICK(seed, flow_ids),
		.gid = PICK(seed, flow_ids),
		.family = chance(seed, 2) ? 4 : 6,
		.protocol = PICK(seed, flow_protocols),
		.type = PICK(seed, flow_types),
		.direction = helper_random(seed) % 2,
		.inbound_dscp = PICK(seed, flow_dscps),
		.origin = policy->says_origin && chance(seed, 3) ? HQ_FORWARDED : HQ_LOCAL,
		.local_port = PICK(seed, flow_ports),
		.remote_port = PICK(seed, flow_ports),
	};

	if (chance(seed, 2))
		flow.known = HQ_ALL_DIMS;
	flow.known |= HQ_BIT(HQ_DIM_ORIGIN);
	/* An executable is known by both of its dimensions or by neither. */
	flow.known &= ~HQ_BIT(HQ_DIM_EXE_NAME);
	if (flow.known & HQ_BIT(HQ_DIM_EXE_FILE))
		flow.known |= HQ_BIT(HQ_DIM_EXE_NAME);
	make_address(PICK(seed, flow_addresses), flow.local);
	make_address(PICK(seed, flow_addresses), flow.remote);
	flow.multicast = is_multicast(flow.remote);
	return flow;
}
