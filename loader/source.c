/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hostqos/name.h>
#include <json-c/json.h>
#include <sha256.h>

#include "log.h"
#include "source.h"

/* Far more than any policy that compiles; keeps an endless input from filling memory. */
#define MAX_LENGTH (64U << 20)

static int read_all(FILE *in, char **text, size_t *length)
{
	char *all = NULL, *more;
	size_t used = 0, room = 0;

	do {
		if (used == room) {
			room = room ? 2 * room : 65536;
			more = room > MAX_LENGTH ? NULL : realloc(all, room + 1);
			if (!more) {
				free(all);
				return room > MAX_LENGTH ? -EFBIG : -ENOMEM;
			}
			all = more;
		}
		used += fread(all + used, 1, room - used, in);
	} while (!feof(in) && !ferror(in));
	if (ferror(in)) {
		free(all);
		return -errno;
	}
	all[used] = '\0';
	*text = all;
	*length = used;
	return 0;
}

static int parse(struct source *s, const struct hq_named *names, size_t count)
{
	s->policy = policy_parse_again(s->file, s->text, s->length, names, count, &s->diag);
	return s->policy ? 0 : -EINVAL;
}

int source_read(struct source *s, const char *file)
{
	bool is_stdin = !strcmp(file, "-");
	FILE *in = is_stdin ? stdin : fopen(file, "re");
	int err;

	memset(s, 0, sizeof(*s));
	s->file = is_stdin ? "<stdin>" : file;
	if (!in)
		return log_error(-errno, "cannot open %s", s->file);
	err = read_all(in, &s->text, &s->length);
	if (!is_stdin)
		fclose(in);
	return err ? log_error(err, "cannot read %s", s->file) : parse(s, NULL, 0);
}

static int parse_copy(struct source *s, const char *file, const char *text, size_t length,
		      const struct hq_named *names, size_t count)
{
	memset(s, 0, sizeof(*s));
	s->file = file;
	s->text = malloc(length + 1);
	if (!s->text)
		return -ENOMEM;
	memcpy(s->text, text, length);
	s->text[length] = '\0';
	s->length = length;
	return parse(s, names, count);
}

int source_parse(struct source *s, const char *file, const char *text, size_t length)
{
	return parse_copy(s, file, text, length, NULL, 0);
}

int source_parse_again(struct source *s, const struct in_force *f)
{
	return parse_copy(s, f->header.file, f->text, f->header.text_length, f->names,
			  f->name_count);
}

/* Class ids and rule counters of the policy in force go on with their names. */
static int collect_ids(struct policy_ids *ids, const struct in_force *f)
{
	__u32 i;

	ids->classes = calloc(HQ_MAX_CLASSES, sizeof(*ids->classes));
	ids->rules = calloc(f->header.rules + 1, sizeof(*ids->rules));
	if (!ids->classes || !ids->rules)
		return -ENOMEM;
	for (i = 0; i < HQ_MAX_CLASSES; i++) {
		if (!f->classes[i].defined)
			continue;
		memcpy(ids->classes[ids->class_count].name, f->classes[i].name, HQ_NAME_LEN);
		ids->classes[ids->class_count++].id = i;
	}
	for (i = 0; i < f->header.rules; i++) {
		ids->rules[i].key = f->rules[i].key;
		ids->rules[i].id = f->rules[i].counter;
	}
	ids->rule_count = f->header.rules;
	return 0;
}

static __u64 add_bytes(__u64 hash, const void *bytes, size_t length)
{
	const __u8 *p = bytes;

	while (length--)
		hash = hq_name_hash_add(hash, *p++);
	return hash;
}

/*
 * One text has other tables where its users and executables are others: these
 * two, the values that are named and the rules that they satisfy.
 */
static __u32 resolution(const struct hq_image *image)
{
	__u64 hash = HQ_NAME_HASH_INIT;
	size_t i;

	for (i = 0; i < image->exact_count; i++) {
		hash = add_bytes(hash, &image->exact[i].key, sizeof(image->exact[i].key));
		hash = add_bytes(hash, &image->exact[i].row, sizeof(image->exact[i].row));
	}
	hash = add_bytes(hash, image->vectors, image->vector_count * sizeof(*image->vectors));
	return hash ^ hash >> 32;
}

int source_compile(struct source *s, const struct in_force *f, policy_exe_fn exe)
{
	struct policy_ids ids = {};
	bool known = f && f->generation;
	struct hq_header *h;
	int err = known ? collect_ids(&ids, f) : 0;

	if (!err) {
		s->image = policy_compile(s->policy, known ? &ids : NULL, exe, &s->diag);
		err = s->image ? 0 : -EINVAL;
	}
	free(ids.classes);
	free(ids.rules);
	if (err)
		return err;
	h = &s->image->header;
	h->text_length = s->length;
	h->resolved = resolution(s->image);
	snprintf(h->file, sizeof(h->file), "%s", s->file);
	SHA256Data((const uint8_t *)s->text, s->length, h->sha256);
	return 0;
}

void source_free(struct source *s)
{
	if (s->image)
		image_free(s->image);
	if (s->policy)
		policy_free(s->policy);
	diag_free(&s->diag);
	free(s->text);
	memset(s, 0, sizeof(*s));
}

static struct json_object *entry_json(const struct source *s, const struct diag_entry *e)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "file", json_object_new_string(s->file));
	json_object_object_add(o, "line", json_object_new_int64(e->at.line));
	json_object_object_add(o, "column", json_object_new_int64(e->at.column));
	json_object_object_add(
		o, "severity",
		json_object_new_string(e->severity == DIAG_ERROR ? "error" : "warning"));
	json_object_object_add(o, "message", json_object_new_string(e->message));
	return o;
}

void source_report(struct source *s, bool json)
{
	size_t i;

	if (!s->diag.count)
		return;
	diag_sort(&s->diag);
	if (!json) {
		diag_print(&s->diag, stderr);
		return;
	}
	for (i = 0; i < s->diag.count; i++)
		log_add(entry_json(s, &s->diag.entries[i]));
}
