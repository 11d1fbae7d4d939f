/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Commands that are killed, that fail, that run at once; and no trace at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traced.h"
#include "traffic.h"

#define AF21 18
#define EF   46

static const char policy[] = "classes: { voice: { dscp: EF, cgroup: @/app } }\n";
static const char other_policy[] =
	"classes: { voice: { dscp: AF21, cgroup: @/app, egress: { rate: 100mbit } } }\n";

#define PINS "/sys/fs/bpf/hostqos"

static bool pinned(const struct testbed *tb)
{
	char path[128];

	snprintf(path, sizeof(path), PINS "/%s", tb->instance);
	return !access(path, F_OK);
}

static char *qdiscs(struct testbed *tb)
{
	struct place near = near_place(tb, NULL);
	struct process *tc = process_start(tb, &near, "tc qdisc show dev " NEAR_IF);

	assert_int_equal(process_wait(tc), 0);
	return process_output(tc);
}

static void detach_leaves_no_trace(void **state)
{
	struct testbed *tb = *state;
	char *before = qdiscs(tb), *after, made[128], kept[128];
	struct bpf_ids ids;

	snprintf(made, sizeof(made), "%s/made", tb->cgroup);
	snprintf(kept, sizeof(kept), "%s/kept", tb->cgroup);
	cgroup_make(kept);
	apply(tb, "classes:\n"
		  "  voice: { dscp: EF, cgroup: @/made/deep, egress: { rate: 1mbit } }\n"
		  "  web: { dscp: AF21, syn_ack: CS5, cgroup: @/kept }\n"
		  "rules:\n"
		  "  - { match: { inbound_dscp: AF41, remote: 10.0.0.0/8 }, class: web }\n"
		  "  - { match: { remote_port: 25 }, refuse: true }\n");
	assert_true(cgroup_exists(made));
	bpf_ids_collect(tb, &ids);
	assert_true(ids.program_count && ids.map_count && ids.link_count);
	assert_int_equal(bpf_ids_alive(&ids), ids.program_count + ids.map_count + ids.link_count);
	detach(tb);
	/* The kernel frees what nobody holds a little later. */
	AWAIT(!bpf_ids_alive(&ids));
	assert_false(pinned(tb));
	assert_false(cgroup_exists(made));
	assert_true(cgroup_exists(kept));
	after = qdiscs(tb);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void applying_again_and_again_leaves_one_of_each(void **state)
{
	struct testbed *tb = *state;
	struct bpf_ids first, last;
	int i;

	/* From the second generation on there is the one in force and the one before. */
	apply(tb, other_policy);
	apply(tb, policy);
	bpf_ids_collect(tb, &first);
	for (i = 0; i < 6; i++)
		apply(tb, i % 2 ? policy : other_policy);
	AWAIT((bpf_ids_collect(tb, &last), last.map_count == first.map_count));
	assert_int_equal(last.program_count, first.program_count);
	assert_int_equal(last.link_count, first.link_count);
	detach(tb);
	AWAIT(!bpf_ids_alive(&last));
	assert_int_equal(bpf_ids_alive(&first), 0);
}

static void detach_of_nothing_is_done_and_says_so(void **state)
{
	struct testbed *tb = *state;
	struct process *p = hostqos_start(tb, "detach");
	struct json_object *o;

	assert_int_equal(process_wait(p), 0);
	assert_non_null(strstr(process_output(p), "not installed"));
	o = hostqos_json(tb, 0, "detach");
	assert_false(json_object_get_boolean(json_member(o, "changed")));
	assert_int_equal(json_object_array_length(json_member(o, "refused")), 0);
	json_object_put(o);
}

static double seconds_of_apply(struct testbed *tb, const char *text)
{
	uint64_t start = now_ns();

	apply(tb, text);
	return (now_ns() - start) / 1e9;
}

static void kill_after(struct process *p, double seconds)
{
	nanosleep(&(struct timespec){.tv_sec = seconds, .tv_nsec = (seconds - (long)seconds) * 1e9},
		  NULL);
	process_kill(p, SIGKILL);
	process_wait(p);
}

/* As `status` tells, where all else is healthy. */
static bool sockets_follow(struct testbed *tb)
{
	struct process *p = hostqos_start(tb, "-j status");
	struct json_object *status, *attached;
	bool follow;
	size_t i;

	process_wait(p);
	status = json_tokener_parse(process_output(p));
	attached = json_member(status, "attached");
	assert_true(json_object_array_length(attached) > 0);
	for (i = 0; i < json_object_array_length(attached); i++)
		assert_true(json_object_get_boolean(
			json_member(json_object_array_get_idx(attached, i), "ok")));
	follow = json_object_get_boolean(json_member(status, "sockets_follow"));
	json_object_put(status);
	return follow;
}

#define MOMENTS 10

/* The old or the new policy is in force, whole, and the next command works. */
static void killed_reload_leaves_the_old_or_the_new_policy(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int old = udp_socket(&near, FAR4), i, mark;
	double seconds;

	apply(tb, policy);
	seconds = seconds_of_apply(tb, other_policy);
	for (i = 0; i <= MOMENTS; i++) {
		apply(tb, policy);
		assert_int_equal(mark_now(c, old), EF);
		kill_after(hostqos_start(tb, "apply %s", policy_file(tb, other_policy)),
			   seconds * i / MOMENTS);
		mark = mark_now(c, old);
		if (mark != EF && mark != AF21)
			fail_msg("moment %d: DSCP %d is of no policy", i, mark);
		if (hostqos(tb, "status"))
			assert_false(sockets_follow(tb));
	}
	apply(tb, other_policy);
	assert_int_equal(mark_now(c, old), AF21);
	close(old);
}

/* Whose marks live sockets have, nobody knows then but `status`. */
static void killed_before_sockets_follow_is_told(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4);
	pid_t pid;

	apply(tb, policy);
	assert_int_equal(mark_now(c, fd), EF);
	pid = traced_start(tb, "apply", policy_file(tb, other_policy), NULL, NULL);
	while (mark_now(c, fd) == EF)
		assert_true(traced_until(pid, TRACED_UPDATE));
	traced_kill(pid);
	assert_int_equal(hostqos(tb, "status"), 1);
	assert_false(sockets_follow(tb));
	apply(tb, other_policy);
	assert_true(sockets_follow(tb));
	assert_int_equal(hostqos(tb, "status"), 0);
	close(fd);
}

