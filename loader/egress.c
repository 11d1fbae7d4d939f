/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <net/if.h> /* before <linux/if.h>, which then leaves out what this defines */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "egress.h"
#include "log.h"

/*
 * Ahead of all others, as a filter that ends the chain would hide packets; or,
 * where filters of another kind have that priority, at one that nobody is
 * likely to pick: "hq". (The kernel's own choices begin at 49152.)
 */
static const __u32 priorities[] = {1, 0x6871};

#define FILTER_HANDLES 16

int for_each_interface(const struct instance *in,
		       int (*visit)(__u32 ifindex, const struct hq_interface *note, void *arg),
		       void *arg)
{
	__u32 *keys = NULL, key, n = 0, i;
	struct hq_interface note;
	int err = 0;

	/* All keys first: the visitor may delete. */
	while (!bpf_map_get_next_key(in->map[MAP_INTERFACES], n ? &keys[n - 1] : NULL, &key)) {
		__u32 *more = realloc(keys, (n + 1) * sizeof(*keys));

		if (!more) {
			free(keys);
			return -ENOMEM;
		}
		keys = more;
		keys[n++] = key;
	}
	for (i = 0; i < n && !err; i++)
		if (!bpf_map_lookup_elem(in->map[MAP_INTERFACES], &keys[i], &note))
			err = visit(keys[i], &note, arg);
	free(keys);
	return err;
}

static int map_id(int fd, __u32 *id)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return -errno;
	*id = info.id;
	return 0;
}

/* A program is of this installation if it reads its `active`. */
static bool program_is_ours(const struct instance *in, __u32 id)
{
	__u32 ids[64], active = 0, length, i;
	struct bpf_prog_info info = {.map_ids = (uintptr_t)ids, .nr_map_ids = 64};
	bool ours = false;
	int fd, err;

	if (map_id(in->map[MAP_ACTIVE], &active))
		return false;
	fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0)
		return false;
	length = sizeof(info);
	err = bpf_obj_get_info_by_fd(fd, &info, &length);
	close(fd);
	for (i = 0; !err && i < info.nr_map_ids && i < 64; i++)
		ours |= ids[i] == active;
	return ours;
}

bool filter_in_place(const struct instance *in, __u32 ifindex, const struct hq_interface *note)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = note->handle, .priority = note->priority);

	return !note->tcx && !bpf_tc_query(&hook, &filter) && program_is_ours(in, filter.prog_id);
}

static int filter_remove(const struct instance *in, __u32 ifindex, const struct hq_interface *note)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = note->handle, .priority = note->priority);
	int err = 0;

	if (filter_in_place(in, ifindex, note))
		err = bpf_tc_detach(&hook, &filter);
	if (!err && note->made_clsact && interface_has_filters(ifindex) == 0) {
		/* Both attach points together mean the qdisc itself. */
		hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		err = bpf_tc_hook_destroy(&hook);
	}
	if (err && err != -ENODEV && err != -ENOENT)
		return log_error(err, "cannot remove the tc filter of %s", note->name);
	return 0;
}

static int note_write(const struct instance *in, __u32 ifindex, const struct hq_interface *note)
{
	if (bpf_map_update_elem(in->map[MAP_INTERFACES], &ifindex, note, BPF_ANY))
		return log_error(-errno, "cannot note the interface %s", note->name);
	return 0;
}

static struct filter *add_filter(struct egress *e, const struct interface *interface)
{
	struct filter *filters = realloc(e->filters, (e->count + 1) * sizeof(*filters));

	if (!filters)
		return NULL;
	e->filters = filters;
	filters += e->count++;
	memset(filters, 0, sizeof(*filters));
	filters->interface = *interface;
	return filters;
}

int egress_survey(struct egress *e, struct links *l, const struct instance *in,
		  const struct interfaces *chosen)
{
	struct hq_interface note;
	struct filter *filter;
	size_t i;
	int err = 0;

	memset(e, 0, sizeof(*e));
	for (i = 0; i < chosen->count && !err; i++) {
		const struct interface *c = &chosen->list[i];

		if (bpf_map_lookup_elem(in->map[MAP_INTERFACES], &c->ifindex, &note) ||
		    !filter_in_place(in, c->ifindex, &note)) {
			err = links_add_tcx(l, in, c);
			continue;
		}
		filter = add_filter(e, c);
		if (!filter)
			return -ENOMEM;
		filter->note = note;
		filter->ok = true;
	}
	return err;
}

void egress_free(struct egress *e)
{
	free(e->filters);
	memset(e, 0, sizeof(*e));
}

/* At the first free handle of a priority, where a new filter is the first of its kind (cls_bpf). */
static int filter_add(struct filter *f, const struct instance *in, int program, __u32 priority)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = f->interface.ifindex,
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = program, .priority = priority);
	int err = -EEXIST;

	f->note.priority = priority;
	for (filter.handle = 1; err == -EEXIST && filter.handle <= FILTER_HANDLES;
	     filter.handle++) {
		f->note.handle = filter.handle;
		err = note_write(in, f->interface.ifindex, &f->note);
		if (err)
			return err;
		err = bpf_tc_attach(&hook, &filter);
	}
	return err;
}

