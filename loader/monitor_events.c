/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cgroups.h"
#include "clock.h"
#include "counters.h"
#include "monitor_events.h"
#include "log.h"
#include "sockets.h"

static const char *const kind_names[HQ_NEVENTS] = {
	[HQ_EVENT_CLASSIFIED] = "classified", [HQ_EVENT_MOVED] = "moved",
	[HQ_EVENT_PACKET] = "packet",	      [HQ_EVENT_REFUSED] = "refused",
	[HQ_EVENT_DROPPED] = "dropped",	      [HQ_EVENT_REMARKED] = "remarked",
};

/* RFC 3339, of a moment of CLOCK_MONOTONIC. */
static void add_time(struct json_object *o, __u64 ns)
{
	__u64 real = clock_ns(CLOCK_REALTIME) - monotonic_ns() + ns;
	time_t seconds = real / SECOND_NS;
	char date[32], text[64];
	struct tm tm;

	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
	snprintf(text, sizeof(text), "%s.%06lluZ", date,
		 (unsigned long long)(real % SECOND_NS) / 1000);
	json_add_string(o, "time", text);
}

static struct json_object *begin(const char *event, __u64 ns)
{
	struct json_object *o = json_object_new_object();

	add_time(o, ns);
	json_add_string(o, "event", event);
	return o;
}

/* "key value" of all members but the two that every event has; nulls say nothing. */
static void print_text(struct json_object *o)
{
	const char *separator = "  ";

	printf("%s  %-10s", json_text(o, "time", ""), json_text(o, "event", ""));
	json_object_object_foreach (o, key, value) {
		if (!value || !strcmp(key, "time") || !strcmp(key, "event"))
			continue;
		say("%s%s %s", separator, key, json_object_get_string(value));
		separator = ", ";
	}
	putchar('\n');
}

/* Prints, and drops the reference. */
static void tell(const struct teller *t, struct json_object *o)
{
	if (t->json) {
		json_print_line(o);
		return;
	}
	print_text(o);
	json_object_put(o);
}

/* Ids stay with their classes from one policy to the next. */
static const char *class_name(const struct teller *t, __u32 id)
{
	const struct in_force *policies[] = {&t->f, &t->before};
	size_t i;

	for (i = 0; i < 2; i++)
		if (policies[i]->classes && id < HQ_MAX_CLASSES && policies[i]->classes[id].defined)
			return policies[i]->classes[id].name;
	return NULL;
}

/* NULL, too, where the policy that decided was replaced before it could be read. */
static const char *rule_name(const struct teller *t, const struct hq_decision *d)
{
	const struct in_force *policies[] = {&t->f, &t->before};
	size_t i;

	for (i = 0; i < 2; i++)
		if (policies[i]->generation == d->generation && d->rule < policies[i]->header.rules)
			return policies[i]->rules[d->rule].name;
	return NULL;
}

static const char *reason(const struct hq_event *e, const char *rule)
{
	if (e->kind == HQ_EVENT_DROPPED || e->kind == HQ_EVENT_REMARKED)
		return "out of profile";
	if (e->decision.rule == HQ_RULE_NONE)
		return "no rule matched";
	return rule && !strncmp(rule, "class ", 6) ? "class cgroup" : "rule";
}

static void add_comm(struct json_object *o, __u32 pid)
{
	char path[64], comm[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(comm, sizeof(comm), f))
		comm[strcspn(comm, "\n")] = '\0';
	if (f)
		fclose(f);
	json_add_string(o, "comm", *comm ? comm : NULL);
}

/* Who made the socket, as far as it is known. */
static void add_maker(struct json_object *o, const struct teller *t, const struct hq_event *e)
{
	char path[PATH_MAX];

	json_add(o, "pid", e->pid ? json_object_new_int64(e->pid) : NULL);
	add_comm(o, e->pid);
	json_add(o, "uid", e->known & HQ_BIT(HQ_DIM_USER) ? json_object_new_int64(e->uid) : NULL);
	json_add_string(o, "cgroup",
			e->known & HQ_BIT(HQ_DIM_CGROUP) && !cgroup_path(t->in, e->cgroup, path)
				? path
				: NULL);
}

void tell_event(struct teller *t, const struct hq_event *e)
{
	struct json_object *o = begin(kind_names[e->kind], e->ns);
	const char *rule;
	char text[ENDPOINT];

	if (e->decision.generation > t->f.generation)
		teller_follow(t);
	rule = rule_name(t, &e->decision);
	json_add_string(o, "protocol", protocol_text(e->protocol));
	json_add_string(o, "local", endpoint_text(text, e->local, e->local_port));
	json_add_string(o, "remote", endpoint_text(text, e->remote, e->remote_port));
	json_add_string(o, "class",
			e->kind == HQ_EVENT_REFUSED ? NULL : class_name(t, e->decision.class));
	if (e->kind == HQ_EVENT_MOVED)
		json_add_string(o, "before", class_name(t, e->counted - 1));
	json_add_string(o, "rule", rule);
	json_add_string(o, "reason", reason(e, rule));
	json_add_string(o, "origin", e->origin == HQ_FORWARDED ? "forwarded" : "local");
	if (e->bytes)
		json_add_count(o, "bytes", e->bytes);
	add_maker(o, t, e);
	json_add_count(o, "generation", e->decision.generation);
	tell(t, o);
}

static void tell_policy(const struct teller *t, const char *event, const char *instance)
{
	struct json_object *o = begin(event, monotonic_ns());

	if (instance)
		json_add_string(o, "instance", instance);
	json_add_count(o, "generation", t->f.generation);
	if (t->before.generation)
		json_add_count(o, "before", t->before.generation);
	json_add_string(o, "policy", t->f.header.file);
	json_add_string(o, "hash", t->f.header.sha256);
	tell(t, o);
}

void tell_start(struct teller *t, const char *instance)
{
	tell_policy(t, "monitoring", instance);
}

int teller_follow(struct teller *t)
{
	struct in_force now;
	__u32 generation;
	int err;

	if (access(t->in->maps, F_OK) || instance_generation(t->in, &generation) || !generation) {
		tell(t, begin("detached", monotonic_ns()));
		return -ENODEV;
	}
	if (generation == t->f.generation)
		return 0;
	err = in_force_read(t->in, &now);
	if (err)
		return err;
	in_force_free(&t->before);
	t->before = t->f;
	t->f = now;
	tell_policy(t, "reload", NULL);
	return 0;
}

void teller_close(struct teller *t)
{
	in_force_free(&t->f);
	in_force_free(&t->before);
}

void tell_fault(struct teller *t, __u32 fault, __u64 count)
{
	struct json_object *o = begin("fault", monotonic_ns());

	json_add_string(o, "fault", fault_name(fault));
	json_add_count(o, "count", count);
	tell(t, o);
}

void tell_missing(struct teller *t, const char *how, __u32 window, __u64 count)
{
	struct json_object *o = begin(how, monotonic_ns());

	if (window < HQ_NEVENTS) {
		json_add_string(o, "kind", kind_names[window]);
	} else {
		json_add_string(o, "kind", "dropped or remarked");
		json_add_string(o, "class", class_name(t, window - HQ_NEVENTS));
	}
	json_add_count(o, "count", count);
	tell(t, o);
}

void tell_gap(struct teller *t, __u64 ns)
{
	struct json_object *o = begin("gap", monotonic_ns());

	json_add_count(o, "milliseconds", ns / 1000000);
	tell(t, o);
}
