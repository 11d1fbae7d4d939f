/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "links.h"
#include "log.h"

#define NEXT "_next"

/* Hooks besides tc egress. Without features: needed by any policy. */
static const struct hook {
	const char *name; /* of the program and of the pin */
	enum link_kind kind;
	enum bpf_attach_type type;
	__u32 features; /* any of them makes it needed */
	const char *why;
} hooks[] = {
	{"sock_create", LINK_CGROUP, BPF_CGROUP_INET_SOCK_CREATE, 0, "who makes a socket"},
	{"bind4", LINK_CGROUP, BPF_CGROUP_INET4_BIND, 0, "marks of IPv4 servers"},
	{"bind6", LINK_CGROUP, BPF_CGROUP_INET6_BIND, 0, "marks of IPv6 servers"},
	{"connect4", LINK_CGROUP, BPF_CGROUP_INET4_CONNECT, 0, "class of IPv4 clients"},
	{"connect6", LINK_CGROUP, BPF_CGROUP_INET6_CONNECT, 0, "class of IPv6 clients"},
	{"sendmsg4", LINK_CGROUP, BPF_CGROUP_UDP4_SENDMSG, HQ_FEATURE_REFUSE,
	 "a rule refuses: IPv4 datagrams"},
	{"sendmsg6", LINK_CGROUP, BPF_CGROUP_UDP6_SENDMSG, HQ_FEATURE_REFUSE,
	 "a rule refuses: IPv6 datagrams"},
	{"socket_ops", LINK_CGROUP, BPF_CGROUP_SOCK_OPS, 0, "TCP listeners, accepted connections"},
	{"ingress", LINK_CGROUP, BPF_CGROUP_INET_INGRESS,
	 HQ_FEATURE_REFUSE | HQ_FEATURE_INBOUND_DSCP, "a rule refuses, or inbound DSCPs are read"},
	{"latest_dscp", LINK_CGROUP, BPF_CGROUP_INET_INGRESS, HQ_FEATURE_LATEST,
	 "a class mirrors the latest packet"},
	{"setsockopt", LINK_CGROUP, BPF_CGROUP_SETSOCKOPT, HQ_FEATURE_APP_DSCP,
	 "marks that applications ask for"},
	{"getsockopt", LINK_CGROUP, BPF_CGROUP_GETSOCKOPT, HQ_FEATURE_APP_DSCP,
	 "applications see the marks that they asked for"},
	{"thread_received", LINK_TRACING, BPF_TRACE_RAW_TP, HQ_FEATURE_UPSTREAM,
	 "a class mirrors across a proxy: whom a thread serves"},
	{"thread_accepted4", LINK_CGROUP, BPF_CGROUP_INET4_GETPEERNAME, HQ_FEATURE_UPSTREAM,
	 "likewise: IPv4 clients that it accepts"},
	{"thread_accepted6", LINK_CGROUP, BPF_CGROUP_INET6_GETPEERNAME, HQ_FEATURE_UPSTREAM,
	 "likewise: IPv6 clients that it accepts"},
	{"thread_connects4", LINK_CGROUP, BPF_CGROUP_INET4_CONNECT, HQ_FEATURE_UPSTREAM,
	 "likewise: for whom it connects over IPv4"},
	{"thread_connects6", LINK_CGROUP, BPF_CGROUP_INET6_CONNECT, HQ_FEATURE_UPSTREAM,
	 "likewise: for whom it connects over IPv6"},
	{"tcp_sockets", LINK_ITERATOR, BPF_TRACE_ITER, 0, "live TCP sockets change class"},
	{"process_sockets", LINK_ITERATOR, BPF_TRACE_ITER, 0, "live sockets change class"},
	{"flow_sockets", LINK_ITERATOR, BPF_TRACE_ITER, 0, "show flows"},
	{"socket_holders", LINK_ITERATOR, BPF_TRACE_ITER, 0,
	 "who holds sockets: adopt, show flows"},
	{"exe_files", LINK_ITERATOR, BPF_TRACE_ITER, 0, "the kernel's view of executables"},
};