/* Only a filter of ours is ever replaced. */
static int filter_attach(struct filter *f, const struct instance *in, int program)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = f->interface.ifindex,
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = program, .flags = BPF_TC_F_REPLACE,
		    .handle = f->note.handle, .priority = f->note.priority);
	int err;

	if (f->ok)
		return bpf_tc_attach(&hook, &filter);
	err = filter_add(f, in, program, priorities[0]);
	return err == -EINVAL ? filter_add(f, in, program, priorities[1]) : err;
}

/* Did an earlier command make the qdisc that is there? Its filter may have been wiped. */
static bool made_before(const struct instance *in, __u32 ifindex)
{
	struct hq_interface note;

	return !bpf_map_lookup_elem(in->map[MAP_INTERFACES], &ifindex, &note) && note.made_clsact;
}

/* The qdisc, noted as ours before it is made. */
static int clsact_make(struct filter *f, const struct instance *in)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = f->interface.ifindex,
		    .attach_point = BPF_TC_EGRESS);
	int err, has = interface_has_clsact(f->interface.ifindex);

	if (has < 0)
		return has;
	f->note.made_clsact = !has || made_before(in, f->interface.ifindex);
	err = note_write(in, f->interface.ifindex, &f->note);
	if (err || has)
		return err;
	err = bpf_tc_hook_create(&hook);
	if (err == -EEXIST) {
		f->note.made_clsact = 0;
		err = note_write(in, f->interface.ifindex, &f->note);
	}
	return err;
}

static int filter_make(struct filter *f, const struct instance *in, struct bpf_object *object)
{
	int err = 0, program = program_get(in, object, f->interface.program);

	if (program < 0)
		return program;
	snprintf(f->note.name, sizeof(f->note.name), "%s", f->interface.name);
	if (!f->ok) {
		f->added = true;
		err = clsact_make(f, in);
		if (err)
			log_error(err, "cannot make a clsact qdisc on %s", f->interface.name);
	}
	if (!err) {
		err = filter_attach(f, in, program);
		if (err)
			log_error(err, "cannot attach a tc filter to %s", f->interface.name);
	}
	close(program);
	if (!err && !filter_in_place(in, f->interface.ifindex, &f->note))
		err = log_error(-EIO,
				"the tc filter of %s is not there although the kernel said so",
				f->interface.name);
	return err;
}

/* Without tcx: what was to be a link becomes a filter. */
static int links_to_filters(struct egress *e, struct links *l)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		struct link *link = &l->links[i];
		struct interface interface = {.ifindex = link->ifindex, .program = link->program};

		if (link->kind != LINK_TCX || !link->needed)
			continue;
		if (!if_indextoname(link->ifindex, interface.name))
			return log_error(-errno, "interface %u is gone", link->ifindex);
		if (!add_filter(e, &interface))
			return -ENOMEM;
		link->needed = false;
	}
	return 0;
}

static int note_links(const struct links *l, const struct instance *in)
{
	struct hq_interface note = {.tcx = 1};
	size_t i;
	int err = 0;

	for (i = 0; i < l->count && !err; i++) {
		const struct link *link = &l->links[i];

		if (link->kind != LINK_TCX || !link->needed)
			continue;
		if (!if_indextoname(link->ifindex, note.name))
			return log_error(-errno, "interface %u is gone", link->ifindex);
		err = note_write(in, link->ifindex, &note);
	}
	return err;
}

int egress_attach(struct egress *e, struct links *l, const struct instance *in,
		  struct bpf_object *object, const struct link_targets *want)
{
	size_t i;
	int err = links_attach(l, in, object, want);

	if (err == -EOPNOTSUPP) {
		err = links_to_filters(e, l);
		if (!err)
			err = links_attach(l, in, object, want);
	}
	for (i = 0; i < e->count && !err; i++)
		if (!e->filters[i].ok || want->upgrade)
			err = filter_make(&e->filters[i], in, object);
	return err ? err : note_links(l, in);
}

void egress_undo(struct egress *e, const struct instance *in)
{
	size_t i;

	for (i = 0; i < e->count; i++) {
		struct filter *f = &e->filters[i];

		if (!f->added)
			continue;
		filter_remove(in, f->interface.ifindex, &f->note);
		bpf_map_delete_elem(in->map[MAP_INTERFACES], &f->interface.ifindex);
	}
}

struct commit {
	const struct instance *in;
	const struct interfaces *chosen;
};

static int drop_unchosen(__u32 ifindex, const struct hq_interface *note, void *arg)
{
	const struct commit *c = arg;
	int err = 0;

	if (c->chosen && interfaces_have(c->chosen, ifindex))
		return 0;
	if (!note->tcx)
		err = filter_remove(c->in, ifindex, note);
	if (!err)
		bpf_map_delete_elem(c->in->map[MAP_INTERFACES], &ifindex);
	return err;
}

int egress_commit(const struct instance *in, const struct interfaces *chosen)
{
	struct commit c = {.in = in, .chosen = chosen};

	return for_each_interface(in, drop_unchosen, &c);
}
