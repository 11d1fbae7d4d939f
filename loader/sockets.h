/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Live sockets, as the pinned iterators tell them, and the marks of one.
 */
#ifndef HOSTQOS_LOADER_SOCKETS_H
#define HOSTQOS_LOADER_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

#include <hostqos/abi.h>

#include "instance.h"

struct sockets {
	struct hq_socket *list;
	size_t count;
};

/*
 * Run the pinned iterator of this name. 0, or -errno, reported. Sorted by
 * cookie: a socket that several processes hold has several records.
 */
int sockets_read(struct sockets *s, const struct instance *in, const char *iterator);
void sockets_free(struct sockets *s);

/* All that an iterator link writes, or -errno; freed by the caller. */
int iterator_read(int link, void **data, size_t *length);

/* Room for "[ADDRESS]:PORT". */
#define ENDPOINT 64

/* IPv4-mapped addresses as IPv4; "*" for the wildcard address and port. */
const char *endpoint_text(char out[ENDPOINT], const __u8 address[16], __u16 port);

/* "tcp", "udp", ..., or a number in a static buffer. */
const char *protocol_text(__u8 protocol);

/* "established", ... of TCP; "" where the state says nothing. */
const char *state_text(const struct hq_socket *s);

/* A descriptor of our own of the socket, if it still is the one that the record tells of. */
int socket_borrow(const struct hq_socket *s);

/*
 * Give the socket the marks of its class, or its own back where the class
 * leaves them alone. For sockets that no iterator can mark: the program at
 * cgroup/setsockopt does it. 0 or -errno.
 */
int socket_mark(const struct hq_socket *s, const struct hq_class *class);

/* Is this the initial pid namespace, whose numbers the kernel's iterators and programs use? */
bool sees_all_processes(void);

/* Inode number of this network namespace. */
__u32 own_netns(void);

#endif
