/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "egress.h"
#include "force.h"
#include "links.h"
#include "log.h"
#include "object.h"
#include "shadow.h"

int shadow_map(const struct instance *in, const char *name)
{
	char path[PATH_MAX];
	int fd = join_path(path, in->shadow, name) ? -1 : bpf_obj_get(path);

	return fd < 0 ? -errno : fd;
}

int shadow_generation(const struct instance *in, __u32 *generation)
{
	struct hq_shadow shadow;
	__u32 zero = 0;
	int fd = shadow_map(in, "shadow"), err;

	if (fd < 0)
		return fd;
	err = bpf_map_lookup_elem(fd, &zero, &shadow) ? -errno : 0;
	close(fd);
	if (!err && !shadow.generation)
		err = -ENOENT;
	if (!err)
		*generation = shadow.generation;
	return err;
}

/*
 * The two programs around the live one: where each is. Of filters with one
 * priority cls_bpf runs the latest first, so that one at the live filter's own
 * is ahead of it.
 */
static const struct place {
	const char *name;
	__u32 flags;		/* of a tcx link */
	__u32 priority, handle; /* of a filter: so much more than the live one's */
} places[] = {{"ahead", HQ_F_BEFORE, 0, SHADOW_HANDLE}, {"behind", 0, 1, 0}};

#define NPLACES (sizeof(places) / sizeof(places[0]))

struct attachment {
	const struct instance *in;
	struct bpf_object *object;
};

/* The shadow's program beside the live one: "egress_ether" has "shadow_ahead_ether". */
static int program_for(const struct attachment *a, const struct place *place,
		       const struct interface *interface)
{
	char name[64];

	snprintf(name, sizeof(name), "shadow_%s%s", place->name, strrchr(interface->program, '_'));
	return object_program(a->object, name);
}

static int link_make(const struct attachment *a, const struct place *place,
		     const struct interface *interface, int program)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = place->flags);
	char path[PATH_MAX];
	int err = 0, fd;

	if (snprintf(path, PATH_MAX, "%s/%s_%u", a->in->shadow, place->name, interface->ifindex) >=
	    PATH_MAX)
		return -ENAMETOOLONG;
	fd = bpf_link_create(program, interface->ifindex, HQ_TCX_EGRESS, &opts);
	if (fd < 0)
		return -errno;
	if (bpf_obj_pin(fd, path))
		err = -errno;
	close(fd);
	return err;
}

/* The live filter's handle tells instances apart. */
static int filter_make(const struct place *place, const struct interface *interface,
		       const struct hq_interface *note, int program)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface->ifindex,
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = program, .handle = note->handle + place->handle,
		    .priority = note->priority + place->priority);

	return bpf_tc_attach(&hook, &filter);
}

static int attach_interface(const struct attachment *a, const struct interface *interface)
{
	struct hq_interface note;
	size_t i;
	int err = 0;

	/* Only where the live policy is. */
	if (bpf_map_lookup_elem(a->in->map[MAP_INTERFACES], &interface->ifindex, &note))
		return 0;
	for (i = 0; i < NPLACES && !err; i++) {
		int program = program_for(a, &places[i], interface);

		if (program < 0)
			return program;
		err = note.tcx ? link_make(a, &places[i], interface, program)
			       : filter_make(&places[i], interface, &note, program);
	}
	return err ? log_error(err, "cannot attach the shadow to %s", interface->name) : 0;
}

static int attach(const struct instance *in, struct hostqos_bpf *skel,
		  const struct interfaces *governed)
{
	struct attachment a = {in, object_of(skel)};
	size_t i;
	int err = 0;

	for (i = 0; i < governed->count && !err; i++)
		err = attach_interface(&a, &governed->list[i]);
	return err;
}

static int set_generation(struct hostqos_bpf *skel, __u32 generation)
{
	struct hq_shadow shadow = {.generation = generation};
	int fd = bpf_object__find_map_fd_by_name(object_of(skel), "shadow");
	__u32 zero = 0;

	if (bpf_map_update_elem(fd, &zero, &shadow, BPF_ANY))
		return log_error(-errno, "cannot write the map 'shadow'");
	return 0;
}

/* As a class of the live policy begins; see hq_bucket_full(). */
static int fill_buckets(struct hostqos_bpf *skel, const struct hq_image *image)
{
	int fd = bpf_object__find_map_fd_by_name(object_of(skel), "shadow_buckets"), err = 0;
	__u32 id;

	for (id = 0; id < HQ_MAX_CLASSES && !err; id++)
		if (image->classes[id].defined)
			err = bucket_fill(fd, id);
	return err ? log_error(err, "cannot write the map 'shadow_buckets'") : 0;
}

static int publish(const struct instance *in, struct source *s, __u32 generation)
{
	struct tables tables;
	int err;

	s->image->header.generation = generation;
	err = tables_create(&tables, in->map[MAP_ACTIVE], s->image, s->text, s->length);
	if (err)
		return err;
	err = tables_publish(in, &tables, hq_slot(generation));
	tables_close(&tables);
	return err;
}

int shadow_load(const struct instance *in, struct source *s, const struct source *live,
		const struct hq_install *install)
{
	struct hostqos_bpf *skel = NULL;
	struct interfaces governed = {};
	struct diag ignored = {};
	__u32 generation;
	int err = shadow_discard(in);

	if (!err)
		err = force_reserve(in, &generation);
	generation |= HQ_SHADOW;
	if (!err)
		err = publish(in, s, generation);
	if (!err && mkdir(in->shadow, 0700))
		err = log_error(-errno, "cannot make %s", in->shadow);
	if (!err)
		err = object_load(&skel, in, OBJECT_SHADOW, install->metered_mark);
	if (!err)
		err = interfaces_choose(&governed, live->policy, &ignored);
	if (!err)
		err = set_generation(skel, generation);
	if (!err)
		err = fill_buckets(skel, s->image);
	if (!err)
		err = attach(in, skel, &governed);
	if (skel)
		object_unload(skel);
	interfaces_free(&governed);
	diag_free(&ignored);
	if (err)
		shadow_discard(in);
	return err;
}

static int detach_interface(__u32 ifindex, const struct hq_interface *note, void *arg)
{
	struct hq_interface beside = *note;
	size_t i;
	int err = 0;

	for (i = 0; i < NPLACES && !err; i++) {
		LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_EGRESS);
		LIBBPF_OPTS(bpf_tc_opts, filter, .handle = note->handle + places[i].handle,
			    .priority = note->priority + places[i].priority);

		beside.handle = filter.handle;
		beside.priority = filter.priority;
		if (filter_in_place(arg, ifindex, &beside))
			err = bpf_tc_detach(&hook, &filter);
	}
	return err ? log_error(err, "cannot remove the shadow's filter of %s", note->name) : 0;
}

int shadow_discard(const struct instance *in)
{
	int err = 0;

	if (access(in->shadow, F_OK))
		return 0;
	if (in->map[MAP_INTERFACES] >= 0)
		err = for_each_interface(in, detach_interface, (void *)in);
	if (!err)
		err = remove_directory(in->shadow);
	if (!err)
		tables_withdraw(in, hq_slot(HQ_SHADOW));
	return err;
}
