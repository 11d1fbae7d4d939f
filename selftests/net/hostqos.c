/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostqos.h"

const char *hostqos_binary(void)
{
	const char *binary = getenv("HOSTQOS");

	return binary ? binary : "build/hostqos";
}

static struct process *start(struct testbed *tb, const char *format, va_list arguments)
{
	struct place place = near_place(tb, NULL);
	char line[1024];

	vsnprintf(line, sizeof(line), format, arguments);
	return process_start(tb, &place, "%s --instance %s %s", hostqos_binary(), tb->instance,
			     line);
}

struct process *hostqos_start(struct testbed *tb, const char *format, ...)
{
	struct process *process;
	va_list arguments;

	va_start(arguments, format);
	process = start(tb, format, arguments);
	va_end(arguments);
	return process;
}

int hostqos(struct testbed *tb, const char *format, ...)
{
	struct process *process;
	va_list arguments;

	va_start(arguments, format);
	process = start(tb, format, arguments);
	va_end(arguments);
	return process_wait(process);
}

static void put_text(FILE *file, const struct testbed *tb, const char *text)
{
	for (; *text; text++)
		if (*text == '@')
			fputs(tb->cgroup, file);
		else
			fputc(*text, file);
}

const char *policy_file(struct testbed *tb, const char *text)
{
	static unsigned int serial;
	static char path[64];
	FILE *file;

	snprintf(path, sizeof(path), SCRATCH "/policy-%u.yaml", serial++);
	file = fopen(path, "we");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	if (strncmp(text, "hostqos:", 8))
		fprintf(file, "hostqos: 1\nattach: { cgroup: %s, interfaces: [%s] }\n", tb->cgroup,
			NEAR_IF);
	put_text(file, tb, text);
	fclose(file);
	return path;
}

static void must_succeed(struct process *process, const char *what)
{
	int status = process_wait(process);

	if (status)
		fail_msg("hostqos %s: exit status %d:\n%s%s", what, status, process_output(process),
			 process_errors(process));
}

void apply(struct testbed *tb, const char *text)
{
	must_succeed(hostqos_start(tb, "apply %s", policy_file(tb, text)), "apply");
}

void detach(struct testbed *tb)
{
	must_succeed(hostqos_start(tb, "detach"), "detach");
}

struct json_object *hostqos_json(struct testbed *tb, int status, const char *verb)
{
	struct process *process = hostqos_start(tb, "-j %s", verb);
	struct json_object *json;
	int got = process_wait(process);
	char *text = process_output(process);

	if (got != status)
		fail_msg("hostqos -j %s: exit status %d, not %d:\n%s%s", verb, got, status, text,
			 process_errors(process));
	json = json_tokener_parse(text);
	if (!json)
		fail_msg("hostqos -j %s: not JSON:\n%s", verb, text);
	free(text);
	return json;
}

struct json_object *json_member(struct json_object *object, const char *name)
{
	struct json_object *member;

	if (!json_object_object_get_ex(object, name, &member))
		fail_msg("no member '%s' in %s", name, json_object_to_json_string(object));
	return member;
}

struct json_object *json_find(struct json_object *array, const char *name, const char *value)
{
	struct json_object *element, *member;
	size_t i;

	for (i = 0; i < json_object_array_length(array); i++) {
		element = json_object_array_get_idx(array, i);
		member = json_member(element, name);
		if (json_object_is_type(member, json_type_string) &&
		    !strcmp(json_object_get_string(member), value))
			return element;
	}
	return NULL;
}

/* The flow of `show flows` that is this socket. */
static struct json_object *find_flow(struct json_object *flows, int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);
	size_t i;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size))
		fail_msg("SO_COOKIE: %s", strerror(errno));
	for (i = 0; i < json_object_array_length(flows); i++) {
		struct json_object *flow = json_object_array_get_idx(flows, i);

		if (json_object_get_uint64(json_member(flow, "cookie")) == cookie)
			return flow;
	}
	fail_msg("no flow has the cookie of socket %d", fd);
	return NULL;
}

int flow_mark(struct testbed *tb, int fd, const char *which, const char *option)
{
	struct json_object *shown = hostqos_json(tb, 0, "show flows"), *mark;
	int value = -1;

	mark = json_member(json_member(find_flow(json_member(shown, "flows"), fd), which), option);
	if (mark && strcmp(option, "priority"))
		mark = json_member(mark, "value");
	if (mark)
		value = json_object_get_int(mark);
	json_object_put(shown);
	return value;
}

bool has_hook(struct testbed *tb, const char *hook)
{
	struct json_object *status = hostqos_json(tb, 0, "status");
	bool found = json_find(json_member(status, "attached"), "hook", hook) != NULL;

	json_object_put(status);
	return found;
}
