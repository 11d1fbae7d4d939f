/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What one policy changes of another: classes by name, rules by name (unnamed
 * ones by what they say), and where the policy is attached.
 */
#ifndef HOSTQOS_LOADER_CHANGES_H
#define HOSTQOS_LOADER_CHANGES_H

#include <json-c/json.h>

struct policy;

/*
 * An array of {what: class | rule | attach, name, change: added | removed |
 * changed | moved, before, after}. `old` may be NULL: all is new.
 */
struct json_object *changes_between(const struct policy *old, const struct policy *new);

/* One line for each. */
void changes_print(struct json_object *changes);

#endif
