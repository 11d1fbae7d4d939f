/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The way through policy/: text in, diagnostics and an image out. No kernel.
 */
#ifndef HOSTQOS_POLICY_H
#define HOSTQOS_POLICY_H

#include <stdio.h>
#include <sys/types.h>

#include <hostqos/image.h>

#include "diag.h"
#include "model.h"

/* A longer text is refused; a reader of files need not read on. */
#define POLICY_MAX_TEXT (16 << 20)

/*
 * Parse and validate `text` (need not be NUL-terminated; kept as long as the
 * policy lives). Every mistake goes to `diag`. Returns NULL if there was any
 * error, else a policy to be freed with policy_free(). Users and groups are
 * looked up here (getpwnam(3)), executables are not.
 */
struct policy *policy_parse(const char *file, const char *text, size_t length, struct diag *diag);

/*
 * The same for text that is in force, with the names of its image: an account
 * or an executable that has gone since stands for what it stood for then, and
 * policy_compile() tells so in image->gone.
 */
struct policy *policy_parse_again(const char *file, const char *text, size_t length,
				  const struct hq_named *names, size_t count, struct diag *diag);
void policy_free(struct policy *policy);

/* Ids that keep their meaning from one policy to the next. */
struct policy_ids {
	struct policy_id {
		char name[HQ_NAME_LEN]; /* of a class */
		__u64 key;		/* of a rule: hq_rule.key */
		__u16 id;		/* class id, or index into rule_counters */
	} * classes, *rules;
	size_t class_count, rule_count;
};

/*
 * Finds the kernel's device and inode numbers of an executable (symlinks
 * followed). Returns 0 or -errno, of which each is a warning, not an error;
 * -ENOEXEC where it is not a regular file.
 */
typedef int (*policy_exe_fn)(const char *path, __u32 *device, __u64 *inode);

/* Whether it governs the sockets of this cgroup; "" is the root. */
bool policy_governs(const struct policy *policy, const char *cgroup);

/* The id of a user or a group by its name; false where there is none. */
bool policy_account(const char *name, bool is_group, uint32_t *id);

/* stat(2)'s answer, good enough for `check`. */
int policy_exe_stat(const char *path, __u32 *device, __u64 *inode);

/*
 * Compile into tables. `ids` may be NULL (a first policy). NULL on error
 * (reported to `diag`: too many rules, an automaton that grows too large).
 * Freed with image_free().
 */
struct hq_image *policy_compile(const struct policy *policy, const struct policy_ids *ids,
				policy_exe_fn exe, struct diag *diag);
void image_free(struct hq_image *image);

/*
 * Where an index into the compiled rules stands among the rules as people
 * count them: the written ones (which may be two entries each), then the
 * classes' own cgroups.
 */
size_t policy_rank(const struct policy *policy, uint32_t entry);

/* The classes with a cgroup of their own, deepest path first, then as written. Room for all. */
size_t policy_own_cgroups(const struct policy *policy, const struct policy_class **own);

#endif
