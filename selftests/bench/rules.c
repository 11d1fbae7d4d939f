// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * What one classification costs in the kernel, by the number of rules. A
 * connection takes two or three of them, a first datagram one; packets of a
 * connected socket take none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "../../loader/instance.h"
#include "../../loader/tables.h"
#include "../bpf/classifier.h"
#include "../net/large.h"
#include "policy.h"
#include "selftests/bpf/classifier.skel.h"

#define ROUNDS 15
#define REPEAT 20000
#define CGROUP 1 /* an id: seen before, its row is remembered */

/* A number of rules, and the least of any round, ns. */
struct subject {
	int rules;
	struct classifier_bpf *skel;
	unsigned int decided, undecided;
};

static struct hq_image *compile(int rules)
{
	char *text =
		large_policy("hostqos: 1\n", rules, "user: 7, protocol: tcp, remote: 10.0.0.0/8");
	char *at;
	struct diag diag = {};
	struct policy *policy;
	struct hq_image *image;

	/* "@/s1" to "/xs1": there is no testbed here. */
	for (at = text; (at = strchr(at, '@')); at++)
		memcpy(at, "/x", 2);
	policy = policy_parse("large", text, strlen(text), &diag);
	if (!policy)
		diag_print(&diag, stderr);
	assert_non_null(policy);
	image = policy_compile(policy, NULL, policy_exe_stat, &diag);
	assert_non_null(image);
	policy_free(policy);
	diag_free(&diag);
	free(text);
	return image;
}

static void load(struct subject *s)
{
	struct hq_image *image = compile(s->rules);
	__u64 cgroup[2] = {CGROUP, 1}; /* struct cgroup_rows_key, generation 1 */
	struct instance in;
	struct tables t;
	int i;

	s->skel = classifier_bpf__open_and_load();
	assert_non_null(s->skel);
	for (i = 0; i < NTABLES; i++)
		in.outer[i] = bpf_map__fd(
			bpf_object__find_map_by_name(s->skel->obj, table_outer_name(i)));
	assert_int_equal(tables_create(&t, bpf_map__fd(s->skel->maps.active), image, "", 0), 0);
	assert_int_equal(tables_publish(&in, &t, 1), 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(s->skel->maps.cgroup_rows), &cgroup,
					     &image->header.other_row[HQ_DIM_CGROUP], 0),
			 0);
	tables_close(&t);
	image_free(image);
	s->decided = s->undecided = ~0U;
}

static unsigned int measure(struct subject *s, __u32 known)
{
	struct asked a = {
		.flow.id = {.cgroup = CGROUP,
			    .cgroup_ptr = 1,
			    .uid = 7,
			    .known = HQ_BIT(HQ_DIM_CGROUP) | HQ_BIT(HQ_DIM_USER)},
		.flow.protocol = IPPROTO_TCP,
		.flow.type = SOCK_STREAM,
		.remote = {[10] = 0xff, 0xff, 10, 1, 2, 3},
		.remote_port = 443,
		.family = 4,
		.known = known,
		.generation = 1,
	};
	static unsigned char packet[64];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = REPEAT);
	__u32 zero = 0;

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(s->skel->maps.asked), &zero, &a, 0), 0);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(s->skel->progs.ask_first), &opts),
			 0);
	return opts.duration;
}

static void lower(unsigned int *best, unsigned int value)
{
	if (value < *best)
		*best = value;
}

int main(void)
{
	struct subject subjects[] = {
		{.rules = 10}, {.rules = 100}, {.rules = 1000}, {.rules = LARGE_RULES}};
	size_t i;
	int round;

	for (i = 0; i < sizeof(subjects) / sizeof(*subjects); i++)
		load(&subjects[i]);
	for (round = 0; round < ROUNDS; round++)
		for (i = 0; i < sizeof(subjects) / sizeof(*subjects); i++) {
			lower(&subjects[i].decided, measure(&subjects[i], HQ_ALL_DIMS));
			lower(&subjects[i].undecided, measure(&subjects[i], HQ_BIT(HQ_DIM_FAMILY)));
		}
	puts("one classification, ns, by the number of rules; undecided: addresses not known yet");
	for (i = 0; i < sizeof(subjects) / sizeof(*subjects); i++)
		printf("%6d rules %8u %8u undecided\n", subjects[i].rules, subjects[i].decided,
		       subjects[i].undecided);
	return 0;
}
