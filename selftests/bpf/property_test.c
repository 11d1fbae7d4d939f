// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Random policies, random flows: the kernel's classifier against the words. The
 * cgroups are real ones, below one that stands for the root.
 *
 * A seed that failed is printed; HOSTQOS_SEED=0x... tries that one again.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../loader/instance.h"
#include "../../loader/sockets.h"
#include "../../loader/tables.h"
#include "../oracle/oracle.h"
#include "../unit/policy_helper.h"
#include "classifier.h"
#include "selftests/bpf/classifier.skel.h"

#define POLICIES 200
#define WORKERS	 4 /* processes: most of the time goes by waiting for grace periods */
#define SAID	 (HQ_NAME_LEN + 2)

#define KERNEL_KNOWS (HQ_BIT(HQ_DIM_PROTOCOL) | HQ_BIT(HQ_DIM_TYPE) | HQ_BIT(HQ_DIM_ORIGIN))
#define IDENTITY                                                                                   \
	(HQ_BIT(HQ_DIM_CGROUP) | HQ_BIT(HQ_DIM_EXE_FILE) | HQ_BIT(HQ_DIM_EXE_NAME) |               \
	 HQ_BIT(HQ_DIM_USER) | HQ_BIT(HQ_DIM_GROUP))

static struct classifier_bpf *skel;
static struct instance in; /* only what tables_publish() reads of it */
static struct found_cgroup real_cgroups[ORACLE_CGROUPS];
static char top_name[64];
static int top_fd;
static pid_t owner; /* of the cgroups */
static __u32 generation;
static uint64_t seed = ORACLE_SEED;

/* Of a path "/a/b": f(top, "a"), f(top, "a/b"); the other way round to remove. */
static void for_each_on_the_way(const char *path, int (*f)(const char *below), bool down)
{
	size_t length = strlen(path), i;

	for (i = 1; i <= length; i++) {
		size_t at = down ? i : length + 1 - i;
		char below[256];

		if (path[at] != '/' && path[at])
			continue;
		snprintf(below, sizeof(below), "%.*s", (int)at - 1, path + 1);
		f(below);
	}
}

static int make(const char *below)
{
	return mkdirat(top_fd, below, 0755);
}

static int drop(const char *below)
{
	return unlinkat(top_fd, below, AT_REMOVEDIR);
}

static void make_cgroups(void)
{
	char path[PATH_MAX + sizeof(top_name)];
	size_t i;

	snprintf(path, sizeof(path), "%s%s", in.cgroup2, top_name);
	assert_int_equal(mkdir(path, 0755), 0);
	top_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(top_fd >= 0);
	for (i = 0; i < ORACLE_CGROUPS; i++)
		for_each_on_the_way(oracle_cgroups[i], make, true);
}

/* One that holds another waits for a later round. */
static void remove_cgroups(void)
{
	char path[PATH_MAX + sizeof(top_name)];
	size_t round, i;

	for (round = 0; round < ORACLE_CGROUPS; round++)
		for (i = 0; i < ORACLE_CGROUPS; i++)
			for_each_on_the_way(oracle_cgroups[i], drop, false);
	close(top_fd);
	snprintf(path, sizeof(path), "%s%s", in.cgroup2, top_name);
	assert_int_equal(rmdir(path), 0);
}

/* The kernel's own addresses of the cgroups, by an iterator. */
static void find_cgroups(void)
{
	union bpf_iter_link_info info = {.cgroup.order = BPF_CGROUP_ITER_DESCENDANTS_PRE};
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct found_cgroup *found;
	struct bpf_link *link;
	size_t length, i, n;
	struct stat st;
	void *data;

	info.cgroup.cgroup_fd = top_fd;
	link = bpf_program__attach_iter(skel->progs.list_cgroups, &opts);
	assert_non_null(link);
	assert_int_equal(iterator_read(bpf_link__fd(link), &data, &length), 0);
	found = data;
	for (i = 0; i < ORACLE_CGROUPS; i++) {
		const char *below = *oracle_cgroups[i] ? oracle_cgroups[i] + 1 : ".";

		assert_int_equal(fstatat(top_fd, below, &st, 0), 0);
		for (n = 0; n < length / sizeof(*found); n++)
			if (found[n].id == st.st_ino)
				real_cgroups[i] = found[n];
		assert_true(real_cgroups[i].pointer);
	}
	free(data);
	bpf_link__destroy(link);
}

