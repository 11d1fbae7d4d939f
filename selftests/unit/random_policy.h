/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Random policies, random flows, and a first-match interpreter that knows
 * nothing of dimensions, rows or automata. It reads the policy's words: a key
 * whose value is not known makes its rule undecided.
 */
#ifndef HOSTQOS_RANDOM_POLICY_H
#define HOSTQOS_RANDOM_POLICY_H

#include <arpa/inet.h>
#include <fnmatch.h>
#include <sys/socket.h>

#include "policy_helper.h"

#define RULES	1100
#define VALUES	3
#define BLOCKS	3 /* the match itself, and up to two under `not` */
#define CLASSES 4

enum { NO, UNDECIDED, YES };

/* What the policies say and the flows have. */
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

static const char *const flow_cgroups[] = {
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

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define PICK(array)  ((array)[helper_random(&seed) % COUNT(array)])

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

/* A block: for each key up to VALUES values, NULL where there are no more. */
struct block {
	const char *values[POLICY_KEYS][VALUES];
	bool used;
};

struct rule {
	struct block blocks[BLOCKS]; /* [0]: what must match; the others under `not` */
	int class;
	bool refuse;
};

struct model {
	struct rule rules[RULES];
	size_t count;
	bool own_cgroup[CLASSES];
	bool says_origin;
};

/* The state of the generator; where a policy begins it is what makes the policy. */
static uint64_t seed = 0x9e3779b97f4a7c15ULL;

static inline bool chance(unsigned int one_in)
{
	return helper_random(&seed) % one_in == 0;
}

/* All patterns at once would be more than one automaton can hold: four by policy. */
static const char *cgroup_choice[4];

static const char *pick_value(int key)
{
	if (key == POLICY_CGROUP)
		return PICK(cgroup_choice);
	return pools[key].values[helper_random(&seed) % pools[key].count];
}

/* Half of the policies do not: they have no rule for forwarded packets. */
static bool speaks_of_origin;

static inline void make_block(struct block *block, unsigned int one_in)
{
	int key, v;

	memset(block, 0, sizeof(*block));
	for (key = 0; key < POLICY_KEYS; key++) {
		if (!chance(one_in) || (key == POLICY_ORIGIN && !speaks_of_origin))
			continue;
		block->used = true;
		for (v = 0; v < (key == POLICY_MULTICAST ? 1 : VALUES); v++)
			if (!v || chance(2))
				block->values[key][v] = pick_value(key);
			else
				break;
	}
}

static inline bool has_value(const struct block *block, int key, const char *value)
{
	int v;

	for (v = 0; v < VALUES && block->values[key][v]; v++)
		if (!strcmp(block->values[key][v], value))
			return true;
	return false;
}

static inline bool says(const struct rule *rule, int key)
{
	int b;

	for (b = 0; b < BLOCKS; b++)
		if (rule->blocks[b].values[key][0])
			return true;
	return false;
}

static inline bool allows_origin(const struct rule *rule, const char *origin)
{
	int b;

	for (b = 1; b < BLOCKS; b++)
		if (has_value(&rule->blocks[b], POLICY_ORIGIN, origin))
			return false;
	return !rule->blocks[0].values[POLICY_ORIGIN][0] ||
	       has_value(&rule->blocks[0], POLICY_ORIGIN, origin);
}

static inline void forget(struct rule *rule, int key)
{
	int b, k;

	for (b = 0; b < BLOCKS; b++) {
		struct block *block = &rule->blocks[b];

		block->values[key][0] = NULL;
		block->used = false;
		for (k = 0; k < POLICY_KEYS; k++)
			block->used |= block->values[k][0] != NULL;
	}
}

/* What would be an error: no origin at all, or what only sockets have of a forwarded packet. */
static inline void make_origin(struct rule *rule)
{
	static const int of_sockets[] = {POLICY_CGROUP, POLICY_UNIT, POLICY_EXE,      POLICY_USER,
					 POLICY_GROUP,	POLICY_TYPE, POLICY_DIRECTION};
	size_t i;

	if (!allows_origin(rule, "local") && !allows_origin(rule, "forwarded"))
		forget(rule, POLICY_ORIGIN);
	if (!says(rule, POLICY_ORIGIN) || !allows_origin(rule, "forwarded"))
		return;
	for (i = 0; i < COUNT(of_sockets); i++)
		forget(rule, of_sockets[i]);
}

static inline void make_model(struct model *model)
{
	size_t i;
	int b;

	memset(model, 0, sizeof(*model));
	speaks_of_origin = chance(2);
	for (i = 0; i < COUNT(cgroup_choice); i++)
		cgroup_choice[i] = PICK(cgroups);
	model->count = chance(20) ? RULES : 1 + helper_random(&seed) % 30;
	for (i = 0; i < model->count; i++) {
		make_block(&model->rules[i].blocks[0], 5);
		for (b = 1; b < BLOCKS; b++)
			if (chance(4))
				make_block(&model->rules[i].blocks[b], 8);
		make_origin(&model->rules[i]);
		model->says_origin |= says(&model->rules[i], POLICY_ORIGIN);
		model->rules[i].refuse = chance(8);
		model->rules[i].class = helper_random(&seed) % CLASSES;
	}
	for (b = 0; b < CLASSES; b++)
		model->own_cgroup[b] = chance(2);
}

/* Class N's own cgroup is one level deeper than class N - 1's. */
static const char *own_cgroup(int class)
{
	static const char *const paths[CLASSES] = {"/own", "/own/c1", "/own/c1/deep",
						   "/own/c1/deep/er"};

	return paths[class];
}

/* The cgroup that stands for the root, "" for the real one: see the test in bpf/. */
static const char *top = "";

static inline void write_block(FILE *out, const struct block *block)
{
	const char *separator = "";
	int key, v;

	for (key = 0; key < POLICY_KEYS; key++) {
		if (!block->values[key][0])
			continue;
		fprintf(out, "%s%s: ", separator, policy_key_name(key));
		fputs(key == POLICY_MULTICAST ? "" : "[", out);
		for (v = 0; v < VALUES && block->values[key][v]; v++)
			fprintf(out, "%s\"%s%s\"", v ? ", " : "", key == POLICY_CGROUP ? top : "",
				block->values[key][v]);
		fputs(key == POLICY_MULTICAST ? "" : "]", out);
		separator = ", ";
	}
}

static inline void write_rule(FILE *out, const struct rule *rule, size_t i)
{
	const char *separator = "";
	int b;

	fprintf(out, "- { name: r%zu, ", i);
	if (rule->refuse)
		fprintf(out, "refuse: true, match: { ");
	else
		fprintf(out, "class: c%d, match: { ", rule->class);
	write_block(out, &rule->blocks[0]);
	fprintf(out, "%s", rule->blocks[0].used ? ", " : "");
	if (rule->blocks[1].used || rule->blocks[2].used) {
		fprintf(out, "not: [");
		for (b = 1; b < BLOCKS; b++) {
			if (!rule->blocks[b].used)
				continue;
			fprintf(out, "%s{ ", separator);
			write_block(out, &rule->blocks[b]);
			fprintf(out, " }");
			separator = ", ";
		}
		fprintf(out, "]");
	}
	fprintf(out, " } }\n");
}

static inline char *write_model(const struct model *model)
{
	char *text = NULL;
	size_t size, i;
	FILE *out = open_memstream(&text, &size);

	fprintf(out, "hostqos: 1\nclasses:\n");
	for (i = 0; i < CLASSES; i++)
		if (model->own_cgroup[i])
			fprintf(out, "  c%zu: { cgroup: %s%s }\n", i, top, own_cgroup(i));
		else
			fprintf(out, "  c%zu: {}\n", i);
	fprintf(out, "rules:\n");
	for (i = 0; i < model->count; i++)
		write_rule(out, &model->rules[i], i);
	fclose(out);
	return text;
}

/* `s` from end to end. */
static inline bool glob(const char *p, const char *s)
{
	if (!*p)
		return !*s;
	if (!strncmp(p, "/**", 3) && (p[3] == '/' || !p[3])) {
		for (;;) {
			if (glob(p + 3, s))
				return true;
			if (*s != '/')
				return false;
			s += 1 + strcspn(s + 1, "/");
		}
	}
	if (*p == '*') {
		bool any = p[1] == '*';

		for (;; s++) {
			if (glob(p + 1 + any, s))
				return true;
			if (!*s || (*s == '/' && !any))
				return false;
		}
	}
	return *p == *s && glob(p + 1, s + 1);
}

/* The path or one of its ancestors. */
static inline bool in_cgroup(const char *pattern, const char *path)
{
	char copy[256];
	size_t i;

	if (!strcmp(pattern, "/"))
		return true;
	for (i = 0;; i++)
		if (path[i] == '/' || !path[i]) {
			snprintf(copy, sizeof(copy), "%.*s", (int)i, path);
			if (glob(pattern, copy))
				return true;
			if (!path[i])
				return false;
		}
}

/* Not below a service, but for a user's manager. */
static inline bool in_unit(const char *unit, const char *path)
{
	char pattern[64], copy[256], *name, *state;

	snprintf(pattern, sizeof(pattern), "%s%s", unit, strchr(unit, '.') ? "" : ".service");
	snprintf(copy, sizeof(copy), "%s", path);
	for (name = strtok_r(copy, "/", &state); name; name = strtok_r(NULL, "/", &state)) {
		if (!fnmatch(pattern, name, 0))
			return true;
		if (!fnmatch("*.service", name, 0) && fnmatch("user@*.service", name, 0))
			return false;
	}
	return false;
}

static inline bool in_prefix(const char *prefix, const uint8_t address[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	bool is_v4 = !memcmp(address, mapped, sizeof(mapped)), v4 = !strchr(prefix, ':');
	unsigned int length = v4 ? 32 : 128, i;
	uint8_t wanted[16];
	char copy[64];

	if (v4 != is_v4)
		return false;
	snprintf(copy, sizeof(copy), "%s", prefix);
	if (strchr(copy, '/')) {
		length = atoi(strchr(copy, '/') + 1);
		*strchr(copy, '/') = '\0';
	}
	inet_pton(v4 ? AF_INET : AF_INET6, copy, wanted);
	for (i = 0; i < length; i++)
		if ((wanted[i / 8] ^ address[(v4 ? 12 : 0) + i / 8]) & (0x80 >> i % 8))
			return false;
	return true;
}

static inline bool in_ports(const char *range, uint16_t port)
{
	unsigned int first, last;

	if (sscanf(range, "%u-%u", &first, &last) == 1)
		last = first;
	return port >= first && port <= last;
}

static inline bool is_named(const char *name, const char *const *names, const unsigned int *values,
			    unsigned int value)
{
	while (strcmp(*names, name)) {
		names++;
		values++;
	}
	return *values == value;
}

static inline bool value_holds(int key, const char *value, const struct policy_flow *flow)
{
	switch (key) {
	case POLICY_CGROUP:
		return in_cgroup(value, flow->cgroup);
	case POLICY_UNIT:
		return in_unit(value, flow->cgroup);
	case POLICY_EXE:
		if (*value == '/')
			return flow->exe_device == 7 && !strncmp(value, "/exe/", 5) &&
			       flow->exe_inode == strtoul(value + 5, NULL, 10);
		return !strcmp(value, flow->exe_name);
	case POLICY_USER:
		return strtoul(value, NULL, 10) == flow->uid;
	case POLICY_GROUP:
		return strtoul(value, NULL, 10) == flow->gid;
	case POLICY_FAMILY:
		return flow->family == value[3] - '0';
	case POLICY_PROTOCOL:
		return is_named(value, protocols, (unsigned int[]){6, 17, 132, 89}, flow->protocol);
	case POLICY_TYPE:
		return is_named(value, types, (unsigned int[]){SOCK_STREAM, SOCK_DGRAM, SOCK_RAW},
				flow->type);
	case POLICY_DIRECTION:
		return is_named(value, directions, (unsigned int[]){HQ_INBOUND, HQ_OUTBOUND},
				flow->direction);
	case POLICY_LOCAL:
		return in_prefix(value, flow->local);
	case POLICY_REMOTE:
		return in_prefix(value, flow->remote);
	case POLICY_LOCAL_PORT:
		return in_ports(value, flow->local_port);
	case POLICY_REMOTE_PORT:
		return in_ports(value, flow->remote_port);
	case POLICY_INBOUND_DSCP:
		return is_named(value, dscps, (unsigned int[]){46, 0, 63}, flow->inbound_dscp);
	case POLICY_MULTICAST:
		return flow->multicast == (*value == 't');
	default:
		return flow->origin == (*value == 'l' ? HQ_LOCAL : HQ_FORWARDED);
	}
}

/* The dimension that says whether a key's value is known. */
static const int dim_of[POLICY_KEYS] = {
	HQ_DIM_CGROUP,	    HQ_DIM_CGROUP,	 HQ_DIM_EXE_FILE,  HQ_DIM_USER,
	HQ_DIM_GROUP,	    HQ_DIM_FAMILY,	 HQ_DIM_PROTOCOL,  HQ_DIM_TYPE,
	HQ_DIM_DIRECTION,   HQ_DIM_LOCAL,	 HQ_DIM_REMOTE,	   HQ_DIM_LOCAL_PORT,
	HQ_DIM_REMOTE_PORT, HQ_DIM_INBOUND_DSCP, HQ_DIM_MULTICAST, HQ_DIM_ORIGIN,
};

static inline int key_holds(int key, const char *const *values, const struct policy_flow *flow)
{
	int v;

	if (!(flow->known & HQ_BIT(dim_of[key])))
		return UNDECIDED;
	for (v = 0; v < VALUES && values[v]; v++)
		if (value_holds(key, values[v], flow))
			return YES;
	return NO;
}

static inline int rule_holds(const struct rule *rule, const struct policy_flow *flow)
{
	int holds = YES, key, b, h;

	if (!says(rule, POLICY_ORIGIN) && flow->origin != HQ_LOCAL)
		return NO;
	for (b = 0; b < BLOCKS; b++)
		for (key = 0; key < POLICY_KEYS; key++) {
			if (!rule->blocks[b].values[key][0])
				continue;
			h = key_holds(key, rule->blocks[b].values[key], flow);
			if (b && h != UNDECIDED)
				h = h == YES ? NO : YES;
			holds = h < holds ? h : holds;
		}
	return holds;
}

/* The name of the first rule that holds at least so much; "" for none. */
static inline void first_rule(const struct model *model, const struct policy_flow *flow, int least,
			      char name[32])
{
	size_t i;
	int c;

	for (i = 0; i < model->count; i++)
		if (rule_holds(&model->rules[i], flow) >= least) {
			snprintf(name, 32, "r%zu", i);
			return;
		}
	for (c = CLASSES - 1; c >= 0; c--) {
		const char *path = own_cgroup(c);

		if (model->own_cgroup[c] && flow->origin == HQ_LOCAL &&
		    key_holds(POLICY_CGROUP, (const char *[VALUES]){path}, flow) >= least) {
			snprintf(name, 32, "class c%d", c);
			return;
		}
	}
	*name = '\0';
}

static inline void make_address(const char *text, uint8_t address[16])
{
	memset(address, 0, 16);
	if (inet_pton(AF_INET6, text, address) == 1)
		return;
	address[10] = address[11] = 0xff;
	inet_pton(AF_INET, text, address + 12);
}

static inline bool is_multicast(const uint8_t address[16])
{
	return address[0] ? address[0] == 0xff : (address[12] & 0xf0) == 0xe0;
}

/* Of a policy that does not speak of forwarded packets none is asked about. */
static inline struct policy_flow make_flow(const struct model *model)
{
	struct policy_flow flow = {
		.known = helper_random(&seed) | helper_random(&seed),
		.cgroup = PICK(flow_cgroups),
		.exe_inode = helper_random(&seed) % 4,
		.exe_device = 7 + chance(4),
		.exe_name = chance(2)	? "one"
			    : chance(2) ? "two"
					: "three",
		.uid = PICK(flow_ids),
		.gid = PICK(flow_ids),
		.family = chance(2) ? 4 : 6,
		.protocol = PICK(flow_protocols),
		.type = PICK(flow_types),
		.direction = helper_random(&seed) % 2,
		.inbound_dscp = PICK(flow_dscps),
		.origin = model->says_origin && chance(3) ? HQ_FORWARDED : HQ_LOCAL,
		.local_port = PICK(flow_ports),
		.remote_port = PICK(flow_ports),
	};

	if (chance(2))
		flow.known = HQ_ALL_DIMS;
	flow.known |= HQ_BIT(HQ_DIM_ORIGIN);
	/* An executable is known by both of its dimensions or by neither. */
	flow.known &= ~HQ_BIT(HQ_DIM_EXE_NAME);
	if (flow.known & HQ_BIT(HQ_DIM_EXE_FILE))
		flow.known |= HQ_BIT(HQ_DIM_EXE_NAME);
	make_address(PICK(flow_addresses), flow.local);
	make_address(PICK(flow_addresses), flow.remote);
	flow.multicast = is_multicast(flow.remote);
	return flow;
}

#endif