static void killed_first_apply_is_told(void **state)
{
	struct testbed *tb = *state;
	struct process *p;
	pid_t pid;

	pid = traced_start(tb, "apply", policy_file(tb, policy), NULL, NULL);
	assert_true(traced_until(pid, TRACED_UPDATE));
	traced_kill(pid);
	p = hostqos_start(tb, "status");
	assert_int_equal(process_wait(p), 1);
	assert_non_null(strstr(process_output(p), "parts of it are there"));
	detach(tb);
	p = hostqos_start(tb, "status");
	assert_int_equal(process_wait(p), 1);
	assert_null(strstr(process_output(p), "parts of it are there"));
}

static void killed_first_apply_can_be_applied_and_detached(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int i, mark, fd = udp_socket(&near, FAR4);
	struct bpf_ids ids;
	double seconds = seconds_of_apply(tb, policy);

	detach(tb);
	for (i = 0; i <= MOMENTS; i++) {
		kill_after(hostqos_start(tb, "apply %s", policy_file(tb, policy)),
			   seconds * i / MOMENTS);
		mark = mark_now(c, fd);
		if (mark != 0 && mark != EF)
			fail_msg("moment %d: DSCP %d is of no policy", i, mark);
		if (i % 2)
			apply(tb, other_policy);
		if (pinned(tb)) {
			bpf_ids_collect(tb, &ids);
			detach(tb);
			AWAIT(!bpf_ids_alive(&ids));
		}
		assert_false(pinned(tb));
		assert_int_equal(mark_now(c, fd), 0);
	}
	close(fd);
}

