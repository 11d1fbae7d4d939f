/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What hostqos costs a TCP connection: opened over veth, one byte each way,
 * reset. One process on one core is both ends, so the time is all CPU. One end
 * is governed, or none; each figure is the least of several interleaved rounds.
 */
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../net/hostqos.h"
#include "../net/process.h"
#include "../net/sockets.h"

#define ROUNDS	    12
#define CONNECTIONS 1500

static const char policy[] =
	"classes:\n"
	"  web: { dscp: AF21, egress: { rate: 10gbit } }\n"
	"  voice: { dscp: EF }\n"
	"rules:\n"
	"  - { match: { cgroup: @/app, local_port: 80 }, class: web }\n"
	"  - { match: { cgroup: @/app, remote_port: 5060 }, class: voice }\n"
	"  - { match: { cgroup: @/app, remote: [10.9.0.0/24, \"fd00:9::/64\"] }, class: web }\n";

/* Who is governed, as seen from the process's end, which connects. */
struct subject {
	const char *what;
	struct place client;
	int listener;
	const char *address;
	int port;
	double best;
};

static double clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void one_connection(const struct subject *s)
{
	int client = socket(address_family(s->address), SOCK_STREAM | SOCK_CLOEXEC, 0), server;

	connect_to(client, s->address, s->port);
	server = accept_from(s->listener);
	send_bytes(client, 1);
	receive_bytes(server, 1);
	send_bytes(server, 1);
	receive_bytes(client, 1);
	close_with_reset(client);
	close(server);
}

static void on_one_core(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

/* ns a connection, made by a process that is born in the client's place. */
static double measure(const struct subject *s)
{
	double *ns =
		mmap(NULL, sizeof(*ns), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double begin, result;
	pid_t pid;
	int i;

	assert_ptr_not_equal(ns, MAP_FAILED);
	pid = place_fork(&s->client, 0);
	if (pid == 0) {
		on_one_core();
		begin = clock_ns();
		for (i = 0; i < CONNECTIONS; i++)
			one_connection(s);
		*ns = (clock_ns() - begin) / CONNECTIONS;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	result = *ns;
	munmap(ns, sizeof(*ns));
	assert_true(result > 0);
	return result;
}

static void connections(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), bare = near, far = far_place(tb);
	int governed = tcp_listener(&near, NEAR4, 80), free = tcp_listener(&far, FAR4, 80);
	struct subject subjects[] = {
		{"neither end governed", .client = bare, free, FAR4, 80, 1e12},
		{"the connecting end governed", .client = near, free, FAR4, 80, 1e12},
		{"the accepting end governed", .client = far, governed, NEAR4, 80, 1e12},
	};
	size_t i;
	int round;

	subjects[0].client.cgroup[0] = 0;
	apply(tb, policy);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
			double ns = measure(&subjects[i]);

			if (ns < subjects[i].best)
				subjects[i].best = ns;
		}
	}
	puts("a TCP connection, one byte each way, ns");
	for (i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		printf("%-44s %6.0f   +%.0f\n", subjects[i].what, subjects[i].best,
		       subjects[i].best - subjects[0].best);
	close(governed);
	close(free);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {NET_TEST(connections)};

	return RUN_NET_TESTS(argc, argv, tests);
}
