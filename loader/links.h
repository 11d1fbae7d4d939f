/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Pinned BPF links: the hooks of an installation. A new link is attached and
 * pinned as NAME_next before the flip of the policy, and takes NAME over after
 * it; until then all can be undone, and a command killed in between leaves
 * what the next one puts right (links_recover()).
 */
#ifndef HOSTQOS_LOADER_LINKS_H
#define HOSTQOS_LOADER_LINKS_H

#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf.h>

#include "instance.h"
#include "interfaces.h"

struct bpf_object;

enum link_kind { LINK_CGROUP, LINK_ITERATOR, LINK_TRACING, LINK_TCX };

struct link {
	char name[32]; /* of its pin */
	enum link_kind kind;
	const char *program;
	const char *why; /* it is needed */
	enum bpf_attach_type type;
	__u32 ifindex;	  /* LINK_TCX */
	__u32 id;	  /* of `fd`; 0: there is none */
	__u32 program_id; /* that it runs */
	__u64 cgroup;	  /* LINK_CGROUP: where it is attached, 0 if that is gone */
	bool needed;
	bool ok;	 /* fd is attached where it must be */
	int fd;		 /* the pinned link, or -1 */
	int staged;	 /* the link that will replace it, or -1 */
	int old_program; /* what an upgrade of `fd` replaced, or -1 */
};

struct links {
	struct link *links;
	size_t count;
};

/* Where links must be: the policy's wishes. */
struct link_targets {
	__u32 features; /* enum hq_feature */
	__u64 cgroup;	/* id of the cgroup that is governed */
	int cgroup_fd;
	bool upgrade; /* what is in place runs another object's programs */
};

/* BPF_TCX_EGRESS, newer than Debian 12's <linux/bpf.h>. */
#define HQ_TCX_EGRESS	 47
#define HQ_LINK_TYPE_TCX 11
#define HQ_F_BEFORE	 (1U << 3) /* BPF_F_BEFORE: ahead of all others */

/*
 * Put right what a killed command left: NAME_next becomes NAME, or goes. With
 * keeps_both it stays where NAME is: each may be attached to a cgroup of its own.
 */
int links_recover(const struct instance *in, bool keeps_both);

/*
 * All links that `want` asks for and all that are pinned, with their state as
 * the kernel tells it. Interfaces come through links_add_tcx().
 */
int links_survey(struct links *l, const struct instance *in, const struct link_targets *want);

/* The interface must have a tcx link; is there one? Never fails but for memory. */
int links_add_tcx(struct links *l, const struct instance *in, const struct interface *interface);
void links_close(struct links *l);

/* Is some needed link not in its place? With `in`, of those whose program is not kept. */
bool links_incomplete(const struct links *l, const struct instance *in);

/*
 * The programs of tc egress outlive their links, for interfaces that come when
 * none has one: the verifier takes seconds for them. 0 or -errno, reported.
 */
int programs_keep(const struct instance *in, struct bpf_object *object);

/* A descriptor of the caller's, of the object or, where that is NULL, of those kept; or -errno. */
int program_get(const struct instance *in, struct bpf_object *object, const char *name);

/*
 * Attach and stage what is missing, all of it with kept programs if `object` is
 * NULL; for an upgrade, give those that are in place the new programs. -EOPNOTSUPP,
 * not reported, where the kernel has no tcx links.
 */
int links_attach(struct links *l, const struct instance *in, struct bpf_object *object,
		 const struct link_targets *want);

/*
 * After the flip: staged links take their names, those not needed go. What was
 * attached to another cgroup acts no more, so that no socket there gets marks
 * any more; but the hooks that give marks back wait for links_commit_marking().
 */
int links_commit(struct links *l, const struct instance *in);
int links_commit_marking(struct links *l, const struct instance *in);

/* Before the flip: as it was. */
void links_undo(struct links *l, const struct instance *in);

/* Descriptor of a program in use through its pinned link, or -errno. */
int link_program(const struct instance *in, const char *link);

/* Descriptor of a named program of the loaded object, or -errno, reported. */
int object_program(struct bpf_object *object, const char *name);

#endif
