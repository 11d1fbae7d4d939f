/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>

#include "changes.h"
#include "instance.h"
#include "log.h"
#include "output.h"
#include "source.h"
#include "verbs.h"

/* The policy in force from the kernel's own copy of its text; without policy if none is. */
static int read_in_force(struct source *s, struct in_force *f, const char *name)
{
	struct instance in;
	int err = instance_init(&in, name, false);

	if (err)
		return err;
	err = instance_open(&in);
	if (!err)
		err = in_force_read(&in, f);
	if (!err && f->generation && source_parse_again(s, f))
		log_warning("the policy in force cannot be read any more: all counts as new");
	instance_close(&in);
	return err == -ENOENT ? 0 : err;
}

static void print_changes(const struct options *options, const struct in_force *f,
			  struct json_object *changes)
{
	bool changed = json_object_array_length(changes) > 0;
	struct json_object *o;

	if (!options->json) {
		if (!f->generation)
			printf("no policy is in force: all is new\n");
		changes_print(changes);
		if (!changed)
			printf("no change\n");
		return;
	}
	o = json_object_new_object();
	json_add_bool(o, "ok", true);
	json_add_bool(o, "changed", changed);
	json_add_bool(o, "installed", f->generation != 0);
	json_add(o, "changes", json_object_get(changes));
	json_add(o, "warnings", log_take("warning"));
	json_print(o);
}

int cmd_diff(const struct options *options, int argc, char **argv)
{
	struct source new, old = {};
	struct json_object *changes = NULL;
	struct in_force f = {};
	int err;

	(void)argc;
	err = source_read(&new, argv[0]);
	if (!err)
		err = source_compile(&new, NULL, policy_exe_stat);
	source_report(&new, options->json);
	if (!err)
		err = require_privileges();
	if (!err)
		err = read_in_force(&old, &f, options->instance);
	if (!err) {
		changes = changes_between(old.policy, new.policy);
		print_changes(options, &f, changes);
	}
	json_object_put(changes);
	in_force_free(&f);
	source_free(&old);
	source_free(&new);
	return finish(err, options->json);
}
