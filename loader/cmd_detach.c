/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * detach: the policy that leaves everything alone comes into force and live
 * sockets get their own marks back; then all that apply made goes. What cannot
 * be done on a damaged installation is said and skipped: it goes all the same.
 * Where it is this process that lacks something, all stays for another try: what
 * a socket's own marks are is known nowhere else.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "adopt.h"
#include "egress.h"
#include "force.h"
#include "links.h"
#include "log.h"
#include "output.h"
#include "source.h"
#include "trial.h"
#include "verbs.h"

static bool is_passing(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -ENOSPC ||
	       err == -EPERM || err == -EACCES || err == -EAGAIN || err == -EBUSY || err == -EINTR;
}

/* What stays is in force again; sockets that have their own marks are marked as they send. */
static void stay(const struct instance *in, const struct in_force *old)
{
	struct in_force now = {};

	if (in_force_read(in, &now) || force_back(in, &now, old))
		log_warning("no policy is in force until then");
	else
		tables_grace(in);
	in_force_free(&now);
}

static int let_go_of_sockets(const struct instance *in, const struct in_force *old,
			     struct source *empty, struct adoption *adoption)
{
	__u32 generation = old->generation;
	struct tables tables;
	int err = force_flip(in, empty, old, NULL, &tables, &generation);

	if (err)
		return err;
	err = adopt(adoption, in, old, empty->image);
	tables_close(&tables);
	if (is_passing(err))
		stay(in, old);
	return err;
}

static int give_back(const struct instance *in, struct adoption *adoption)
{
	struct in_force old = {};
	struct source empty = {};
	int err = trial_settle(in);

	if (!err)
		err = in_force_read(in, &old);
	if (err || !old.generation)
		return err;
	err = source_parse(&empty, "detach", EMPTY_POLICY, strlen(EMPTY_POLICY));
	if (!err)
		err = source_compile(&empty, &old, policy_exe_stat);
	if (!err)
		err = adopt_prepare(adoption, in);
	if (!err)
		err = let_go_of_sockets(in, &old, &empty, adoption);
	source_free(&empty);
	in_force_free(&old);
	return err;
}

/* Filters of a clsact qdisc can be reached in their own network namespace only. */
static void enter_netns(const struct instance *in)
{
	struct hq_install install;

	if (!instance_install(in, &install) && netns_enter(install.netns))
		log_warning(
			"no process is left in the network namespace that this instance "
			"governed, and it has no name; tc filters there, if any, stay until it goes");
}

int detach_all(struct instance *in, struct adoption *adoption)
{
	int err = links_recover(in, true);

	if (!err)
		err = instance_open(in);
	if (!err) {
		enter_netns(in);
		err = give_back(in, adoption);
		if (is_passing(err))
			return log_error(err,
					 "live sockets cannot get their own marks back, so "
					 "instance '%s' stays: mend this and detach again",
					 in->name);
		if (err)
			log_warning("live sockets keep the marks that they have");
		err = 0;
	} else if (err == -ENOENT) {
		err = 0;
	}
	return err ? err : force_remove(in);
}

/* Those that had marks of hostqos, where that is known: nothing changes in class `default`. */
static size_t given_back(const struct adoption *adoption)
{
	size_t i, n = 0;

	for (i = 0; i < adoption->before.count; i++) {
		if (adoption->before.list[i].flow.saved.bits & (HQ_SAVED_MARKS | HQ_SAVED_PACING))
			n++;
	}
	return n ? n : adoption->moved;
}

static void print_result(const struct options *options, bool was_installed,
			 const struct adoption *adoption)
{
	struct json_object *o;

	if (options->json) {
		o = json_object_new_object();
		json_add_bool(o, "ok", true);
		json_add_bool(o, "changed", was_installed);
		json_add_count(o, "moved", given_back(adoption));
		json_add_list(o, "refused", adoption->refused);
		json_add(o, "warnings", log_take("warning"));
		json_print(o);
	} else if (was_installed) {
		printf("detached; own marks given back to %zu live socket%s\n",
		       given_back(adoption), plural(given_back(adoption)));
	} else {
		printf("instance '%s' is not installed: nothing to detach\n", options->instance);
	}
}

int cmd_detach(const struct options *options, int argc, char **argv)
{
	struct adoption adoption = {};
	bool was_installed = false;
	struct instance in;
	int err;

	(void)argc, (void)argv;
	err = require_privileges();
	if (!err)
		err = instance_init(&in, options->instance, false);
	if (err)
		return finish(err, options->json);
	err = instance_lock_existing(&in);
	if (!err) {
		was_installed = true;
		err = detach_all(&in, &adoption);
	} else if (err == -ENOENT) {
		err = 0;
	}
	if (!err)
		print_result(options, was_installed, &adoption);
	adoption_free(&adoption);
	instance_close(&in);
	return finish(err, options->json);
}
