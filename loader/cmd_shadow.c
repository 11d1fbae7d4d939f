/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * shadow: a second policy beside the one in force, which changes nothing and
 * counts what it would change.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apply.h"
#include "counters.h"
#include "exe.h"
#include "force.h"
#include "links.h"
#include "log.h"
#include "object.h"
#include "output.h"
#include "shadow.h"
#include "sockets.h"
#include "trial.h"
#include "verbs.h"

/* The policy in force, opened, locked, and of this build; and its text. */
struct live {
	struct instance in;
	struct in_force f;
	struct source source;
	struct hq_install install;
};

static int check_version(struct live *live)
{
	char hash[72];

	object_hash(hash);
	if (instance_install(&live->in, &live->install) || !strcmp(hash, live->install.object))
		return 0;
	log_error(0,
		  "instance '%s' was installed by another build of hostqos; apply its policy "
		  "with this one",
		  live->in.name);
	return -EPROTO;
}

static int live_open(struct live *live, const char *name)
{
	int err = in_force_lock(&live->f, &live->in, name);

	if (!err)
		err = check_version(live);
	if (err)
		return err;
	/* Filters of a clsact qdisc can be reached there only. */
	netns_enter(live->install.netns);
	return source_parse_again(&live->source, &live->f);
}

static void live_close(struct live *live)
{
	source_free(&live->source);
	in_force_free(&live->f);
	instance_close(&live->in);
}

static int compile(struct source *s, const struct live *live)
{
	int program = link_program(&live->in, "exe_files"), err;

	if (program < 0)
		return log_error(program, "cannot find the program 'exe_files'");
	exe_use_program(program);
	err = source_compile(s, &live->f, exe_resolve);
	close(program);
	return err;
}

/* Does each policy choose the interfaces that the other does? */
static bool same_interfaces(struct source *s, const struct live *live)
{
	struct interfaces own = {}, governed = {};
	struct diag ignored = {};
	bool same = !interfaces_choose(&own, s->policy, &s->diag) &&
		    !interfaces_choose(&governed, live->source.policy, &ignored) &&
		    own.count == governed.count;
	size_t i;

	for (i = 0; same && i < own.count; i++)
		same = interfaces_have(&governed, own.list[i].ifindex);
	interfaces_free(&own);
	interfaces_free(&governed);
	diag_free(&ignored);
	return same;
}

/* What the shadow cannot see, since the policy in force does not ask for it. */
static void warn_of_blind_spots(struct source *s, const struct live *live)
{
	__u32 more = s->image->header.features & ~live->f.header.features;

	if (more & HQ_FEATURE_INBOUND_DSCP)
		log_warning("the policy in force does not watch inbound DSCPs: in the shadow rules "
			    "on inbound_dscp match nothing, and nothing is mirrored");
	else if (more & (HQ_FEATURE_LATEST | HQ_FEATURE_UPSTREAM))
		log_warning("the policy in force does not watch what `mirror` with `of: %s` is "
			    "about: in the shadow it mirrors nothing",
			    more & HQ_FEATURE_LATEST ? "latest" : "upstream");
	if (strcmp(s->policy->attach_cgroup, live->source.policy->attach_cgroup))
		log_warning("the shadow sees what the policy in force governs: the cgroup '%s'",
			    live->source.policy->attach_cgroup);
	if (!same_interfaces(s, live))
		log_warning("the shadow sees what leaves the interfaces of the policy in force");
}

/* In another namespace, interfaces with the same numbers are other interfaces. */
static int check_netns(const struct live *live)
{
	if (live->install.netns == own_netns())
		return 0;
	log_error(0,
		  "no process is left in the network namespace that instance '%s' governs; run "
		  "this in it",
		  live->in.name);
	return -EXDEV;
}

static int load(struct live *live, struct source *s)
{
	struct hq_trial trial;
	bool on_trial = false;
	int err = check_netns(live);

	if (!err)
		err = compile(s, live);
	if (!err)
		err = trial_look(&live->in, &trial, &on_trial);
	if (!err && on_trial) {
		log_error(0, trial_ran_out(&trial)
				     ? "a trial ran out and was not ended; apply a policy first"
				     : "a policy is on trial; keep it first, or wait for its end");
		return -EBUSY;
	}
	if (err)
		return err;
	warn_of_blind_spots(s, live);
	return shadow_load(&live->in, s, &live->source, &live->install);
}

/* Which policy is the shadow, and of which. */
static struct json_object *about(const struct live *live, const char *file)
{
	struct json_object *o = json_object_new_object();

	json_add_bool(o, "ok", true);
	json_add_string(o, "policy", file);
	json_add_string(o, "of", live->f.header.file);
	return o;
}

static int load_file(const struct options *options, const char *file)
{
	struct live live = {};
	struct source s;
	struct json_object *o;
	int err = source_read(&s, file);

	if (!err)
		err = live_open(&live, options->instance);
	if (!err)
		err = load(&live, &s);
	source_report(&s, options->json);
	if (!err && options->json) {
		o = about(&live, s.file);
		json_add(o, "warnings", log_take("warning"));
		json_print(o);
	} else if (!err) {
		say("%s is the shadow of %s; see `hostqos shadow --show`\n", s.file,
		    live.f.header.file);
	}
	live_close(&live);
	source_free(&s);
	return err;
}

