/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Running hostqos on a testbed.
 */
#ifndef HOSTQOS_TEST_HOSTQOS_H
#define HOSTQOS_TEST_HOSTQOS_H

#include <json-c/json.h>

#include "process.h"
#include "testbed.h"

/* The binary: HOSTQOS from the environment, else that of the default build. */
const char *hostqos_binary(void);

/*
 * Start `hostqos --instance INSTANCE ARGUMENTS` in the near namespace. The
 * format is split at blanks.
 */
struct process *hostqos_start(struct testbed *tb, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Run it; returns its exit status. */
int hostqos(struct testbed *tb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Write a policy to a file and return its name (static storage). `@` in it
 * stands for the testbed's cgroup. Unless the text begins with "hostqos:", the
 * version and an `attach` of that cgroup and near0 come before it.
 */
const char *policy_file(struct testbed *tb, const char *text);

/* Apply the policy; fail the test unless hostqos exits with 0. */
void apply(struct testbed *tb, const char *text);
void detach(struct testbed *tb);
/* The JSON that a verb prints; fails unless it exits with `status`. To be put by the caller. */
struct json_object *hostqos_json(struct testbed *tb, int status, const char *verb);
/* A member of an object, which must be there. */
struct json_object *json_member(struct json_object *object, const char *name);
/* The element of an array whose member `name` is the string; NULL if there is none. */
struct json_object *json_find(struct json_object *array, const char *name, const char *value);
/* Is the hook attached, by `status`? */
bool has_hook(struct testbed *tb, const char *hook);

/*
 * A mark of a governed socket by `show flows`: what was "asked" (-1 where
 * nothing was) or what is "granted", of "tos" and "tclass" the DSCP, or of
 * "priority". What getsockopt() tells is the application's own.
 */
int flow_mark(struct testbed *tb, int fd, const char *which, const char *option);

/* Ids of every program, map and link that the instance has in the kernel. */
struct bpf_ids {
	uint32_t programs[256], maps[512], links[256];
	size_t program_count, map_count, link_count;
};
void bpf_ids_collect(struct testbed *tb, struct bpf_ids *ids);
/* How many of them the kernel still has. */
size_t bpf_ids_alive(const struct bpf_ids *ids);
/* Bytes of kernel memory that the maps take, as the kernel tells it. */
uint64_t bpf_ids_memory(const struct bpf_ids *ids);

#endif
