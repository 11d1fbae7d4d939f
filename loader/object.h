/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The BPF object that is built into this binary.
 */
#ifndef HOSTQOS_LOADER_OBJECT_H
#define HOSTQOS_LOADER_OBJECT_H

#include "instance.h"

struct hostqos_bpf;
struct bpf_object;

/* ns from one tick of the kernel to the next, for bpf/meter.h; 0 where that is not known. */
__u32 tick_length(void);

/* SHA-256 of the object, hexadecimal: tells one build from another. */
void object_hash(char hex[72]);

/* Programs and maps that are loaded together. */
enum object_part {
	OBJECT_HOOKS = 1 << 0,
	OBJECT_EXPLAIN = 1 << 1,
	OBJECT_TRIAL = 1 << 2,
	OBJECT_MOVES = 1 << 3,
	OBJECT_UPSTREAM = 1 << 4, /* sees all of the system: with the hooks, where asked for */
	OBJECT_SHADOW = 1 << 5,
};

/*
 * Load the programs of these parts, with the instance's pinned maps where they
 * exist; their other maps are made and pinned. `mark` is the skb->tc_index of
 * packets that this installation has metered. 0 or -errno, reported; nothing
 * stays pinned then.
 */
int object_load(struct hostqos_bpf **skel, const struct instance *in, unsigned int parts,
		__u16 mark);

/* Ask the program `explain`, once its part is loaded. 0 or -errno, reported. */
int object_ask(struct hostqos_bpf *skel, struct hq_question *question);
void object_unload(struct hostqos_bpf *skel);
struct bpf_object *object_of(struct hostqos_bpf *skel);

#endif
