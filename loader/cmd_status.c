/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * status: what is in force and attached, as the kernel tells it now, against
 * what must be.
 */
#include <errno.h>
#include <net/if.h> /* before <linux/if.h>, which then leaves out what this defines */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "ahead.h"
#include "cgroups.h"
#include "counters.h"
#include "egress.h"
#include "force.h"
#include "links.h"
#include "log.h"
#include "output.h"
#include "shadow.h"
#include "trial.h"
#include "verbs.h"

struct status {
	struct instance in;
	struct in_force f;
	struct hq_install install;
	struct json_object *attached;
	struct json_object *trial; /* NULL: none is on */
	struct json_object *shadow;
	bool tcx, clsact;
	bool elsewhere; /* its network namespace cannot be looked at */
	bool partial;	/* not installed, but something of it is there */
	bool follow;	/* live sockets have been told of the policy, all of them */
	bool healthy;
};

static const char *const escape_names[HQ_NESCAPES] = {
	[HQ_ESCAPE_NO_SOCKET] = "no_socket",
	[HQ_ESCAPE_KERNEL_SOCKET] = "kernel_socket",
	[HQ_ESCAPE_FORWARDED] = "forwarded",
	[HQ_ESCAPE_RAW] = "raw",
	[HQ_ESCAPE_OTHER_CGROUP] = "other_cgroup",
	[HQ_ESCAPE_INTERNAL] = "internal_error",
	[HQ_ESCAPE_NOT_IP] = "not_ip",
};

static struct json_object *id_json(__u32 id)
{
	return id ? json_object_new_int64(id) : NULL;
}

/* What of another network namespace nobody can look at is neither in place nor missing. */
#define UNSEEN (-1)

/* `link` is NULL for a filter; `ok` is 0, 1 or UNSEEN. */
static void add_attached(struct status *s, const char *hook, const char *target,
			 const struct link *link, const char *why, int ok)
{
	struct json_object *o = json_object_new_object();

	json_add_string(o, "hook", hook);
	json_add_string(o, "target", target);
	json_add(o, "link_id", id_json(link ? link->id : 0));
	json_add(o, "program_id", id_json(link ? link->program_id : 0));
	json_add(o, "ok", ok == UNSEEN ? NULL : json_object_new_boolean(ok));
	json_add_string(o, "why", why);
	json_object_array_add(s->attached, o);
	s->healthy &= ok != 0;
}

/*
 * Where the kernel says that a hook is, not where it was once put. A cgroup that
 * was removed keeps its hooks as long as a socket remembers it.
 */
static void tell_hooks(struct status *s, const struct links *l)
{
	char path[PATH_MAX];
	size_t i;

	for (i = 0; i < l->count; i++) {
		const struct link *link = &l->links[i];
		const char *target = "(nowhere)";
		bool ok = link->ok;
		int err;

		if (link->kind == LINK_TCX || !link->needed)
			continue;
		err = cgroup_path(&s->in, link->cgroup, path);
		if (link->kind != LINK_CGROUP)
			target = "sockets";
		else if (!err)
			target = path;
		else if (err != -EPERM) /* a name cannot be had without CAP_DAC_READ_SEARCH */
			ok = false;
		add_attached(s, link->name, target, link, link->why, ok);
	}
}

struct interface_walk {
	struct status *status;
	struct links *links;
};

/* A noted interface has its link or its filter; a vanished one has neither. */
static int tell_interface(__u32 ifindex, const struct hq_interface *note, void *arg)
{
	struct interface_walk *w = arg;
	struct interface interface = {.ifindex = ifindex};
	struct status *s = w->status;
	char now[IF_NAMESIZE];
	const char *name = !s->elsewhere && if_indextoname(ifindex, now) ? now : note->name;
	size_t i;

	if (!note->tcx) {
		s->clsact = true;
		add_attached(s, "tc_egress (clsact)", name, NULL, "marks and meters packets",
			     s->elsewhere ? UNSEEN : filter_in_place(&s->in, ifindex, note));
		if (!s->elsewhere)
			ahead_of_filter(name, ifindex, note);
		return 0;
	}
	s->tcx = true;
	if (links_add_tcx(w->links, &s->in, &interface))
		return -ENOMEM;
	for (i = 0; i < w->links->count; i++) {
		const struct link *link = &w->links->links[i];

		if (link->kind != LINK_TCX || link->ifindex != ifindex)
			continue;
		add_attached(s, "tc_egress (tcx)", name, link, link->why, link->ok);
		if (link->ok && !s->elsewhere)
			ahead_of_link(name, ifindex, link->program_id);
	}
	return 0;
}

