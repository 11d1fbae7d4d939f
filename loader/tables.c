/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "instance.h"
#include "log.h"
#include "tables.h"

/* The shapes of bpf/maps.h: an inner map must be like its outer map's template. */
static const struct shape {
	const char *name;
	const char *outer;
	enum bpf_map_type type;
	__u32 flags;
	__u32 key_size;
	__u32 value_size;
	const char *key; /* their BTF types */
	const char *value;
} shapes[NTABLES] = {
#define ARRAY(id, table, type_name, c_type, flags)                                                 \
	[id] = {table,                                                                             \
		"policy_" table,                                                                   \
		BPF_MAP_TYPE_ARRAY,                                                                \
		(flags) | BPF_F_MMAPABLE,                                                          \
		sizeof(__u32),                                                                     \
		sizeof(c_type),                                                                    \
		"__u32",                                                                           \
		type_name}
	/* Of one size in all policies: the verifier inlines their lookups. */
	ARRAY(TABLE_HEADER, "header", "hq_header", struct hq_header, 0),
	ARRAY(TABLE_CLASSES, "classes", "hq_class", struct hq_class, 0),
	ARRAY(TABLE_PORTS, "ports", "__u32", __u32, 0),
	ARRAY(TABLE_ENUMS, "enums", "__u32", __u32, 0),
	ARRAY(TABLE_RULES, "rules", "hq_rule", struct hq_rule, BPF_F_INNER_MAP),
	ARRAY(TABLE_VECTORS, "vectors", "hq_vector", struct hq_vector, BPF_F_INNER_MAP),
	ARRAY(TABLE_PATHS, "paths", "__u32", __u32, BPF_F_INNER_MAP),
	ARRAY(TABLE_TEXT, "text", "hq_text", struct hq_text, BPF_F_INNER_MAP),
	ARRAY(TABLE_NAMES, "names", "hq_named", struct hq_named, BPF_F_INNER_MAP),
#undef ARRAY
	[TABLE_EXACT] = {"exact", "policy_exact", BPF_MAP_TYPE_HASH, 0, sizeof(struct hq_exact_key),
			 sizeof(__u32), "hq_exact_key", "__u32"},
	[TABLE_PREFIXES] = {"prefixes", "policy_prefixes", BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC,
			    sizeof(struct hq_prefix_key), sizeof(__u32), "hq_prefix_key", "__u32"},
};

const char *table_outer_name(enum table table)
{
	return shapes[table].outer;
}

/* The BTF of the object that the programs came from, as the kernel has it. */
struct types {
	struct btf *btf;
	int fd;
};

static int types_open(struct types *types, int map)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);

	if (bpf_obj_get_info_by_fd(map, &info, &length))
		return -errno;
	types->fd = bpf_btf_get_fd_by_id(info.btf_id);
	if (types->fd < 0)
		return -errno;
	types->btf = btf__load_from_kernel_by_id(info.btf_id);
	if (!types->btf) {
		int err = -errno;

		close(types->fd);
		return err;
	}
	return 0;
}

static void types_close(struct types *types)
{
	btf__free(types->btf);
	close(types->fd);
}

static int create(const struct shape *shape, const struct types *types, __u32 elements)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = shape->flags);
	int key = btf__find_by_name(types->btf, shape->key);
	int value = btf__find_by_name(types->btf, shape->value);
	int fd;

	if (key > 0 && value > 0) {
		opts.btf_fd = types->fd;
		opts.btf_key_type_id = key;
		opts.btf_value_type_id = value;
	}
	fd = bpf_map_create(shape->type, shape->name, shape->key_size, shape->value_size,
			    elements ? elements : 1, &opts);
	return fd < 0 ? log_error(-errno, "cannot make the table '%s'", shape->name) : fd;
}

/* Copy arrays of keys and values in one system call. */
static int fill(int fd, const char *name, const void *keys, const void *values, size_t n)
{
	__u32 count = n;

	if (!n)
		return 0;
	if (bpf_map_update_batch(fd, keys, values, &count, NULL) || count != n)
		return log_error(-errno, "cannot fill the table '%s'", name);
	return 0;
}

/* Cells of an array, in its memory: each begins at a multiple of eight bytes (array_map_alloc()).
 */
