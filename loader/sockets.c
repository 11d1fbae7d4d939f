/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "log.h"
#include "sockets.h"

__u32 own_netns(void)
{
	struct stat st;

	return stat("/proc/self/ns/net", &st) ? 0 : st.st_ino;
}

/* The kernel's PROC_PID_INIT_INO. */
#define INITIAL_PID_NAMESPACE 0xeffffffc

bool sees_all_processes(void)
{
	struct stat st;

	return !stat("/proc/self/ns/pid", &st) && st.st_ino == INITIAL_PID_NAMESPACE;
}

int iterator_read(int link, void **data, size_t *length)
{
	char *all = NULL, *more;
	size_t used = 0, room = 0;
	ssize_t n;
	int err = 0, fd = bpf_iter_create(link);

	if (fd < 0)
		return -errno;
	for (;;) {
		if (used == room) {
			room = room ? 2 * room : 65536;
			more = realloc(all, room);
			if (!more) {
				err = -ENOMEM;
				break;
			}
			all = more;
		}
		n = read(fd, all + used, room - used);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			err = -errno;
		if (n <= 0)
			break;
		used += n;
	}
	close(fd);
	if (err) {
		free(all);
		return err;
	}
	*data = all;
	*length = used;
	return 0;
}

/* Of one socket's records, the first to be written comes first: what it was before the pass. */
static int by_cookie(const void *a, const void *b)
{
	const struct hq_socket *sa = a, *sb = b;

	if (sa->cookie != sb->cookie)
		return sa->cookie < sb->cookie ? -1 : 1;
	return sa->before.generation < sb->before.generation ? -1 : 1;
}

int sockets_read(struct sockets *s, const struct instance *in, const char *iterator)
{
	char path[PATH_MAX];
	size_t length;
	void *data;
	int link, err;

	if (join_path(path, in->links, iterator))
		return -ENAMETOOLONG;
	link = bpf_obj_get(path);
	if (link < 0)
		return log_error(-errno, "cannot open %s", path);
	err = iterator_read(link, &data, &length);
	close(link);
	if (err)
		return log_error(err, "cannot list sockets through '%s'", iterator);
	s->list = data;
	s->count = length / sizeof(*s->list);
	if (s->count)
		qsort(s->list, s->count, sizeof(*s->list), by_cookie);
	return 0;
}

void sockets_free(struct sockets *s)
{
	free(s->list);
	memset(s, 0, sizeof(*s));
}

const char *endpoint_text(char out[ENDPOINT], const __u8 address[16], __u16 port)
{
	static const __u8 mapped[12] = {[10] = 0xff, 0xff};
	static const __u8 any[16];
	char text[INET6_ADDRSTRLEN] = "*", number[8] = "*";

	if (port)
		snprintf(number, sizeof(number), "%u", port);
	if (!memcmp(address, mapped, 12)) {
		if (memcmp(address + 12, any, 4))
			inet_ntop(AF_INET, address + 12, text, sizeof(text));
	} else if (memcmp(address, any, 16)) {
		inet_ntop(AF_INET6, address, text, sizeof(text));
		snprintf(out, ENDPOINT, "[%s]:%s", text, number);
		return out;
	}
	snprintf(out, ENDPOINT, "%s:%s", text, number);
	return out;
}

const char *protocol_text(__u8 protocol)
{
	static char number[8];

	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_UDPLITE:
		return "udplite";
	case IPPROTO_SCTP:
		return "sctp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmpv6";
	}
	snprintf(number, sizeof(number), "%u", protocol);
	return number;
}

const char *state_text(const struct hq_socket *s)
{
	static const char *const states[] = {
		[TCP_ESTABLISHED] = "established",
		[TCP_SYN_SENT] = "syn-sent",
		[TCP_SYN_RECV] = "syn-recv",
		[TCP_FIN_WAIT1] = "fin-wait-1",
		[TCP_FIN_WAIT2] = "fin-wait-2",
		[TCP_TIME_WAIT] = "time-wait",
		[TCP_CLOSE] = "closed",
		[TCP_CLOSE_WAIT] = "close-wait",
		[TCP_LAST_ACK] = "last-ack",
		[TCP_LISTEN] = "listen",
		[TCP_CLOSING] = "closing",
	};

	/* Datagram sockets borrow two of them (udp_v4_connect()). */
	if (s->flow.protocol != IPPROTO_TCP)
		return s->state == TCP_ESTABLISHED ? "connected" : "unconnected";
	return s->state < sizeof(states) / sizeof(states[0]) && states[s->state] ? states[s->state]
										 : "";
}
