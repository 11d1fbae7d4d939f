// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * What tc egress costs a packet, over an empty tc program in the same run.
 * Each figure is the least of several interleaved rounds: on a shared machine
 * the least is what the program costs, the rest is other people's load.
 */
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>

#include "../bpf/packet.h"
#include "../bpf/run.h"

#define ROUNDS 600
#define REPEAT 60000

/* The budgets were set where the empty program took this many ns; they scale with it. */
#define EMPTY_NS 17

static const char policy[] = "hostqos: 1\n"
			     "classes:\n"
			     "  marked: { dscp: AF41 }\n"
			     "  metered: { dscp: AF41, egress: { rate: 100gbit } }\n"
			     "rules:\n"
			     "  - { match: { remote_port: 5060 }, class: marked }\n"
			     "  - { match: { remote: 198.51.100.0/24 }, class: metered }\n";

/* One row. A connection's packets bear their departure time, as the kernel's do. */
struct subject {
	const char *what;
	const char *class_name; /* of a connection; NULL: a datagram */
	enum run_program program;
	int departs;
	unsigned int budget; /* ns; 0: none is promised */
	unsigned int best;
};

static unsigned int measure(struct governed *g, const struct subject *s, const struct built *b)
{
	struct hq_flow flow = s->class_name ? run_tcp_flow(g, s->class_name) : run_udp_flow();
	struct run r = {.packet = b->bytes, .length = b->length, .repeat = REPEAT};

	run_give(g, &flow);
	r.departure = s->departs ? run_now() : 0;
	run_program(g, s->program, &r);
	return r.nanoseconds;
}

int main(void)
{
	enum { EMPTY, GIVEN, FIRST };
	struct subject subjects[] = {
		[EMPTY] = {.program = RUN_EMPTY},
		[GIVEN] = {.program = RUN_GIVEN_ONLY},
		{"connection, class without a bucket", "marked", RUN_GOVERNED, 1, 15, 0},
		{"connection, class with a bucket", "metered", RUN_GOVERNED, 1, 45, 0},
		{"datagram, class with a bucket: to a host again", NULL, RUN_GOVERNED, 0, 45, 0},
		{"  for the first time", NULL, RUN_GOVERNED_FIRST, 0, 0, 0},
	};
	const size_t count = sizeof(subjects) / sizeof(subjects[0]);
	struct packet_spec spec = {.family = 4,
				   .protocol = IPPROTO_UDP,
				   .dsfield = 34 << 2,
				   .source_port = 49152,
				   .destination_port = 9,
				   .payload = 64};
	struct governed *g = run_load(policy);
	unsigned int round, ns, empty;
	struct built b;
	size_t i;

	packet_build(&b, &spec);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < count; i++) {
			ns = measure(g, &subjects[i], &b);
			if (!round || ns < subjects[i].best)
				subjects[i].best = ns;
		}
	}
	empty = subjects[EMPTY].best;
	printf("tc egress, ns a packet over an empty program: that takes %u ns here; budgets are\n"
	       "for a machine where it takes %u\n",
	       empty, EMPTY_NS);
	for (i = FIRST; i < count; i++) {
		printf("%-49s %4d", subjects[i].what,
		       (int)(subjects[i].best - subjects[GIVEN].best));
		if (subjects[i].budget)
			printf("   budget %u, here %u", subjects[i].budget,
			       subjects[i].budget * empty / EMPTY_NS);
		putchar('\n');
	}
	run_unload(g);
	return 0;
}
