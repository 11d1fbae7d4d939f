/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * explain: which rule a flow gets, and why each earlier one did not match. The
 * classifier gives the verdict; the reasons are read from the policy's text,
 * and where they would lead elsewhere, that is said, not hidden.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask_class.h"
#include "cgroups.h"
#include "describe.h"
#include "holders.h"
#include "log.h"
#include "output.h"
#include "show.h"
#include "verbs.h"

/* A reload in the middle is met by beginning again; it does not happen for ever. */
#define ATTEMPTS 100

static struct json_object *keys_json(__u32 keys, __u32 not_keys)
{
	struct json_object *list = json_object_new_array();
	char name[64];
	int key;

	for (key = 0; key < POLICY_KEYS; key++)
		if (keys & 1U << key)
			json_object_array_add(list, json_object_new_string(policy_key_name(key)));
	for (key = 0; key < POLICY_KEYS; key++) {
		if (!(not_keys & 1U << key))
			continue;
		snprintf(name, sizeof(name), "not.%s", policy_key_name(key));
		json_object_array_add(list, json_object_new_string(name));
	}
	return list;
}

/* `matches` is null where the rule is undecided. */
static struct json_object *reason_json(const struct explain_reason *r)
{
	struct json_object *o = json_object_new_object();

	json_add_string(o, "rule", r->rule);
	json_add(o, "matches",
		 r->matches == EXPLAIN_UNDECIDED
			 ? NULL
			 : json_object_new_boolean(r->matches == EXPLAIN_YES));
	json_add(o, "failed", keys_json(r->failed, r->not_failed));
	json_add(o, "undecided", keys_json(r->undecided, r->not_undecided));
	json_add_string(o, "text", r->text);
	return o;
}

/* Nobody's packets are in no class, `default` neither, unless a rule is for them. */
static void add_verdict(struct json_object *o, const struct asked *a, const struct verdict *v,
			bool nobodys)
{
	const struct hq_rule *rule = ask_rule(a, v->rule);
	const struct hq_class *class = ask_class(a, rule ? rule->class : HQ_CLASS_DEFAULT);
	bool refuse = rule && rule->refuse, none = refuse || (!rule && nobodys);

	json_add_string(o, "rule", rule ? rule->name : NULL);
	json_add(o, "line", rule ? json_object_new_int64(rule->line) : NULL);
	json_add_string(o, "class", none ? NULL : class->name);
	json_add(o, "dscp", none ? NULL : dscp_json(class->dscp));
	json_add_bool(o, "refuse", refuse);
	json_add_bool(o, "provisional", v->provisional);
}

/* Says so where the text leads elsewhere than the classifier. */
static int check_agreement(const struct asked *a, const struct explanation *e,
			   const struct verdict *v)
{
	const struct hq_rule *rule = ask_rule(a, v->rule);
	const struct explain_reason *last = e->count ? &e->reasons[e->count - 1] : NULL;

	if (explain_agrees(e, a->source.policy, v->rule, v->provisional))
		return 0;
	log_error(
		0,
		"the classifier's verdict is %s%s, but by the policy's text it would be %s%s; has "
		"an executable or an account changed since the policy was applied? Then apply it "
		"again",
		rule ? rule->name : "no rule", v->provisional ? ", provisionally" : "",
		last && last->matches == EXPLAIN_YES ? last->rule : "no rule",
		e->maybe < e->sure ? ", provisionally" : "");
	return -EBADE;
}

/* The verdict and its reasons into `o`. 0, or -errno, reported but -EAGAIN. */
static int explain_one(struct asked *a, struct policy_flow *flow, __u64 cookie,
		       struct json_object *o)
{
	struct json_object *why = json_object_new_array();
	struct explanation e;
	struct verdict v;
	size_t i;
	int err = ask(a, flow, cookie, &v);

	if (err) {
		json_object_put(why);
		return err;
	}
	explain_flow(&e, a->source.policy, flow, a->exe);
	err = check_agreement(a, &e, &v);
	add_verdict(o, a, &v, flow->origin == HQ_FORWARDED);
	json_add_bool(o, "governed", true);
	for (i = 0; i < e.count; i++)
		json_object_array_add(why, reason_json(&e.reasons[i]));
	json_add(o, "why", why);
	explain_free(&e);
	return err;
}

/* The words of a flow, which may be one that no hook ever sees: its packets are left alone. */
static int explain_words(struct asked *a, struct policy_flow *flow, struct json_object *o)
{
	const struct verdict nothing = {.rule = HQ_RULE_NONE};

	if (flow->origin == HQ_FORWARDED || !(flow->known & HQ_BIT(HQ_DIM_CGROUP)) ||
	    policy_governs(a->source.policy, flow->cgroup))
		return explain_one(a, flow, 0, o);
	add_verdict(o, a, &nothing, true);
	json_add_bool(o, "governed", false);
	json_add(o, "why", json_object_new_array());
	return 0;
}

