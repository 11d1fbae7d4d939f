// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "check.h"
#include "compile.h"
#include "describe.h"
#include "print.h"

/* A base name names any file of that name; a path, that one. What does not exist has no inode. */
static int take_exe(struct policy_flow *flow, const char *text, policy_exe_fn exe,
		    struct scalar_error *error)
{
	/* As the kernel has it: the name of a symlink is nobody's. */
	char *real = *text == '/' ? realpath(text, NULL) : NULL;
	const char *path = real ? real : text, *slash = strrchr(path, '/');

	if (*text != '/' && slash)
		return scalar_fail(error, "'%.64s' is neither an absolute path nor a base name",
				   text);
	flow->exe = text;
	flow->exe_hash = policy_name_hash(slash ? slash + 1 : path);
	flow->known |= HQ_BIT(HQ_DIM_EXE_NAME);
	if (real)
		exe(real, &flow->exe_device, &flow->exe_inode);
	free(real);
	return 0;
}

static int take_cgroup(struct policy_flow *flow, const char *text, struct scalar_error *error)
{
	size_t length = strlen(text);

	if (*text != '/' || strstr(text, "//") || (length > 1 && text[length - 1] == '/'))
		return scalar_fail(error, "'%.64s' is not the path of a cgroup, as in '/a/b'",
				   text);
	flow->cgroup = length > 1 ? text : "";
	return 0;
}

static int take_account(const char *text, bool is_group, uint32_t *id, struct scalar_error *error)
{
	uint64_t number;

	if (!*text || text[strspn(text, "0123456789")]) {
		if (policy_account(text, is_group, id))
			return 0;
		return scalar_fail(error, "there is no %s '%.64s'; a number need not exist",
				   is_group ? "group" : "user", text);
	}
	if (scalar_number("a numeric id", text, UINT32_MAX - 1, &number, error))
		return -EINVAL;
	*id = number;
	return 0;
}

static int take_address(const char *text, uint8_t address[16], struct scalar_error *error)
{
	struct policy_value value = {0};

	if (scalar_prefix(text, &value, error))
		return -EINVAL;
	if (value.prefix.length < 128)
		return scalar_fail(error, "'%.64s' is a prefix; a flow has one address", text);
	memcpy(address, value.prefix.address, 16);
	return 0;
}

static int take_port(const char *text, uint16_t *port, struct scalar_error *error)
{
	struct policy_value value = {0};

	if (scalar_ports(text, &value, error))
		return -EINVAL;
	if (value.ports.first != value.ports.last)
		return scalar_fail(error, "'%.64s' is a range; a flow has one port", text);
	*port = value.ports.first;
	return 0;
}

static int take_named(const struct scalar_name *table, const char *what, const char *text,
		      uint8_t *value, struct scalar_error *error)
{
	uint32_t number;

	if (scalar_named(table, what, text, &number, error))
		return -EINVAL;
	*value = number;
	return 0;
}

static int take_protocol(const char *text, uint8_t *protocol, struct scalar_error *error)
{
	uint32_t number;

	if (scalar_protocol(text, &number, error))
		return -EINVAL;
	*protocol = number;
	return 0;
}

/* "none": nothing came in yet, which no rule's list matches. */
static int take_dscp(const char *text, uint8_t *dscp, struct scalar_error *error)
{
	uint32_t number = HQ_DSCP_NONE;

	if (strcmp(text, "none") && scalar_dscp(text, &number, error))
		return -EINVAL;
	*dscp = number;
	return 0;
}

static int take(struct policy_flow *flow, enum policy_key key, const char *text, policy_exe_fn exe,
		struct scalar_error *error)
{
	switch (key) {
	case POLICY_CGROUP:
		return take_cgroup(flow, text, error);
	case POLICY_EXE:
		return take_exe(flow, text, exe, error);
	case POLICY_USER:
		return take_account(text, false, &flow->uid, error);
	case POLICY_GROUP:
		return take_account(text, true, &flow->gid, error);
	case POLICY_FAMILY:
		return take_named(scalar_families, "a family: ipv4 or ipv6", text, &flow->family,
				  error);
	case POLICY_PROTOCOL:
		return take_protocol(text, &flow->protocol, error);
	case POLICY_TYPE:
		return take_named(scalar_types, "a type: stream, dgram, raw or seqpacket", text,
				  &flow->type, error);
	case POLICY_DIRECTION:
		return take_named(scalar_directions, "a direction: inbound or outbound", text,
				  &flow->direction, error);
	case POLICY_LOCAL:
		return take_address(text, flow->local, error);
	case POLICY_REMOTE:
		return take_address(text, flow->remote, error);
	case POLICY_LOCAL_PORT:
		return take_port(text, &flow->local_port, error);
	case POLICY_REMOTE_PORT:
		return take_port(text, &flow->remote_port, error);
	case POLICY_INBOUND_DSCP:
		return take_dscp(text, &flow->inbound_dscp, error);
	case POLICY_ORIGIN:
		return take_named(scalar_origins, "an origin: local or forwarded", text,
				  &flow->origin, error);
	default:
		return scalar_fail(error, "a flow has no %s of its own", policy_key_name(key));
	}
}

static bool knows(const struct policy_flow *flow, enum hq_dim dim)
{
	return flow->known & HQ_BIT(dim);
}

bool describe_is_ipv4(const uint8_t address[16])
{
	struct policy_value value = {.prefix.length = 128};

	memcpy(value.prefix.address, address, 16);
	return scalar_is_ipv4(&value);
}

void describe_remote(struct policy_flow *flow)
{
	bool ipv4 = describe_is_ipv4(flow->remote);

	flow->family = ipv4 ? 4 : 6;
	flow->multicast = ipv4 ? (flow->remote[12] & 0xf0) == 0xe0 : flow->remote[0] == 0xff;
	flow->known |= HQ_BIT(HQ_DIM_REMOTE) | HQ_BIT(HQ_DIM_FAMILY) | HQ_BIT(HQ_DIM_MULTICAST);
}

