// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* The policy's words read as README explains them: rule by rule, value by value. */
#include <arpa/inet.h>
#include <ctype.h>
#include <fnmatch.h>
#include <sys/socket.h>

#include "../unit/policy_helper.h"
#include "oracle.h"

enum answer { NO, UNDECIDED, YES };

/* What words stand for; numbers stand for themselves. */
static const struct {
	const char *word;
	unsigned int number;
} words[] = {
	{"ipv4", 4},
	{"ipv6", 6},
	{"tcp", 6},
	{"udp", 17},
	{"sctp", 132},
	{"stream", SOCK_STREAM},
	{"dgram", SOCK_DGRAM},
	{"raw", SOCK_RAW},
	{"inbound", HQ_INBOUND},
	{"outbound", HQ_OUTBOUND},
	{"EF", 46},
	{"CS0", 0},
	{"false", 0},
	{"true", 1},
	{"local", HQ_LOCAL},
	{"forwarded", HQ_FORWARDED},
};

/* The dimension whose bit in a flow's `known` says whether the key's value is. */
static const enum hq_dim dim_of[POLICY_KEYS] = {
	[POLICY_CGROUP] = HQ_DIM_CGROUP,
	[POLICY_UNIT] = HQ_DIM_CGROUP,
	[POLICY_EXE] = HQ_DIM_EXE_FILE,
	[POLICY_USER] = HQ_DIM_USER,
	[POLICY_GROUP] = HQ_DIM_GROUP,
	[POLICY_FAMILY] = HQ_DIM_FAMILY,
	[POLICY_PROTOCOL] = HQ_DIM_PROTOCOL,
	[POLICY_TYPE] = HQ_DIM_TYPE,
	[POLICY_DIRECTION] = HQ_DIM_DIRECTION,
	[POLICY_LOCAL] = HQ_DIM_LOCAL,
	[POLICY_REMOTE] = HQ_DIM_REMOTE,
	[POLICY_LOCAL_PORT] = HQ_DIM_LOCAL_PORT,
	[POLICY_REMOTE_PORT] = HQ_DIM_REMOTE_PORT,
	[POLICY_INBOUND_DSCP] = HQ_DIM_INBOUND_DSCP,
	[POLICY_MULTICAST] = HQ_DIM_MULTICAST,
	[POLICY_ORIGIN] = HQ_DIM_ORIGIN,
};

/* `s` from end to end. */
static bool glob_matches(const char *p, const char *s)
{
	if (!*p)
		return !*s;
	if (!strncmp(p, "/**", 3) && (p[3] == '/' || !p[3])) {
		for (;;) {
			if (glob_matches(p + 3, s))
				return true;
			if (*s != '/')
				return false;
			s += 1 + strcspn(s + 1, "/");
		}
	}
	if (*p == '*') {
		bool any = p[1] == '*';

		for (;; s++) {
			if (glob_matches(p + 1 + any, s))
				return true;
			if (!*s || (*s == '/' && !any))
				return false;
		}
	}
	return *p == *s && glob_matches(p + 1, s + 1);
}

/* The path or one of its ancestors. */
static bool in_cgroup(const char *pattern, const char *path)
{
	char copy[256];
	size_t i;

	if (!strcmp(pattern, "/"))
		return true;
	for (i = 0;; i++)
		if (path[i] == '/' || !path[i]) {
			snprintf(copy, sizeof(copy), "%.*s", (int)i, path);
			if (glob_matches(pattern, copy))
				return true;
			if (!path[i])
				return false;
		}
}

/* Not below a service, but for a user's manager. */
static bool in_unit(const char *unit, const char *path)
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

/* A path is a file, "/exe/N" as in helper_exe(); else it is the base name. */
static bool is_exe(const char *exe, const struct policy_flow *flow)
{
	if (*exe == '/')
		return flow->exe_device == 7 && !strncmp(exe, "/exe/", 5) &&
		       flow->exe_inode == strtoul(exe + 5, NULL, 10);
	return !strcmp(exe, flow->exe_name);
}

