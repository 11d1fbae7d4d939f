/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Characters and lines of a text in UTF-8. Lines end where YAML 1.1 ends them
 * (and so libyaml counts them): LF, CR, CR LF, NEL, LS, PS.
 */
#ifndef HOSTQOS_TEXT_H
#define HOSTQOS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the well-formed character at `text` (RFC 3629), or 0. `left` > 0. */
size_t text_character(const char *text, size_t left, uint32_t *code);

/* Bytes of the line break at `text`, or 0. */
size_t text_line_break(const char *text, size_t left);

/* Tab, line breaks, and all that is neither a control character nor a byte order mark. */
bool text_is_printable(uint32_t code);

/* Whether there are only printable characters, and no line break. */
bool text_is_one_line(const char *text, size_t length);

/* Put '?' in place of each byte that is no part of a printable character. */
void text_sanitize(char *text);

#endif
