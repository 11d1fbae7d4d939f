/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What the verbs that put a policy in force say of it.
 */
#include <stdio.h>

#include "apply.h"
#include "changes.h"
#include "log.h"
#include "output.h"

static void print_json(const struct apply *a)
{
	struct json_object *o = json_object_new_object();

	json_add_bool(o, "ok", true);
	json_add_bool(o, "changed", json_object_array_length(a->changes) > 0);
	json_add_count(o, "generation", a->generation);
	json_add(o, "changes", json_object_get(a->changes));
	json_add(o, "interfaces", interfaces_json(&a->chosen));
	json_add_count(o, "moved", a->adoption.moved);
	json_add_count(o, "kept", json_object_array_length(a->adoption.kept));
	json_add(o, "moves", json_object_get(a->adoption.moves));
	json_add(o, "kept_sockets", json_object_get(a->adoption.kept));
	json_add(o, "refused", json_object_get(a->adoption.refused));
	json_add(o, "trial", a->trial ? trial_json(&a->in, &a->trial->record) : NULL);
	json_add(o, "warnings", log_take("warning"));
	json_print(o);
}

static const char *string_of(struct json_object *o, const char *key)
{
	return json_object_get_string(json_object_object_get(o, key));
}

static void print_moves(struct json_object *moves)
{
	size_t i;

	for (i = 0; i < json_object_array_length(moves); i++) {
		struct json_object *o = json_object_array_get_idx(moves, i);
		const char *from = string_of(o, "from"), *to = string_of(o, "to");
		const char *rule = string_of(o, "rule");

		printf("  %s from %s", string_of(o, "sockets"), from ?: "a class that is no more");
		if (to)
			printf(" to %s: %s%s\n", to, rule ? "rule " : "no rule matches",
			       rule ? rule : "");
		else
			printf(": not governed any more\n");
	}
}

/* More are in -j. */
#define MOST_SOCKETS 20

/* `why` is the key, `what` a word before it. */
static void print_sockets(struct json_object *sockets, const char *what, const char *why)
{
	size_t i, n = json_object_array_length(sockets);

	for (i = 0; i < n && i < MOST_SOCKETS; i++) {
		struct json_object *o = json_object_array_get_idx(sockets, i);

		say("  %s %s -> %s: %s%s\n", string_of(o, "protocol"), string_of(o, "local"),
		    string_of(o, "remote"), what, string_of(o, why));
	}
	if (i < n)
		printf("  and %zu more\n", n - i);
}

static void print_adoption(const struct adoption *adoption)
{
	size_t kept = json_object_array_length(adoption->kept);
	size_t refused = json_object_array_length(adoption->refused);

	printf("%zu live socket%s moved to another class\n", adoption->moved,
	       plural(adoption->moved));
	print_moves(adoption->moves);
	if (kept)
		printf("%zu live socket%s kept although a rule refuses such:\n", kept,
		       plural(kept));
	print_sockets(adoption->kept, "rule ", "rule");
	if (refused)
		printf("%zu live socket%s did not take the marks; packets are marked as they "
		       "leave:\n",
		       refused, plural(refused));
	print_sockets(adoption->refused, "", "error");
}

static void print_text(const struct apply *a)
{
	struct json_object *trial;

	changes_print(a->changes);
	say("%s is in force, generation %u\n", a->source.file, a->generation);
	if (a->ended_trial)
		printf("what was on trial is over\n");
	interfaces_print(&a->chosen);
	if (!json_object_array_length(a->changes))
		printf("no change of the policy\n");
	print_adoption(&a->adoption);
	if (a->trial) {
		trial = trial_json(&a->in, &a->trial->record);
		printf("on trial ");
		trial_print(trial);
		json_object_put(trial);
	}
}

int apply_report(struct apply *a, int err, bool json)
{
	source_report(&a->source, json);
	if (!err && json)
		print_json(a);
	else if (!err)
		print_text(a);
	apply_release(a);
	return err;
}
