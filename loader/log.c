/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>
#include <json-c/json.h>

#include "log.h"
#include "text.h"

static const char *log_verb = "";
static bool log_json;
static struct json_object *collected;

/* The end of libbpf's own messages, kept for the failure that they explain. */
static char tail[16384];
static size_t tail_length;

static int keep_tail(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[8192];
	size_t length;

	if (getenv("HOSTQOS_DEBUG"))
		return vfprintf(stderr, format, args);
	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), format, args);
	length = strlen(line);
	if (tail_length + length >= sizeof(tail)) {
		size_t drop = tail_length + length - sizeof(tail) + 1;

		drop = drop < tail_length ? drop : tail_length;
		memmove(tail, tail + drop, tail_length - drop);
		tail_length -= drop;
	}
	memcpy(tail + tail_length, line, length + 1);
	tail_length += length;
	return 0;
}

void log_begin(const char *verb, bool json)
{
	log_verb = verb;
	log_json = json;
	libbpf_set_print(keep_tail);
}

void log_libbpf_tail(void)
{
	if (tail_length)
		fprintf(stderr, "%s%s", tail, tail[tail_length - 1] == '\n' ? "" : "\n");
}

void log_add(struct json_object *message)
{
	if (!collected)
		collected = json_object_new_array();
	json_object_array_add(collected, message);
}

/* Names in it that others chose are not to speak to the terminal; output.h cares for JSON. */
static void message(const char *severity, char *text)
{
	struct json_object *o;

	if (!log_json) {
		text_sanitize(text);
		fprintf(stderr, "hostqos %s: %s%s\n", log_verb,
			strcmp(severity, "warning") ? "" : "warning: ", text);
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "severity", json_object_new_string(severity));
	json_object_object_add(o, "message", json_object_new_string(text));
	log_add(o);
}

void log_warning(const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	message("warning", text);
}

int log_error(int err, const char *format, ...)
{
	char text[1024];
	size_t length;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	length = strlen(text);
	if (err)
		snprintf(text + length, sizeof(text) - length, ": %s", strerror(-err));
	message("error", text);
	return err;
}

void log_note(const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text_sanitize(text);
	fprintf(stderr, "hostqos %s: %s\n", log_verb, text);
}

struct json_object *log_take(const char *severity)
{
	struct json_object *of_severity = json_object_new_array();
	size_t i, n = collected ? json_object_array_length(collected) : 0;

	for (i = 0; i < n; i++) {
		struct json_object *m = json_object_array_get_idx(collected, i);
		struct json_object *s = json_object_object_get(m, "severity");

		if (!strcmp(json_object_get_string(s), severity))
			json_object_array_add(of_severity, json_object_get(m));
	}
	return of_severity;
}
