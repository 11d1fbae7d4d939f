/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <hostqos/image.h>

#include "adopt.h"
#include "log.h"
#include "output.h"
#include "sockets.h"

/* One pass over the sockets that live. */
struct pass {
	struct adoption *result;
	const struct instance *in;
	const struct in_force *old;
	const struct hq_image *image;
	const struct sockets *held; /* by processes */
};

static int by_cookie(const void *a, const void *b)
{
	__u64 ca = ((const struct hq_socket *)a)->cookie;
	__u64 cb = ((const struct hq_socket *)b)->cookie;

	return ca < cb ? -1 : ca > cb;
}

static const struct hq_socket *find_socket(const struct sockets *all, const struct hq_socket *s)
{
	return all->count ? bsearch(s, all->list, all->count, sizeof(*s), by_cookie) : NULL;
}

/* The socket and one of its holders; the caller adds what there is to say of it. */
static struct json_object *socket_json(const struct pass *pass, const struct hq_socket *s)
{
	const struct hq_socket *held = find_socket(pass->held, s);
	struct json_object *o = json_object_new_object();
	char text[ENDPOINT];

	json_add_string(o, "protocol", protocol_text(s->flow.protocol));
	json_add_string(o, "local", endpoint_text(text, s->local, s->local_port));
	json_add_string(o, "remote", endpoint_text(text, s->remote, s->remote_port));
	json_add_count(o, "pid", held ? held->pid : 0);
	return o;
}

static void tell_refused(const struct pass *pass, const struct hq_socket *s, int err)
{
	struct json_object *o = socket_json(pass, s);

	json_add_string(o, "error", strerror(-err));
	json_object_array_add(pass->result->refused, o);
}

static const char *rule_name(const struct pass *pass, __u16 rule)
{
	return rule < pass->image->header.rules ? pass->image->rules[rule].name : NULL;
}

static void tell_kept(const struct pass *pass, const struct hq_socket *s)
{
	struct json_object *o = socket_json(pass, s);

	json_add_string(o, "rule", rule_name(pass, s->flow.decision.rule));
	json_object_array_add(pass->result->kept, o);
}

/* Is this the first record of its socket? They are sorted by cookie. */
static bool first_of_socket(const struct sockets *all, size_t i)
{
	return !i || all->list[i - 1].cookie != all->list[i].cookie;
}

static bool is_refused(const struct hq_decision *decision)
{
	return decision->refuse && !decision->provisional;
}

/* The socket's class before the flip. One that no policy had classified had none. */
static __u16 class_before(const struct adoption *result, const struct hq_socket *s)
{
	const struct hq_socket *known = find_socket(&result->before, s);
	const struct hq_decision *before = known ? &known->flow.decision : &s->before;

	return before->generation ? before->class : HQ_CLASS_DEFAULT;
}

/* Its cgroup is not below attach.cgroup any more. */
static bool is_leaving(const struct hq_socket *s)
{
	return s->flow.bits & HQ_FLOW_LEFT;
}

/* Whose marks it is to have; of one that leaves its own. */
static const struct hq_class *marking_class(const struct pass *pass, const struct hq_socket *s)
{
	static const struct hq_class none = {.dscp = HQ_KEEP, .priority = HQ_KEEP};

	return is_leaving(s) ? &none : &pass->image->classes[s->flow.decision.class];
}

static int tell_moved(struct adoption *result, __u16 from, const struct hq_decision *now)
{
	struct move *m = result->list, *end = m + result->move_count;

	result->moved++;
	while (m < end && (m->from != from || m->to != now->class || m->rule != now->rule))
		m++;
	if (m == end) {
		m = realloc(result->list, (result->move_count + 1) * sizeof(*m));
		if (!m)
			return -ENOMEM;
		result->list = m;
		m += result->move_count++;
		*m = (struct move){.from = from, .to = now->class, .rule = now->rule};
	}
	m->sockets++;
	return 0;
}

static int tell(const struct pass *pass, const struct hq_socket *s)
{
	static const struct hq_decision left = {.class = HQ_NO_CLASS, .rule = HQ_RULE_NONE};
	const struct hq_decision *now = &s->flow.decision;
	__u16 before = class_before(pass->result, s);

	if (is_leaving(s))
		return before == HQ_CLASS_DEFAULT ? 0 : tell_moved(pass->result, before, &left);
	if (is_refused(now))
		tell_kept(pass, s);
	else if (now->class != before)
		return tell_moved(pass->result, before, now);
	return 0;
}

/* Ids stay with their classes, and a new class has one that the old policy did not use. */
static const char *class_name(const struct pass *pass, __u16 id)
{
	if (id == HQ_NO_CLASS)
		return NULL;
	if (pass->image->classes[id].defined)
		return pass->image->classes[id].name;
	return pass->old->generation && pass->old->classes[id].defined ? pass->old->classes[id].name
								       : NULL;
}

static struct json_object *moves_json(const struct pass *pass)
{
	struct json_object *all = json_object_new_array(), *o;
	const struct adoption *result = pass->result;
	size_t i;