static const char *path_of(const struct instance *in, const struct hq_socket *s,
			   char path[PATH_MAX])
{
	if (cgroup_path(in, s->flow.id.cgroup, path))
		return NULL;
	return strcmp(path, "/") ? path : "";
}

/* What the socket itself carries now: its packets' class, where it has one remote end. */
static void add_socket(struct json_object *o, const struct asked *a, const struct hq_socket *s)
{
	const struct hq_decision *d = &s->flow.decision;
	char text[ENDPOINT];

	json_add_string(o, "protocol", protocol_text(s->flow.protocol));
	json_add_string(o, "local", endpoint_text(text, s->local, s->local_port));
	json_add_string(o, "remote", endpoint_text(text, s->remote, s->remote_port));
	json_add_string(o, "state", state_text(s));
	json_add_count(o, "cookie", s->cookie);
	json_add_string(o, "carries",
			d->generation && d->class < HQ_MAX_CLASSES ? a->f.classes[d->class].name
								   : NULL);
	json_add(o, "carries_dscp", dscp_json(granted_dscp(&a->f, s)));
}

static bool chosen(const struct hq_socket *s, const struct policy_flow *wanted)
{
	__u32 w = wanted->known;

	return (!(w & HQ_BIT(HQ_DIM_PROTOCOL)) || s->flow.protocol == wanted->protocol) &&
	       (!(w & HQ_BIT(HQ_DIM_LOCAL)) || !memcmp(s->local, wanted->local, 16)) &&
	       (!(w & HQ_BIT(HQ_DIM_REMOTE)) || !memcmp(s->remote, wanted->remote, 16)) &&
	       (!(w & HQ_BIT(HQ_DIM_LOCAL_PORT)) || s->local_port == wanted->local_port) &&
	       (!(w & HQ_BIT(HQ_DIM_REMOTE_PORT)) || s->remote_port == wanted->remote_port);
}

static int explain_socket(struct asked *a, const struct hq_socket *s, struct json_object *list)
{
	struct json_object *o = json_object_new_object();
	struct policy_flow flow;
	char path[PATH_MAX];
	bool datagrams = s->flow.protocol != IPPROTO_TCP;

	json_object_array_add(list, o);
	add_socket(o, a, s);
	ask_flow_of(&flow, s, path_of(&a->in, s, path));
	return explain_one(a, &flow, datagrams ? s->cookie : 0, o);
}

static int explain_sockets(struct asked *a, const struct options *options,
			   const struct policy_flow *wanted, struct json_object *list)
{
	struct holders held = {};
	struct sockets all;
	size_t i;
	int err = options->pid ? holders_read(&held, options->pid) : 0;

	if (err)
		return err;
	err = sockets_read(&all, &a->in, "flow_sockets");
	for (i = 0; !err && i < all.count; i++)
		if (chosen(&all.list[i], wanted) &&
		    (!options->pid || holders_have(&held, all.list[i].cookie)))
			err = explain_socket(a, &all.list[i], list);
	if (!err && !json_object_array_length(list)) {
		if (options->pid)
			log_error(0, "process %u holds no such socket that is governed",
				  options->pid);
		else
			log_error(0, "no such socket is governed");
		err = -ENOENT;
	}
	sockets_free(&all);
	holders_free(&held);
	return err;
}

static const char *answer_text(struct json_object *reason)
{
	if (!json_object_object_get(reason, "matches"))
		return "undecided";
	return json_is_true(reason, "matches") ? "yes" : "no";
}

static void print_verdict(struct json_object *o)
{
	static const char *const headings[] = {"RULE", "MATCHES", "WHY", NULL};
	struct json_object *why = json_object_object_get(o, "why"), *r;
	struct json_object *dscp = json_object_object_get(o, "dscp");
	struct json_object *carried = json_object_object_get(o, "carries_dscp");
	struct text_table table;
	size_t i;

	say("rule:  %s\n", json_text(o, "rule", "none"));
	if (json_is_true(o, "refuse"))
		puts("class: none, refused");
	else if (dscp)
		say("class: %s, DSCP %s\n", json_text(o, "class", "-"),
		    json_text(dscp, "name", "-"));
	else
		puts("class: none");
	if (carried)
		say("now:   %s, DSCP %s\n", json_text(o, "carries", "-"),
		    json_text(carried, "name", "-"));
	if (!json_is_true(o, "governed"))
		puts("Not governed: the cgroup is not below the policy's `attach.cgroup`.");
	if (json_is_true(o, "provisional"))
		puts("This may change: an earlier rule reads what is not known.");
	text_table_begin(&table, headings);
	for (i = 0; i < json_object_array_length(why); i++) {
		r = json_object_array_get_idx(why, i);
		text_table_cell(&table, "%s", json_text(r, "rule", ""));
		text_table_cell(&table, "%s", answer_text(r));
		text_table_cell(&table, "%s", json_text(r, "text", ""));
	}
	if (!i) {
		text_table_free(&table);
		return;
	}
	putchar('\n');
	text_table_print(&table);
}

