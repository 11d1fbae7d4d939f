/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ask_class.h"
#include "describe.h"
#include "exe.h"
#include "links.h"
#include "log.h"
#include "object.h"

/* Dimensions that come with a socket's identity; of the rest hooks tell. */
#define IDENTITY_DIMS                                                                              \
	(HQ_BIT(HQ_DIM_CGROUP) | HQ_BIT(HQ_DIM_EXE_FILE) | HQ_BIT(HQ_DIM_EXE_NAME) |               \
	 HQ_BIT(HQ_DIM_USER) | HQ_BIT(HQ_DIM_GROUP))

/* The program that was loaded for asking must know the tables that are in force. */
static int check_version(const struct asked *a)
{
	char hash[72];
	struct hq_install install;
	int err = instance_install(&a->in, &install);

	if (err)
		return log_error(err, "cannot read the map 'install'");
	object_hash(hash);
	if (!strcmp(hash, install.object))
		return 0;
	log_error(0,
		  "instance '%s' runs programs of another version of hostqos; apply its policy "
		  "again with this one",
		  a->in.name);
	return -EPROTO;
}

int ask_open(struct asked *a, const char *instance)
{
	int program, err;

	memset(a, 0, sizeof(*a));
	err = in_force_open(&a->f, &a->in, instance);
	if (!err)
		err = check_version(a);
	if (err)
		return err;
	err = source_parse_again(&a->source, &a->f);
	if (err)
		return log_error(err, "cannot read the text of the policy in force");
	program = link_program(&a->in, "exe_files");
	if (program < 0)
		return log_error(program, "cannot find the program 'exe_files'");
	exe_use_program(program);
	a->exe = exe_resolve;
	return object_load(&a->skel, &a->in, OBJECT_EXPLAIN, 0);
}

int ask_open_file(struct asked *a, const char *file, bool json)
{
	int err;

	memset(a, 0, sizeof(*a));
	a->exe = policy_exe_stat;
	err = source_read(&a->source, file);
	if (!err)
		err = source_compile(&a->source, NULL, a->exe);
	if (err)
		source_report(&a->source, json);
	return err;
}

void ask_close(struct asked *a)
{
	if (a->skel)
		object_unload(a->skel);
	in_force_free(&a->f);
	source_free(&a->source);
	instance_close(&a->in);
}

static int write_question(struct hq_question *q, const struct policy_flow *flow)
{
	struct hq_identity *id = &q->flow.id;

	memset(q, 0, sizeof(*q));
	if ((flow->known & HQ_BIT(HQ_DIM_CGROUP)) &&
	    snprintf(q->path, sizeof(q->path), "%s", flow->cgroup) >= (int)sizeof(q->path))
		return log_error(-ENAMETOOLONG, "the cgroup's path");
	id->exe_inode = flow->exe_inode;
	id->exe_device = flow->exe_device;
	id->exe_name = policy_exe_hash(flow);
	id->uid = flow->uid;
	id->gid = flow->gid;
	id->known = flow->known & IDENTITY_DIMS;
	q->flow.protocol = flow->protocol;
	q->flow.type = flow->type;
	memcpy(q->local, flow->local, sizeof(q->local));
	memcpy(q->remote, flow->remote, sizeof(q->remote));
	q->local_port = flow->local_port;
	q->remote_port = flow->remote_port;
	q->family = flow->family;
	q->direction = flow->direction;
	q->inbound_dscp = flow->inbound_dscp;
	q->origin = flow->origin;
	q->known = flow->known & ~IDENTITY_DIMS;
	q->unknown = ~flow->known & (HQ_BIT(HQ_DIM_PROTOCOL) | HQ_BIT(HQ_DIM_TYPE));
	return 0;
}

static int ask_kernel(struct asked *a, struct policy_flow *flow, __u64 cookie,
		      struct verdict *verdict)
{
	struct hq_question q;
	int err = write_question(&q, flow);

	q.cookie = cookie;
	if (!err)
		err = object_ask(a->skel, &q);
	if (err)
		return err;
	if (!q.answer.generation)
		return log_error(-ENODATA, "the kernel has no answer");
	if (q.answer.generation != a->f.generation)
		return -EAGAIN;
	flow->inbound_dscp = q.inbound_dscp;
	flow->known |= q.known;
	verdict->rule = q.answer.rule;
	verdict->provisional = q.answer.provisional;
	return 0;
}

