/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "log.h"
#include "output.h"
#include "print.h"
#include "show.h"
#include "source.h"
#include "verbs.h"

static const char *rate_text(char out[PRINT_SCALAR], const struct hq_class *class)
{
	return class->egress.rate ? print_rate(out, class->egress.rate * 8) : strcpy(out, "-");
}

static const char *burst_text(char out[PRINT_SCALAR], const struct hq_class *class)
{
	return class->egress.rate ? print_size(out, class->egress.burst) : strcpy(out, "-");
}

static const char *exceed_text(char out[PRINT_SCALAR], const struct hq_class *class)
{
	char dscp[PRINT_SCALAR];

	if (!class->egress.rate)
		strcpy(out, "-");
	else if (class->exceed == HQ_EXCEED_DROP)
		strcpy(out, "drop");
	else
		snprintf(out, PRINT_SCALAR, "remark %.32s", print_dscp(dscp, class->exceed_dscp));
	return out;
}

static const char *priority_text(char out[PRINT_SCALAR], const struct hq_class *class)
{
	if (class->priority == HQ_KEEP)
		return strcpy(out, "-");
	snprintf(out, PRINT_SCALAR, "%u", class->priority);
	return out;
}

static struct json_object *keep_or_number(__u8 value)
{
	return value == HQ_KEEP ? NULL : json_object_new_int(value);
}

struct json_object *dscp_json(__u8 dscp)
{
	struct json_object *o = json_object_new_object();
	char name[PRINT_SCALAR];

	json_add_string(o, "name", print_dscp(name, dscp));
	json_add(o, "value", keep_or_number(dscp));
	return o;
}

static struct json_object *class_json(const struct hq_class *class,
				      const struct hq_class_counters *n, const char *mirror)
{
	struct json_object *o = json_object_new_object();
	char text[PRINT_SCALAR];

	json_add_string(o, "name", class->name);
	json_add(o, "dscp", dscp_json(class->dscp));
	json_add(o, "syn_ack", dscp_json(class->syn_ack));
	json_add_count(o, "rate", class->egress.rate * 8);
	json_add_count(o, "burst", class->egress.burst);
	json_add_string(o, "exceed", class->egress.rate ? exceed_text(text, class) : NULL);
	json_add(o, "priority", keep_or_number(class->priority));
	json_add_string(o, "mirror", mirror);
	json_add_count(o, "packets", n->packets);
	json_add_count(o, "bytes", n->bytes);
	json_add_count(o, "marked", n->marked);
	json_add_count(o, "exceed_packets", n->exceed_packets);
	json_add_count(o, "exceed_bytes", n->exceed_bytes);
	json_add_count(o, "refused", n->refused);
	json_add_count(o, "flows", n->flows);
	return o;
}

static void class_row(struct text_table *table, const struct hq_class *class,
		      const struct hq_class_counters *n)
{
	char text[PRINT_SCALAR];

	text_table_cell(table, "%s", class->name);
	if (class->dscp == HQ_KEEP)
		text_table_cell(table, "keep");
	else
		text_table_cell(table, "%s", print_dscp(text, class->dscp));
	text_table_cell(table, "%s", rate_text(text, class));
	text_table_cell(table, "%s", burst_text(text, class));
	text_table_cell(table, "%s", exceed_text(text, class));
	text_table_cell(table, "%s", priority_text(text, class));
	text_table_cell(table, "%llu", (unsigned long long)n->packets);
	text_table_cell(table, "%llu", (unsigned long long)n->bytes);
	text_table_cell(table, "%llu", (unsigned long long)n->marked);
	text_table_cell(table, "%llu", (unsigned long long)n->exceed_packets);
	text_table_cell(table, "%llu", (unsigned long long)n->refused);
	text_table_cell(table, "%llu", (unsigned long long)n->flows);
}

/* What a class mirrors, as the policy's text has it; NULL where it does not. To be freed. */
static char *mirror_text(const struct source *s, const struct hq_class *class)
{
	int i = class->mirror && s->policy ? policy_find_class(s->policy, class->name) : -1;

	return i < 0 ? NULL : print_mirror_text(&s->policy->classes[i].mirror);
}

static bool any_mirrors(const struct in_force *f)
{
	__u32 i;

	for (i = 0; i < HQ_MAX_CLASSES; i++)
		if (f->classes[i].defined && f->classes[i].mirror)
			return true;
	return false;
}

