/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <hostqos/image.h>

#include "cgroups.h"
#include "homes.h"
#include "links.h"
#include "log.h"
#include "output.h"
#include "sockets.h"

/* By socket, and of one socket those that hold it for others last. */
static int by_cookie(const void *a, const void *b)
{
	const struct hq_holding *ha = a, *hb = b;

	if (ha->cookie != hb->cookie)
		return ha->cookie < hb->cookie ? -1 : 1;
	return !ha->holder - !hb->holder;
}

/* The pinned iterator, or one over the files of this process alone. A link, or -errno. */
static int open_iterator(const struct instance *in, __u32 pid)
{
	union bpf_iter_link_info of = {.task.pid = pid};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &of, .iter_info_len = sizeof(of));
	char path[PATH_MAX];
	int program, link;

	if (!pid) {
		if (join_path(path, in->links, "socket_holders"))
			return -ENAMETOOLONG;
		link = bpf_obj_get(path);
		return link < 0 ? -errno : link;
	}
	program = link_program(in, "socket_holders");
	if (program < 0)
		return program;
	link = bpf_link_create(program, 0, BPF_TRACE_ITER, &opts);
	if (link < 0)
		link = -errno;
	close(program);
	return link;
}

/* One socket's holdings, of `count` processes. 1 if it is a stray, in *stray. */
static int judge(struct stray *stray, const struct hq_holding *h, size_t count)
{
	size_t i;

	*stray = (struct stray){.cookie = h->cookie,
				.from = h->home,
				.to = h->holder,
				.pid = h->pid,
				.outside = h->outside};
	for (i = 0; i < count && h[i].holder; i++) {
		if (h[i].holder == h->home)
			return 0;
		if (h[i].holder != h->holder)
			stray->to = 0;
	}
	return i > 0;
}

static int judge_all(struct strays *s, const struct hq_holding *all, size_t count)
{
	size_t i, n;

	s->list = calloc(count + 1, sizeof(*s->list));
	if (!s->list)
		return -ENOMEM;
	for (i = 0; i < count; i += n) {
		for (n = 1; i + n < count && all[i + n].cookie == all[i].cookie; n++)
			;
		s->count += judge(&s->list[s->count], all + i, n);
	}
	return 0;
}

int strays_read(struct strays *s, const struct instance *in, __u32 pid)
{
	int err, link = open_iterator(in, pid);
	size_t length, count;
	void *all;

	memset(s, 0, sizeof(*s));
	if (link < 0)
		return pid ? link : log_error(link, "cannot open the iterator 'socket_holders'");
	err = iterator_read(link, &all, &length);
	close(link);
	if (err)
		return log_error(err, "cannot list who holds sockets");
	count = length / sizeof(struct hq_holding);
	if (count)
		qsort(all, count, sizeof(struct hq_holding), by_cookie);
	err = judge_all(s, all, count);
	free(all);
	return err;
}

static int by_stray_cookie(const void *key, const void *stray)
{
	__u64 a = *(const __u64 *)key, b = ((const struct stray *)stray)->cookie;

	return a < b ? -1 : a > b;
}

const struct stray *strays_find(const struct strays *s, __u64 cookie)
{
	return s->count ? bsearch(&cookie, s->list, s->count, sizeof(*s->list), by_stray_cookie)
			: NULL;
}

void strays_free(struct strays *s)
{
	free(s->list);
	memset(s, 0, sizeof(*s));
}

/* What an earlier pass could not do, its socket or process having gone, is forgotten. */
static void clear_homes(int map)
{
	__u64 cookie;

	while (!bpf_map_get_next_key(map, NULL, &cookie) && !bpf_map_delete_elem(map, &cookie))
		;
}

/* How many sockets the programs are told to take home, or -errno. */
static int send_home(const struct strays *s, const struct instance *in)
{
	int n = 0, map = in->map[MAP_HOMES];
	size_t i;

	clear_homes(map);
	for (i = 0; i < s->count; i++) {
		const struct stray *stray = &s->list[i];

		if (!stray->to || stray->outside)
			continue;
		if (bpf_map_update_elem(map, &stray->cookie, &stray->to, BPF_ANY))
			return log_error(-errno, "cannot write the map 'homes'");
		n++;
	}
	return n;
}

static void add_cgroup(struct json_object *o, const char *key, const struct instance *in, __u64 id)
{
	char path[PATH_MAX];

	json_add_string(o, key, id && !cgroup_path(in, id, path) ? path : NULL);
}

static void tell(struct rehoming *r, const struct instance *in, const struct in_force *f,
		 const struct hq_socket *socket, const struct stray *stray)
{
	bool rehomed = stray->to && socket->flow.id.cgroup == stray->to;
	struct json_object *o = json_object_new_object();
	__u16 class = socket->flow.decision.class;
	char text[ENDPOINT];

	json_add_string(o, "protocol", protocol_text(socket->flow.protocol));
	json_add_string(o, "local", endpoint_text(text, socket->local, socket->local_port));
	json_add_string(o, "remote", endpoint_text(text, socket->remote, socket->remote_port));
	json_add_count(o, "pid", stray->pid);
	add_cgroup(o, "from", in, stray->from);
	add_cgroup(o, "to", in, stray->to);
	json_add_string(o, "class", class < HQ_MAX_CLASSES ? f->classes[class].name : NULL);
	if (!rehomed)
		json_add_string(o, "why",
				!stray->to	 ? "its holders are in several cgroups"
				: stray->outside ? "its holder is not governed"
						 : "its holder is gone");
	json_object_array_add(rehomed ? r->rehomed : r->undecided, o);
}

/* What became of them, as the programs have it now. */
static int tell_all(struct rehoming *r, const struct instance *in, const struct in_force *f,
		    const struct strays *strays)
{
	struct sockets now;
	size_t i;
	int err = sockets_read(&now, in, "flow_sockets");

	if (err)
		return err;
	for (i = 0; i < now.count; i++) {
		const struct stray *stray = strays_find(strays, now.list[i].cookie);

		if (stray)
			tell(r, in, f, &now.list[i], stray);
	}
	sockets_free(&now);
	return 0;
}

int rehome(struct rehoming *r, const struct instance *in, const struct in_force *f)
{
	const struct hq_image image = {
		.header = f->header, .rules = f->rules, .classes = f->classes};
	struct strays strays;
	int n = 0, err = strays_read(&strays, in, 0);

	memset(r, 0, sizeof(*r));
	r->rehomed = json_object_new_array();
	r->undecided = json_object_new_array();
	if (!err)
		err = n = send_home(&strays, in);
	if (n > 0)
		err = adopt(&r->adoption, in, f, &image);
	if (err >= 0 && strays.count)
		err = tell_all(r, in, f, &strays);
	strays_free(&strays);
	return err < 0 ? err : 0;
}

static const char *member(struct json_object *o, const char *key)
{
	const char *text = json_object_get_string(json_object_object_get(o, key));

	return text ? text : "?";
}

void rehomed_print(struct json_object *socket)
{
	const char *why = json_object_get_string(json_object_object_get(socket, "why"));

	say("  %s %s -> %s: %s%s, class %s\n", member(socket, "protocol"), member(socket, "local"),
	    member(socket, "remote"), why ? "" : "now of ", why ? why : member(socket, "to"),
	    member(socket, "class"));
}

void rehoming_free(struct rehoming *r)
{
	json_object_put(r->rehomed);
	json_object_put(r->undecided);
	adoption_free(&r->adoption);
	memset(r, 0, sizeof(*r));
}
