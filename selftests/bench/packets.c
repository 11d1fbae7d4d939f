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

#define ROUNDS 15
#define REPEAT 400000

/* The budgets were set where the empty program took this many ns; they scale with it. */
#define EMPTY_NS 17

static const char policy[] = "hostqos: 1\n"
			     "classes:\n"
			     "  marked: { dscp: AF41 }\n"
			     "  metered: { dscp: AF41, egress: { rate: 100gbit } }\n"
			     "rules:\n"
			     "  - { match: { remote_port: 5060 }, class: marked }\n"
			     "  - { match: { remote: 198.51.100.0/24 }, class: metered }\n";

struct subject {
	const char *what;
	const char *class_name; /* of a connected flow; NULL: an unconnected datagram */
	unsigned int budget;	/* ns; 0: none is promised */
	unsigned int best;
};

static unsigned int measure(struct governed *g, enum run_program program, const struct built *b)
{
	struct run r = {.packet = b->bytes, .length = b->length, .repeat = REPEAT};

	run_program(g, program, &r);
	return r.nanoseconds;
}

static void lower(unsigned int *best, unsigned int value)
{
	if (value < *best)
		*best = value;
}

int main(void)
{
	struct subject subjects[] = {
		{"connected, class without a bucket", "marked", 15, ~0U},
		{"connected, class with a bucket", "metered", 45, ~0U},
		{"unconnected datagram, classified each time", NULL, 0, ~0U},
	};
	struct packet_spec spec = {.family = 4,
				   .protocol = IPPROTO_UDP,
				   .dsfield = 34 << 2,
				   .destination_port = 9,
				   .payload = 64};
	unsigned int empty = ~0U, given = ~0U, i, round;
	struct governed *g = run_load(policy);
	struct built b;

	packet_build(&b, &spec);
	for (round = 0; round < ROUNDS; round++) {
		lower(&empty, measure(g, RUN_EMPTY, &b));
		lower(&given, measure(g, RUN_GIVEN_ONLY, &b));
		for (i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
			struct subject *s = &subjects[i];
			struct hq_flow flow =
				s->class_name ? run_tcp_flow(g, s->class_name) : run_udp_flow();

			run_give(g, &flow);
			lower(&s->best, measure(g, RUN_GOVERNED, &b));
		}
	}
	printf("tc egress, ns a packet over an empty program: that takes %u ns here; budgets are\n"
	       "for a machine where it takes %u\n",
	       empty, EMPTY_NS);
	for (i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		printf("%-44s %4d", subjects[i].what, (int)(subjects[i].best - given));
		if (subjects[i].budget)
			printf("   budget %u, here %u", subjects[i].budget,
			       subjects[i].budget * empty / EMPTY_NS);
		putchar('\n');
	}
	run_unload(g);
	return 0;
}