static void killed_detach_can_be_repeated(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int i, fd = udp_socket(&near, FAR4);
	struct bpf_ids ids;
	double seconds;
	uint64_t start;

	apply(tb, policy);
	start = now_ns();
	detach(tb);
	seconds = (now_ns() - start) / 1e9;
	for (i = 0; i <= MOMENTS; i++) {
		apply(tb, policy);
		bpf_ids_collect(tb, &ids);
		kill_after(hostqos_start(tb, "detach"), seconds * i / MOMENTS);
		if (pinned(tb))
			detach(tb);
		AWAIT(!bpf_ids_alive(&ids));
		assert_false(pinned(tb));
		assert_int_equal(mark_now(c, fd), 0);
	}
	close(fd);
}

/* The second waits or says who is first; either way one whole policy is in force. */
static void two_applies_at_once_do_not_mix(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int i, fd = udp_socket(&near, FAR4), mark, status_a, status_b;
	struct process *a, *b;

	for (i = 0; i < 8; i++) {
		a = hostqos_start(tb, "apply %s", policy_file(tb, policy));
		b = hostqos_start(tb, "apply %s", policy_file(tb, other_policy));
		status_a = process_wait(a);
		status_b = process_wait(b);
		if (status_a && status_b)
			fail_msg("neither worked: %s%s", process_errors(a), process_errors(b));
		if ((status_a && !process_errors(a)[0]) || (status_b && !process_errors(b)[0]))
			fail_msg("one failed without a word");
		mark = mark_now(c, fd);
		assert_true((mark == EF && !status_a) || (mark == AF21 && !status_b));
		assert_int_equal(hostqos(tb, "status"), 0);
		if (i == 3)
			detach(tb);
	}
	close(fd);
}

/* Start it while another holds the lock, and wait until it waits. */
static struct process *start_waiting(struct testbed *tb, const char *verb)
{
	struct process *p = hostqos_start(tb, "%s", verb);

	AWAIT(strstr(process_errors(p), "waiting for") || process_ended(p));
	assert_false(process_ended(p));
	return p;
}

/*
 * While they wait for the lock, the installation goes, as by detach, or another
 * takes its place: they act on what is there then.
 */
static void what_waited_sees_what_is_there_then(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4), lock;
	char dir[128], old[128], verb[128];
	struct process *keep, *shadow;
	struct json_object *shown, *voice;

	snprintf(dir, sizeof(dir), PINS "/%s", tb->instance);
	snprintf(old, sizeof(old), PINS "/%s-old", tb->instance);
	apply(tb, policy);
	lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	keep = start_waiting(tb, "keep");
	snprintf(verb, sizeof(verb), "shadow %s", policy_file(tb, other_policy));
	shadow = start_waiting(tb, verb);
	assert_int_equal(rename(dir, old), 0);
	process_kill(shadow, SIGSTOP);
	close(lock);
	assert_int_equal(process_wait(keep), 1);
	assert_non_null(strstr(process_errors(keep), "no policy is in force"));
	apply(tb, policy);
	process_kill(shadow, SIGCONT);
	assert_int_equal(process_wait(shadow), 0);
	assert_int_equal(mark_now(c, fd), EF);
	shown = hostqos_json(tb, 0, "shadow --show");
	voice = json_find(json_member(shown, "classes"), "name", "voice");
	assert_int_equal(json_object_get_int(json_member(voice, "remarked")), 1);
	json_object_put(shown);
	detach(tb);
	assert_int_equal(rename(old, dir), 0);
	detach(tb);
	close(fd);
}

