/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/pkt_sched.h>
#include <netlink/netlink.h>
#include <netlink/route/classifier.h>
#include <netlink/route/tc.h>

#include "ahead.h"
#include "interfaces.h"
#include "links.h"
#include "log.h"
#include "shadow.h"

#define MAX_PROGRAMS 64 /* on one hook: the kernel's BPF_MPROG_MAX */

static void warn_of_program(const char *interface, __u32 id)
{
	struct bpf_prog_info info = {};
	__u32 length = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0)
		return;
	if (!bpf_obj_get_info_by_fd(fd, &info, &length) && strncmp(info.name, "shadow_ahead", 12))
		log_warning("on %s, program %u '%s' runs ahead: packets with which it ends the "
			    "chain are hidden from hostqos",
			    interface, id, info.name);
	close(fd);
}

void ahead_of_link(const char *interface, __u32 ifindex, __u32 program)
{
	__u32 ids[MAX_PROGRAMS], count = MAX_PROGRAMS, flags, i;

	if (bpf_prog_query(ifindex, HQ_TCX_EGRESS, 0, &flags, ids, &count))
		return;
	for (i = 0; i < count && ids[i] != program; i++)
		warn_of_program(interface, ids[i]);
}

/* In the order in which they run; each priority begins with an entry without a handle. */
static void warn_of_filters(const char *interface, struct nl_cache *filters,
			    const struct hq_interface *note)
{
	struct nl_object *o;

	for (o = nl_cache_get_first(filters); o; o = nl_cache_get_next(o)) {
		struct rtnl_cls *filter = (struct rtnl_cls *)o;
		__u32 handle = rtnl_tc_get_handle(TC_CAST(filter));
		__u32 priority = rtnl_cls_get_prio(filter);

		if (priority > note->priority ||
		    (priority == note->priority && handle == note->handle))
			return;
		if (handle && handle != note->handle + SHADOW_HANDLE)
			log_warning("on %s, a filter '%s' of priority %u, handle %#x, runs ahead: "
				    "packets with which it ends the chain are hidden from hostqos",
				    interface, rtnl_tc_get_kind(TC_CAST(filter)), priority, handle);
	}
}

void ahead_of_filter(const char *interface, __u32 ifindex, const struct hq_interface *note)
{
	struct nl_cache *filters = interface_filters(ifindex);

	if (!filters)
		return;
	warn_of_filters(interface, filters, note);
	nl_cache_free(filters);
}
