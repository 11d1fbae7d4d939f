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

#include <json-c/json.h>

#include "adopt.h"
#include "log.h"
#include "sockets.h"

static void tell_refused(struct adoption *result, const struct hq_socket *s, int err)
{
	struct json_object *o = json_object_new_object();
	char text[ENDPOINT];

	json_object_object_add(o, "protocol",
			       json_object_new_string(protocol_text(s->flow.protocol)));
	json_object_object_add(
		o, "local", json_object_new_string(endpoint_text(text, s->local, s->local_port)));
	json_object_object_add(
		o, "remote",
		json_object_new_string(endpoint_text(text, s->remote, s->remote_port)));
	json_object_object_add(o, "pid", json_object_new_int64(s->pid));
	json_object_object_add(o, "error", json_object_new_string(strerror(-err)));
	json_object_array_add(result->refused, o);
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

static int by_cookie(const void *a, const void *b)
{
	__u64 ca = ((const struct hq_socket *)a)->cookie;
	__u64 cb = ((const struct hq_socket *)b)->cookie;

	return ca < cb ? -1 : ca > cb;
}

/* The socket's class before the flip. One that no policy had classified had none. */
static __u16 class_before(const struct adoption *result, const struct hq_socket *s)
{
	const struct hq_socket *known =
		result->before.count ? bsearch(s, result->before.list, result->before.count,
					       sizeof(*s), by_cookie)
				     : NULL;
	const struct hq_decision *before = known ? &known->flow.decision : &s->before;

	return before->generation ? before->class : HQ_CLASS_DEFAULT;
}

static void tell(struct adoption *result, const struct hq_socket *s)
{
	const struct hq_decision *now = &s->flow.decision;

	if (is_refused(now))
		result->kept++;
	else if (now->class != class_before(result, s))
		result->moved++;
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
static void mark_held(struct adoption *result, const struct instance *in,
		      const struct hq_class *classes, const struct sockets *held)
{
	size_t i;
	int err;

	for (i = 0; i < held->count; i++) {
		const struct hq_socket *s = &held->list[i];

		if (is_hashed_tcp(s) || !first_of_socket(held, i))
			continue;
		tell(result, s);
		err = socket_mark(in, s, &classes[s->flow.decision.class]);
		if (err)
			tell_refused(result, s, err);
	}
}

/* TCP of this network namespace: classified and marked by the iterator. */
static int mark_tcp(struct adoption *result, const struct instance *in)
{
	struct sockets tcp;
	size_t i;
	int err = sockets_read(&tcp, in, "tcp_sockets");

	if (err)
		return err;
	for (i = 0; i < tcp.count; i++) {
		if (!first_of_socket(&tcp, i))
			continue;
		tell(result, &tcp.list[i]);
		if (tcp.list[i].error)
			tell_refused(result, &tcp.list[i], tcp.list[i].error);
	}
	sockets_free(&tcp);
	return 0;
}

/*
 * The same in the network namespace of a socket, which need not be that of the
 * process that holds it. -ENOENT if the socket is gone.
 */
static int mark_tcp_beside(struct adoption *result, const struct instance *in,
			   const struct hq_socket *s)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int fd = socket_borrow(s), netns = fd < 0 ? -1 : ioctl(fd, SIOCGSKNS);
	int err = -ENOENT;

	if (own >= 0 && netns >= 0 && !setns(netns, CLONE_NEWNET)) {
		err = mark_tcp(result, in);
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
static int mark_tcp_elsewhere(struct adoption *result, const struct instance *in,
			      const struct sockets *held)
{
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
		err = mark_tcp_beside(result, in, s);
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

int adopt(struct adoption *result, const struct instance *in, const struct hq_class *classes)
{
	struct sockets held;
	int err;

	err = sockets_read(&held, in, "process_sockets");
	if (err)
		return err;
	result->refused = json_object_new_array();
	mark_held(result, in, classes, &held);
	err = mark_tcp(result, in);
	if (!err)
		err = mark_tcp_elsewhere(result, in, &held);
	sockets_free(&held);
	if (err)
		adoption_free(result);
	return err;
}

void adoption_free(struct adoption *result)
{
	sockets_free(&result->before);
	json_object_put(result->refused);
	memset(result, 0, sizeof(*result));
}
