/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include "instance.h"
#include "log.h"

#define NEEDED "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_PTRACE and CAP_SYS_ADMIN"

/* CAP_SYS_ADMIN has CAP_BPF and CAP_PERFMON in it: bpf_capable(), perfmon_capable(). */
static const struct {
	int capability;
	const char *name;
} needed[] = {
	{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
	{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
	{CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
};

/* The first that is missing, or NULL. */
static const char *missing_capability(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
	size_t i;

	if (syscall(SYS_capget, &header, sets))
		return NULL; /* then the kernel says what it refuses */
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		int capability = needed[i].capability;

		if (!(sets[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)))
			return needed[i].name;
	}
	return NULL;
}

int require_privileges(void)
{
	const char *missing;

	if (geteuid()) {
		log_error(0, "must be root (" NEEDED "); try sudo");
		return -EPERM;
	}
	missing = missing_capability();
	if (!missing)
		return 0;
	log_error(0,
		  "root has no %s here, as in a container or a restricted service; allow it " NEEDED
		  ", or run hostqos outside",
		  missing);
	return -EPERM;
}
