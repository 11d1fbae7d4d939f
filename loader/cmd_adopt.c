/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>

#include "homes.h"
#include "log.h"
#include "output.h"
#include "source.h"
#include "verbs.h"

static void print_json(const struct rehoming *r)
{
	struct json_object *o = json_object_new_object();

	json_add_bool(o, "ok", true);
	json_add_bool(o, "changed", json_object_array_length(r->rehomed) > 0);
	json_add(o, "rehomed", json_object_get(r->rehomed));
	json_add(o, "undecided", json_object_get(r->undecided));
	json_add_count(o, "moved", r->adoption.moved);
	json_add_list(o, "refused", r->adoption.refused);
	json_add(o, "warnings", log_take("warning"));
	json_print(o);
}

static void print_text(const struct rehoming *r)
{
	size_t i, n = json_object_array_length(r->rehomed);

	printf("%zu socket%s now of the cgroup of the process that holds %s%s\n", n,
	       n == 1 ? " is" : "s are", n == 1 ? "it" : "them", n ? ":" : "");
	for (i = 0; i < n; i++)
		rehomed_print(json_object_array_get_idx(r->rehomed, i));
	n = json_object_array_length(r->undecided);
	if (n)
		printf("%zu socket%s left where %s:\n", n, n == 1 ? " is" : "s are",
		       n == 1 ? "it was" : "they were");
	for (i = 0; i < n; i++)
		rehomed_print(json_object_array_get_idx(r->undecided, i));
}

int cmd_adopt(const struct options *options, int argc, char **argv)
{
	struct rehoming r = {};
	struct in_force f = {};
	struct instance in = {};
	int err = in_force_lock(&f, &in, options->instance);

	(void)argc, (void)argv;
	if (!err)
		err = rehome(&r, &in, &f);
	if (!err && options->json)
		print_json(&r);
	else if (!err)
		print_text(&r);
	rehoming_free(&r);
	in_force_free(&f);
	instance_close(&in);
	return finish(err, options->json);
}
