/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Messages for people. In text mode they go to stderr at once; under -j they
 * are collected and become part of the one JSON object on stdout.
 */
#ifndef HOSTQOS_LOADER_LOG_H
#define HOSTQOS_LOADER_LOG_H

#include <stdbool.h>

struct json_object;

#define FORMAT(string, args) __attribute__((format(printf, string, args)))

/* Messages are of the form "hostqos VERB: ...". Also silences libbpf. */
void log_begin(const char *verb, bool json);

void log_warning(const char *format, ...) FORMAT(1, 2);

/* "what on what: strerror(-err)", or without the last part if err is 0. Returns err. */
int log_error(int err, const char *format, ...) FORMAT(2, 3);

/* To stderr at once in either mode: what the user may wonder about while waiting. */
void log_note(const char *format, ...) FORMAT(1, 2);

/* What libbpf and the verifier said last, for a failure that needs it. */
void log_libbpf_tail(void);

/* A diagnostic that somebody else has formatted already, under -j only. */
void log_add(struct json_object *message);

/* The messages of one severity collected so far, an array that the caller owns. */
struct json_object *log_take(const char *severity);

#endif
