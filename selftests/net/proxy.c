/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process.h"
#include "proxy.h"
#include "sockets.h"

#define REQUEST_MOST 1024
#define PORTS	     65536
#define USES_MOST    8

/*
 * What requests came through the proxy's connections from a port, in their
 * order: busy threads may make the kernel choose a port again soon. Shared with
 * the server's process.
 */
struct uses {
	uint8_t count;
	uint8_t dscps[USES_MOST];
};

static struct uses *noted;

static const uint8_t dscps[] = {10, 12, 14, 18, 20, 22, 26, 34};

/* What was said up to the empty line; fails the process where there is none. */
static size_t read_head(int fd, char text[REQUEST_MOST])
{
	size_t used = 0;
	ssize_t n;

	do {
		n = recv(fd, text + used, REQUEST_MOST - 1 - used, 0);
		if (n <= 0)
			return 0;
		used += n;
		text[used] = '\0';
	} while (!strstr(text, "\r\n\r\n") && used < REQUEST_MOST - 1);
	return used;
}

static bool write_all(int fd, const char *text, size_t length)
{
	return send(fd, text, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* The port is at the same place in both families. */
static void note(const struct sockaddr_in6 *peer, int dscp)
{
	struct uses *uses = &noted[ntohs(peer->sin6_port)];

	if (uses->count < USES_MOST)
		uses->dscps[uses->count++] = dscp;
}

static void serve(void *listener)
{
	static const char reply[] =
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	struct sockaddr_in6 peer;
	char request[REQUEST_MOST];
	int fd, dscp;

	for (;;) {
		socklen_t size = sizeof(peer);

		fd = accept(*(int *)listener, (void *)&peer, &size);
		if (fd < 0)
			continue;
		if (read_head(fd, request) && sscanf(request, "GET /%d", &dscp) == 1)
			note(&peer, dscp);
		write_all(fd, reply, strlen(reply));
		close(fd);
	}
}

void server_start(struct testbed *tb, const char *address)
{
	struct place far = far_place(tb);
	int listener = tcp_listener(&far, address, SERVER_PORT);

	if (!noted)
		noted = mmap(NULL, PORTS * sizeof(*noted), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(noted, 0, PORTS * sizeof(*noted));
	process_call(tb, &far, serve, &listener);
	close(listener);
}

struct proxied {
	int client;
	const char *server;
};

static void *carry(void *arg)
{
	struct proxied *p = arg;
	char text[REQUEST_MOST];
	size_t length = read_head(p->client, text);
	int server = socket(address_family(p->server), SOCK_STREAM, 0);

	if (length && !connect_try(server, p->server, SERVER_PORT) &&
	    write_all(server, text, length)) {
		length = read_head(server, text);
		write_all(p->client, text, length);
	}
	close(server);
	close(p->client);
	free(p);
	return NULL;
}

struct proxy {
	int listener;
	const char *server;
};

static void run_proxy(void *arg)
{
	const struct proxy *proxy = arg;
	struct proxied *p;
	pthread_t thread;

	for (;;) {
		p = malloc(sizeof(*p));
		*p = (struct proxied){accept(proxy->listener, NULL, NULL), proxy->server};
		if (p->client >= 0 && !pthread_create(&thread, NULL, carry, p))
			pthread_detach(thread);
	}
}

void proxy_start(struct testbed *tb, const struct place *place, const char *listen,
		 const char *server)
{
	struct proxy proxy = {tcp_listener(place, listen, PROXY_PORT), server};

	process_call(tb, place, run_proxy, &proxy);
	close(proxy.listener);
}

struct client {
	const char *from, *proxy;
	unsigned int seed;
	int rounds;
};

static bool request(const struct client *c, int dscp)
{
	int fd = socket(address_family(c->proxy), SOCK_STREAM, 0), tos = dscp << 2, length;
	char text[REQUEST_MOST];
	bool done;

	setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	if (address_family(c->proxy) == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	length = snprintf(text, sizeof(text), "GET /%d HTTP/1.0\r\n\r\n", dscp);
	done = !bind_try(fd, c->from, 0) && !connect_try(fd, c->proxy, PROXY_PORT) &&
	       write_all(fd, text, length) && read_head(fd, text) &&
	       !strncmp(text + strlen("HTTP/1.x "), "200", 3);
	close(fd);
	return done;
}

static void run_client(void *arg)
{
	struct client *c = arg;

	while (c->rounds--)
		if (!request(c, dscps[rand_r(&c->seed) % sizeof(dscps)]))
			_exit(1);
}

void clients_run(struct testbed *tb, const char *from, const char *proxy, int clients, int rounds)
{
	struct process **processes = calloc(clients, sizeof(*processes));
	struct place far = far_place(tb);
	int i;

	for (i = 0; i < clients; i++)
		processes[i] = process_call(tb, &far, run_client,
					    &(struct client){from, proxy, i, rounds});
	for (i = 0; i < clients; i++)
		assert_int_equal(process_wait(processes[i]), 0);
	free(processes);
}

struct tally proxy_tally(struct capture *c)
{
	uint8_t *seen = calloc(PORTS, 1);
	struct tally tally = {};
	size_t i;

	capture_read(c);
	for (i = 0; i < c->count; i++) {
		const struct packet *p = &c->packets[i];
		const struct uses *uses = &noted[p->source_port];
		uint8_t use;

		if (p->protocol != IPPROTO_TCP || p->destination_port != SERVER_PORT ||
		    !(p->tcp_flags & TCP_SYN) || seen[p->source_port] == uses->count)
			continue;
		use = seen[p->source_port]++;
		tally.connections++;
		tally.right += DSCP(p) == uses->dscps[use];
	}
	free(seen);
	capture_clear(c);
	memset(noted, 0, PORTS * sizeof(*noted));
	return tally;
}