#define NHOOKS (sizeof(hooks) / sizeof(hooks[0]))

struct recovery {
	const struct instance *in;
	bool keeps_both;
};

static int recover_one(const char *name, void *arg)
{
	const struct recovery *r = arg;
	const struct instance *in = r->in;
	char staged[PATH_MAX], final[PATH_MAX];
	const char *end = strstr(name, NEXT);

	if (!end || strcmp(end, NEXT) || join_path(staged, in->links, name) ||
	    join_path(final, in->links, name))
		return 0;
	final[strlen(final) - strlen(NEXT)] = '\0';
	if (access(final, F_OK))
		rename(staged, final);
	else if (!r->keeps_both)
		unlink(staged);
	return 0;
}

int links_recover(const struct instance *in, bool keeps_both)
{
	struct recovery r = {in, keeps_both};
	int err = for_each_entry(in->links, recover_one, &r);

	return err == -ENOENT ? 0 : err;
}

static struct link *add(struct links *l, const char *name)
{
	struct link *links = realloc(l->links, (l->count + 1) * sizeof(*links));

	if (!links)
		return NULL;
	l->links = links;
	links += l->count++;
	memset(links, 0, sizeof(*links));
	snprintf(links->name, sizeof(links->name), "%s", name);
	links->fd = links->staged = links->old_program = -1;
	return links;
}

/* What the kernel tells of a link, into *link. Is it alive at its target? */
static bool in_place(int fd, struct link *link, __u64 cgroup)
{
	struct bpf_link_info info = {};
	__u32 length = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return false;
	link->id = info.id;
	link->program_id = info.prog_id;
	switch (link->kind) {
	case LINK_CGROUP:
		link->cgroup = info.cgroup.cgroup_id;
		return info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup &&
		       info.cgroup.attach_type == link->type;
	case LINK_ITERATOR:
		return info.type == BPF_LINK_TYPE_ITER;
	case LINK_TRACING:
		return info.type == BPF_LINK_TYPE_RAW_TRACEPOINT;
	case LINK_TCX:
		/* struct { ifindex; attach_type } as for netns and xdp links. */
		return info.type == HQ_LINK_TYPE_TCX && info.xdp.ifindex == link->ifindex;
	}
	return false;
}

static int look_up(struct link *link, const struct instance *in, __u64 cgroup)
{
	char path[PATH_MAX];
	int err = join_path(path, in->links, link->name);

	if (!err)
		link->fd = bpf_obj_get(path);
	if (!err && link->fd < 0 && errno != ENOENT)
		err = -errno;
	if (err)
		return log_error(err, "cannot open the link '%s'", link->name);
	link->ok = link->fd >= 0 && in_place(link->fd, link, cgroup);
	return 0;
}

static struct link *find(struct links *l, const char *name)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		if (!strcmp(l->links[i].name, name))
			return &l->links[i];
	return NULL;
}

struct survey {
	struct links *links;
	const struct instance *in;
};

/* What is pinned and nobody asked for: an interface no longer chosen or gone. */
static int survey_pin(const char *name, void *arg)
{
	struct survey *s = arg;
	struct link *link;

	if (find(s->links, name))
		return 0;
	link = add(s->links, name);
	if (!link)
		return -ENOMEM;
	link->kind = LINK_TCX;
	link->type = HQ_TCX_EGRESS;
	sscanf(name, "egress_%u", &link->ifindex);
	return look_up(link, s->in, 0);
}

int links_survey(struct links *l, const struct instance *in, const struct link_targets *want)
{
	struct survey s = {.links = l, .in = in};
	size_t i;
	int err;

	memset(l, 0, sizeof(*l));
	for (i = 0; i < NHOOKS; i++) {
		struct link *link = add(l, hooks[i].name);

		if (!link)
			return -ENOMEM;
		link->kind = hooks[i].kind;
		link->program = hooks[i].name;
		link->why = hooks[i].why;
		link->type = hooks[i].type;
		link->needed = !hooks[i].features || (hooks[i].features & want->features);
		err = look_up(link, in, want->cgroup);
		if (err)
			return err;
	}
	err = for_each_entry(in->links, survey_pin, &s);
	return !err || err == -ENOENT ? 0 : log_error(err, "cannot look at %s", in->links);
}