static int survey(struct status *s)
{
	struct link_targets want = {
		.features = s->f.header.features, .cgroup = s->install.cgroup, .cgroup_fd = -1};
	struct links links;
	struct interface_walk walk = {.status = s, .links = &links};
	int err = links_survey(&links, &s->in, &want);

	if (!err) {
		tell_hooks(s, &links);
		err = for_each_interface(&s->in, tell_interface, &walk);
	}
	links_close(&links);
	return err;
}

/* The policy that is a shadow, by its file; NULL: none. */
static void tell_shadow(struct status *s)
{
	struct in_force shadow = {};
	__u32 generation;

	if (!shadow_generation(&s->in, &generation) &&
	    !in_force_read_of(&s->in, generation, &shadow))
		s->shadow = json_object_new_string(shadow.header.file);
	in_force_free(&shadow);
}

static void tell_trial(struct status *s)
{
	struct hq_trial t;

	if (trial_read(&s->in, &t))
		return;
	s->trial = trial_json(&s->in, &t);
	s->healthy &= !trial_ran_out(&t);
}

/* Leaves generation 0 where nothing is installed, or not wholly. */
static int gather(struct status *s)
{
	int err = instance_open(&s->in);

	if (!err)
		err = instance_install(&s->in, &s->install);
	if (!err)
		err = in_force_read(&s->in, &s->f);
	s->partial = (err == -ENOENT || !s->f.generation) && !access(s->in.dir, F_OK);
	if (err || !s->f.generation)
		return err == -ENOENT ? 0 : err;
	s->follow = s->install.followed == s->f.generation;
	s->healthy = s->follow;
	tell_trial(s);
	tell_shadow(s);
	/* Filters of a clsact qdisc are visible there only; where it is gone, so are they. */
	s->elsewhere = netns_enter(s->install.netns);
	return survey(s);
}

static struct json_object *faults_json(const struct status *s)
{
	struct json_object *o = json_object_new_object();
	__u32 i;
	__u64 n;

	for (i = 0; i < HQ_NFAULTS; i++)
		if (!counters_read(s->in.map[MAP_FAULTS], i, &n, sizeof(n)))
			json_add_count(o, fault_name(i), n);
	return o;
}

static struct json_object *escapes_json(const struct status *s)
{
	struct json_object *all = json_object_new_object(), *o;
	struct hq_escape_counters n;
	__u32 i;

	for (i = 0; i < HQ_NESCAPES; i++) {
		if (counters_read(s->in.map[MAP_ESCAPES], i, &n, sizeof(n)))
			continue;
		o = json_object_new_object();
		json_add_count(o, "packets", n.packets);
		json_add_count(o, "bytes", n.bytes);
		json_add(all, escape_names[i], o);
	}
	return all;
}

static struct json_object *features_json(const struct status *s)
{
	struct json_object *o = json_object_new_object();

	json_add_bool(o, "tcx", s->tcx);
	json_add_bool(o, "clsact", s->clsact);
	json_add_bool(o, "refuse", s->f.header.features & HQ_FEATURE_REFUSE);
	json_add_bool(o, "inbound_dscp", s->f.header.features & HQ_FEATURE_INBOUND_DSCP);
	json_add_bool(o, "mirror_latest", s->f.header.features & HQ_FEATURE_LATEST);
	json_add_bool(o, "mirror_upstream", s->f.header.features & HQ_FEATURE_UPSTREAM);
	json_add_bool(o, "forwarded", s->f.header.features & HQ_FEATURE_FORWARDED);
	json_add_bool(o, "pacing", s->f.header.features & HQ_FEATURE_PACING);
	return o;
}

