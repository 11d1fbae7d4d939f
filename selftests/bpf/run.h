/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * tc egress under BPF_PROG_RUN: a policy in the object's own maps, nothing
 * pinned or attached, packets built by hand.
 */
#ifndef HOSTQOS_SELFTESTS_RUN_H
#define HOSTQOS_SELFTESTS_RUN_H

#include <hostqos/abi.h>

struct governed;

/*
 * Load the programs and put the policy's text in force, as generation 1. Runs
 * stay on this CPU, as the memory of datagrams does. Fails the test on error.
 */
struct governed *run_load(const char *policy);
void run_unload(struct governed *g);

/* load() and unload() for a group of tests that share what is loaded. */
#define RUN_FIXTURE(g, policy)                                                                     \
	static struct governed *g;                                                                 \
                                                                                                   \
	static int load(void **state)                                                              \
	{                                                                                          \
		(void)state;                                                                       \
		g = run_load(policy);                                                              \
		return 0;                                                                          \
	}                                                                                          \
                                                                                                   \
	static int unload(void **state)                                                            \
	{                                                                                          \
		(void)state;                                                                       \
		run_unload(g);                                                                     \
		return 0;                                                                          \
	}

/* The class's id in the policy. */
__u16 run_class(struct governed *g, const char *name);

/* The flow that the socket of the next run carries. */
void run_give(struct governed *g, const struct hq_flow *flow);

/* A flow that was classified already, as of a connected TCP socket. */
struct hq_flow run_tcp_flow(struct governed *g, const char *class_name);

/* An unconnected UDP socket's flow of root in the given cgroup-less identity. */
struct hq_flow run_udp_flow(void);

enum run_program {
	RUN_GOVERNED,
	RUN_GOVERNED_FIRST,
	RUN_GOVERNED_TWICE,
	RUN_GIVEN_ONLY,
	RUN_UNGOVERNED,
	RUN_EMPTY
};

struct run {
	const void *packet; /* from the Ethernet header */
	unsigned int length;
	unsigned int wire_length; /* 0: the packet's */
	unsigned int gso_segments;
	unsigned long long departure; /* ns, as TCP leaves it; 0: none */
	unsigned int repeat;	      /* 0: once */
	unsigned int ingress;	      /* index of the interface that it came in at */
	/* the answer */
	unsigned char out[4096];
	unsigned int out_length;
	int verdict;
	unsigned int nanoseconds; /* each, over `repeat` runs */
	unsigned int priority;
};

void run_program(struct governed *g, enum run_program program, struct run *r);

/* CLOCK_MONOTONIC, as the meter reads it. */
unsigned long long run_now(void);

/* Sums over CPUs. */
struct hq_class_counters run_counters(struct governed *g, const char *class_name);
__u64 run_faults(struct governed *g, enum hq_fault fault);

/* Whatever is remembered of datagrams is from now on of this class; NULL: nothing is. */
void run_misremember(struct governed *g, const char *class_name);

/* What the class's clock of ticks says, as run_now(); 0: it never was read. */
__u64 run_tick_clock(struct governed *g, const char *class_name);

#endif
