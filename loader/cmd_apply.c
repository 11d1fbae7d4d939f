/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include "apply.h"
#include "output.h"
#include "verbs.h"

int cmd_apply(const struct options *options, int argc, char **argv)
{
	struct apply a = APPLY_INIT;
	int err;

	(void)argc;
	err = apply_begin(&a, options->instance, argv[0]);
	if (!err)
		err = apply_policy(&a);
	return finish(apply_report(&a, err, options->json), options->json);
}
