/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostqos.h"
#include "puppet.h"

struct puppet puppet_start(const struct place *place, void (*be)(int orders))
{
	struct puppet p;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		fail_msg("pipe: %s", strerror(errno));
	p.pid = place_fork(place, 0);
	if (p.pid == 0) {
		close(ends[1]);
		be(ends[0]);
	}
	close(ends[0]);
	p.orders = ends[1];
	return p;
}

void puppet_order(const struct puppet *p, char letter)
{
	if (write(p->orders, &letter, 1) != 1)
		fail_msg("the process is gone: %s", strerror(errno));
}

void puppet_end(struct puppet *p)
{
	close(p->orders);
	waitpid(p->pid, NULL, 0);
}

void move_to(const struct testbed *tb, pid_t pid, const char *cgroup)
{
	struct place place = near_place(tb, cgroup);
	char path[PATH_MAX], number[16];
	int fd, n;

	snprintf(path, sizeof(path), "%s%s/cgroup.procs", cgroup_mount(), place.cgroup);
	n = snprintf(number, sizeof(number), "%d", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, number, n) != n)
		fail_msg("%s: %s", path, strerror(errno));
	close(fd);
}

pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	file = fopen(path, "re");
	if (file && fscanf(file, "%d", &child) != 1)
		child = 0;
	if (file)
		fclose(file);
	return child;
}

static size_t length_of(struct json_object *json, const char *array)
{
	return json_object_array_length(json_member(json, array));
}

void expect_adoption(struct testbed *tb, size_t rehomed, size_t undecided)
{
	struct json_object *json = hostqos_json(tb, 0, "adopt");

	if (length_of(json, "rehomed") != rehomed || length_of(json, "undecided") != undecided)
		fail_msg("not %zu and %zu: %s", rehomed, undecided,
			 json_object_to_json_string(json));
	json_object_put(json);
}