/* The shadow policy as the kernel has it. -ENOENT, reported, where there is none. */
static int read_shadow(const struct live *live, struct in_force *shadow)
{
	__u32 generation;
	int err = shadow_generation(&live->in, &generation);

	if (err == -ENOENT)
		return log_error(0, "no policy is a shadow (instance '%s')", live->in.name), err;
	return err ? log_error(err, "cannot read the shadow")
		   : in_force_read_of(&live->in, generation, shadow);
}

static const struct {
	const char *key, *heading;
} columns[] = {{"same", ">SAME"},	{"remarked", ">REMARKED"},   {"dropped", ">DROPPED"},
	       {"refused", ">REFUSED"}, {"unmatched", ">UNMATCHED"}, {"admitted", ">ADMITTED"}};

#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))

static void show_class(int counters, int changes, __u32 id, const struct hq_class *class,
		       struct json_object *list, struct text_table *table)
{
	struct json_object *o = json_object_new_object();
	struct hq_class_counters n = {};
	union {
		struct hq_shadow_changes changes;
		__u64 values[NCOLUMNS];
	} u = {};
	size_t i;

	counters_read(counters, id, &n, sizeof(n));
	counters_read(changes, id, &u.changes, sizeof(u.changes));
	json_add_string(o, "name", class->name);
	json_add_count(o, "packets", n.packets);
	json_add_count(o, "bytes", n.bytes);
	text_table_cell(table, "%s", class->name);
	text_table_cell(table, "%llu", (unsigned long long)n.packets);
	text_table_cell(table, "%llu", (unsigned long long)n.bytes);
	for (i = 0; i < NCOLUMNS; i++) {
		json_add_count(o, columns[i].key, u.values[i]);
		text_table_cell(table, "%llu", (unsigned long long)u.values[i]);
	}
	json_object_array_add(list, o);
}

static int show(const struct live *live, const struct in_force *shadow, bool json)
{
	const char *headings[3 + NCOLUMNS + 1] = {"CLASS", ">PACKETS", ">BYTES"};
	int counters = shadow_map(&live->in, "shadow_class_counters");
	int changes = shadow_map(&live->in, "shadow_changes");
	struct json_object *list, *o;
	struct text_table table;
	__u32 i;

	if (counters < 0 || changes < 0)
		return log_error(-EIO, "cannot open the maps of the shadow");
	for (i = 0; i < NCOLUMNS; i++)
		headings[3 + i] = columns[i].heading;
	list = json_object_new_array();
	text_table_begin(&table, headings);
	for (i = 0; i < HQ_MAX_CLASSES; i++)
		if (shadow->classes[i].defined)
			show_class(counters, changes, i, &shadow->classes[i], list, &table);
	close(counters);
	close(changes);
	if (!json) {
		say("%s, the shadow of %s, would do\n\n", shadow->header.file, live->f.header.file);
		print_list(false, "classes", list, &table);
		return 0;
	}
	text_table_free(&table);
	o = about(live, shadow->header.file);
	json_add(o, "classes", list);
	json_print(o);
	return 0;
}

static int show_shadow(const struct options *options)
{
	struct live live = {};
	struct in_force shadow = {};
	int err = live_open(&live, options->instance);

	if (!err)
		err = read_shadow(&live, &shadow);
	if (!err)
		err = show(&live, &shadow, options->json);
	in_force_free(&shadow);
	live_close(&live);
	return err;
}

static int discard(const struct options *options)
{
	struct live live = {};
	struct in_force shadow = {};
	int err = live_open(&live, options->instance);

	if (!err)
		err = read_shadow(&live, &shadow);
	if (!err)
		err = shadow_discard(&live.in);
	if (!err && options->json)
		json_print(about(&live, shadow.header.file));
	else if (!err)
		say("%s is a shadow no more\n", shadow.header.file);
	in_force_free(&shadow);
	live_close(&live);
	return err;
}

/* Apply the shadow's text; apply discards the shadow. */
static int promote(const struct options *options)
{
	struct live live = {};
	struct in_force shadow = {};
	struct apply a = APPLY_INIT;
	int err = live_open(&live, options->instance);

	if (!err)
		err = read_shadow(&live, &shadow);
	if (!err) {
		a.in = live.in;
		instance_close_maps(&a.in);
		live.in = (struct instance){};
		err = source_parse_again(&a.source, &shadow);
	}
	if (!err)
		err = apply_policy(&a);
	apply_report(&a, err, options->json);
	in_force_free(&shadow);
	live_close(&live);
	return err;
}

int cmd_shadow(const struct options *options, int argc, char **argv)
{
	static int (*const actions[])(const struct options *) = {
		[SHADOW_SHOW] = show_shadow,
		[SHADOW_PROMOTE] = promote,
		[SHADOW_DISCARD] = discard,
	};

	if (argc + options->shadow_actions != 1) {
		fprintf(stderr, "usage: hostqos shadow FILE|--show|--promote|--discard\n");
		return EXIT_USAGE;
	}
	return finish(argc ? load_file(options, argv[0]) : actions[options->shadow](options),
		      options->json);
}