static int fill_array(int fd, const struct shape *shape, const void *values, size_t n)
{
	size_t stride = (shape->value_size + 7) & ~7UL, i;
	char *cells;

	if (!n)
		return 0;
	cells = mmap(NULL, n * stride, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (cells == MAP_FAILED)
		return log_error(-errno, "cannot fill the table '%s'", shape->name);
	for (i = 0; i < n; i++)
		memcpy(cells + i * stride, (const char *)values + i * shape->value_size,
		       shape->value_size);
	munmap(cells, n * stride);
	return 0;
}

/* Entries of a hash table or trie: `n` structs of a key and its row. */
static int fill_pairs(int fd, const char *name, const void *pairs, size_t n, size_t pair_size,
		      size_t key_size, size_t row_offset)
{
	char *keys = calloc(n + 1, key_size);
	__u32 *rows = calloc(n + 1, sizeof(*rows));
	size_t i;
	int err = -ENOMEM;

	if (keys && rows) {
		for (i = 0; i < n; i++) {
			const char *pair = (const char *)pairs + i * pair_size;

			memcpy(keys + i * key_size, pair, key_size);
			memcpy(&rows[i], pair + row_offset, sizeof(*rows));
		}
		err = fill(fd, name, keys, rows, n);
	}
	free(keys);
	free(rows);
	return err;
}

static int fill_text(int fd, const char *text, size_t length)
{
	size_t chunks = (length + HQ_TEXT_CHUNK - 1) / HQ_TEXT_CHUNK;
	char *padded = calloc(chunks + 1, HQ_TEXT_CHUNK);
	int err;

	if (!padded)
		return -ENOMEM;
	memcpy(padded, text, length);
	err = fill_array(fd, &shapes[TABLE_TEXT], padded, chunks);
	free(padded);
	return err;
}

static size_t table_elements(enum table table, const struct hq_image *image, size_t text_length)
{
	switch (table) {
	case TABLE_HEADER:
		return 1;
	case TABLE_RULES:
		return image->header.rules;
	case TABLE_CLASSES:
		return HQ_MAX_CLASSES;
	case TABLE_VECTORS:
		return image->vector_count;
	case TABLE_EXACT:
		return image->exact_count;
	case TABLE_PREFIXES:
		return image->prefix_count;
	case TABLE_PORTS:
		return HQ_PORT_CELLS;
	case TABLE_ENUMS:
		return HQ_ENUM_CELLS;
	case TABLE_PATHS:
		return image->path_cells;
	case TABLE_TEXT:
		return (text_length + HQ_TEXT_CHUNK - 1) / HQ_TEXT_CHUNK;
	case TABLE_NAMES:
		return image->name_count;
	case NTABLES:
		break;
	}
	return 0;
}

/* The image's array behind a table that is an array. */
static const void *table_cells(enum table table, const struct hq_image *image)
{
	switch (table) {
	case TABLE_HEADER:
		return &image->header;
	case TABLE_RULES:
		return image->rules;
	case TABLE_CLASSES:
		return image->classes;
	case TABLE_VECTORS:
		return image->vectors;
	case TABLE_PORTS:
		return image->ports;
	case TABLE_ENUMS:
		return image->enums;
	case TABLE_PATHS:
		return image->paths;
	case TABLE_NAMES:
		return image->names;
	default:
		return NULL;
	}
}

/* Is the dimension of the ports read at all? If not, 2^17 zeros say the same. */
static bool ports_used(const struct hq_image *image)
{
	return image->header.used & (HQ_BIT(HQ_DIM_LOCAL_PORT) | HQ_BIT(HQ_DIM_REMOTE_PORT));
}

static int fill_table(enum table table, int fd, const struct hq_image *image, const char *text,
		      size_t length)
{
	switch (table) {
	case TABLE_EXACT:
		return fill_pairs(fd, "exact", image->exact, image->exact_count,
				  sizeof(struct hq_exact), sizeof(struct hq_exact_key),
				  offsetof(struct hq_exact, row));
	case TABLE_PREFIXES:
		return fill_pairs(fd, "prefixes", image->prefixes, image->prefix_count,
				  sizeof(struct hq_prefix), sizeof(struct hq_prefix_key),
				  offsetof(struct hq_prefix, row));
	case TABLE_TEXT:
		return fill_text(fd, text, length);
	case TABLE_PORTS:
		if (!ports_used(image))
			return 0;
		/* fall through */
	default:
		return fill_array(fd, &shapes[table], table_cells(table, image),
				  table_elements(table, image, length));
	}
}

int tables_create(struct tables *t, int described_by, const struct hq_image *image,
		  const char *text, size_t length)
{
	struct types types = {.fd = -1};
	int i, err;

	memset(t->fd, -1, sizeof(t->fd));
	err = types_open(&types, described_by);
	if (err)
		return log_error(err, "cannot read the type information of the maps");
	for (i = 0; i < NTABLES && !err; i++) {
		t->fd[i] = create(&shapes[i], &types, table_elements(i, image, length));
		err = t->fd[i] < 0 ? t->fd[i] : fill_table(i, t->fd[i], image, text, length);
	}
	types_close(&types);
	if (err)
		tables_close(t);
	return err;
}

void tables_close(struct tables *t)
{
	int i;

	for (i = 0; i < NTABLES; i++)
		if (t->fd[i] >= 0)
			close(t->fd[i]);
	memset(t->fd, -1, sizeof(t->fd));
}

/* One table on its way into its slot. */
struct update {
	int outer;
	int inner;
	__u32 slot;
	int err;
};

static void *update_slot(void *arg)
{
	struct update *u = arg;

	u->err = bpf_map_update_elem(u->outer, &u->slot, &u->inner, BPF_ANY) ? -errno : 0;
	return NULL;
}

/*
 * Each update of a map of maps waits for a grace period of RCU
 * (maybe_wait_bpf_programs()). Threads wait for the same one together.
 */
int tables_publish(const struct instance *in, const struct tables *t, __u32 slot)
{
	struct update updates[NTABLES];
	pthread_t threads[NTABLES];
	bool started[NTABLES];
	int i, err = 0;

	for (i = 0; i < NTABLES; i++) {
		updates[i] = (struct update){in->outer[i], t->fd[i], slot, 0};
		started[i] = !pthread_create(&threads[i], NULL, update_slot, &updates[i]);
		if (!started[i])
			update_slot(&updates[i]);
	}
	for (i = 0; i < NTABLES; i++) {
		if (started[i])
			pthread_join(threads[i], NULL);
		if (updates[i].err)
			err = log_error(updates[i].err, "cannot put the table '%s' into its slot",
					shapes[i].name);
	}
	return err;
}

void tables_withdraw(const struct instance *in, __u32 slot)
{
	int i;

	for (i = 0; i < NTABLES; i++)
		bpf_map_delete_elem(in->outer[i], &slot);
}

/* Before HQ_ABI_VERSION 3 there was none to spare; `detach` is to find its way even so. */
__u32 table_slot(const struct instance *in, __u32 generation)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info);

	if (!bpf_obj_get_info_by_fd(in->outer[TABLE_HEADER], &info, &length) &&
	    info.max_entries < HQ_SLOTS)
		return generation & 1;
	return hq_slot(generation);
}