static void print_sockets(struct json_object *flows)
{
	size_t i;

	for (i = 0; i < json_object_array_length(flows); i++) {
		struct json_object *o = json_object_array_get_idx(flows, i);

		say("%s%s %s -> %s %s\n", i ? "\n" : "", json_text(o, "protocol", ""),
		    json_text(o, "local", ""), json_text(o, "remote", ""),
		    json_text(o, "state", ""));
		print_verdict(o);
	}
}

/* Once through; what it says goes into `o`. */
static int explain(const struct options *options, struct json_object *o)
{
	bool live = options->live || options->pid;
	struct json_object *flows;
	struct scalar_error error;
	struct policy_flow flow;
	enum policy_key wrong;
	struct asked a;
	int err = options->policy ? ask_open_file(&a, options->policy, options->json)
				  : ask_open(&a, options->instance);

	if (!err && describe_flow(&flow, options->flow, a.exe, &wrong, &error)) {
		log_error(0, "the flow's %s: %s", policy_key_name(wrong), error.why);
		err = -EINVAL;
	}
	if (!err && live) {
		flows = json_object_new_array();
		json_add(o, "flows", flows);
		err = explain_sockets(&a, options, &flow, flows);
	} else if (!err) {
		err = explain_words(&a, &flow, o);
	}
	ask_close(&a);
	return err;
}

/* Values that are none of their keys', or exclude one another, before anything is asked. */
static bool describes(const struct options *options)
{
	bool live = options->live || options->pid;
	struct scalar_error error;
	struct policy_flow flow;
	enum policy_key wrong;

	if (!describe_flow(&flow, options->flow, policy_exe_stat, &wrong, &error) &&
	    (live || !describe_contradiction(&flow, &wrong, &error)))
		return true;
	fprintf(stderr, "hostqos explain: the flow's %s: %s\n", policy_key_name(wrong), error.why);
	return false;
}

static bool usable(const struct options *options)
{
	static const enum policy_key of_sockets[] = {POLICY_PROTOCOL, POLICY_LOCAL, POLICY_REMOTE,
						     POLICY_LOCAL_PORT, POLICY_REMOTE_PORT};
	const char *words[POLICY_KEYS];
	size_t i;

	if (!describes(options))
		return false;
	if (!options->live && !options->pid)
		return true;
	if (options->policy) {
		fputs("hostqos explain: a policy file knows no live sockets\n", stderr);
		return false;
	}
	memcpy(words, options->flow, sizeof(words));
	for (i = 0; i < sizeof(of_sockets) / sizeof(of_sockets[0]); i++)
		words[of_sockets[i]] = NULL;
	for (i = 0; i < POLICY_KEYS; i++) {
		if (!words[i])
			continue;
		fprintf(stderr, "hostqos explain: live sockets are not chosen by their %s\n",
			policy_key_name(i));
		return false;
	}
	return true;
}

static int print(struct json_object *o, int err, bool json)
{
	struct json_object *flows = json_object_object_get(o, "flows");

	if (json) {
		json_add_bool(o, "ok", !err);
		json_add(o, "errors", log_take("error"));
		json_print(o);
		return err ? EXIT_FAILED : EXIT_DONE;
	}
	if (flows)
		print_sockets(flows);
	else if (json_object_object_get(o, "why"))
		print_verdict(o);
	json_object_put(o);
	return err ? EXIT_FAILED : EXIT_DONE;
}

int cmd_explain(const struct options *options, int argc, char **argv)
{
	struct json_object *o = json_object_new_object();
	int i, err = -EAGAIN;

	(void)argc, (void)argv;
	if (!usable(options)) {
		json_object_put(o);
		return EXIT_USAGE;
	}
	for (i = 0; err == -EAGAIN && i < ATTEMPTS; i++) {
		json_object_put(o);
		o = json_object_new_object();
		err = explain(options, o);
	}
	if (err == -EAGAIN)
		log_error(0, "policies replace one another faster than they can be asked");
	return print(o, err, options->json);
}
