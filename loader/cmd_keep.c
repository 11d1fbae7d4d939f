/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * keep: the policy that is on trial stays.
 */
#include <errno.h>
#include <stdio.h>

#include "apply.h"
#include "force.h"
#include "log.h"
#include "output.h"
#include "trial.h"
#include "verbs.h"

static int keep(const struct instance *in)
{
	struct hq_install install;
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
	if (err)
		return err;
	/* While who waits for the end is in there: nobody else may be. */
	if (!instance_install(in, &install))
		netns_enter(install.netns);
	return trial_keep(in);
}

/* What only the former policy needed stayed attached for it. */
static void let_go(struct instance *in)
{
	struct apply a = APPLY_INIT;
	int err;

	instance_close_maps(in);
	a.in = *in;
	in->lock = -1;
	err = apply_reopen(&a);
	if (!err)
		err = apply_again(&a, NULL);
	apply_release(&a);
	if (err)
		log_warning("the policy is kept, but what only the former one needed may be "
			    "attached still; apply it again");
}

static void print_result(const struct in_force *f, bool json)
{
	struct json_object *o;

	if (!json) {
		say("%s is kept\n", f->header.file);
		return;
	}
	o = json_object_new_object();
	json_add_bool(o, "ok", true);
	json_add_string(o, "policy", f->header.file);
	json_add_count(o, "generation", f->generation);
	json_add(o, "warnings", log_take("warning"));
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
		let_go(&in);
	if (!err)
		print_result(&f, options->json);
	in_force_free(&f);
	instance_close(&in);
	return finish(err, options->json);
}
