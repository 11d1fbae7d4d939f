/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* The nondeterministic automaton of path patterns, between path.c and determinize.c. */
#ifndef HOSTQOS_PATH_NFA_H
#define HOSTQOS_PATH_NFA_H

#include "path.h"

#define PATH_NONE UINT32_MAX

enum path_edge_kind {
	/* on a byte; apart, so that patterns share only what means the same */
	PATH_BYTE,
	PATH_BYTE_INSIDE,  /* into a component that `**` passes over */
	PATH_BYTE_SUBTREE, /* below a matching path */
	/* without reading anything */
	PATH_EMPTY_STAR,
	PATH_EMPTY_ANY, /* `**` that is not a whole component */
	PATH_EMPTY_COMPONENTS,
	PATH_EMPTY_BACK,
	PATH_EMPTY_UNITS,
};

static inline bool path_edge_is_empty(enum path_edge_kind kind)
{
	return kind >= PATH_EMPTY_STAR;
}

/* Bytes on which a node leads back to itself. */
enum path_loop { PATH_LOOP_NONE, PATH_LOOP_COMPONENT, PATH_LOOP_ALL };

struct path_node {
	uint32_t first_edge;
	uint32_t pattern; /* that matches here, or PATH_NONE */
	uint8_t loop;	  /* enum path_loop */
	bool is_service;  /* a component ends here that is named as a service */
	bool is_manager;  /* ... as a user's service manager */
};

struct path_edge {
	uint8_t kind; /* enum path_edge_kind */
	uint8_t byte;
	uint32_t to;
	uint32_t next;
};

struct path_set {
	struct path_node *nodes; /* 0 is where a path begins */
	uint32_t node_count;
	struct path_edge *edges;
	uint32_t edge_count;
	uint32_t pattern_count;
	uint32_t units; /* the node where units' names begin, or PATH_NONE */
};

#endif
