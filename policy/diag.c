// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "arena.h"
#include "diag.h"
#include "text.h"

#define MESSAGE_LENGTH 512

/* Of a long source line, this many characters are shown, from so far before the column. */
#define SHOWN	      120
#define SHOWN_WHOLE   80
#define SHOWN_LEADING 40

static const char *const severity_names[] = {
	[DIAG_ERROR] = "error",
	[DIAG_WARNING] = "warning",
};

static void report(struct diag *diag, enum diag_severity severity, struct diag_at at,
		   const char *format, va_list args)
{
	char message[MESSAGE_LENGTH];
	struct diag_entry *entry;

	if (diag->reported[severity]++ >= DIAG_KEPT)
		return;
	vsnprintf(message, sizeof(message), format, args);
	text_sanitize(message);
	diag->entries = mem_grow(diag->entries, diag->count, sizeof(*diag->entries));
	entry = &diag->entries[diag->count];
	entry->severity = severity;
	entry->at = at;
	entry->order = diag->count++;
	entry->message = mem_strdup(message);
}

void diag_error(struct diag *diag, struct diag_at at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report(diag, DIAG_ERROR, at, format, args);
	va_end(args);
}

void diag_warning(struct diag *diag, struct diag_at at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report(diag, DIAG_WARNING, at, format, args);
	va_end(args);
}

static int compare(const void *a, const void *b)
{
	const struct diag_entry *x = a, *y = b;

	if (x->at.line != y->at.line)
		return x->at.line < y->at.line ? -1 : 1;
	if (x->at.column != y->at.column)
		return x->at.column < y->at.column ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

void diag_sort(struct diag *diag)
{
	if (diag->count)
		qsort(diag->entries, diag->count, sizeof(*diag->entries), compare);
}

/* Where we are in the text. It only goes forward: each byte is looked at once. */
struct cursor {
	const char *p, *end;
	struct diag_at at;
};

/* Bytes of the character at the cursor; a byte that is not text counts as one. */
static size_t cursor_character(const struct cursor *c, uint32_t *code)
{
	size_t length = text_character(c->p, c->end - c->p, code);

	if (length)
		return length;
	*code = 0;
	return 1;
}

static bool cursor_at_line_end(const struct cursor *c)
{
	return c->p == c->end || text_line_break(c->p, c->end - c->p);
}

static void cursor_seek(struct cursor *c, struct diag_at to)
{
	uint32_t code;

	while (c->at.line < to.line && c->p < c->end) {
		size_t length = text_line_break(c->p, c->end - c->p);

		if (length) {
			c->at.line++;
			c->at.column = 1;
		}
		c->p += length ? length : cursor_character(c, &code);
	}
	for (; c->at.column < to.column && !cursor_at_line_end(c); c->at.column++)
		c->p += cursor_character(c, &code);
}

/* How wide a terminal shows it; as one column where the C library does not know. */
static int width(uint32_t code)
{
	int columns = text_is_printable(code) ? wcwidth(code) : 1;

	return columns < 0 ? 1 : columns;
}

/* The line from the cursor on, and under it the caret. */
static void print_line(struct cursor c, struct diag_at at, FILE *out)
{
	bool cut = c.at.column > 1;
	unsigned int shown;
	struct cursor mark = c;
	uint32_t code;
	size_t length;

	fputs(cut ? "    ..." : "    ", out);
	for (shown = 0; shown < SHOWN && !cursor_at_line_end(&c); shown++) {
		length = cursor_character(&c, &code);
		if (text_is_printable(code))
			fwrite(c.p, 1, length, out);
		else
			fputc('?', out);
		c.p += length;
	}
	fputs(cursor_at_line_end(&c) ? "\n" : "...\n", out);

	fputs(cut ? "       " : "    ", out);
	for (; mark.at.column < at.column; mark.at.column++) {
		if (cursor_at_line_end(&mark)) {
			fputc(' ', out);
			continue;
		}
		length = cursor_character(&mark, &code);
		if (code == '\t')
			fputc(code, out);
		else
			fprintf(out, "%*s", width(code), "");
		mark.p += length;
	}
	fputs("^\n", out);
}

static void print_entry(const char *file, const struct diag_entry *entry, struct cursor *c,
			FILE *out)
{
	struct diag_at from = entry->at;

	if (!entry->at.line) {
		fprintf(out, "%s: %s: %s\n", file, severity_names[entry->severity], entry->message);
		return;
	}
	fprintf(out, "%s:%u:%u: %s: %s\n", file, entry->at.line, entry->at.column,
		severity_names[entry->severity], entry->message);
	from.column = from.column <= SHOWN_WHOLE ? 1 : from.column - SHOWN_LEADING;
	cursor_seek(c, from);
	if (c->p < c->end)
		print_line(*c, entry->at, out);
}

void diag_print(struct diag *diag, FILE *out)
{
	struct cursor c = {diag->text, diag->text + diag->length, {1, 1}};
	/* For wcwidth(), which knows no more than ASCII in the locale that programs begin with. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL), before = uselocale(utf8);
	size_t printed[DIAG_SEVERITIES] = {0};
	char *file = mem_strdup(diag->file);
	size_t i;

	text_sanitize(file);
	diag_sort(diag);
	for (i = 0; i < diag->count; i++)
		if (printed[diag->entries[i].severity]++ < DIAG_PRINTED)
			print_entry(file, &diag->entries[i], &c, out);
	for (i = 0; i < DIAG_SEVERITIES; i++)
		if (diag->reported[i] > DIAG_PRINTED)
			fprintf(out, "%s: %zu more %ss\n", file, diag->reported[i] - DIAG_PRINTED,
				severity_names[i]);
	free(file);
	uselocale(before);
	if (utf8)
		freelocale(utf8);
}

void diag_free(struct diag *diag)
{
	size_t i;

	for (i = 0; i < diag->count; i++)
		free(diag->entries[i].message);
	free(diag->entries);
	*diag = (struct diag){0};
}
