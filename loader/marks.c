/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Marks of a live socket set from user space, through a descriptor borrowed
 * from a process that holds it: bpf_setsockopt() is refused in iterators other
 * than iter/tcp.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "sockets.h"

/* A descriptor. */
typedef int hq_socket_ref;

static int hq_option_get(hq_socket_ref fd, int level, int name, __s32 *value)
{
	socklen_t length = sizeof(*value);

	return getsockopt(fd, level, name, value, &length) ? -errno : 0;
}

static int hq_option_set(hq_socket_ref fd, int level, int name, __s32 value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

#include <hostqos/marks.h>

int socket_borrow(const struct hq_socket *s)
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
	fd = socket_borrow(s);
	/* It, or its process, is gone: nothing is left to mark. */
	if (fd == -ESRCH || fd == -EBADF || fd == -ESTALE)
		return 0;
	if (fd < 0)
		return fd;
	err = bpf_map_lookup_elem(in->map[MAP_FLOWS], &fd, &flow) ? -errno : 0;
	if (!err) {
		marked = hq_mark(fd, &flow, class, class->dscp);
		/* Also after an error: what was set is remembered. */
		if (bpf_map_update_elem(in->map[MAP_FLOWS], &fd, &flow, BPF_EXIST))
			err = -errno;
		err = marked ? marked : err;
	}
	close(fd);
	return err;
}