static const char no_such_cgroup[] = "hostqos: 1\n"
				     "attach: { cgroup: @/missing, interfaces: [near0] }\n"
				     "classes: { voice: { dscp: AF21 } }\n";

static const char *const bad_policies[] = {
	"classes: { voice: { dscp: XX } }\n",
	no_such_cgroup,
	"rules: [{ match: { protocol: tcp }, class: nowhere }]\n",
};

#define BAD_POLICIES (sizeof(bad_policies) / sizeof(bad_policies[0]))

static void failing_apply_changes_nothing(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4);
	struct json_object *before, *after;
	struct process *p;
	size_t i;

	for (i = 0; i < BAD_POLICIES; i++) {
		assert_int_equal(hostqos(tb, "apply %s", policy_file(tb, bad_policies[i])), 1);
		assert_false(pinned(tb));
	}
	apply(tb, policy);
	before = hostqos_json(tb, 0, "status");
	for (i = 0; i < BAD_POLICIES; i++) {
		p = hostqos_start(tb, "apply %s", policy_file(tb, bad_policies[i]));
		assert_int_equal(process_wait(p), 1);
		assert_true(process_errors(p)[0]);
		assert_int_equal(mark_now(c, fd), EF);
	}
	after = hostqos_json(tb, 0, "status");
	assert_string_equal(json_object_to_json_string(json_member(before, "generation")),
			    json_object_to_json_string(json_member(after, "generation")));
	json_object_put(before);
	json_object_put(after);
	close(fd);
}

/* With so many descriptors at most. */
static struct process *limited(struct testbed *tb, int descriptors, const char *verb)
{
	struct place near = near_place(tb, NULL);
	struct process *p =
		process_start(tb, &near, "prlimit --nofile=%d:%d %s --instance %s %s", descriptors,
			      descriptors, hostqos_binary(), tb->instance, verb);

	if (process_wait(p) && !*process_errors(p))
		fail_msg("with %d descriptors it failed without a word", descriptors);
	return p;
}

/* Not so where the policy is in force by then. */
static bool apply_fails(struct testbed *tb, int descriptors, const char *text)
{
	struct process *p;
	char verb[128];

	snprintf(verb, sizeof(verb), "apply %s", policy_file(tb, text));
	p = limited(tb, descriptors, verb);
	return process_wait(p) && !strstr(process_errors(p), "the new policy is in force");
}

/* What is attached, from what link, and how old the policy is. */
static char *installation(struct testbed *tb)
{
	struct json_object *status = hostqos_json(tb, 0, "status");
	char *text;

	if (asprintf(&text, "%s %s", json_object_to_json_string(json_member(status, "generation")),
		     json_object_to_json_string(json_member(status, "attached"))) < 0)
		fail_msg("no memory");
	json_object_put(status);
	return text;
}

/* Needs hooks that the policy in force does not, and a cgroup that there is not. */
static const char demanding[] =
	"classes:\n"
	"  voice: { dscp: AF21, cgroup: @/app }\n"
	"  made: { dscp: AF41, cgroup: @/made/deep, mirror: { of: upstream, from: 10.0.0.0/8, allow: EF } }\n"
	"rules:\n"
	"  - { match: { inbound_dscp: AF41, remote: 10.0.0.0/8 }, class: made }\n"
	"  - { match: { remote_port: 25 }, refuse: true }\n";

/* Wherever it runs out of them: what was done by then is undone. */
static void apply_that_fails_halfway_changes_nothing(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4), descriptors, failed = 0;
	char made[128], *before, *after;

	snprintf(made, sizeof(made), "%s/made", tb->cgroup);
	for (descriptors = 16; apply_fails(tb, descriptors, demanding); descriptors += 16) {
		assert_false(pinned(tb));
		assert_false(cgroup_exists(made));
		assert_int_equal(mark_now(c, fd), 0);
		failed++;
	}
	assert_true(failed > 2);
	failed = 0;
	detach(tb);

	apply(tb, policy);
	before = installation(tb);
	for (descriptors = 16; apply_fails(tb, descriptors, demanding); descriptors += 12) {
		after = installation(tb);
		assert_string_equal(after, before);
		free(after);
		assert_false(cgroup_exists(made));
		assert_int_equal(mark_now(c, fd), EF);
		failed++;
	}
	free(before);
	assert_true(failed > 2);
	apply(tb, demanding);
	assert_int_equal(mark_now(c, fd), AF21);
	close(fd);
}

