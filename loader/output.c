/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "output.h"
#include "text.h"
#include "verbs.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* JSON is UTF-8 (RFC 8259, 8.1), and a name in it need not be: a process chooses its own. */
static void write_json(struct json_object *o, int flags)
{
	const char *text =
		json_object_to_json_string_ext(o, flags | JSON_C_TO_STRING_NOSLASHESCAPE);
	size_t left = strlen(text), length;
	uint32_t code;

	for (; left; text += length, left -= length) {
		length = text_character(text, left, &code);
		if (length) {
			fwrite(text, 1, length, stdout);
			continue;
		}
		fputs(REPLACEMENT, stdout);
		length = 1;
	}
	putchar('\n');
	json_object_put(o);
}

void json_print(struct json_object *o)
{
	write_json(o, JSON_C_TO_STRING_PRETTY);
}

void json_print_line(struct json_object *o)
{
	write_json(o, JSON_C_TO_STRING_PLAIN);
}

void json_add(struct json_object *o, const char *key, struct json_object *value)
{
	json_object_object_add(o, key, value);
}

void json_add_string(struct json_object *o, const char *key, const char *value)
{
	json_add(o, key, value ? json_object_new_string(value) : NULL);
}

void json_add_count(struct json_object *o, const char *key, uint64_t value)
{
	json_add(o, key, json_object_new_uint64(value));
}

void json_add_bool(struct json_object *o, const char *key, bool value)
{
	json_add(o, key, json_object_new_boolean(value));
}

void json_add_list(struct json_object *o, const char *key, struct json_object *list)
{
	json_add(o, key, list ? json_object_get(list) : json_object_new_array());
}

const char *json_text(struct json_object *o, const char *key, const char *otherwise)
{
	const char *text = json_object_get_string(json_object_object_get(o, key));

	return text ? text : otherwise;
}

bool json_is_true(struct json_object *o, const char *key)
{
	return json_object_get_boolean(json_object_object_get(o, key));
}

int finish(int err, bool json)
{
	struct json_object *o;

	if (!err)
		return EXIT_DONE;
	if (json) {
		o = json_object_new_object();
		json_add_bool(o, "ok", false);
		json_add(o, "errors", log_take("error"));
		json_add(o, "warnings", log_take("warning"));
		json_print(o);
	}
	return EXIT_FAILED;
}

void say(const char *format, ...)
{
	char *text, *rest, *line;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		abort();
	va_end(args);
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		text_sanitize(line);
		fputs(line, stdout);
		if (rest)
			putchar('\n');
	}
	free(text);
}

static void add_cell(struct text_table *t, char *text)
{
	char **cells = realloc(t->cells, (t->count + 1) * sizeof(*cells));

	if (!cells || !text)
		abort();
	t->cells = cells;
	t->cells[t->count++] = text;
}

void text_table_begin(struct text_table *t, const char *const *headings)
{
	memset(t, 0, sizeof(*t));
	for (; headings[t->columns]; t->columns++) {
		const char *heading = headings[t->columns];

		t->right[t->columns] = *heading == '>';
		add_cell(t, strdup(heading + (*heading == '>')));
	}
}

void text_table_cell(struct text_table *t, const char *format, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	add_cell(t, n < 0 ? NULL : text);
}

static void print_row(const struct text_table *t, char **row, const int *widths)
{
	size_t i;

	for (i = 0; i < t->columns; i++) {
		bool last = i + 1 == t->columns;
		int width = t->right[i] ? widths[i] : last ? 0 : -widths[i];

		say("%s%*s", i ? "  " : "", width, row[i]);
	}
	putchar('\n');
}

void text_table_free(struct text_table *t)
{
	size_t i;

	for (i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
}

void text_table_print(struct text_table *t)
{
	int widths[TABLE_COLUMNS] = {};
	size_t i;

	for (i = 0; i < t->count; i++) {
		int width = strlen(t->cells[i]);

		if (width > widths[i % t->columns])
			widths[i % t->columns] = width;
	}
	for (i = 0; i < t->count; i += t->columns)
		print_row(t, t->cells + i, widths);
	text_table_free(t);
}

void print_list(bool json, const char *name, struct json_object *list, struct text_table *table)
{
	struct json_object *o;

	if (!json) {
		json_object_put(list);
		text_table_print(table);
		return;
	}
	text_table_free(table);
	o = json_object_new_object();
	json_add_bool(o, "ok", true);
	json_add(o, name, list);
	json_print(o);
}