static void load(void)
{
	struct bpf_map *map;
	int i;

	skel = classifier_bpf__open_and_load();
	assert_non_null(skel);
	for (i = 0; i < NTABLES; i++) {
		map = bpf_object__find_map_by_name(skel->obj, table_outer_name(i));
		in.outer[i] = bpf_map__fd(map);
	}
}

static int set_up(void **state)
{
	(void)state;
	owner = getpid();
	assert_int_equal(instance_init(&in, "property", false), 0);
	snprintf(top_name, sizeof(top_name), "/hostqos-test-%d-property", owner);
	make_cgroups();
	return 0;
}

/* A worker that failed comes here too. */
static int tear_down(void **state)
{
	(void)state;
	if (getpid() == owner)
		remove_cgroups();
	return 0;
}

static void put_in_force(struct hq_image *image, const char *text)
{
	struct tables t;

	image->header.generation = ++generation;
	assert_int_equal(
		tables_create(&t, bpf_map__fd(skel->maps.active), image, text, strlen(text)), 0);
	assert_int_equal(tables_publish(&in, &t, hq_slot(generation)), 0);
	tables_close(&t);
}

static void describe(struct asked *a, const struct policy_flow *flow)
{
	size_t i;

	memset(a, 0, sizeof(*a));
	for (i = 0; oracle_cgroups[i] != flow->cgroup; i++)
		;
	a->flow.id = (struct hq_identity){
		.cgroup = real_cgroups[i].id,
		.cgroup_ptr = real_cgroups[i].pointer,
		.exe_inode = flow->exe_inode,
		.exe_device = flow->exe_device,
		.exe_name = policy_name_hash(flow->exe_name),
		.uid = flow->uid,
		.gid = flow->gid,
		.known = flow->known & IDENTITY,
	};
	a->flow.protocol = flow->protocol;
	a->flow.type = flow->type;
	memcpy(a->local, flow->local, 16);
	memcpy(a->remote, flow->remote, 16);
	a->local_port = flow->local_port;
	a->remote_port = flow->remote_port;
	a->family = flow->family;
	a->direction = flow->direction;
	a->inbound_dscp = flow->inbound_dscp;
	a->origin = flow->origin;
	a->known = flow->known & ~IDENTITY;
	a->generation = generation;
}

/* All in one run of the program. */
static void ask_kernel(struct asked *asked)
{
	static __u32 keys[ASKED_MOST];
	static unsigned char packet[64];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	int fd = bpf_map__fd(skel->maps.asked);
	__u32 count = ASKED_MOST, from, i;

	for (i = 0; i < ASKED_MOST; i++)
		keys[i] = i;
	assert_int_equal(bpf_map_update_batch(fd, keys, asked, &count, NULL), 0);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.ask_all), &opts), 0);
	count = ASKED_MOST;
	if (bpf_map_lookup_batch(fd, NULL, &from, keys, asked, &count, NULL))
		assert_int_equal(errno, ENOENT); /* the end was reached */
	assert_int_equal(count, ASKED_MOST);
}

/* The rule that decides, "" for none; "+" if an earlier one is undecided, "!" if it refuses. */
static void say(char said[SAID], const char *rule, bool provisional, bool refuse)
{
	snprintf(said, SAID, "%s%s%s", rule, provisional ? "+" : "", refuse ? "!" : "");
}

static void expect(char said[SAID], const struct oracle_policy *policy,
		   const struct policy_flow *flow)
{
	struct oracle_matched m = oracle_match(policy, flow);

	say(said, m.sure, strcmp(m.sure, m.maybe),
	    *m.sure == 'r' && policy->rules[atoi(m.sure + 1)].refuse);
}