/* What a live socket's own marks are is known to the installation only. */
static void detach_that_fails_halfway_can_be_repeated(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection tcp = tcp_connection(&near, &far, FAR4, 7001);
	int fd = udp_socket(&near, FAR4), sink = udp_sink(&far, FAR4, 7000);
	int descriptors, failed = 0;
	struct process *p;

	connect_to(fd, FAR4, 7000);
	apply(tb, "classes: { default: { dscp: EF, egress: { rate: 24mbit } } }\n");
	for (descriptors = 16; process_wait(p = limited(tb, descriptors, "detach"));
	     descriptors++) {
		assert_true(pinned(tb));
		assert_int_equal(mark_now(c, fd), EF);
		failed++;
	}
	assert_true(failed > 2);
	assert_false(pinned(tb));
	assert_non_null(strstr(process_output(p), "given back to 2 live sockets"));
	assert_int_equal(mark_now(c, fd), 0);
	assert_int_equal(get_option(tcp.client, SOL_SOCKET, SO_MAX_PACING_RATE), -1);
	close(tcp.client), close(tcp.server), close(tcp.listener);
	close(fd), close(sink);
}

/* As one that was put there by another version. */
static void installation_of_another_version_can_be_detached(void **state)
{
	struct testbed *tb = *state;
	char path[128], header[4096];
	uint32_t zero = 0;
	struct process *p;
	int map;

	apply(tb, policy);
	snprintf(path, sizeof(path), "/sys/fs/bpf/hostqos/%s/maps/header", tb->instance);
	map = bpf_obj_get(path);
	assert_true(map >= 0);
	assert_int_equal(bpf_map_lookup_elem(map, &zero, header), 0);
	++*(uint32_t *)header; /* struct hq_header begins with `abi` */
	assert_int_equal(bpf_map_update_elem(map, &zero, header, 0), 0);
	close(map);
	p = hostqos_start(tb, "show flows");
	assert_int_equal(process_wait(p), 1);
	assert_non_null(strstr(process_errors(p), "by another version"));
	p = hostqos_start(tb, "apply %s", policy_file(tb, policy));
	assert_int_equal(process_wait(p), 1);
	assert_non_null(strstr(process_errors(p), "by another version"));
	p = hostqos_start(tb, "detach");
	assert_int_equal(process_wait(p), 0);
	assert_non_null(strstr(process_errors(p), "live sockets keep the marks"));
	assert_false(pinned(tb));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(detach_leaves_no_trace),
		NET_TEST(applying_again_and_again_leaves_one_of_each),
		NET_TEST(detach_of_nothing_is_done_and_says_so),
		NET_TEST(killed_reload_leaves_the_old_or_the_new_policy),
		NET_TEST(killed_before_sockets_follow_is_told),
		NET_TEST(killed_first_apply_is_told),
		NET_TEST(killed_first_apply_can_be_applied_and_detached),
		NET_TEST(killed_detach_can_be_repeated),
		NET_TEST(two_applies_at_once_do_not_mix),
		NET_TEST(what_waited_sees_what_is_there_then),
		NET_TEST(failing_apply_changes_nothing),
		NET_TEST(apply_that_fails_halfway_changes_nothing),
		NET_TEST(detach_that_fails_halfway_can_be_repeated),
		NET_TEST(installation_of_another_version_can_be_detached),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
