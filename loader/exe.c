/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "exe.h"
#include "sockets.h"

/* policy_exe_fn has no argument for it. */
static int exe_program = -1;

void exe_use_program(int program)
{
	exe_program = program;
}

/* The iterator over the files of this process alone. */
static int own_files(void **records, size_t *length)
{
	union bpf_iter_link_info self = {.task.pid = getpid()};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &self, .iter_info_len = sizeof(self));
	int link, err;

	link = bpf_link_create(exe_program, 0, BPF_TRACE_ITER, &opts);
	if (link < 0)
		return -errno;
	err = iterator_read(link, records, length);
	close(link);
	return err;
}

int exe_resolve(const char *path, __u32 *device, __u64 *inode)
{
	struct hq_exe_file *files;
	size_t length, i;
	struct stat st;
	void *records;
	int fd, err;

	/* Not of the open file: some devices act on being opened. */
	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	err = own_files(&records, &length);
	if (!err) {
		files = records;
		err = -ENOENT;
		for (i = 0; err && i < length / sizeof(*files); i++) {
			if (files[i].fd != fd)
				continue;
			*device = files[i].device;
			*inode = files[i].inode;
			err = 0;
		}
		free(records);
	}
	close(fd);
	return err;
}