static void found(char said[SAID], const struct hq_image *image, struct hq_decision d)
{
	const char *rule = d.rule == HQ_RULE_NONE ? "" : image->rules[d.rule].name;

	assert_int_equal(d.generation, generation);
	if (d.rule != HQ_RULE_NONE && !d.refuse)
		assert_int_equal(d.class, image->rules[d.rule].class);
	else
		assert_int_equal(d.class, HQ_CLASS_DEFAULT);
	say(said, rule, d.provisional, d.refuse);
}

/* How many flows a rule of the policy's decided. */
static size_t compare(const struct oracle_policy *policy, const struct hq_image *image,
		      uint64_t from)
{
	static struct policy_flow flows[ASKED_MOST];
	static struct asked asked[ASKED_MOST];
	char kernel[SAID], words[SAID];
	size_t matched = 0, i;

	for (i = 0; i < ASKED_MOST; i++) {
		flows[i] = oracle_make_flow(policy, &seed);
		flows[i].known |= KERNEL_KNOWS;
		describe(&asked[i], &flows[i]);
	}
	ask_kernel(asked);
	for (i = 0; i < ASKED_MOST; i++) {
		expect(words, policy, &flows[i]);
		found(kernel, image, asked[i].answer);
		if (strcmp(kernel, words))
			fail_msg("HOSTQOS_SEED=%#llx: flow %zu in '%s': the kernel says '%s', the "
				 "words '%s'",
				 (unsigned long long)from, i, flows[i].cgroup, kernel, words);
		matched += *words == 'r';
	}
	return matched;
}

/* One random policy. False where it is none: keys that exclude each other are an error. */
static bool try_policy(size_t *matched)
{
	static struct oracle_policy words;
	struct diag diag = {0};
	struct policy *policy;
	uint64_t from = seed;
	char *text;

	oracle_make_policy(&words, &seed);
	text = oracle_write_policy(&words, top_name);
	policy = policy_parse("random", text, strlen(text), &diag);
	if (policy) {
		struct hq_image *image = policy_compile(policy, NULL, helper_exe, &diag);

		assert_non_null(image);
		put_in_force(image, text);
		*matched += compare(&words, image, from);
		image_free(image);
	}
	policy_free(policy);
	diag_free(&diag);
	free(text);
	return policy;
}

static __u64 faults(void)
{
	int cpus = libbpf_num_possible_cpus(), i;
	__u64 each[cpus], sum = 0;
	__u32 fault;

	for (fault = 0; fault < HQ_NFAULTS; fault++) {
		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.faults), &fault, each),
				 0);
		for (i = 0; i < cpus; i++)
			sum += each[i];
	}
	return sum;
}

/* So many policies. With a seed of its own each worker tries others. */
static void try_policies(size_t wanted)
{
	size_t good = 0, matched = 0;

	load();
	find_cgroups();
	while (good < wanted)
		good += try_policy(&matched);
	print_message("%zu policies, %zu flows, of which %zu matched a rule\n", good,
		      good * ASKED_MOST, matched);
	assert_int_equal(faults(), 0);
	/* It would be no test if hardly any rule ever matched. */
	assert_true(wanted < 10 || matched > good * ASKED_MOST / 4);
	classifier_bpf__destroy(skel);
}

static void kernel_agrees_with_the_words(void **state)
{
	const char *slow = getenv("HOSTQOS_SLOW"), *given = getenv("HOSTQOS_SEED");
	size_t wanted = POLICIES / WORKERS / (slow ? strtoul(slow, NULL, 10) : 1);
	pid_t workers[WORKERS];
	int i, status;

	(void)state;
	if (given) {
		seed = strtoull(given, NULL, 0);
		try_policies(1);
		return;
	}
	for (i = 0; i < WORKERS; i++) {
		seed *= 0x9e3779b97f4a7c15ULL;
		workers[i] = fork();
		assert_true(workers[i] >= 0);
		if (!workers[i]) {
			try_policies(wanted);
			_exit(0);
		}
	}
	for (i = 0; i < WORKERS; i++) {
		assert_int_equal(waitpid(workers[i], &status, 0), workers[i]);
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernel_agrees_with_the_words),
	};

	return cmocka_run_group_tests_name("property", tests, set_up, tear_down);
}
