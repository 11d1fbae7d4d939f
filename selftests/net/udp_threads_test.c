/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Threads that send from one socket at once, to destinations of different
 * classes: every single datagram has the mark of its own.
 */
#include <netinet/udp.h>
#include <pthread.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"

#define AF11 10
#define AF41 34
#define EF   46

#define THREADS	  4
#define DATAGRAMS 4000 /* of each thread */

static const char policy[] = "classes: { voice: { dscp: EF }, video: { dscp: AF41 } }\n"
			     "rules:\n"
			     "  - match: { cgroup: @/app, remote: [" FAR4_B ", \"" FAR6_B "\"] }\n"
			     "    class: video\n"
			     "  - match: { cgroup: @/app }\n"
			     "    class: voice\n";

/* What a thread does: each of them sends otherwise, all to both destinations. */
enum manner { PLAIN, WITH_TOS, SEGMENTED, CONNECTED };

struct worker {
	pthread_t thread;
	enum manner manner;
	int fd;
	bool ipv6; /* on the wire */
	struct address to[2];
	unsigned int seed;
	size_t failed;
};

static void put_control(struct msghdr *message, int level, int type, const void *value, size_t size)
{
	struct cmsghdr *header = message->msg_control;

	header->cmsg_level = level;
	header->cmsg_type = type;
	header->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(header), value, size);
	message->msg_controllen = CMSG_SPACE(size);
}

static bool send_one(struct worker *w, struct address *to)
{
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int))] = "";
	struct iovec data = {(char[1200]){0}, w->manner == SEGMENTED ? 1200 : 100};
	struct msghdr message = {.msg_name = &to->storage,
				 .msg_namelen = to->length,
				 .msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = room};
	uint16_t segment = 300;
	int tos = AF11 << 2;

	if (w->manner == WITH_TOS)
		put_control(&message, w->ipv6 ? IPPROTO_IPV6 : IPPROTO_IP,
			    w->ipv6 ? IPV6_TCLASS : IP_TOS, &tos, sizeof(tos));
	if (w->manner == SEGMENTED)
		put_control(&message, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
	if (w->manner == CONNECTED)
		return send(w->fd, data.iov_base, data.iov_len, 0) >= 0;
	return sendmsg(w->fd, &message, 0) >= 0;
}

static void *send_many(void *arg)
{
	struct worker *w = arg;
	int i;

	for (i = 0; i < DATAGRAMS; i++)
		w->failed += !send_one(w, &w->to[rand_r(&w->seed) >> 8 & 1]);
	return NULL;
}

static void start(struct worker *w, const struct route *r, int fd, enum manner manner)
{
	*w = (struct worker){.manner = manner,
			     .fd = fd,
			     .ipv6 = !strncmp(r->to, FAR6, 4),
			     .to = {address_of(r->to, 7000), address_of(r->to_b, 7000)},
			     .seed = manner + 1};
	if (pthread_create(&w->thread, NULL, send_many, w))
		fail_msg("pthread_create");
}

static size_t finish(struct worker *w, size_t count)
{
	size_t failed = 0;

	while (count--) {
		pthread_join(w[count].thread, NULL);
		failed += w[count].failed;
	}
	return failed;
}

/* A busy machine may drop before the capture sees it: what came must be enough to tell. */
static void judge_route(struct capture *c, const struct route *r, size_t least)
{
	bool mapped = !strncmp(r->to, MAPPED, strlen(MAPPED));
	const char *to = mapped ? r->to + strlen(MAPPED) : r->to;
	const char *to_b = mapped ? r->to_b + strlen(MAPPED) : r->to_b;

	await_packets(c, FLOW(.to_port = 7000), least);
	judge(c, FLOW(.to = to, .to_port = 7000), EF, least / 3);
	judge(c, FLOW(.to = to_b, .to_port = 7000), AF41, least / 3);
	print_message("%s: %zu datagrams judged\n", r->to, flow_count(c, FLOW(.to_port = 7000)));
	capture_clear(c);
}

static void threads_of_one_socket(void **state)
{
	static const enum manner manners[THREADS] = {PLAIN, PLAIN, WITH_TOS, SEGMENTED};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app");
	struct worker workers[THREADS];
	size_t i, n;

	apply(tb, policy);
	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own);

		for (n = 0; n < THREADS; n++)
			start(&workers[n], &routes[i], fd, manners[n]);
		assert_int_equal(finish(workers, THREADS), 0);
		judge_route(c, &routes[i], THREADS * DATAGRAMS * 9 / 10);
		close(fd);
	}
}

/* One thread connects the socket to and fro, and to nobody, while the others send. */
static void threads_of_a_socket_that_is_connected_meanwhile(void **state)
{
	static const enum manner manners[THREADS - 1] = {CONNECTED, CONNECTED, PLAIN};
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct worker workers[THREADS - 1];
	size_t i, n;

	apply(tb, policy);
	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own),
		    sink = socket_at(&far, AF_INET6, SOCK_DGRAM);

		bind_to(sink, "::", 7000);
		connect_to(fd, routes[i].to, 7000);
		for (n = 0; n < THREADS - 1; n++)
			start(&workers[n], &routes[i], fd, manners[n]);
		for (n = 0; n < DATAGRAMS / 4; n++) {
			connect_to(fd, n % 2 ? routes[i].to : routes[i].to_b, 7000);
			if (n % 4 == 0)
				connect(fd, &none, sizeof(none));
		}
		connect_to(fd, routes[i].to_b, 7000);
		finish(workers, THREADS - 1);
		/* A connected sender's datagrams are judged by where they went. */
		judge_route(c, &routes[i], DATAGRAMS / 2);
		close(fd);
		close(sink);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(threads_of_one_socket),
		NET_TEST(threads_of_a_socket_that_is_connected_meanwhile),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
