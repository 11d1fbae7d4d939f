/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <stdio.h>

#include "apply.h"
#include "changes.h"
#include "log.h"
#include "output.h"
#include "verbs.h"

static void print_json(const struct apply *a)
{
	struct json_object *o = json_object_new_object();

	json_add_bool(o, "ok", true);
	json_add_bool(o, "changed", json_object_array_length(a->changes) > 0);
	json_add_count(o, "generation", a->generation);
	json_add(o, "changes", json_object_get(a->changes));
	json_add(o, "interfaces", interfaces_json(&a->chosen));
	json_add_count(o, "moved", a->adoption.moved);
	json_add_count(o, "kept", a->adoption.kept);
	json_add(o, "refused", json_object_get(a->adoption.refused));
	json_add(o, "trial", a->trial ? trial_json(&a->in, &a->trial->record) : NULL);
	json_add(o, "warnings", log_take("warning"));
	json_print(o);
}

static void print_refused(struct json_object *refused)
{
	size_t i, n = json_object_array_length(refused);

	if (n)
		printf("%zu live socket%s did not take the marks; packets are marked as they "
		       "leave:\n",
		       n, plural(n));
	for (i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(refused, i);

		printf("  %s %s -> %s: %s\n",
		       json_object_get_string(json_object_object_get(o, "protocol")),
		       json_object_get_string(json_object_object_get(o, "local")),
		       json_object_get_string(json_object_object_get(o, "remote")),
		       json_object_get_string(json_object_object_get(o, "error")));
	}
}

static void print_text(const struct apply *a)
{
	struct json_object *trial;

	changes_print(a->changes);
	printf("%s is in force, generation %u\n", a->source.file, a->generation);
	interfaces_print(&a->chosen);
	if (!json_object_array_length(a->changes))
		printf("no change of the policy\n");
	printf("%zu live socket%s moved to another class\n", a->adoption.moved,
	       plural(a->adoption.moved));
	if (a->adoption.kept)
		printf("%zu live socket%s kept although a rule refuses such\n", a->adoption.kept,
		       plural(a->adoption.kept));
	print_refused(a->adoption.refused);
	if (a->trial) {
		trial = trial_json(&a->in, &a->trial->record);
		trial_print(trial);
		json_object_put(trial);
	}
}

void apply_print(const struct apply *a, bool json)
{
	if (json)
		print_json(a);
	else
		print_text(a);
}

int cmd_apply(const struct options *options, int argc, char **argv)
{
	struct apply a = APPLY_INIT;
	int err;

	(void)argc;
	err = source_read(&a.source, argv[0]);
	if (!err)
		err = require_privileges();
	if (!err)
		err = instance_init(&a.in, options->instance, true);
	if (!err)
		err = instance_lock(&a.in);
	if (!err)
		err = apply_policy(&a);
	source_report(&a.source, options->json);
	if (!err)
		apply_print(&a, options->json);
	apply_release(&a);
	return finish(err, options->json);
}