static void print_json(const struct status *s, const char *instance)
{
	struct json_object *o = json_object_new_object();

	json_add_bool(o, "ok", s->healthy);
	json_add_bool(o, "installed", s->f.generation != 0);
	json_add_bool(o, "partial", s->partial);
	json_add_bool(o, "healthy", s->healthy);
	json_add_string(o, "instance", instance);
	if (s->f.generation) {
		json_add_string(o, "policy", s->f.header.file);
		json_add_string(o, "hash", s->f.header.sha256);
		json_add_count(o, "generation", s->f.generation);
		json_add_string(o, "cgroup", s->install.cgroup_path);
		json_add_bool(o, "sockets_follow", s->follow);
		json_add(o, "features", features_json(s));
		json_add(o, "faults", faults_json(s));
		json_add(o, "escapes", escapes_json(s));
		json_add(o, "trial", json_object_get(s->trial));
		json_add(o, "shadow", json_object_get(s->shadow));
	}
	json_add(o, "attached", json_object_get(s->attached));
	json_add(o, "errors", log_take("error"));
	json_add(o, "warnings", log_take("warning"));
	json_print(o);
}

static const char *ok_text(struct json_object *ok)
{
	if (!ok)
		return "not seen";
	return json_object_get_boolean(ok) ? "ok" : "MISSING";
}

static void print_attached(const struct status *s)
{
	static const char *const headings[] = {"HOOK", "TARGET", ">LINK", "STATE", "WHY", NULL};
	struct text_table table;
	size_t i;

	text_table_begin(&table, headings);
	for (i = 0; i < json_object_array_length(s->attached); i++) {
		struct json_object *o = json_object_array_get_idx(s->attached, i);
		text_table_cell(&table, "%s", json_text(o, "hook", "-"));
		text_table_cell(&table, "%s", json_text(o, "target", "-"));
		text_table_cell(&table, "%s", json_text(o, "link_id", "-"));
		text_table_cell(&table, "%s", ok_text(json_object_object_get(o, "ok")));
		text_table_cell(&table, "%s", json_text(o, "why", "-"));
	}
	text_table_print(&table);
}

static void print_faults(const struct status *s)
{
	__u32 i;
	__u64 n;

	for (i = 0; i < HQ_NFAULTS; i++)
		if (!counters_read(s->in.map[MAP_FAULTS], i, &n, sizeof(n)) && n)
			printf("fault:      %s, %llu times\n", fault_name(i),
			       (unsigned long long)n);
}

static void print_escapes(const struct status *s)
{
	struct hq_escape_counters n;
	__u32 i;

	for (i = 0; i < HQ_NESCAPES; i++)
		if (!counters_read(s->in.map[MAP_ESCAPES], i, &n, sizeof(n)) && n.packets)
			printf("outside:    %s, %llu bytes in %llu packet%s\n", escape_names[i],
			       (unsigned long long)n.bytes, (unsigned long long)n.packets,
			       plural(n.packets));
}

static void print_text(const struct status *s, const char *instance)
{
	if (!s->f.generation) {
		printf("instance '%s' is not installed%s\n", instance,
		       s->partial ? ", but parts of it are there: an apply is under way, or was "
				    "killed; apply again, or detach"
				  : "");
		return;
	}
	say("policy:     %s\n", s->f.header.file);
	printf("sha256:     %s\n", s->f.header.sha256);
	printf("generation: %u\n", s->f.generation);
	say("cgroup:     %s\n", s->install.cgroup_path);
	if (!s->tcx && !s->clsact)
		printf("interfaces: none: sockets are marked, no packet is metered\n");
	printf("healthy:    %s\n", s->healthy ? "yes" : "no; apply the policy again");
	if (!s->follow && !s->trial)
		printf("sockets:    some may have marks of the policy before: an apply is under "
		       "way, or did not come to its end\n");
	if (s->trial) {
		printf("trial:      ");
		trial_print(s->trial);
	}
	if (s->shadow)
		say("shadow:     %s; see `hostqos shadow --show`\n",
		    json_object_get_string(s->shadow));
	print_faults(s);
	print_escapes(s);
	putchar('\n');
	print_attached(s);
}

int cmd_status(const struct options *options, int argc, char **argv)
{
	struct status s = {.attached = json_object_new_array()};
	int err, status;

	(void)argc, (void)argv;
	err = require_privileges();
	if (!err)
		err = instance_init(&s.in, options->instance, false);
	if (!err) {
		err = gather(&s);
		if (err)
			log_error(err, "cannot read the state of instance '%s'", options->instance);
	}
	if (!err && options->json)
		print_json(&s, options->instance);
	else if (!err)
		print_text(&s, options->instance);
	status = err ? finish(err, options->json) : s.healthy ? EXIT_DONE : EXIT_FAILED;
	json_object_put(s.attached);
	json_object_put(s.trial);
	json_object_put(s.shadow);
	in_force_free(&s.f);
	instance_close(&s.in);
	return status;
}
