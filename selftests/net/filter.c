/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "filter.h"
#include "testbed.h"

void filter_add(int program, unsigned int priority)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = if_nametoindex(NEAR_IF),
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = 9, .priority = priority, .prog_fd = program);
	int err = bpf_tc_hook_create(&hook);

	if (!err || err == -EEXIST)
		err = bpf_tc_attach(&hook, &filter);
	if (err)
		fail_msg("attach to " NEAR_IF ": %s", strerror(-err));
}
