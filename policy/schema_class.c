// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* `classes`: what a service class does to its packets. */
#include <stdio.h>
#include <string.h>

#include "schema.h"

static void read_rate(struct schema *s, const struct schema_found *found)
{
	struct policy_egress *egress = found->target;
	struct scalar_error error;

	if (scalar_rate(found->value->text, &egress->rate, &error))
		diag_error(s->diag, found->value->at, "%s", error.why);
}

static void read_burst(struct schema *s, const struct schema_found *found)
{
	struct policy_egress *egress = found->target;
	const char *text = found->value->text;
	struct scalar_error error;
	int err;

	egress->burst_at = found->value->at;
	err = scalar_is_time(text) ? scalar_time(text, &egress->burst_usecs, &error)
				   : scalar_size(text, &egress->burst, &error);
	if (err)
		diag_error(s->diag, found->value->at, "%s", error.why);
}

/* One word of a table: 1 where known, 0 where it is to come; others are reported. */
static bool is_known_word(struct schema *s, const struct tree_node *node,
			  const struct scalar_name *words, const char *what)
{
	struct scalar_error error;
	uint32_t supported;

	if (scalar_named(words, what, node->text, &supported, &error)) {
		diag_error(s->diag, node->at, "%s", error.why);
		return false;
	}
	if (!supported)
		schema_not_supported(s, node->at, node->text);
	return supported;
}

static void read_meter(struct schema *s, const struct schema_found *found)
{
	static const struct scalar_name meters[] = {
		{"token-bucket", 1}, {"srtcm", 0}, {"trtcm", 0}, {"tspec", 0}, {0}};

	is_known_word(s, found->value, meters, "a meter");
}

static void read_remark(struct schema *s, const struct schema_found *found)
{
	struct policy_egress *egress = found->target;

	egress->exceed = HQ_EXCEED_REMARK;
	schema_dscp(s, found->value, false, &egress->exceed_dscp);
}

static const struct schema_key action_keys[] = {{"remark", TREE_SCALAR, read_remark, 0}, {0}};

/* `drop`, `{ remark: DSCP }`, or `remark` alone: to the default DSCP, CS0 (RFC 2474, 4.1). */
static void read_exceed(struct schema *s, const struct schema_found *found)
{
	static const struct scalar_name actions[] = {{"drop", 1}, {"remark", 1}, {"pass", 0},
						     {"ecn", 0},  {"shape", 0},	 {"best-effort", 0},
						     {0}};
	struct policy_egress *egress = found->target;
	const struct tree_node *node = found->value;

	if (node->kind == TREE_MAP) {
		if (!node->count)
			diag_error(s->diag, node->at, "'%s' says no action", found->schema->name);
		schema_block(s, node, action_keys, s->where, egress);
		return;
	}
	if (is_known_word(s, node, actions, "an action"))
		egress->exceed = strcmp(node->text, "drop") ? HQ_EXCEED_REMARK : HQ_EXCEED_DROP;
}

static const struct schema_key egress_keys[] = {
	{"rate", TREE_SCALAR, read_rate, 0},
	{"burst", TREE_SCALAR, read_burst, 0},
	{"exceed", TREE_SCALAR | TREE_MAP, read_exceed, 0},
	{"red", TREE_SCALAR | TREE_MAP, read_exceed, 0},
	{"meter", TREE_SCALAR, read_meter, 0},
	{"on_exceed", 0, NULL, 0},
	{"per", 0, NULL, 0},
	{"cir", 0, NULL, 0},
	{"cbs", 0, NULL, 0},
	{"ebs", 0, NULL, 0},
	{"pir", 0, NULL, 0},
	{"pbs", 0, NULL, 0},
	{"peak", 0, NULL, 0},
	{"min_unit", 0, NULL, 0},
	{"max_packet", 0, NULL, 0},
	{"colours", 0, NULL, 0},
	{"yellow", 0, NULL, 0},
	{0},
};

static void read_egress(struct schema *s, const struct schema_found *found)
{
	struct policy_class *class = found->target;
	const struct tree_node *node = found->value;
	const struct tree_node *red = tree_get(node, "red");
	size_t errors = diag_errors(s->diag);

	schema_block(s, node, egress_keys, s->where, &class->egress);
	if (red && tree_get(node, "exceed"))
		diag_error(s->diag, red->at,
			   "both 'exceed' and 'red' in %s: one is short for the other", s->where);
	if (!tree_get(node, "rate") && errors == diag_errors(s->diag))
		diag_error(s->diag, found->key->at, "'egress' without a 'rate' in %s", s->where);
}

static void read_dscp(struct schema *s, const struct schema_found *found)
{
	struct policy_class *class = found->target;

	schema_dscp(s, found->value, true, found->schema->which ? &class->syn_ack : &class->dscp);
}

static void read_priority(struct schema *s, const struct schema_found *found)
{
	struct policy_class *class = found->target;
	struct scalar_error error;
	uint64_t priority;

	if (scalar_number("a priority", found->value->text, SCALAR_PRIORITY_MOST, &priority,
			  &error))
		diag_error(s->diag, found->value->at, "%s", error.why);
	else
		class->priority = priority;
}

static void read_cgroup(struct schema *s, const struct schema_found *found)
{
	struct policy_class *class = found->target;
	const char *path = schema_cgroup(s, found->value, false);

	if (path && !strcmp(path, "/")) {
		diag_error(s->diag, found->value->at,
			   "the root cgroup cannot be a class's own; write class 'default'");
		return;
	}
	class->cgroup = path;
	class->cgroup_at = found->value->at;
}

static const struct schema_key class_keys[] = {
	{"dscp", TREE_SCALAR, read_dscp, 0},
	{"cgroup", TREE_SCALAR, read_cgroup, 0},
	{"egress", TREE_MAP, read_egress, 0},
	{"priority", TREE_SCALAR, read_priority, 0},
	{"syn_ack", TREE_SCALAR, read_dscp, 1},
	{"ingress", 0, NULL, 0},
	{"connections", 0, NULL, 0},
	{"mirror", TREE_MAP, schema_mirror, 0},
	{"app_dscp", TREE_SCALAR | TREE_MAP, schema_app_dscp, 0},
	{"buffers", 0, NULL, 0},
	{"fair", 0, NULL, 0},
	{0},
};

void schema_class(struct schema *s, const struct tree_node *name, const struct tree_node *node)
{
	struct policy *policy = s->policy;
	struct policy_class class = {
		.at = name->at, .dscp = HQ_KEEP, .syn_ack = HQ_KEEP, .priority = HQ_KEEP};

	class.name = schema_identifier(s, name, "a class's name");
	snprintf(s->where, sizeof(s->where), "class '%.64s'", name->text);
	if (schema_is_kind(s, node, TREE_MAP | TREE_NULL, s->where) && node->kind == TREE_MAP)
		schema_block(s, node, class_keys, s->where, &class);
	if (!tree_get(node, "syn_ack"))
		class.syn_ack = class.dscp;
	if (!class.name)
		return;
	if (!strcmp(class.name, "default"))
		policy->classes[HQ_CLASS_DEFAULT] = class;
	else
		policy->classes[policy->class_count++] = class;
}
