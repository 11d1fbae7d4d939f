/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A shadow policy: its tables in a slot of their own, its programs and what they
 * count pinned in shadow/, which exists as long as it does.
 */
#ifndef HOSTQOS_LOADER_SHADOW_H
#define HOSTQOS_LOADER_SHADOW_H

#include "source.h"

struct hq_install;

/* What the handle of the shadow's filter ahead has more than the live filter's. */
#define SHADOW_HANDLE 0x100

/* Is there one? Its generation. -ENOENT, not reported, where there is none. */
int shadow_generation(const struct instance *in, __u32 *generation);

/*
 * Put the compiled policy beside the one in force, whose text is `live`. Under
 * the lock. 0 or -errno, reported; then there is none.
 */
int shadow_load(const struct instance *in, struct source *s, const struct source *live,
		const struct hq_install *install);

/* Nothing of it is left. None there is no error. 0 or -errno, reported. */
int shadow_discard(const struct instance *in);

/* Descriptor of one of its maps, or -errno. */
int shadow_map(const struct instance *in, const char *name);

#endif
