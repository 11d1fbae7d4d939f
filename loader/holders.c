/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arena.h"
#include "holders.h"
#include "instance.h"
#include "log.h"

struct walk {
	struct holders *holders;
	int process; /* a pidfd */
};

/* What is no socket has no cookie. */
static int take_descriptor(const char *name, void *arg)
{
	struct walk *w = arg;
	__u64 cookie;
	socklen_t length = sizeof(cookie);
	int fd = syscall(SYS_pidfd_getfd, w->process, atoi(name), 0);

	if (fd < 0) /* closed meanwhile, or not ours to look at */
		return errno == EBADF ? 0 : -errno;
	if (!getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length)) {
		w->holders->cookies = mem_grow(w->holders->cookies, w->holders->count,
					       sizeof(*w->holders->cookies));
		w->holders->cookies[w->holders->count++] = cookie;
	}
	close(fd);
	return 0;
}

int holders_read(struct holders *h, __u32 pid)
{
	char path[PATH_MAX];
	struct walk w = {.holders = h};
	int err;

	memset(h, 0, sizeof(*h));
	w.process = syscall(SYS_pidfd_open, pid, 0);
	if (w.process < 0)
		return log_error(-errno, "process %u", pid);
	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	err = for_each_entry(path, take_descriptor, &w);
	close(w.process);
	return err ? log_error(err, "cannot look at the sockets of process %u", pid) : 0;
}

bool holders_have(const struct holders *h, __u64 cookie)
{
	size_t i;

	for (i = 0; i < h->count; i++)
		if (h->cookies[i] == cookie)
			return true;
	return false;
}

void holders_free(struct holders *h)
{
	free(h->cookies);
	memset(h, 0, sizeof(*h));
}
