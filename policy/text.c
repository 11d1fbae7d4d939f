// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <string.h>

#include "text.h"

#define NEL 0x85
#define LS  0x2028
#define PS  0x2029

size_t text_character(const char *text, size_t left, uint32_t *code)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *byte = (const unsigned char *)text;
	size_t length, i;
	uint32_t value;

	if (byte[0] < 0x80) {
		*code = byte[0];
		return 1;
	}
	if (byte[0] >= 0xf8 || byte[0] < 0xc0)
		return 0;
	length = byte[0] >= 0xf0 ? 4 : byte[0] >= 0xe0 ? 3 : 2;
	if (left < length)
		return 0;
	value = byte[0] & (0x7f >> length);
	for (i = 1; i < length; i++) {
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (byte[i] & 0x3f);
	}
	if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*code = value;
	return length;
}

size_t text_line_break(const char *text, size_t left)
{
	uint32_t code;
	size_t length = text_character(text, left, &code);

	if (!length)
		return 0;
	if (code == '\r' && left > 1 && text[1] == '\n')
		return 2;
	return code == '\n' || code == '\r' || code == NEL || code == LS || code == PS ? length : 0;
}

bool text_is_printable(uint32_t code)
{
	if (code == '\t' || code == '\n' || code == '\r' || code == NEL)
		return true;
	return code >= ' ' && (code < 0x7f || code >= 0xa0) && code != 0xfeff && code != 0xfffe &&
	       code != 0xffff;
}

bool text_is_one_line(const char *text, size_t length)
{
	size_t bytes;
	uint32_t code;

	for (; length; text += bytes, length -= bytes) {
		bytes = text_character(text, length, &code);
		if (!bytes || !text_is_printable(code) || text_line_break(text, length))
			return false;
	}
	return true;
}

void text_sanitize(char *text)
{
	size_t left = strlen(text), length;
	uint32_t code;

	for (; left; text += length, left -= length) {
		length = text_character(text, left, &code);
		if (length && text_is_printable(code) && !text_line_break(text, left))
			continue;
		memset(text, '?', length ? length : 1);
		length = length ? length : 1;
	}
}
