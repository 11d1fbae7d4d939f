/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Marks of a live socket, set through a descriptor borrowed from a process that
 * holds it: bpf_setsockopt() is refused in iterators other than iter/tcp.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <hostqos/app_dscp.h>

#include "sockets.h"

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

int socket_mark(const struct hq_socket *s, const struct hq_class *class)
{
	int fd, err, unused = 0;

	if (class->dscp == HQ_KEEP && class->priority == HQ_KEEP &&
	    !(s->flow.saved.bits & HQ_SAVED_MARKS))
		return 0;
	fd = socket_borrow(s);
	/* It, or its process, is gone: nothing is left to mark. */
	if (fd == -ESRCH || fd == -EBADF || fd == -ESTALE)
		return 0;
	if (fd < 0)
		return fd;
	err = setsockopt(fd, HQ_SOL_HOSTQOS, HQ_SO_REMARK, &unused, sizeof(unused)) ? -errno : 0;
	close(fd);
	return err;
}