int ask(struct asked *a, struct policy_flow *flow, __u64 cookie, struct verdict *verdict)
{
	const struct hq_header *h = a->skel ? &a->f.header : &a->source.image->header;
	struct policy_matched matched;

	/* Of a policy that has no rule for them nobody asks: classify_forwarded(). */
	if (flow->origin == HQ_FORWARDED && !(h->features & HQ_FEATURE_FORWARDED)) {
		*verdict = (struct verdict){.rule = HQ_RULE_NONE};
		return 0;
	}
	if (a->skel)
		return ask_kernel(a, flow, cookie, verdict);
	matched = policy_match(a->source.image, flow);
	verdict->rule = matched.sure;
	verdict->provisional = matched.maybe < matched.sure;
	return 0;
}

static void take_addresses(struct policy_flow *flow, const struct hq_socket *s)
{
	static const __u8 any[16], any4[16] = {[10] = 0xff, [11] = 0xff};

	memcpy(flow->local, s->local, sizeof(flow->local));
	memcpy(flow->remote, s->remote, sizeof(flow->remote));
	flow->local_port = s->local_port;
	flow->remote_port = s->remote_port;
	if (s->flow.family == AF_INET) {
		flow->family = 4;
		flow->known |= HQ_BIT(HQ_DIM_FAMILY);
	}
	if (memcmp(s->local, any, 16) && memcmp(s->local, any4, 16))
		flow->known |= HQ_BIT(HQ_DIM_LOCAL);
	if (s->local_port)
		flow->known |= HQ_BIT(HQ_DIM_LOCAL_PORT);
	if (!s->remote_port)
		return;
	describe_remote(flow);
	flow->known |= HQ_BIT(HQ_DIM_REMOTE_PORT);
}

/* The direction and the inbound DSCP, as key_from_kernel_sock() of bpf/ has them. */
static void take_state(struct policy_flow *flow, const struct hq_socket *s)
{
	bool inbound = s->flow.bits & HQ_FLOW_INBOUND, connected = s->remote_port;

	if (s->flow.protocol != IPPROTO_TCP) {
		flow->direction = s->local_port && s->flow.bound_port == s->local_port && !connected
					  ? HQ_INBOUND
					  : HQ_OUTBOUND;
		flow->known |= HQ_BIT(HQ_DIM_DIRECTION);
		return;
	}
	if (s->flow.bits & HQ_FLOW_DIRECTED) {
		flow->direction = inbound ? HQ_INBOUND : HQ_OUTBOUND;
		flow->known |= HQ_BIT(HQ_DIM_DIRECTION);
	}
	if (connected) {
		flow->inbound_dscp = inbound ? s->flow.inbound_dscp : HQ_DSCP_NONE;
		flow->known |= HQ_BIT(HQ_DIM_INBOUND_DSCP);
	}
}

void ask_flow_of(struct policy_flow *flow, const struct hq_socket *s, const char *path)
{
	const struct hq_identity *id = &s->flow.id;

	memset(flow, 0, sizeof(*flow));
	flow->known = id->known | HQ_BIT(HQ_DIM_PROTOCOL) | HQ_BIT(HQ_DIM_TYPE);
	flow->cgroup = path;
	if (!path)
		flow->known &= ~HQ_BIT(HQ_DIM_CGROUP);
	flow->exe_inode = id->exe_inode;
	flow->exe_device = id->exe_device;
	flow->exe_hash = id->exe_name;
	flow->uid = id->uid;
	flow->gid = id->gid;
	flow->protocol = s->flow.protocol;
	flow->type = s->flow.type;
	take_addresses(flow, s);
	take_state(flow, s);
}

const struct hq_rule *ask_rule(const struct asked *a, __u32 rule)
{
	const struct hq_rule *rules = a->skel ? a->f.rules : a->source.image->rules;

	return rule == HQ_RULE_NONE ? NULL : &rules[rule];
}

const struct hq_class *ask_class(const struct asked *a, __u16 class)
{
	return a->skel ? &a->f.classes[class] : &a->source.image->classes[class];
}