int links_add_tcx(struct links *l, const struct instance *in, const struct interface *interface)
{
	char name[32];
	struct link *link;
	int err;

	snprintf(name, sizeof(name), "egress_%u", interface->ifindex);
	link = find(l, name);
	if (!link) {
		link = add(l, name);
		if (!link)
			return -ENOMEM;
		link->kind = LINK_TCX;
		link->type = HQ_TCX_EGRESS;
		link->ifindex = interface->ifindex;
		err = look_up(link, in, 0);
		if (err)
			return err;
	}
	link->program = interface->program;
	link->why = "marks and meters packets";
	link->needed = true;
	return 0;
}

void links_close(struct links *l)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		const struct link *link = &l->links[i];

		if (link->fd >= 0)
			close(link->fd);
		if (link->staged >= 0)
			close(link->staged);
		if (link->old_program >= 0)
			close(link->old_program);
	}
	free(l->links);
	memset(l, 0, sizeof(*l));
}

static bool is_kept(const struct instance *in, const char *program)
{
	char path[PATH_MAX];

	return !join_path(path, in->programs, program) && !access(path, F_OK);
}

bool links_incomplete(const struct links *l, const struct instance *in)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		const struct link *link = &l->links[i];

		if (link->needed && !link->ok &&
		    !(in && link->kind == LINK_TCX && is_kept(in, link->program)))
			return true;
	}
	return false;
}

int object_program(struct bpf_object *object, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);

	if (!program)
		return log_error(-ENOENT, "no program '%s' in the BPF object", name);
	return bpf_program__fd(program);
}

int programs_keep(const struct instance *in, struct bpf_object *object)
{
	static const char *const names[] = {"egress_ether", "egress_ip"};
	size_t i;
	int program, err = 0;

	if (mkdir(in->programs, 0700) && errno != EEXIST)
		return log_error(-errno, "cannot make %s", in->programs);
	for (i = 0; i < sizeof(names) / sizeof(names[0]) && !err; i++) {
		program = object_program(object, names[i]);
		err = program < 0 ? program : pin_replace(program, in->programs, names[i]);
	}
	return err;
}

int program_get(const struct instance *in, struct bpf_object *object, const char *name)
{
	char path[PATH_MAX];
	int fd;

	if (object) {
		fd = object_program(object, name);
		if (fd < 0)
			return fd;
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	} else {
		if (join_path(path, in->programs, name))
			return -ENAMETOOLONG;
		fd = bpf_obj_get(path);
	}
	return fd < 0 ? log_error(-errno, "cannot get the program '%s'", name) : fd;
}

static int create(const struct link *link, const struct instance *in, int program, int cgroup)
{
	union bpf_iter_link_info map = {.map.map_fd = in->map[MAP_FLOWS]};
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	int target = 0, fd;

	if (link->kind == LINK_CGROUP)
		target = cgroup;
	/* Ahead of programs that may end the chain; ours never do, but to drop. */
	if (link->kind == LINK_TCX) {
		target = link->ifindex;
		opts.flags = HQ_F_BEFORE;
	}
	if (!strcmp(link->name, "flow_sockets")) {
		opts.iter_info = &map;
		opts.iter_info_len = sizeof(map);
	}
	fd = bpf_link_create(program, target, link->type, &opts);
	return fd < 0 ? -errno : fd;
}

/* Attach, read back, pin beside the old one. */
static int stage(struct link *link, const struct instance *in, int program,
		 const struct link_targets *want)
{
	char path[PATH_MAX];
	int fd = create(link, in, program, want->cgroup_fd);

	if (fd == -EINVAL && link->kind == LINK_TCX)
		return -EOPNOTSUPP;
	if (fd < 0)
		return log_error(fd, "cannot attach '%s'", link->name);
	link->staged = fd;
	if (!in_place(fd, link, want->cgroup))
		return log_error(-EIO, "'%s' is not attached although the kernel said so",
				 link->name);
	if (snprintf(path, PATH_MAX, "%s/%s%s", in->links, link->name, NEXT) >= PATH_MAX)
		return -ENAMETOOLONG;
	return bpf_obj_pin(fd, path) ? log_error(-errno, "cannot pin %s", path) : 0;
}