	for (i = 0; i < result->move_count; i++) {
		o = json_object_new_object();
		json_add_string(o, "from", class_name(pass, result->list[i].from));
		json_add_string(o, "to", class_name(pass, result->list[i].to));
		json_add_string(o, "rule", rule_name(pass, result->list[i].rule));
		json_add_count(o, "sockets", result->list[i].sockets);
		json_object_array_add(all, o);
	}
	return all;
}

/* The iterator over TCP sockets sees it: it is not merely bound. */
static bool is_hashed_tcp(const struct hq_socket *s)
{
	return s->flow.protocol == IPPROTO_TCP && s->state != TCP_CLOSE;
}

/*
 * Sockets that iter/tcp does not see: classified by process_sockets, marked here.
 * What a rule would refuse now lives on in the class default.
 */
static int mark_held(const struct pass *pass)
{
	const struct sockets *held = pass->held;
	int err = 0, refused;
	size_t i;

	for (i = 0; i < held->count && !err; i++) {
		const struct hq_socket *s = &held->list[i];

		if (is_hashed_tcp(s) || !first_of_socket(held, i))
			continue;
		err = tell(pass, s);
		refused = socket_mark(s, marking_class(pass, s));
		if (refused)
			tell_refused(pass, s, refused);
	}
	return err;
}

/* TCP of this network namespace: classified and marked by the iterator. */
static int mark_tcp(const struct pass *pass)
{
	struct sockets tcp;
	size_t i;
	int err = sockets_read(&tcp, pass->in, "tcp_sockets");

	if (err)
		return err;
	for (i = 0; i < tcp.count && !err; i++) {
		if (!first_of_socket(&tcp, i))
			continue;
		err = tell(pass, &tcp.list[i]);
		if (tcp.list[i].error)
			tell_refused(pass, &tcp.list[i], tcp.list[i].error);
	}
	sockets_free(&tcp);
	return err;
}

/*
 * The same in the network namespace of a socket, which need not be that of the
 * process that holds it. -ENOENT if the socket is gone.
 */
static int mark_tcp_beside(const struct pass *pass, const struct hq_socket *s)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int fd = socket_borrow(s), netns = fd < 0 ? -1 : ioctl(fd, SIOCGSKNS);
	int err = -ENOENT;

	if (own >= 0 && netns >= 0 && !setns(netns, CLONE_NEWNET)) {
		err = mark_tcp(pass);
		if (setns(own, CLONE_NEWNET))
			err = log_error(-errno, "cannot return to the own network namespace");
	}
	if (netns >= 0)
		close(netns);
	if (fd >= 0)
		close(fd);
	if (own >= 0)
		close(own);
	return err;
}

/* Each network namespace in which some process holds a TCP socket, once. */
static int mark_tcp_elsewhere(const struct pass *pass)
{
	const struct sockets *held = pass->held;
	__u32 own = own_netns(), *done = calloc(held->count + 1, sizeof(*done));
	size_t i, j, n = 0;
	int err = 0;

	if (!done)
		return -ENOMEM;
	for (i = 0; i < held->count && !err; i++) {
		const struct hq_socket *s = &held->list[i];

		for (j = 0; j < n && done[j] != s->netns; j++)
			;
		if (j < n || s->netns == own || !is_hashed_tcp(s))
			continue;
		err = mark_tcp_beside(pass, s);
		if (err == -ENOENT) /* gone: another socket may lead there */
			err = 0;
		else
			done[n++] = s->netns;
	}
	free(done);
	return err;
}

int adopt_prepare(struct adoption *result, const struct instance *in)
{
	char path[PATH_MAX];

	/* A damaged installation may have lost it: then what moves by itself is not told. */
	if (join_path(path, in->links, "flow_sockets") || access(path, F_OK))
		return 0;
	return sockets_read(&result->before, in, "flow_sockets");
}

int adopt(struct adoption *result, const struct instance *in, const struct in_force *old,
	  const struct hq_image *image)
{
	struct sockets held;
	struct pass pass = {result, in, old, image, &held};
	int err = sockets_read(&held, in, "process_sockets");

	if (!sees_all_processes())
		log_warning("hostqos runs in a pid namespace of its own and cannot reach all "
			    "processes: live sockets other than TCP keep their own marks, and "
			    "those older than hostqos are not governed");
	if (err)
		return err;
	result->kept = json_object_new_array();
	result->refused = json_object_new_array();
	err = mark_held(&pass);
	if (!err)
		err = mark_tcp(&pass);
	if (!err)
		err = mark_tcp_elsewhere(&pass);
	if (!err)
		result->moves = moves_json(&pass);
	sockets_free(&held);
	if (err)
		adoption_free(result);
	return err;
}

void adoption_free(struct adoption *result)
{
	sockets_free(&result->before);
	free(result->list);
	json_object_put(result->moves);
	json_object_put(result->kept);
	json_object_put(result->refused);
	memset(result, 0, sizeof(*result));
}
