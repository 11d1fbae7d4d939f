// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <stdlib.h>
#include <string.h>

#include <hostqos/name.h>

#include "lookup.h"

__u64 policy_name_hash(const char *name)
{
	__u64 hash = HQ_NAME_HASH_INIT;

	while (*name)
		hash = hq_name_hash_add(hash, *name++);
	return hash;
}

__u64 policy_exe_hash(const struct policy_flow *flow)
{
	return flow->exe_name ? policy_name_hash(flow->exe_name) : flow->exe_hash;
}

__u32 policy_path_row(const struct hq_image *image, const char *path)
{
	const struct hq_header *h = &image->header;
	__u32 state = 0;

	for (; *path; path++)
		state = image->paths[state * h->path_stride + h->byte_class[(__u8)*path]];
	return image->paths[state * h->path_stride + h->path_stride - 1];
}

static int compare_keys(const void *a, const void *b)
{
	return memcmp(&((const struct hq_exact *)a)->key, &((const struct hq_exact *)b)->key,
		      sizeof(struct hq_exact_key));
}

__u32 policy_exact_row(const struct hq_image *image, const struct hq_exact_key *key)
{
	struct hq_exact wanted = {.key = *key};
	const struct hq_exact *exact = NULL;

	if (image->exact_count)
		exact = bsearch(&wanted, image->exact, image->exact_count, sizeof(wanted),
				compare_keys);
	return exact ? exact->row : image->header.other_row[key->dim];
}

static __u32 exact_row(const struct hq_image *image, enum hq_dim dim, __u64 a, __u64 b)
{
	return policy_exact_row(image, &(struct hq_exact_key){dim, a, b});
}

static int prefix_covers(const struct hq_prefix_key *key, const __u8 address[16])
{
	unsigned int bits = key->length - HQ_PREFIX_SIDE_BITS;

	if (memcmp(key->address, address, bits / 8))
		return 0;
	return bits % 8 == 0 || !((key->address[bits / 8] ^ address[bits / 8]) >> (8 - bits % 8));
}

/* The longest prefix, as the LPM trie finds it. */
static __u32 prefix_row(const struct hq_image *image, enum hq_dim side, const __u8 address[16])
{
	const struct hq_prefix *best = NULL;
	size_t i;

	for (i = 0; i < image->prefix_count; i++) {
		const struct hq_prefix *prefix = &image->prefixes[i];

		if (prefix->key.side == side && prefix_covers(&prefix->key, address) &&
		    (!best || prefix->key.length > best->key.length))
			best = prefix;
	}
	return best ? best->row : image->header.other_row[side];
}

static __u32 enum_row(const struct hq_image *image, enum hq_dim dim, __u8 value)
{
	return image->enums[(dim - HQ_DIM_FAMILY) * HQ_ENUM_VALUES + value];
}

static __u32 port_row(const struct hq_image *image, enum hq_dim dim, __u16 port)
{
	return image->ports[(dim - HQ_DIM_LOCAL_PORT) * HQ_PORT_VALUES + port];
}

static __u32 row_of(const struct hq_image *image, const struct policy_flow *flow, enum hq_dim dim)
{
	switch (dim) {
	case HQ_DIM_CGROUP:
		return policy_path_row(image, flow->cgroup);
	case HQ_DIM_EXE_FILE:
		return exact_row(image, dim, flow->exe_inode, flow->exe_device);
	case HQ_DIM_EXE_NAME:
		return exact_row(image, dim, policy_exe_hash(flow), 0);
	case HQ_DIM_USER:
		return exact_row(image, dim, flow->uid, 0);
	case HQ_DIM_GROUP:
		return exact_row(image, dim, flow->gid, 0);
	case HQ_DIM_FAMILY:
		return enum_row(image, dim, flow->family);
	case HQ_DIM_PROTOCOL:
		return enum_row(image, dim, flow->protocol);
	case HQ_DIM_TYPE:
		return enum_row(image, dim, flow->type);
	case HQ_DIM_DIRECTION:
		return enum_row(image, dim, flow->direction);
	case HQ_DIM_INBOUND_DSCP:
		return enum_row(image, dim, flow->inbound_dscp);
	case HQ_DIM_MULTICAST:
		return enum_row(image, dim, flow->multicast);
	case HQ_DIM_ORIGIN:
		return enum_row(image, dim, flow->origin);
	case HQ_DIM_LOCAL:
		return prefix_row(image, dim, flow->local);
	case HQ_DIM_REMOTE:
		return prefix_row(image, dim, flow->remote);
	case HQ_DIM_LOCAL_PORT:
		return port_row(image, dim, flow->local_port);
	case HQ_DIM_REMOTE_PORT:
		return port_row(image, dim, flow->remote_port);
	case HQ_NDIMS:
		break;
	}
	return HQ_ROW_ALL;
}

void policy_rows(const struct hq_image *image, const struct policy_flow *flow, struct hq_rows *rows)
{
	__u32 known = flow->known | HQ_BIT(HQ_DIM_ORIGIN), dim;

	rows->unknown = HQ_ALL_DIMS & ~known;
	for (dim = 0; dim < HQ_NDIMS; dim++)
		rows->row[dim] =
			known & HQ_BIT(dim) ? row_of(image, flow, dim) : image->header.any_row[dim];
}

static __u32 first_match(const struct hq_image *image, const struct hq_rows *rows, __u32 dims)
{
	struct hq_scan scan;
	__u32 step = 0;

	hq_scan_begin(&scan, dims);
	while (!hq_scan_step(image, &image->header, rows, &scan, step))
		step++;
	return scan.rule;
}

struct policy_matched policy_match(const struct hq_image *image, const struct policy_flow *flow)
{
	struct hq_rows rows;

	policy_rows(image, flow, &rows);
	return (struct policy_matched){
		.sure = first_match(image, &rows, hq_sure_dims(&image->header)),
		.maybe = first_match(image, &rows, hq_maybe_dims(&image->header, &rows)),
	};
}
