/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <hostqos/mirror.h>

#include "cgroups.h"
#include "homes.h"
#include "print.h"
#include "show.h"

/* Why the flow has its class. */
static const char *reason(const struct in_force *f, const struct hq_socket *s)
{
	const struct hq_decision *d = &s->flow.decision;

	if (d->generation != f->generation)
		return "stale generation"; /* its next packet is classified again */
	if (d->provisional)
		return "provisional";
	if (d->rule >= f->header.rules)
		return "no rule matched";
	if (d->refuse)
		return "refused; kept";
	/* The name that only the rule of a class's own cgroup can have: names have no blanks. */
	return strncmp(f->rules[d->rule].name, "class ", 6) ? "rule" : "class cgroup";
}

/* Ids stay with their classes from one policy to the next; rules' places do not. */
static const char *class_name(const struct in_force *f, const struct hq_decision *d)
{
	return d->class < HQ_MAX_CLASSES && f->classes[d->class].defined ? f->classes[d->class].name
									 : NULL;
}

static const char *rule_name(const struct in_force *f, const struct hq_decision *d)
{
	return d->generation == f->generation && d->rule < f->header.rules ? f->rules[d->rule].name
									   : NULL;
}

/* The DSCP that a connection takes over from what came in, or HQ_DSCP_NONE. */
static __u8 mirrored(const struct in_force *f, const struct hq_socket *s)
{
	const struct hq_decision *d = &s->flow.decision;

	return class_name(f, d) ? hq_mirrored(&f->classes[d->class], &s->flow) : HQ_DSCP_NONE;
}

/* Where a socket is held that is at home elsewhere: the cgroup, or "several cgroups"; else NULL. */
static const char *held_in(const struct instance *in, const struct stray *stray,
			   char path[PATH_MAX])
{
	if (!stray)
		return NULL;
	if (!stray->to)
		return "several cgroups";
	return cgroup_path(in, stray->to, path) ? "(gone)" : path;
}

static struct json_object *flow_json(const struct in_force *f, const struct hq_socket *s,
				     const char *cgroup, const char *held)
{
	struct json_object *o = json_object_new_object();
	const struct hq_decision *d = &s->flow.decision;
	__u8 dscp = mirrored(f, s);
	char text[ENDPOINT];

	json_add_string(o, "protocol", protocol_text(s->flow.protocol));
	json_add_string(o, "local", endpoint_text(text, s->local, s->local_port));
	json_add_string(o, "remote", endpoint_text(text, s->remote, s->remote_port));
	json_add_string(o, "state", state_text(s));
	json_add_string(o, "class", class_name(f, d));
	json_add_string(o, "rule", rule_name(f, d));
	json_add_string(o, "mirrored", dscp == HQ_DSCP_NONE ? NULL : print_dscp(text, dscp));
	json_add_string(o, "reason", reason(f, s));
	marks_json(o, f, s);
	json_add_bool(o, "adopted", s->flow.bits & HQ_FLOW_ADOPTED);
	json_add_count(o, "uid", s->flow.id.uid);
	json_add_string(o, "cgroup", cgroup);
	json_add_bool(o, "stale", held);
	json_add_string(o, "held_in", held ? held : cgroup);
	json_add_count(o, "cookie", s->cookie);
	return o;
}

static void flow_row(struct text_table *table, const struct in_force *f, const struct hq_socket *s,
		     const char *cgroup, const char *held)
{
	const struct hq_decision *d = &s->flow.decision;
	const char *class = class_name(f, d), *rule = rule_name(f, d);
	__u8 dscp = mirrored(f, s);
	char text[ENDPOINT];

	text_table_cell(table, "%s", protocol_text(s->flow.protocol));
	text_table_cell(table, "%s", endpoint_text(text, s->local, s->local_port));
	text_table_cell(table, "%s", endpoint_text(text, s->remote, s->remote_port));
	text_table_cell(table, "%s", state_text(s));
	text_table_cell(table, "%s", class ? class : "-");
	text_table_cell(table, "%s", rule ? rule : "-");
	text_table_cell(table, "%s", dscp == HQ_DSCP_NONE ? "-" : print_dscp(text, dscp));
	text_table_cell(table, "%s%s%s%s", reason(f, s),
			s->flow.bits & HQ_FLOW_ADOPTED ? ", adopted" : "",
			held ? ", stale: held in " : "", held ? held : "");
	marks_cells(table, f, s);
	text_table_cell(table, "%u", s->flow.id.uid);
	text_table_cell(table, "%s", cgroup ? cgroup : "(gone)");
}

int show_flows(const struct instance *in, const struct in_force *f, bool json)
{
	static const char *const headings[] = {"PROTO", "LOCAL",    "REMOTE", "STATE", "CLASS",
					       "RULE",	"MIRRORED", "REASON", "ASKED", "GRANTED",
					       ">UID",	"CGROUP",   NULL};
	struct json_object *list;
	struct text_table table;
	struct sockets flows = {};
	struct strays strays;
	size_t i;
	int err = strays_read(&strays, in, 0);

	if (!err)
		err = sockets_read(&flows, in, "flow_sockets");
	if (err) {
		strays_free(&strays);
		return err;
	}
	list = json_object_new_array();
	text_table_begin(&table, headings);
	for (i = 0; i < flows.count; i++) {
		const struct hq_socket *s = &flows.list[i];
		char path[PATH_MAX], where[PATH_MAX];
		const char *cgroup = cgroup_path(in, s->flow.id.cgroup, path) ? NULL : path;
		const char *held = held_in(in, strays_find(&strays, s->cookie), where);

		json_object_array_add(list, flow_json(f, s, cgroup, held));
		flow_row(&table, f, s, cgroup, held);
	}
	strays_free(&strays);
	sockets_free(&flows);
	print_list(json, "flows", list, &table);
	return 0;
}
