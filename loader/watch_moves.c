/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <string.h>

#include <bpf/libbpf.h>
#include <hostqos/abi.h>

#include "hostqos.skel.h"
#include "watch_moves.h"

/* Fewer than `moves` has room for: of processes that are told after it is full nothing is known. */
#define TOLD_MAX 1024

static int take(void *arg, void *data, size_t size)
{
	struct moves *m = arg;
	__u32 pid = *(__u32 *)data;
	size_t i;

	(void)size;
	if (++m->told > TOLD_MAX)
		m->many = true;
	for (i = 0; i < m->count; i++)
		if (m->pids[i] == pid)
			return 0;
	if (m->count < MOVES_MAX)
		m->pids[m->count++] = pid;
	else
		m->many = true;
	return 0;
}

/* Of the object just these two programs and their ring. */
static void choose(struct hostqos_bpf *skel)
{
	struct bpf_program *program;
	struct bpf_map *map;

	bpf_object__for_each_program(program, skel->obj)
		bpf_program__set_autoload(program, program == skel->progs.process_moved ||
							   program == skel->progs.process_executed);
	bpf_object__for_each_map(map, skel->obj)
		bpf_map__set_autocreate(map, map == skel->maps.moves || bpf_map__is_internal(map));
}

int moves_watch(struct moves *m)
{
	int err;

	m->skel = hostqos_bpf__open();
	if (!m->skel)
		return -errno;
	choose(m->skel);
	err = hostqos_bpf__load(m->skel);
	if (!err) {
		m->skel->links.process_moved = bpf_program__attach(m->skel->progs.process_moved);
		m->skel->links.process_executed =
			bpf_program__attach(m->skel->progs.process_executed);
		if (!m->skel->links.process_moved || !m->skel->links.process_executed)
			err = -errno;
	}
	if (!err) {
		m->ring = ring_buffer__new(bpf_map__fd(m->skel->maps.moves), take, m, NULL);
		err = m->ring ? 0 : -errno;
	}
	if (err)
		moves_close(m);
	return err;
}

void moves_close(struct moves *m)
{
	ring_buffer__free(m->ring);
	hostqos_bpf__destroy(m->skel);
	memset(m, 0, sizeof(*m));
}

int moves_fd(const struct moves *m)
{
	return m->ring ? ring_buffer__epoll_fd(m->ring) : -1;
}

void moves_read(struct moves *m)
{
	m->count = m->told = 0;
	m->many = false;
	if (m->ring)
		ring_buffer__consume(m->ring);
}
