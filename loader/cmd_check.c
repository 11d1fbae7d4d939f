/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <stdio.h>

#include "interfaces.h"
#include "log.h"
#include "output.h"
#include "source.h"
#include "verbs.h"

static void print_checked(const struct source *s)
{
	size_t classes = s->policy->class_count, rules = s->policy->rule_count;

	say("%s: correct, %zu class%s, %zu rule%s\n", s->file, classes, classes == 1 ? "" : "es",
	    rules, plural(rules));
}

static struct json_object *checked_json(const struct source *s)
{
	struct json_object *o = json_object_new_object();

	json_add_bool(o, "ok", true);
	json_add(o, "errors", json_object_new_array());
	json_add(o, "warnings", log_take("warning"));
	json_add_string(o, "file", s->file);
	json_add_string(o, "sha256", s->image->header.sha256);
	json_add_count(o, "classes", s->policy->class_count);
	json_add_count(o, "rules", s->policy->rule_count);
	return o;
}

int cmd_check(const struct options *options, int argc, char **argv)
{
	struct interfaces chosen = {};
	struct source s;
	int err;

	(void)argc;
	err = source_read(&s, argv[0]);
	if (!err)
		err = source_compile(&s, NULL, policy_exe_stat);
	/* For its warnings; where the interfaces cannot be listed, there are none. */
	if (!err)
		interfaces_choose(&chosen, s.policy, &s.diag);
	source_report(&s, options->json);
	if (!err && options->json)
		json_print(checked_json(&s));
	else if (!err)
		print_checked(&s);
	interfaces_free(&chosen);
	source_free(&s);
	return finish(err, options->json);
}
