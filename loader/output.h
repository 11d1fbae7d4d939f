/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Results on stdout: tables for people, JSON for programs.
 */
#ifndef HOSTQOS_LOADER_OUTPUT_H
#define HOSTQOS_LOADER_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

/* Prints, and drops the reference; the latter on one line. */
void json_print(struct json_object *o);
void json_print_line(struct json_object *o);

/* Each adds one member; a NULL string becomes null. */
void json_add(struct json_object *o, const char *key, struct json_object *value);
void json_add_string(struct json_object *o, const char *key, const char *value);
void json_add_count(struct json_object *o, const char *key, uint64_t value);
void json_add_bool(struct json_object *o, const char *key, bool value);
/* The list stays the caller's too; NULL becomes an empty one. */
void json_add_list(struct json_object *o, const char *key, struct json_object *list);

/* A member's string, or `otherwise` where it is null; whether one is true. */
const char *json_text(struct json_object *o, const char *key, const char *otherwise);
bool json_is_true(struct json_object *o, const char *key);

/*
 * printf(3) of what has names in it that others chose (processes, cgroups,
 * files): '?' stands for each byte that is not of a printable character, so
 * that none of them speaks to the terminal.
 */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The end of a verb: a failure's messages under -j. Returns the exit status. */
int finish(int err, bool json);

/* "1 live socket", "2 live sockets": the noun's plural ending. */
static inline const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

/* A table whose columns are as wide as their widest cell. Numbers go to the right. */
#define TABLE_COLUMNS 16

struct text_table {
	size_t columns;
	bool right[TABLE_COLUMNS];
	char **cells; /* row by row, headings first */
	size_t count;
};

/* Headings up to NULL; one that begins with '>' is of a column of numbers. */
void text_table_begin(struct text_table *t, const char *const *headings);

/* Adds the row's next cell. */
void text_table_cell(struct text_table *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Prints and frees. */
void text_table_print(struct text_table *t);
void text_table_free(struct text_table *t);

/* {"ok": true, NAME: list} under -j, else the table. Takes both over. */
void print_list(bool json, const char *name, struct json_object *list, struct text_table *table);

#endif
