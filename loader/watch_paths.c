/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "watch_paths.h"

#define MAX_LINKS 40 /* as the kernel's MAXSYMLINKS */

/* One name in one directory. Several may share a directory's watch. */
struct path_step {
	int watch;
	char *name;
};

/* Packages and account tools rename over, editors write; bpffs and cgroupfs make and remove. */
#define EVENTS                                                                                     \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_UNMOUNT |       \
	 IN_ONLYDIR)

int paths_open(struct paths *p)
{
	memset(p, 0, sizeof(*p));
	p->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return p->fd < 0 ? -errno : 0;
}

void paths_close(struct paths *p)
{
	size_t i;

	if (p->fd >= 0)
		close(p->fd);
	for (i = 0; i < p->count; i++)
		free(p->steps[i].name);
	free(p->steps);
	memset(p, 0, sizeof(*p));
	p->fd = -1;
}

static int add_step(struct paths *p, int watch, const char *name)
{
	struct path_step *steps = realloc(p->steps, (p->count + 1) * sizeof(*steps));
	char *copy = strdup(name);

	if (steps)
		p->steps = steps;
	if (!steps || !copy) {
		free(copy);
		return -ENOMEM;
	}
	steps[p->count++] = (struct path_step){watch, copy};
	return 0;
}

/* A way that is walked as path_resolution(7) tells: how far one is, and what is left. */
struct way {
	char here[PATH_MAX];
	char rest[PATH_MAX];
	int links;
};

/* Take the next component off what is left. False at the end. */
static int next_component(struct way *w, char name[NAME_MAX + 1])
{
	const char *p = w->rest + strspn(w->rest, "/");
	size_t length = strcspn(p, "/");

	if (!length || length > NAME_MAX)
		return 0;
	memcpy(name, p, length);
	name[length] = '\0';
	memmove(w->rest, p + length, strlen(p + length) + 1);
	return 1;
}

/* Go there; a symbolic link's target goes before what is left of the way. */
static int step_to(struct way *w, const char *name)
{
	char there[PATH_MAX], target[PATH_MAX], rest[PATH_MAX];
	ssize_t n;

	if (snprintf(there, PATH_MAX, "%s/%s", w->here, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	n = readlink(there, target, sizeof(target) - 1);
	if (n < 0) {
		strcpy(w->here, there);
		return 0;
	}
	target[n] = '\0';
	if (++w->links > MAX_LINKS)
		return -ELOOP;
	if (snprintf(rest, PATH_MAX, "%s%s", target, w->rest) >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(w->rest, rest);
	if (*target == '/')
		w->here[0] = '\0';
	return 0;
}

static int add_path(struct paths *p, const char *path)
{
	char name[NAME_MAX + 1];
	struct way w = {};
	int watch, err = 0;

	if (snprintf(w.rest, PATH_MAX, "%s", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	/* Watched first, looked at then: a change in between is told. */
	while (!err && next_component(&w, name)) {
		watch = inotify_add_watch(p->fd, *w.here ? w.here : "/", EVENTS);
		if (watch < 0) /* no such directory yet: its making will be told */
			return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
		err = add_step(p, watch, name);
		if (!err)
			err = step_to(&w, name);
	}
	return err == -ELOOP ? 0 : err;
}

int paths_add(struct paths *p, const char *path)
{
	int err = add_path(p, path);

	if (err)
		p->err = err;
	return err;
}

static bool matters(const struct paths *p, const struct inotify_event *event)
{
	size_t i;

	for (i = 0; i < p->count; i++) {
		const struct path_step *s = &p->steps[i];

		if ((event->mask & IN_Q_OVERFLOW) ||
		    (event->wd == s->watch &&
		     ((event->mask & IN_UNMOUNT) || (event->len && !strcmp(event->name, s->name)))))
			return true;
	}
	return false;
}

bool paths_changed(struct paths *p)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool changed = false;
	ssize_t n, at;

	while ((n = read(p->fd, buffer, sizeof(buffer))) > 0) {
		const struct inotify_event *event;

		for (at = 0; at < n; at += sizeof(*event) + event->len) {
			event = (const void *)(buffer + at);
			changed |= matters(p, event);
		}
	}
	return changed;
}