int table_in_slot(const struct instance *in, enum table table, __u32 slot)
{
	__u32 id;
	int fd;

	if (bpf_map_lookup_elem(in->outer[table], &slot, &id))
		return -errno;
	fd = bpf_map_get_fd_by_id(id);
	return fd < 0 ? -errno : fd;
}

/* The same wait, for itself: what is in a slot is put there again. */
int tables_grace(const struct instance *in)
{
	__u32 slot, generation;
	int fd, err = instance_generation(in, &generation);

	if (err)
		return err;
	slot = table_slot(in, generation);
	fd = table_in_slot(in, TABLE_HEADER, slot);
	if (fd < 0)
		return fd;
	err = bpf_map_update_elem(in->outer[TABLE_HEADER], &slot, &fd, BPF_ANY) ? -errno : 0;
	close(fd);
	return err;
}

int tables_pin(const struct instance *in, const struct tables *t)
{
	int i, err = 0;

	for (i = 0; i < NTABLES && !err; i++)
		err = pin_replace(t->fd[i], in->maps, shapes[i].name);
	return err;
}

bool tables_pinned(const struct instance *in)
{
	struct bpf_map_info info = {};
	__u32 length = sizeof(info), slot, generation, id = 0;
	char path[PATH_MAX];
	int fd;

	if (instance_generation(in, &generation) ||
	    map_pin_path(path, in, shapes[TABLE_HEADER].name))
		return false;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return false;
	slot = table_slot(in, generation);
	if (bpf_obj_get_info_by_fd(fd, &info, &length) ||
	    bpf_map_lookup_elem(in->outer[TABLE_HEADER], &slot, &id))
		info.id = id = 0;
	close(fd);
	return id && id == info.id;
}
