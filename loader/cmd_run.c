/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cgroups.h"
#include "instance.h"
#include "log.h"
#include "output.h"
#include "source.h"
#include "suggest.h"
#include "verbs.h"

/* As a shell tells that it could not execute, or not find, the command. */
#define EXIT_NOT_EXECUTED 126
#define EXIT_NOT_FOUND	  127

/* The class's cgroup in the policy in force, or NULL, reported. */
static const char *class_cgroup(const struct policy *policy, const char *name)
{
	struct suggestion suggestion = {.word = name};
	size_t i;

	for (i = 0; i < policy->class_count; i++) {
		const struct policy_class *class = &policy->classes[i];

		suggest_offer(&suggestion, class->name);
		if (strcmp(class->name, name))
			continue;
		if (!class->cgroup)
			log_error(0,
				  "class '%s' has no cgroup of its own: give it one, such as "
				  "`cgroup: /hostqos/%s`, and apply",
				  name, name);
		return class->cgroup;
	}
	log_error(0, "no class '%s' in the policy in force%s", name, suggest_text(&suggestion));
	return NULL;
}

/* Move this process there: it keeps its class when it becomes the command. */
static int enter_cgroup(const struct instance *in, const char *path)
{
	int cgroup = cgroup_open(in, path), procs, err = 0;

	if (cgroup == -ENOENT) {
		log_error(0, "the cgroup %s is gone: apply the policy again to make it", path);
		return cgroup;
	}
	if (cgroup < 0)
		return log_error(cgroup, "cannot open the cgroup %s", path);
	procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (procs < 0 || write(procs, "0", 1) != 1)
		err = log_error(-errno, "cannot enter the cgroup %s", path);
	if (procs >= 0)
		close(procs);
	close(cgroup);
	return err;
}

static int enter_class(const struct options *options)
{
	struct source source = {};
	struct in_force f = {};
	struct instance in = {};
	const char *cgroup;
	int err = in_force_open(&f, &in, options->instance);

	if (!err) {
		err = source_parse_again(&source, &f);
		cgroup = err ? NULL : class_cgroup(source.policy, options->class);
		err = cgroup ? enter_cgroup(&in, cgroup) : -ENOENT;
	}
	in_force_free(&f);
	source_free(&source);
	instance_close(&in);
	return err;
}

int cmd_run(const struct options *options, int argc, char **argv)
{
	int err = enter_class(options);

	(void)argc;
	if (err)
		return finish(err, options->json);
	execvp(argv[0], argv);
	err = errno;
	finish(log_error(-err, "cannot run %s", argv[0]), options->json);
	return err == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTED;
}
