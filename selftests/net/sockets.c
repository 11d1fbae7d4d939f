/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "sockets.h"

/*
 * A child that shares this program's file descriptors makes the socket: what
 * it is born with is the child's, who holds it is this program.
 */
const struct route routes[ROUTES] = {
	{NEAR4, FAR4, FAR4_B, true},
	{NEAR6, FAR6, FAR6_B, false},
	{NEAR6, MAPPED FAR4, MAPPED FAR4_B, true}, /* dual-stack: it has both marks */
};

int socket_try(const struct place *place, int family, int type, int protocol)
{
	static int *result;
	pid_t pid;

	if (!result)
		result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*result = -ECHILD;
	pid = place_fork(place, CLONE_FILES);
	if (pid == 0) {
		*result = socket(family, type | SOCK_CLOEXEC, protocol);
		if (*result < 0)
			*result = -errno;
		_exit(0);
	}
	if (waitpid(pid, NULL, 0) != pid)
		fail_msg("waitpid: %s", strerror(errno));
	return *result;
}

static void bound_waits(int fd)
{
	struct timeval limit = {.tv_sec = patience(10)};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)))
		fail_msg("SO_RCVTIMEO: %s", strerror(errno));
}

static int socket_of(const struct place *place, int family, int type, int protocol)
{
	int fd = socket_try(place, family, type, protocol);

	if (fd < 0)
		fail_msg("socket: %s", strerror(-fd));
	bound_waits(fd);
	if (type == SOCK_STREAM)
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return fd;
}

int socket_at(const struct place *place, int family, int type)
{
	return socket_of(place, family, type, 0);
}

int address_family(const char *text)
{
	return strchr(text, ':') ? AF_INET6 : AF_INET;
}

struct address address_of(const char *text, int port)
{
	struct address a = {.storage.ss_family = address_family(text)};
	struct sockaddr_in6 *ipv6 = (void *)&a.storage;
	struct sockaddr_in *ipv4 = (void *)&a.storage;
	bool ok;

	if (address_family(text) == AF_INET6) {
		a.length = sizeof(*ipv6);
		ipv6->sin6_port = htons(port);
		ok = inet_pton(AF_INET6, text, &ipv6->sin6_addr) == 1;
	} else {
		a.length = sizeof(*ipv4);
		ipv4->sin_port = htons(port);
		ok = inet_pton(AF_INET, text, &ipv4->sin_addr) == 1;
	}
	if (!ok)
		fail_msg("not an address: %s", text);
	return a;
}

int bind_try(int fd, const char *text, int port)
{
	struct address a = address_of(text, port);

	return bind(fd, (void *)&a.storage, a.length) ? -errno : 0;
}

int connect_try(int fd, const char *text, int port)
{
	struct address a = address_of(text, port);

	return connect(fd, (void *)&a.storage, a.length) ? -errno : 0;
}

int send_to(int fd, const char *text, int port, size_t length)
{
	static const char bytes[65536];
	struct address a = address_of(text, port);

	return sendto(fd, bytes, length, 0, (void *)&a.storage, a.length) < 0 ? -errno : 0;
}

void bind_to(int fd, const char *text, int port)
{
	int err = bind_try(fd, text, port);

	if (err)
		fail_msg("bind %s port %d: %s", text, port, strerror(-err));
}

void connect_to(int fd, const char *text, int port)
{
	int err = connect_try(fd, text, port);

	if (err)
		fail_msg("connect %s port %d: %s", text, port, strerror(-err));
}

int udp_socket(const struct place *place, const char *text)
{
	return socket_at(place, address_family(text), SOCK_DGRAM);
}

int tcp_socket(const struct place *place, const char *text)
{
	return socket_at(place, address_family(text), SOCK_STREAM);
}

int mptcp_socket(const struct place *place, const char *text)
{
	return socket_of(place, address_family(text), SOCK_STREAM, IPPROTO_MPTCP);
}

int tcp_listener(const struct place *place, const char *text, int port)
{
	int fd = tcp_socket(place, text);

	bind_to(fd, text, port);
	if (listen(fd, 128))
		fail_msg("listen %s port %d: %s", text, port, strerror(errno));
	return fd;
}

int tcp_client(const struct place *place, const char *text, int port)
{
	int fd = tcp_socket(place, text);

	connect_to(fd, text, port);
	return fd;
}

int accept_from(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		fail_msg("accept: %s", strerror(errno));
	bound_waits(fd);
	return fd;
}

void send_bytes(int fd, size_t length)
{
	static const char bytes[65536];
	ssize_t n;

	for (; length; length -= n) {
		n = send(fd, bytes, length < sizeof(bytes) ? length : sizeof(bytes), MSG_NOSIGNAL);
		/* Told of an earlier datagram that nobody received: this one is still to be sent.
		 */
		if (n < 0 && errno == ECONNREFUSED)
			n = 0;
		if (n < 0)
			fail_msg("send: %s", strerror(errno));
	}
}

void receive_bytes(int fd, size_t length)
{
	static char bytes[65536];
	ssize_t n;

	for (; length; length -= n) {
		n = recv(fd, bytes, length < sizeof(bytes) ? length : sizeof(bytes), 0);
		if (n <= 0)
			fail_msg("receive: %s", n ? strerror(errno) : "end of file");
	}
}

void receive_end(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	if (n)
		fail_msg("expected the end of the connection: %s",
			 n < 0 ? strerror(errno) : "data");
}

void close_with_reset(int fd)
{
	struct linger none = {.l_onoff = 1, .l_linger = 0};

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)))
		fail_msg("SO_LINGER: %s", strerror(errno));
	close(fd);
}

int get_option(int fd, int level, int option)
{
	socklen_t size = sizeof(int);
	int value = 0;

	if (getsockopt(fd, level, option, &value, &size))
		fail_msg("getsockopt(%d, %d): %s", level, option, strerror(errno));
	return value;
}

void set_option(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)))
		fail_msg("setsockopt(%d, %d): %s", level, option, strerror(errno));
}

int local_port(int fd)
{
	struct sockaddr_storage name;
	socklen_t size = sizeof(name);

	if (getsockname(fd, (void *)&name, &size))
		fail_msg("getsockname: %s", strerror(errno));
	/* The port is at the same place in both families. */
	return ntohs(((struct sockaddr_in *)&name)->sin_port);
}

struct connection tcp_connection(const struct place *client, const struct place *server,
				 const char *text, int port)
{
	struct connection c;

	c.listener = tcp_listener(server, text, port);
	c.client = tcp_client(client, text, port);
	c.server = accept_from(c.listener);
	return c;
}
