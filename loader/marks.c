/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Marks of a live socket set from user space, through a descriptor borrowed
 * from a process that holds it: bpf_setsockopt() is refused in iterators other
 * than iter/tcp. The rules are those of bpf/marks.h.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <hostqos/dscp.h>

#include "sockets.h"

#define DSFIELD_MASK (0xff & ~HQ_ECN_MASK)

/* One option, and where the flow remembers it. */
struct option {
	__u32 bit; /* enum hq_saved_bits */
	int level;
	int name;
	__s32 mask; /* bits of the option that are ours to set */
	__s32 *was;
	__s32 *set;
};

static int get(int fd, int level, int name, __s32 *value)
{
	socklen_t length = sizeof(*value);

	return getsockopt(fd, level, name, value, &length) ? -errno : 0;
}

static int set(int fd, int level, int name, __s32 value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

/* An application's own later change becomes what is given back, and is not overwritten by it. */
static int mark_option(int fd, struct hq_saved *saved, const struct option *o, bool wanted,
		       __s32 want)
{
	__s32 current = 0;
	int err;

	if (!wanted && !(saved->bits & o->bit))
		return 0;
	err = get(fd, o->level, o->name, &current);
	if (err)
		return err;
	if (!(saved->bits & o->bit) || ((current ^ *o->set) & o->mask))
		*o->was = current;
	if (!wanted)
		want = *o->was;
	want = (current & ~o->mask) | (want & o->mask);
	if (want != current)
		err = set(fd, o->level, o->name, want);
	if (err)
		return err;
	*o->set = want;
	saved->bits = wanted ? saved->bits | o->bit : saved->bits & ~o->bit;
	return 0;
}

/* Setting IP_TOS changes the priority (do_ip_setsockopt()): put it back. */
static int mark_dsfield(int fd, struct hq_flow *flow, __u8 dscp)
{
	struct hq_saved *saved = &flow->saved;
	const struct option tos = {HQ_SAVED_TOS, IPPROTO_IP,  IP_TOS,
				   DSFIELD_MASK, &saved->tos, &saved->set_tos};
	const struct option tclass = {HQ_SAVED_TCLASS, IPPROTO_IPV6,   IPV6_TCLASS,
				      DSFIELD_MASK,    &saved->tclass, &saved->set_tclass};
	bool wanted = dscp != HQ_KEEP;
	__s32 before, after, ds = dscp << 2;
	int err, tos_err = 0;

	err = get(fd, SOL_SOCKET, SO_PRIORITY, &before);
	if (err)
		return err;
	if (flow->family == AF_INET6)
		err = mark_option(fd, saved, &tclass, wanted, ds);
	/* On an IPv6 socket: for its IPv4 peers. Where the kernel refuses, tc egress marks. */
	if (!(flow->bits & HQ_FLOW_IPV6_ONLY))
		tos_err = mark_option(fd, saved, &tos, wanted, ds);
	if (flow->family == AF_INET)
		err = tos_err;
	if (!get(fd, SOL_SOCKET, SO_PRIORITY, &after) && after != before)
		set(fd, SOL_SOCKET, SO_PRIORITY, before);
	return err;
}

static int mark(int fd, struct hq_flow *flow, const struct hq_class *class)
{
	struct hq_saved *saved = &flow->saved;
	const struct option priority = {HQ_SAVED_PRIORITY, SOL_SOCKET,		SO_PRIORITY, ~0,
					&saved->priority,  &saved->set_priority};
	int err = mark_dsfield(fd, flow, class->dscp);

	return err ? err
		   : mark_option(fd, saved, &priority, class->priority != HQ_KEEP, class->priority);
}

/* A descriptor of our own of the socket, if it still is the one that the record tells of. */
static int borrow(const struct hq_socket *s)
{
	int process, fd, err;
	__u64 cookie = 0;
	socklen_t length = sizeof(cookie);

	process = syscall(SYS_pidfd_open, s->pid, 0);
	if (process < 0)
		return -errno;
	fd = syscall(SYS_pidfd_getfd, process, s->fd, 0);
	err = -errno;
	close(process);
	if (fd < 0)
		return err;
	if (!getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) && cookie == s->cookie)
		return fd;
	close(fd);
	return -ESTALE;
}

int socket_mark(const struct instance *in, const struct hq_socket *s, const struct hq_class *class)
{
	struct hq_flow flow;
	int fd, err, marked;

	if (class->dscp == HQ_KEEP && class->priority == HQ_KEEP && !s->flow.saved.bits)
		return 0;
	fd = borrow(s);
	/* It, or its process, is gone: nothing is left to mark. */
	if (fd == -ESRCH || fd == -EBADF || fd == -ESTALE)
		return 0;
	if (fd < 0)
		return fd;
	err = bpf_map_lookup_elem(in->map[MAP_FLOWS], &fd, &flow) ? -errno : 0;
	if (!err) {
		marked = mark(fd, &flow, class);
		/* Also after an error: what was set is remembered. */
		if (bpf_map_update_elem(in->map[MAP_FLOWS], &fd, &flow, BPF_EXIST))
			err = -errno;
		err = marked ? marked : err;
	}
	close(fd);
	return err;
}
