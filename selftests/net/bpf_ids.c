/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What an instance has in the kernel, found from its pins alone: the pinned
 * links and maps, the maps within maps, and every program that uses any of
 * them, attached by a link or not.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "hostqos.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static struct bpf_ids *collecting; /* nftw(3) passes no argument on */

static bool has(const uint32_t *ids, size_t count, uint32_t id)
{
	while (count--)
		if (ids[count] == id)
			return true;
	return false;
}

static void add(uint32_t *ids, size_t *count, size_t room, uint32_t id)
{
	if (has(ids, *count, id))
		return;
	if (*count == room)
		fail_msg("more than %zu BPF objects", room);
	ids[(*count)++] = id;
}

#define ADD(ids, kind, id) add((ids)->kind##s, &(ids)->kind##_count, LENGTH((ids)->kind##s), id)

/* A map of maps answers a look-up from user space with the inner map's id. */
static void add_inner_maps(struct bpf_ids *ids, int fd)
{
	struct bpf_map_info info = {0};
	__u32 size = sizeof(info), key, id;

	if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.type != BPF_MAP_TYPE_ARRAY_OF_MAPS)
		return;
	for (key = 0; key < info.max_entries; key++)
		if (!bpf_map_lookup_elem(fd, &key, &id))
			ADD(ids, map, id);
}

static int add_pin(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char line[128], fdinfo[64];
	unsigned int id;
	FILE *file;
	int fd;

	(void)st;
	(void)ftw;
	if (type != FTW_F)
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0)
		fail_msg("bpf_obj_get %s: %s", path, strerror(errno));
	snprintf(fdinfo, sizeof(fdinfo), "/proc/self/fdinfo/%d", fd);
	file = fopen(fdinfo, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "map_id: %u", &id) == 1)
			ADD(collecting, map, id);
		else if (sscanf(line, "prog_id: %u", &id) == 1)
			ADD(collecting, program, id);
		else if (sscanf(line, "link_id: %u", &id) == 1)
			ADD(collecting, link, id);
	}
	if (file)
		fclose(file);
	add_inner_maps(collecting, fd);
	close(fd);
	return 0;
}

static void add_program_if_it_uses(struct bpf_ids *ids, uint32_t id)
{
	__u32 maps[64], i, size = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = {.nr_map_ids = LENGTH(maps), .map_ids = (uintptr_t)maps};
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0)
		return;
	if (!bpf_obj_get_info_by_fd(fd, &info, &size))
		for (i = 0; i < info.nr_map_ids && i < LENGTH(maps); i++)
			if (has(ids->maps, ids->map_count, maps[i]))
				ADD(ids, program, id);
	close(fd);
}

void bpf_ids_collect(struct testbed *tb, struct bpf_ids *ids)
{
	char path[128];
	__u32 id = 0;

	memset(ids, 0, sizeof(*ids));
	snprintf(path, sizeof(path), "/sys/fs/bpf/hostqos/%s", tb->instance);
	collecting = ids;
	if (nftw(path, add_pin, 16, FTW_PHYS))
		fail_msg("%s: %s", path, strerror(errno));
	while (!bpf_prog_get_next_id(id, &id))
		add_program_if_it_uses(ids, id);
}

static size_t alive(const uint32_t *ids, size_t count, int (*get)(__u32))
{
	size_t n = 0, i;
	int fd;

	for (i = 0; i < count; i++) {
		fd = get(ids[i]);
		if (fd < 0)
			continue;
		n++;
		close(fd);
	}
	return n;
}

size_t bpf_ids_alive(const struct bpf_ids *ids)
{
	return alive(ids->programs, ids->program_count, bpf_prog_get_fd_by_id) +
	       alive(ids->maps, ids->map_count, bpf_map_get_fd_by_id) +
	       alive(ids->links, ids->link_count, bpf_link_get_fd_by_id);
}

uint64_t bpf_ids_memory(const struct bpf_ids *ids)
{
	char line[128], fdinfo[64];
	uint64_t sum = 0, bytes;
	FILE *file;
	size_t i;
	int fd;

	for (i = 0; i < ids->map_count; i++) {
		fd = bpf_map_get_fd_by_id(ids->maps[i]);
		snprintf(fdinfo, sizeof(fdinfo), "/proc/self/fdinfo/%d", fd);
		file = fopen(fdinfo, "re");
		if (!file)
			fail_msg("map %u is gone", ids->maps[i]);
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, "memlock: %" SCNu64, &bytes) == 1)
				sum += bytes;
		fclose(file);
		close(fd);
	}
	return sum;
}
