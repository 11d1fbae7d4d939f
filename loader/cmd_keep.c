/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * keep: the policy that is on trial stays.
 */
#include <errno.h>
#include <stdio.h>

#include "log.h"
#include "output.h"
#include "trial.h"
#include "verbs.h"

static int keep(const struct instance *in)
{
	struct hq_trial t;
	int err = trial_read(in, &t);

	if (!err && trial_ran_out(&t)) {
		log_error(0, "too late: the trial has run out");
		return -ETIME;
	}
	if (err == -ENOENT)
		log_error(0, "no policy is on trial (instance '%s')", in->name);
	else if (err)
		log_error(err, "cannot read the trial of instance '%s'", in->name);
	return err ? err : trial_end(in);
}

static void print_result(const struct in_force *f, bool json)
{
	struct json_object *o;

	if (!json) {
		printf("%s is kept\n", f->header.file);
		return;
	}
	o = json_object_new_object();
	json_add_bool(o, "ok", true);
	json_add_string(o, "policy", f->header.file);
	json_add_count(o, "generation", f->generation);
	json_print(o);
}

int cmd_keep(const struct options *options, int argc, char **argv)
{
	struct in_force f = {};
	struct instance in = {};
	int err;

	(void)argc, (void)argv;
	err = in_force_lock(&f, &in, options->instance);
	if (!err)
		err = keep(&in);
	if (!err)
		print_result(&f, options->json);
	in_force_free(&f);
	instance_close(&in);
	return finish(err, options->json);
}
