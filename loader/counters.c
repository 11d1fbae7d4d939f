/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <hostqos/abi.h>

#include "counters.h"

/* Every internal error let traffic pass; each has a name. */
static const char *const fault_names[HQ_NFAULTS] = {
	[HQ_FAULT_TABLE] = "table_missing",	     [HQ_FAULT_STORAGE] = "no_socket_storage",
	[HQ_FAULT_CLASS] = "class_undefined",	     [HQ_FAULT_PARSE] = "headers_not_understood",
	[HQ_FAULT_REWRITE] = "dscp_not_rewritten",   [HQ_FAULT_PATH] = "cgroup_path_unread",
	[HQ_FAULT_CONTENTION] = "bucket_contention",
};

const char *fault_name(__u32 fault)
{
	return fault_names[fault];
}

int counters_read(int map, __u32 index, void *sum, size_t size)
{
	int cpus = libbpf_num_possible_cpus();
	size_t i, j, n = size / sizeof(__u64);
	__u64 *all, *total = sum;
	int err = 0;

	if (cpus < 0)
		return cpus;
	all = calloc(cpus, size);
	if (!all)
		return -ENOMEM;
	if (bpf_map_lookup_elem(map, &index, all))
		err = -errno;
	if (!err)
		memset(sum, 0, size);
	for (i = 0; !err && i < (size_t)cpus; i++)
		for (j = 0; j < n; j++)
			total[j] += all[i * n + j];
	free(all);
	return err;
}
