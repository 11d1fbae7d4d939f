// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* What the names in a policy stand for, kept beside its tables for when one is gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "compile.h"
#include "lookup.h"

const struct hq_named *policy_former(const struct policy *policy, enum hq_dim dim, const char *name)
{
	uint64_t hash = policy_name_hash(name);
	size_t i;

	for (i = 0; i < policy->name_count; i++)
		if (policy->names[i].dim == dim && policy->names[i].name == hash)
			return &policy->names[i];
	return NULL;
}

static void add_gone(struct hq_image *image, const char *what, const char *name)
{
	char text[4200];

	snprintf(text, sizeof(text), "%s '%s'", what, name);
	image->gone = mem_grow(image->gone, image->gone_count, sizeof(*image->gone));
	image->gone[image->gone_count++] = mem_strdup(text);
}

static void add_name(struct hq_image *image, const char *name, struct hq_named named)
{
	named.name = policy_name_hash(name);
	image->names = mem_grow(image->names, image->name_count, sizeof(*image->names));
	image->names[image->name_count++] = named;
}

static void add_file(struct hq_image *image, const struct exe_file *file)
{
	if (file->err)
		return;
	add_name(image, file->path,
		 (struct hq_named){
			 .number = file->inode, .device = file->device, .dim = HQ_DIM_EXE_FILE});
	if (file->gone)
		add_gone(image, "executable", file->path);
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp((*(const struct policy_value *const *)a)->text,
		      (*(const struct policy_value *const *)b)->text);
}

static void add_accounts(struct hq_image *image, enum hq_dim dim, const struct items *items)
{
	const struct policy_value **values = mem_alloc(items->count, sizeof(*values));
	size_t i;

	for (i = 0; i < items->count; i++)
		values[i] = items->item[i].value;
	qsort(values, items->count, sizeof(*values), compare_texts);
	for (i = 0; i < items->count; i++) {
		if (i && !compare_texts(&values[i - 1], &values[i]))
			continue;
		add_name(image, values[i]->text,
			 (struct hq_named){.number = values[i]->number, .dim = dim});
		if (values[i]->gone)
			add_gone(image, dim == HQ_DIM_USER ? "user" : "group", values[i]->text);
	}
	free(values);
}

void compile_names(struct compiler *c, enum hq_dim dim, const struct items *items)
{
	size_t i;

	if (dim == HQ_DIM_USER || dim == HQ_DIM_GROUP)
		add_accounts(c->image, dim, items);
	for (i = 0; dim == HQ_DIM_EXE_FILE && i < c->file_count; i++)
		add_file(c->image, &c->files[i]);
}
