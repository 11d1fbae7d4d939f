/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Reading the policy in force back from the kernel, without the lock: a slot
 * is refilled only after the flip to the other one, so tables opened while
 * the generation did not change belong together, whatever comes later.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "instance.h"
#include "log.h"
#include "tables.h"

/* All elements of an array. */
static int read_array(int fd, void *values, size_t value_size, __u32 n)
{
	__u32 *keys = malloc((n + 1) * sizeof(*keys));
	__u32 done = 0, cursor = 0, count;
	int err = 0;

	if (!keys)
		return -ENOMEM;
	while (!err && done < n) {
		count = n - done;
		if (bpf_map_lookup_batch(fd, done ? &cursor : NULL, &cursor, keys + done,
					 (char *)values + done * value_size, &count, NULL) &&
		    errno != ENOENT)
			err = -errno;
		else if (!count)
			err = -ENODATA;
		done += count;
	}
	free(keys);
	return err;
}

static int read_text(int fd, struct in_force *f)
{
	__u32 i, chunks = (f->header.text_length + HQ_TEXT_CHUNK - 1) / HQ_TEXT_CHUNK;

	f->text = calloc(chunks + 1, HQ_TEXT_CHUNK);
	if (!f->text)
		return -ENOMEM;
	for (i = 0; i < chunks; i++)
		if (bpf_map_lookup_elem(fd, &i, f->text + (size_t)i * HQ_TEXT_CHUNK))
			return -errno;
	return 0;
}

/* A table of none has one cell, of zeros: nobody's name. Earlier versions had no such table. */
static int read_names(int fd, struct in_force *f)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);

	if (fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return -errno;
	f->names = calloc(info.max_entries, sizeof(*f->names));
	if (!f->names)
		return -ENOMEM;
	f->name_count = info.max_entries;
	return read_array(fd, f->names, sizeof(*f->names), f->name_count);
}

static int read_tables(const struct tables *t, struct in_force *f)
{
	__u32 zero = 0;
	int err;

	if (bpf_map_lookup_elem(t->fd[TABLE_HEADER], &zero, &f->header))
		return -errno;
	if (f->header.abi != HQ_ABI_VERSION)
		return -EPROTO;
	f->rules = calloc(f->header.rules + 1, sizeof(*f->rules));
	f->classes = calloc(HQ_MAX_CLASSES, sizeof(*f->classes));
	if (!f->rules || !f->classes)
		return -ENOMEM;
	err = read_array(t->fd[TABLE_RULES], f->rules, sizeof(*f->rules), f->header.rules);
	if (!err)
		err = read_array(t->fd[TABLE_CLASSES], f->classes, sizeof(*f->classes),
				 HQ_MAX_CLASSES);
	if (!err)
		err = read_names(t->fd[TABLE_NAMES], f);
	return err ? err : read_text(t->fd[TABLE_TEXT], f);
}

static int open_tables(const struct instance *in, __u32 generation, struct tables *t)
{
	static const enum table needed[] = {TABLE_HEADER, TABLE_RULES, TABLE_CLASSES, TABLE_NAMES,
					    TABLE_TEXT};
	size_t i;
	int err = 0;

	memset(t->fd, -1, sizeof(t->fd));
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		enum table n = needed[i];

		t->fd[n] = table_in_slot(in, n, table_slot(in, generation));
		if (t->fd[n] < 0 && n != TABLE_NAMES)
			err = t->fd[n];
	}
	return err;
}

/* The tables that the programs look at now. -EAGAIN: the policy was replaced meanwhile. */
static int open_in_force(const struct instance *in, struct tables *t, __u32 *generation)
{
	__u32 again;
	int err = instance_generation(in, generation);

	if (err || !*generation)
		return err;
	err = open_tables(in, *generation, t);
	if (!instance_generation(in, &again) && again != *generation)
		err = -EAGAIN;
	if (err)
		tables_close(t);
	return err;
}

/* Closes the tables. */
static int take_in(struct tables *t, struct in_force *read, struct in_force *f)
{
	int err = read_tables(t, read);

	tables_close(t);
	if (!err) {
		*f = *read;
		return 0;
	}
	in_force_free(read);
	if (err != -EPROTO)
		return log_error(err, "cannot read the policy in force from the kernel");
	log_error(0,
		  "the policy in force was put there by another version of hostqos; run `hostqos "
		  "detach`: that version's gives live sockets their own marks back, this one's "
		  "leaves them those that they have");
	return err;
}

int in_force_read_of(const struct instance *in, __u32 generation, struct in_force *f)
{
	struct in_force read = {.generation = generation};
	struct tables t;
	int err = open_tables(in, generation, &t);

	if (!err)
		return take_in(&t, &read, f);
	tables_close(&t);
	return log_error(err, "cannot open the tables of generation %u", generation);
}

int in_force_read(const struct instance *in, struct in_force *f)
{
	struct in_force read = {};
	struct tables t;
	int err;

	do {
		err = open_in_force(in, &t, &read.generation);
	} while (err == -EAGAIN);
	if (err)
		return log_error(err, "cannot read the policy in force from the kernel");
	if (read.generation)
		return take_in(&t, &read, f);
	*f = read;
	return 0;
}

void in_force_free(struct in_force *f)
{
	free(f->rules);
	free(f->classes);
	free(f->text);
	free(f->names);
	memset(f, 0, sizeof(*f));
}

static int open_it(struct in_force *f, struct instance *in, const char *name, bool lock)
{
	int err = require_privileges();

	if (!err)
		err = instance_init(in, name, false);
	if (err)
		return err;
	if (lock)
		err = instance_lock_existing(in);
	if (!err)
		err = instance_open(in);
	if (!err)
		err = in_force_read(in, f);
	if (!err && !f->generation)
		err = -ENOENT;
	if (err == -ENOENT)
		log_error(0, "no policy is in force (instance '%s')", name);
	return err;
}

int in_force_open(struct in_force *f, struct instance *in, const char *name)
{
	return open_it(f, in, name, false);
}

int in_force_lock(struct in_force *f, struct instance *in, const char *name)
{
	return open_it(f, in, name, true);
}
