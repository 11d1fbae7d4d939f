/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The policy's tables as inner maps: made and filled from an image, put into
 * a slot that is not in force, and read back from the kernel.
 */
#ifndef HOSTQOS_LOADER_TABLES_H
#define HOSTQOS_LOADER_TABLES_H

#include <stdbool.h>
#include <stddef.h>

#include <hostqos/image.h>

enum table {
	TABLE_HEADER,
	TABLE_RULES,
	TABLE_CLASSES,
	TABLE_VECTORS,
	TABLE_EXACT,
	TABLE_PREFIXES,
	TABLE_PORTS,
	TABLE_ENUMS,
	TABLE_PATHS,
	TABLE_TEXT,
	TABLE_NAMES,
	NTABLES
};

struct instance;

/* Descriptors of one generation's tables. */
struct tables {
	int fd[NTABLES];
};

const char *table_outer_name(enum table table); /* "policy_rules" */

/*
 * Make inner maps and copy the image and the policy's text into them.
 * `described_by` is a map of the object whose BTF names their fields.
 */
int tables_create(struct tables *t, int described_by, const struct hq_image *image,
		  const char *text, size_t length);
void tables_close(struct tables *t);

/* Put them into `slot` of the outer maps. Returns after a grace period. */
int tables_publish(const struct instance *in, const struct tables *t, __u32 slot);

/* Wait until no program that began before this call still runs. */
int tables_grace(const struct instance *in);

/* Descriptor of the table that is in a slot, or -errno. */
/* The slot of the generation's tables, in an older installation too. */
__u32 table_slot(const struct instance *in, __u32 generation);
int table_in_slot(const struct instance *in, enum table table, __u32 slot);

/* Are those in force pinned too? Else the command that flipped to them got no further. */
bool tables_pinned(const struct instance *in);

/* Empty a slot that nothing reads any more. */
void tables_withdraw(const struct instance *in, __u32 slot);

/* Pin them under their own names for bpftool, over those of the last generation. */
int tables_pin(const struct instance *in, const struct tables *t);

/* What the kernel has in force, read from its tables. */
struct in_force {
	__u32 generation;
	struct hq_header header;
	struct hq_rule *rules;	  /* header.rules */
	struct hq_class *classes; /* HQ_MAX_CLASSES */
	char *text;		  /* header.text_length bytes, then a NUL */
	struct hq_named *names;
	__u32 name_count;
};

/* 0 or -errno, reported. With no policy in force: generation 0 and no arrays. */
int in_force_read(const struct instance *in, struct in_force *f);

/* The same of a generation whose slot nobody refills meanwhile: under the lock. */
int in_force_read_of(const struct instance *in, __u32 generation, struct in_force *f);
void in_force_free(struct in_force *f);

/*
 * For verbs that need a policy in force: open the installation and read it.
 * -ENOENT, reported, where there is none. To be freed and closed in any case.
 */
int in_force_open(struct in_force *f, struct instance *in, const char *name);

/* The same for verbs that change it: it is locked first, so that it stays what was read. */
int in_force_lock(struct in_force *f, struct instance *in, const char *name);

#endif
