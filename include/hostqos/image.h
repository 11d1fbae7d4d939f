/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A compiled policy: the tables of abi.h as plain arrays, and what the loader
 * must know besides. policy/ makes it, loader/ copies it into maps; neither
 * knows the other. User space only.
 */
#ifndef HOSTQOS_IMAGE_H
#define HOSTQOS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "abi.h"

struct hq_exact {
	struct hq_exact_key key;
	__u32 row;
};

struct hq_prefix {
	struct hq_prefix_key key;
	__u32 row;
};

struct hq_image {
	struct hq_header header;  /* .generation is 0; the loader sets it */
	struct hq_rule *rules;	  /* header.rules of them */
	struct hq_class *classes; /* HQ_MAX_CLASSES of them, by id */
	struct hq_vector *vectors;
	size_t vector_count; /* rows * HQ_ROW_VECTORS() */
	struct hq_exact *exact;
	size_t exact_count;
	struct hq_prefix *prefixes;
	size_t prefix_count;
	__u32 *ports; /* HQ_PORT_CELLS */
	__u32 *enums; /* HQ_ENUM_CELLS */
	__u32 *paths;
	size_t path_cells; /* states * header.path_stride */
	struct hq_named *names;
	size_t name_count;

	char **gone; /* "user 'backup'": names that stand for what they stood for before */
	size_t gone_count;
};

#endif
