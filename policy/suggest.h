/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* The known word that a misspelt one was most likely meant to be. */
#ifndef HOSTQOS_SUGGEST_H
#define HOSTQOS_SUGGEST_H

struct suggestion {
	const char *word;
	const char *best; /* NULL where nothing comes close */
	unsigned int distance;
};

/* Begin with {.word = WORD}; offer every known word; read .best. */
void suggest_offer(struct suggestion *suggestion, const char *known);

/* "; did you mean 'BEST'?" or "", in a static buffer. */
const char *suggest_text(const struct suggestion *suggestion);

#endif