static int show_classes(const struct instance *in, const struct in_force *f, bool json)
{
	bool mirrors = any_mirrors(f);
	const char *const headings[] = {"CLASS",
					"DSCP",
					">RATE",
					">BURST",
					"EXCEED",
					">PRIO",
					">PACKETS",
					">BYTES",
					">MARKED",
					">EXCESS",
					">REFUSED",
					">FLOWS",
					mirrors ? "MIRROR" : NULL,
					NULL};
	struct json_object *list = json_object_new_array();
	struct hq_class_counters n;
	struct text_table table;
	struct source source;
	char *mirror;
	__u32 i;

	source_parse_again(&source, f);
	text_table_begin(&table, headings);
	for (i = 0; i < HQ_MAX_CLASSES; i++) {
		if (!f->classes[i].defined)
			continue;
		memset(&n, 0, sizeof(n));
		counters_read(in->map[MAP_CLASS_COUNTERS], i, &n, sizeof(n));
		mirror = mirror_text(&source, &f->classes[i]);
		json_object_array_add(list, class_json(&f->classes[i], &n, mirror));
		class_row(&table, &f->classes[i], &n);
		if (mirrors)
			text_table_cell(&table, "%s", mirror ? mirror : "-");
		free(mirror);
	}
	source_free(&source);
	print_list(json, "classes", list, &table);
	return 0;
}

/* What the rule of a class's own cgroup amounts to. */
static char *own_match_text(const struct source *s, const char *class)
{
	int i = policy_find_class(s->policy, class);
	char *text;

	if (i < 0 || asprintf(&text, "{ cgroup: %s }", s->policy->classes[i].cgroup) < 0)
		return strdup("");
	return text;
}

/* The match as the policy's text has it. Rules past the written ones are the classes' cgroups. */
static char *match_text(const struct source *s, const struct in_force *f, __u32 index)
{
	size_t rank;

	if (!s->policy)
		return strdup("");
	rank = policy_rank(s->policy, index);
	return rank < s->policy->rule_count
		       ? print_match_text(&s->policy->rules[rank])
		       : own_match_text(s, f->classes[f->rules[index].class].name);
}

static struct json_object *rule_json(const struct in_force *f, const struct hq_rule *rule,
				     const struct hq_rule_counters *n, const char *match)
{
	struct json_object *o = json_object_new_object();

	json_add_string(o, "name", rule->name);
	json_add_count(o, "line", rule->line);
	json_add_string(o, "match", match);
	json_add_string(o, "class", rule->refuse ? NULL : f->classes[rule->class].name);
	json_add_bool(o, "refuse", rule->refuse);
	json_add_count(o, "flows", n->flows);
	json_add_count(o, "refused", n->refused);
	return o;
}

static void rule_row(struct text_table *table, const struct in_force *f, const struct hq_rule *rule,
		     const struct hq_rule_counters *n, const char *match)
{
	text_table_cell(table, "%u", rule->line);
	text_table_cell(table, "%s", rule->name);
	text_table_cell(table, "%s", rule->refuse ? "(refuse)" : f->classes[rule->class].name);
	text_table_cell(table, "%llu", (unsigned long long)n->flows);
	text_table_cell(table, "%llu", (unsigned long long)n->refused);
	text_table_cell(table, "%s", match);
}

static int show_rules(const struct instance *in, const struct in_force *f, bool json)
{
	static const char *const headings[] = {">LINE",	   "RULE",  "CLASS", ">FLOWS",
					       ">REFUSED", "MATCH", NULL};
	struct json_object *list = json_object_new_array();
	struct hq_rule_counters n;
	struct text_table table;
	struct source source;
	__u32 i;

	source_parse_again(&source, f);
	text_table_begin(&table, headings);
	for (i = 0; i < f->header.rules; i++) {
		const struct hq_rule *rule = &f->rules[i];
		char *match = match_text(&source, f, i);

		memset(&n, 0, sizeof(n));
		counters_read(in->map[MAP_RULE_COUNTERS], rule->counter, &n, sizeof(n));
		json_object_array_add(list, rule_json(f, rule, &n, match));
		rule_row(&table, f, rule, &n, match);
		free(match);
	}
	source_free(&source);
	print_list(json, "rules", list, &table);
	return 0;
}

static const struct {
	const char *name;
	int (*show)(const struct instance *in, const struct in_force *f, bool json);
} kinds[] = {{"classes", show_classes}, {"rules", show_rules}, {"flows", show_flows}};

#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

static int show(const struct options *options, size_t kind)
{
	struct in_force f = {};
	struct instance in = {};
	int err = in_force_open(&f, &in, options->instance);

	if (!err)
		err = kinds[kind].show(&in, &f, options->json);
	in_force_free(&f);
	instance_close(&in);
	return err;
}

int cmd_show(const struct options *options, int argc, char **argv)
{
	size_t i;

	(void)argc;
	for (i = 0; i < NKINDS; i++)
		if (!strcmp(kinds[i].name, argv[0]))
			return finish(show(options, i), options->json);
	fprintf(stderr, "hostqos show: not '%s', but classes, rules or flows\n", argv[0]);
	return EXIT_USAGE;
}
