// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include <hostqos/bucket.h>

#include "policy.h"
#include "run.h"
#include "../../loader/object.h"
#include "../../loader/tables.h"
#include "selftests/bpf/governed.skel.h"

#define GENERATION 1

struct governed {
	struct governed_bpf *skel;
	struct hq_image *image;
};

static struct hq_image *compile(const char *text)
{
	struct diag diag = {};
	struct policy *policy = policy_parse("test", text, strlen(text), &diag);
	struct hq_image *image;

	if (!policy)
		diag_print(&diag, stderr);
	assert_non_null(policy);
	image = policy_compile(policy, NULL, policy_exe_stat, &diag);
	assert_non_null(image);
	policy_free(policy);
	diag_free(&diag);
	return image;
}

static void put_tables(struct governed *g, const char *text)
{
	struct hq_active active = {.generation = GENERATION};
	__u32 slot = GENERATION & 1, zero = 0;
	struct bpf_map *map;
	struct tables t;
	int i;

	assert_int_equal(
		tables_create(&t, bpf_map__fd(g->skel->maps.active), g->image, text, strlen(text)),
		0);
	for (i = 0; i < NTABLES; i++) {
		map = bpf_object__find_map_by_name(g->skel->obj, table_outer_name(i));
		assert_non_null(map);
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &slot, &t.fd[i], 0), 0);
	}
	tables_close(&t);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(g->skel->maps.active), &zero, &active, 0),
			 0);
}

static void fill_buckets(struct governed *g)
{
	struct hq_bucket full = {.tat = hq_bucket_full(hq_ticks(run_now()))};
	__u32 id;

	for (id = 0; id < HQ_MAX_CLASSES; id++)
		assert_int_equal(
			bpf_map_update_elem(bpf_map__fd(g->skel->maps.buckets), &id, &full, 0), 0);
}

struct governed *run_load(const char *policy)
{
	struct governed *g = calloc(1, sizeof(*g));
	cpu_set_t here;

	assert_non_null(g);
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	assert_int_equal(sched_setaffinity(0, sizeof(here), &here), 0);
	g->image = compile(policy);
	g->skel = governed_bpf__open();
	assert_non_null(g->skel);
	g->skel->rodata->tick_ns = tick_length();
	assert_int_equal(governed_bpf__load(g->skel), 0);
	put_tables(g, policy);
	fill_buckets(g);
	return g;
}

void run_unload(struct governed *g)
{
	governed_bpf__destroy(g->skel);
	image_free(g->image);
	free(g);
}

__u16 run_class(struct governed *g, const char *name)
{
	__u16 id;

	for (id = 0; id < HQ_MAX_CLASSES; id++)
		if (g->image->classes[id].defined && !strcmp(g->image->classes[id].name, name))
			return id;
	fail_msg("no class %s", name);
	return 0;
}

void run_give(struct governed *g, const struct hq_flow *flow)
{
	__u32 zero = 0;

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(g->skel->maps.given), &zero, flow, 0), 0);
}

struct hq_flow run_tcp_flow(struct governed *g, const char *class_name)
{
	struct hq_flow flow = {
		.bits = HQ_FLOW_CONNECTED | HQ_FLOW_DIRECTED,
		.protocol = IPPROTO_TCP,
		.type = SOCK_STREAM,
		.family = AF_INET,
		.inbound_dscp = HQ_DSCP_NONE,
		.decision = {.generation = GENERATION, .rule = HQ_RULE_NONE},
	};

	flow.decision.class = run_class(g, class_name);
	flow.mark_only =
		hq_mark_only(&g->image->classes[flow.decision.class], flow.decision.generation);
	return flow;
}

struct hq_flow run_udp_flow(void)
{
	return (struct hq_flow){
		.protocol = IPPROTO_UDP,
		.type = SOCK_DGRAM,
		.family = AF_INET6,
		.inbound_dscp = HQ_DSCP_NONE,
		.id = {.known = HQ_BIT(HQ_DIM_USER)},
	};
}

static int program_fd(struct governed *g, enum run_program program)
{
	struct bpf_program *programs[] = {
		[RUN_GOVERNED] = g->skel->progs.governed,
		[RUN_GOVERNED_FIRST] = g->skel->progs.governed_first,
		[RUN_GOVERNED_TWICE] = g->skel->progs.governed_twice,
		[RUN_GIVEN_ONLY] = g->skel->progs.given_only,
		[RUN_UNGOVERNED] = g->skel->progs.ungoverned,
		[RUN_EMPTY] = g->skel->progs.empty,
	};

	return bpf_program__fd(programs[program]);
}

void run_program(struct governed *g, enum run_program program, struct run *r)
{
	struct __sk_buff in = {.wire_len = r->wire_length,
			       .gso_segs = r->gso_segments,
			       .tstamp = r->departure,
			       .ingress_ifindex = r->ingress};
	struct __sk_buff out = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = r->packet, .data_size_in = r->length,
		    .data_out = r->out, .data_size_out = sizeof(r->out), .ctx_in = &in,
		    .ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out),
		    .repeat = r->repeat);

	assert_int_equal(bpf_prog_test_run_opts(program_fd(g, program), &opts), 0);
	r->out_length = opts.data_size_out;
	r->verdict = (int)opts.retval;
	r->nanoseconds = opts.duration;
	r->priority = out.priority;
}

unsigned long long run_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

struct hq_class_counters run_counters(struct governed *g, const char *class_name)
{
	int cpus = libbpf_num_possible_cpus(), i;
	struct hq_class_counters each[cpus], sum = {};
	__u32 id = run_class(g, class_name);

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(g->skel->maps.class_counters), &id, each),
			 0);
	for (i = 0; i < cpus; i++) {
		sum.packets += each[i].packets;
		sum.bytes += each[i].bytes;
		sum.marked += each[i].marked;
		sum.exceed_packets += each[i].exceed_packets;
		sum.exceed_bytes += each[i].exceed_bytes;
		sum.flows += each[i].flows;
	}
	return sum;
}

__u64 run_faults(struct governed *g, enum hq_fault fault)
{
	int cpus = libbpf_num_possible_cpus(), i;
	__u64 each[cpus], sum = 0;
	__u32 key = fault;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(g->skel->maps.faults), &key, each), 0);
	for (i = 0; i < cpus; i++)
		sum += each[i];
	return sum;
}

void run_misremember(struct governed *g, const char *class_name)
{
	const struct bpf_map *memos = g->skel->maps.memos;
	size_t size = (bpf_map__value_size(memos) + 7) / 8 * 8;
	int cpus = libbpf_num_possible_cpus(), cpu;
	char *each = calloc(cpus, size);
	__u32 slot;

	for (slot = 0; slot < bpf_map__max_entries(memos); slot++) {
		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(memos), &slot, each), 0);
		for (cpu = 0; cpu < cpus; cpu++) {
			struct hq_decision *decision = (void *)(each + cpu * size);

			if (!class_name)
				*decision = (struct hq_decision){};
			else if (decision->generation)
				decision->class = run_class(g, class_name);
		}
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(memos), &slot, each, 0), 0);
	}
	free(each);
}

__u64 run_tick_clock(struct governed *g, const char *class_name)
{
	__u32 id = run_class(g, class_name);
	struct hq_bucket bucket;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(g->skel->maps.buckets), &id, &bucket), 0);
	return bucket.ns;
}