static bool in_prefix(const char *prefix, const uint8_t address[16])
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

static bool in_ports(const char *range, uint16_t port)
{
	unsigned int first, last;

	if (sscanf(range, "%u-%u", &first, &last) == 1)
		last = first;
	return port >= first && port <= last;
}

static bool stands_for(const char *word, unsigned int number)
{
	size_t i;

	if (isdigit(*word))
		return strtoul(word, NULL, 10) == number;
	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(words[i].word, word))
			return words[i].number == number;
	fail_msg("the oracle does not know '%s'", word);
	return false;
}

static bool value_holds(enum policy_key key, const char *value, const struct policy_flow *flow)
{
	switch (key) {
	case POLICY_CGROUP:
		return in_cgroup(value, flow->cgroup);
	case POLICY_UNIT:
		return in_unit(value, flow->cgroup);
	case POLICY_EXE:
		return is_exe(value, flow);
	case POLICY_USER:
		return stands_for(value, flow->uid);
	case POLICY_GROUP:
		return stands_for(value, flow->gid);
	case POLICY_FAMILY:
		return stands_for(value, flow->family);
	case POLICY_PROTOCOL:
		return stands_for(value, flow->protocol);
	case POLICY_TYPE:
		return stands_for(value, flow->type);
	case POLICY_DIRECTION:
		return stands_for(value, flow->direction);
	case POLICY_LOCAL:
		return in_prefix(value, flow->local);
	case POLICY_REMOTE:
		return in_prefix(value, flow->remote);
	case POLICY_LOCAL_PORT:
		return in_ports(value, flow->local_port);
	case POLICY_REMOTE_PORT:
		return in_ports(value, flow->remote_port);
	case POLICY_INBOUND_DSCP:
		return stands_for(value, flow->inbound_dscp);
	case POLICY_MULTICAST:
		return stands_for(value, flow->multicast);
	case POLICY_ORIGIN:
		return stands_for(value, flow->origin);
	case POLICY_KEYS:
		break;
	}
	fail_msg("the oracle does not know key %u", key);
	return false;
}

static enum answer key_holds(enum policy_key key, const char *const *values,
			     const struct policy_flow *flow)
{
	int v;

	if (!(flow->known & HQ_BIT(dim_of[key])))
		return UNDECIDED;
	for (v = 0; v < ORACLE_VALUES && values[v]; v++)
		if (value_holds(key, values[v], flow))
			return YES;
	return NO;
}

static enum answer rule_holds(const struct oracle_rule *rule, const struct policy_flow *flow)
{
	enum answer holds = YES, h;
	int key, b;

	if (!oracle_rule_says(rule, POLICY_ORIGIN) && flow->origin != HQ_LOCAL)
		return NO;
	for (b = 0; b < ORACLE_BLOCKS; b++)
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

/* The name of the first rule that holds at least so much. */
static void first_rule(const struct oracle_policy *policy, const struct policy_flow *flow,
		       enum answer least, char name[32])
{
	size_t i;
	int c;

	for (i = 0; i < policy->count; i++)
		if (rule_holds(&policy->rules[i], flow) >= least) {
			snprintf(name, 32, "r%zu", i);
			return;
		}
	for (c = ORACLE_CLASSES - 1; c >= 0; c--) {
		const char *own[ORACLE_VALUES] = {policy->own_cgroup[c]};

		if (*own && flow->origin == HQ_LOCAL &&
		    key_holds(POLICY_CGROUP, own, flow) >= least) {
			snprintf(name, 32, "class c%d", c);
			return;
		}
	}
	*name = '\0';
}

struct oracle_matched oracle_match(const struct oracle_policy *policy,
				   const struct policy_flow *flow)
{
	struct oracle_matched found;

	first_rule(policy, flow, YES, found.sure);
	first_rule(policy, flow, UNDECIDED, found.maybe);
	return found;
}
