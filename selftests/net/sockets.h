/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Sockets born at a place: in its cgroup, its network namespace, of its user.
 * The test program holds and uses them. All calls have a bounded wait.
 */
#ifndef HOSTQOS_TEST_SOCKETS_H
#define HOSTQOS_TEST_SOCKETS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "testbed.h"

/* A socket, or -errno. */
int socket_try(const struct place *place, int family, int type, int protocol);
int socket_at(const struct place *place, int family, int type);

struct address {
	struct sockaddr_storage storage;
	socklen_t length;
};

/* "10.9.0.1" or "fd00:9::1"; "::ffff:10.9.0.1" is an address of AF_INET6. */
struct address address_of(const char *text, int port);
int address_family(const char *text);

/* 0 or -errno */
int bind_try(int fd, const char *text, int port);
int connect_try(int fd, const char *text, int port);
int send_to(int fd, const char *text, int port, size_t length);

void bind_to(int fd, const char *text, int port);
void connect_to(int fd, const char *text, int port);
int udp_socket(const struct place *place, const char *text); /* of the address's family */
int tcp_socket(const struct place *place, const char *text);
int mptcp_socket(const struct place *place, const char *text);
int tcp_listener(const struct place *place, const char *text, int port);
int tcp_client(const struct place *place, const char *text, int port);
int accept_from(int listener);
void send_bytes(int fd, size_t length);
void receive_bytes(int fd, size_t length);
/* The peer's FIN has come. */
void receive_end(int fd);
void close_with_reset(int fd);

int get_option(int fd, int level, int option);
void set_option(int fd, int level, int option, int value);
int local_port(int fd);

/* A near socket's family, by an address of it; two far addresses; what the wire shows. */
struct route {
	const char *own, *to, *to_b;
	bool ipv4;
};

#define ROUTES 3
extern const struct route routes[ROUTES];

/* A connection with one end at each place; closed by the test. */
struct connection {
	int client, server, listener;
};
struct connection tcp_connection(const struct place *client, const struct place *server,
				 const char *text, int port);

#endif