/* Descriptor of the program that a link runs. */
static int program_of(int fd)
{
	struct bpf_link_info info = {};
	__u32 length = sizeof(info);
	int program;

	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return -errno;
	program = bpf_prog_get_fd_by_id(info.prog_id);
	return program < 0 ? -errno : program;
}

/* The link stays, its program becomes that of the object loaded now. */
static int upgrade(struct link *link, int program)
{
	link->old_program = program_of(link->fd);
	if (link->old_program < 0)
		return log_error(link->old_program, "cannot find the program of '%s'", link->name);
	if (bpf_link_update(link->fd, program, NULL))
		return log_error(-errno, "cannot replace the program of '%s'", link->name);
	return 0;
}

int links_attach(struct links *l, const struct instance *in, struct bpf_object *object,
		 const struct link_targets *want)
{
	size_t i;
	int err = 0;

	for (i = 0; i < l->count && !err; i++) {
		struct link *link = &l->links[i];
		int program;

		if (!link->needed || link->staged >= 0 || link->old_program >= 0 ||
		    (link->ok && !want->upgrade))
			continue;
		program = program_get(in, object, link->program);
		if (program < 0)
			return program;
		/* A tracepoint's link has its program for life (bpf_raw_tp_link_lops). */
		err = link->ok && link->kind != LINK_TRACING ? upgrade(link, program)
							     : stage(link, in, program, want);
		close(program);
	}
	return err;
}

/* Own marks are given back through the one; the other hides what is not given back yet. */
static bool is_marking(const struct link *link)
{
	return link->kind == LINK_CGROUP &&
	       (link->type == BPF_CGROUP_SETSOCKOPT || link->type == BPF_CGROUP_GETSOCKOPT);
}

static int commit(struct link *link, const struct instance *in)
{
	char path[PATH_MAX], staged[PATH_MAX];

	if (join_path(path, in->links, link->name) ||
	    snprintf(staged, PATH_MAX, "%s%s", path, NEXT) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (link->staged >= 0 && rename(staged, path))
		return log_error(-errno, "cannot rename %s", staged);
	if (!link->needed && link->fd >= 0 && unlink(path))
		return log_error(-errno, "cannot remove %s", path);
	/* At once, while the last reference to it goes when it likes. */
	if (link->staged >= 0 && link->fd >= 0 && link->kind == LINK_CGROUP)
		bpf_link_detach(link->fd);
	return 0;
}

static int commit_where(struct links *l, const struct instance *in, bool marking)
{
	size_t i;
	int err = 0;

	for (i = 0; i < l->count && !err; i++)
		if (is_marking(&l->links[i]) == marking)
			err = commit(&l->links[i], in);
	return err;
}

int links_commit(struct links *l, const struct instance *in)
{
	return commit_where(l, in, false);
}

int links_commit_marking(struct links *l, const struct instance *in)
{
	return commit_where(l, in, true);
}

void links_undo(struct links *l, const struct instance *in)
{
	char staged[PATH_MAX];
	size_t i;

	for (i = 0; i < l->count; i++) {
		struct link *link = &l->links[i];

		if (link->old_program >= 0)
			bpf_link_update(link->fd, link->old_program, NULL);
		if (link->staged < 0 ||
		    snprintf(staged, PATH_MAX, "%s/%s%s", in->links, link->name, NEXT) >= PATH_MAX)
			continue;
		unlink(staged);
		close(link->staged);
		link->staged = -1;
	}
}

int link_program(const struct instance *in, const char *link)
{
	char path[PATH_MAX];
	int fd, program;

	if (join_path(path, in->links, link))
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	program = program_of(fd);
	close(fd);
	return program;
}