/* What follows from the words, where they leave it open. */
static int conclude(struct policy_flow *flow, enum policy_key *wrong, struct scalar_error *error)
{
	struct policy_flow said = *flow;

	if (knows(flow, HQ_DIM_LOCAL)) {
		flow->family = describe_is_ipv4(flow->local) ? 4 : 6;
		flow->known |= HQ_BIT(HQ_DIM_FAMILY);
		*wrong = POLICY_LOCAL;
		if (knows(&said, HQ_DIM_FAMILY) && said.family != flow->family)
			return scalar_fail(error, "the address is not of that family");
	}
	if (knows(flow, HQ_DIM_REMOTE)) {
		said = *flow;
		describe_remote(flow);
		*wrong = POLICY_REMOTE;
		if (knows(&said, HQ_DIM_FAMILY) && said.family != flow->family)
			return scalar_fail(error, "the address is not of that family");
	}
	if (!knows(flow, HQ_DIM_PROTOCOL))
		return 0;
	if (!knows(flow, HQ_DIM_TYPE) &&
	    (flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP)) {
		flow->type = flow->protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
		flow->known |= HQ_BIT(HQ_DIM_TYPE);
	}
	if (!knows(flow, HQ_DIM_INBOUND_DSCP) && flow->protocol == IPPROTO_TCP &&
	    knows(flow, HQ_DIM_DIRECTION) && flow->direction == HQ_OUTBOUND) {
		flow->inbound_dscp = HQ_DSCP_NONE;
		flow->known |= HQ_BIT(HQ_DIM_INBOUND_DSCP);
	}
	return 0;
}

int describe_flow(struct policy_flow *flow, const char *const words[POLICY_KEYS], policy_exe_fn exe,
		  enum policy_key *wrong, struct scalar_error *error)
{
	struct policy_flow told = {0};
	enum policy_key key;

	for (key = 0; key < POLICY_KEYS; key++) {
		if (!words[key])
			continue;
		*wrong = key;
		if (take(&told, key, words[key], exe, error))
			return -EINVAL;
		told.known |= HQ_BIT(compile_dim(key, &(struct policy_value){.text = words[key]}));
	}
	if (conclude(&told, wrong, error))
		return -EINVAL;
	*flow = told;
	return 0;
}

int describe_contradiction(const struct policy_flow *flow, enum policy_key *wrong,
			   struct scalar_error *error)
{
	const uint32_t ports = HQ_BIT(HQ_DIM_LOCAL_PORT) | HQ_BIT(HQ_DIM_REMOTE_PORT);

	if (!knows(flow, HQ_DIM_PROTOCOL))
		return 0;
	*wrong = POLICY_TYPE;
	if (knows(flow, HQ_DIM_TYPE) && !check_type_fits(flow->type, flow->protocol))
		return scalar_fail(error, "its protocol has no sockets of that type");
	*wrong = knows(flow, HQ_DIM_LOCAL_PORT) ? POLICY_LOCAL_PORT : POLICY_REMOTE_PORT;
	if (flow->known & ports && !check_has_ports(flow->protocol))
		return scalar_fail(error, "its protocol has no ports");
	*wrong = POLICY_PROTOCOL;
	if (knows(flow, HQ_DIM_FAMILY) &&
	    flow->protocol == (flow->family == 4 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return scalar_fail(error, "it is of a family that the rest excludes");
	return 0;
}

uint32_t describe_number(const struct policy_flow *flow, enum policy_key key)
{
	switch (key) {
	case POLICY_USER:
		return flow->uid;
	case POLICY_GROUP:
		return flow->gid;
	case POLICY_FAMILY:
		return flow->family;
	case POLICY_PROTOCOL:
		return flow->protocol;
	case POLICY_TYPE:
		return flow->type;
	case POLICY_DIRECTION:
		return flow->direction;
	case POLICY_INBOUND_DSCP:
		return flow->inbound_dscp;
	case POLICY_MULTICAST:
		return flow->multicast;
	case POLICY_ORIGIN:
		return flow->origin;
	default:
		return 0;
	}
}

static void describe_exe(FILE *out, const struct policy_flow *flow)
{
	if (flow->exe)
		fputs(flow->exe, out);
	else if (flow->exe_inode)
		fprintf(out, "inode %llu", (unsigned long long)flow->exe_inode);
	else
		fputs("unknown", out);
}

void describe_value(FILE *out, const struct policy_flow *flow, enum policy_key key)
{
	struct policy_value value = {.prefix.length = 128};

	switch (key) {
	case POLICY_CGROUP:
	case POLICY_UNIT:
		fputs(*flow->cgroup ? flow->cgroup : "/", out);
		return;
	case POLICY_EXE:
		describe_exe(out, flow);
		return;
	case POLICY_USER:
	case POLICY_GROUP:
		fprintf(out, "%u", describe_number(flow, key));
		return;
	case POLICY_LOCAL:
	case POLICY_REMOTE:
		memcpy(value.prefix.address, key == POLICY_LOCAL ? flow->local : flow->remote, 16);
		break;
	case POLICY_LOCAL_PORT:
	case POLICY_REMOTE_PORT:
		value.ports.first = value.ports.last =
			key == POLICY_LOCAL_PORT ? flow->local_port : flow->remote_port;
		break;
	default:
		value.number = describe_number(flow, key);
		if (key == POLICY_INBOUND_DSCP && value.number == HQ_DSCP_NONE) {
			fputs("none", out);
			return;
		}
	}
	print_value(out, key, &value);
}
