// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "suggest.h"

#define LONGEST 64

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

static bool same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Insertions, deletions, substitutions, and swaps of neighbours (Damerau 1964). */
static unsigned int edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	unsigned int row[3][LONGEST + 1];
	unsigned int *before = row[0], *last = row[1], *this = row[2];
	size_t i, j;

	for (j = 0; j <= b_length; j++)
		last[j] = j;
	for (i = 1; i <= a_length; i++) {
		unsigned int *reuse = before;

		this[0] = i;
		for (j = 1; j <= b_length; j++) {
			this[j] = least(least(last[j], this[j - 1]) + 1,
					last[j - 1] + !same(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
				this[j] = least(this[j], before[j - 2] + 1);
		}
		before = last;
		last = this;
		this = reuse;
	}
	return last[b_length];
}

void suggest_offer(struct suggestion *suggestion, const char *known)
{
	size_t length = strlen(suggestion->word), known_length = strlen(known);
	size_t longer = length > known_length ? length : known_length;
	unsigned int distance;

	if (!length || longer > LONGEST)
		return;
	distance = edit_distance(suggestion->word, length, known, known_length);
	if (distance > (longer + 2) / 3 || distance >= longer)
		return;
	if (suggestion->best && suggestion->distance <= distance)
		return;
	suggestion->best = known;
	suggestion->distance = distance;
}

const char *suggest_text(const struct suggestion *suggestion)
{
	static char text[LONGEST + 32];

	if (!suggestion->best)
		return "";
	snprintf(text, sizeof(text), "; did you mean '%s'?", suggestion->best);
	return text;
}
