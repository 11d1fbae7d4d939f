/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Commands that are killed, or overtaken by the deadline, while a policy is on
 * trial: it still goes back, or what they put in force stays.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traced.h"
#include "traffic.h"

#define AF21 18
#define CS5  40
#define EF   46

static const char policy[] = "classes: { voice: { dscp: EF, cgroup: @/app } }\n";
static const char tried[] = "classes: { voice: { dscp: AF21, cgroup: @/app } }\n";
static const char applied[] = "classes: { voice: { dscp: CS5, cgroup: @/app } }\n";

#define LONG ((int)patience(60))

/* Long enough for all that is to happen before, also where something else stalls the machine. */
#define SHORT ((int)patience(4))

static void must_try(struct testbed *tb, const char *text, int seconds)
{
	assert_int_equal(hostqos(tb, "try %s --for %ds", policy_file(tb, text), seconds), 0);
}

/* What `status` tells of the trial, to be put; NULL: there is none. */
static struct json_object *trial(struct testbed *tb)
{
	struct process *p = hostqos_start(tb, "-j status");
	struct json_object *status, *trial;
	char *text;

	process_wait(p);
	text = process_output(p);
	status = json_tokener_parse(text);
	assert_non_null(status);
	trial = json_object_get(json_member(status, "trial"));
	json_object_put(status);
	free(text);
	return trial;
}

static bool on_trial(struct testbed *tb)
{
	struct json_object *t = trial(tb);
	bool on = t && !json_object_get_boolean(json_member(t, "ran_out"));

	json_object_put(t);
	return on;
}

static pid_t waiter(struct testbed *tb)
{
	struct json_object *t = trial(tb);
	pid_t pid = json_object_get_int(json_member(t, "pid"));

	json_object_put(t);
	assert_true(pid > 0);
	return pid;
}

/* Killed at the nth such call. False: it does not make so many, and has ended. */
static bool killed_at(struct testbed *tb, const char *verb, const char *text, enum traced_call call,
		      int nth)
{
	bool tries = !strcmp(verb, "try");
	char seconds[16];
	pid_t pid;

	snprintf(seconds, sizeof(seconds), "%ds", LONG);
	pid = traced_start(tb, verb, policy_file(tb, text), tries ? "--for" : NULL, seconds);
	while (nth-- && traced_until(pid, call))
		;
	if (nth >= 0)
		return false;
	traced_kill(pid);
	return true;
}

/* Every one of these calls up to the flip and the first after it, but threads, which are alike. */
static const struct {
	enum traced_call call;
	int first, step;
} moments[] = {{TRACED_UPDATE, 1, 1}, {TRACED_UNLINK, 1, 1}, {TRACED_THREAD, 1, 5}};

#define NMOMENTS (sizeof(moments) / sizeof(moments[0]))

static void killed_apply_leaves_the_trial_or_its_policy(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4), nth, mark, stands = 0;
	size_t i;

	apply(tb, policy);
	for (i = 0; i < NMOMENTS; i++) {
		nth = moments[i].first;
		do {
			must_try(tb, tried, LONG);
			if (!killed_at(tb, "apply", applied, moments[i].call, nth))
				break;
			mark = mark_now(c, fd);
			if (on_trial(tb) ? mark != AF21 : mark != CS5)
				fail_msg("moment %zu.%d: DSCP %d, and %s", i, nth, mark,
					 on_trial(tb) ? "on trial" : "no trial");
			stands += mark == AF21;
			apply(tb, policy);
			assert_int_equal(mark_now(c, fd), EF);
			nth += moments[i].step;
		} while (mark == AF21);
		apply(tb, policy);
	}
	assert_true(stands > 3);
	close(fd);
}

/* Its record is there and says what comes back, but it is not the newest generation. */
static void killed_try_is_no_trial(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4), nth, mark = EF;

	apply(tb, policy);
	for (nth = 1; mark == EF; nth++) {
		if (!killed_at(tb, "try", tried, TRACED_UPDATE, nth))
			break;
		mark = mark_now(c, fd);
		assert_int_equal(on_trial(tb), mark == AF21);
		assert_int_equal(hostqos(tb, "keep"), mark == AF21 ? 0 : 1);
		/* Of the generation that the other would have had. */
		if (nth % 2)
			assert_int_equal(hostqos(tb, "shadow %s", policy_file(tb, applied)), 0);
		else
			apply(tb, applied);
		assert_false(on_trial(tb));
		apply(tb, applied);
		assert_int_equal(mark_now(c, fd), CS5);
		apply(tb, policy);
	}
	assert_true(nth > 3);
	assert_int_equal(mark, AF21);
	close(fd);
}

/* Up to its last word, which is one after the threads that fill the slot. */
static pid_t apply_up_to_the_flip(struct testbed *tb, const char *text)
{
	pid_t pid = traced_start(tb, "apply", policy_file(tb, text), NULL, NULL);

	assert_true(traced_until(pid, TRACED_THREAD));
	assert_true(traced_until(pid, TRACED_UPDATE));
	return pid;
}

/* Nobody is left but the kernel, and the former policy is whole. */
static void kernel_goes_back_from_a_killed_apply(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4);

	apply(tb, policy);
	must_try(tb, tried, SHORT);
	traced_kill(apply_up_to_the_flip(tb, applied));
	assert_int_equal(kill(waiter(tb), SIGKILL), 0);
	AWAIT(mark_now(c, fd) == EF);
	apply(tb, applied);
	assert_int_equal(mark_now(c, fd), CS5);
	assert_int_equal(hostqos(tb, "status"), 0);
	close(fd);
}

/* Whoever went back meanwhile, or waits to: what is applied stays. */
static void deadline_within_an_apply(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4);
	pid_t waits, pid;

	apply(tb, policy);
	must_try(tb, tried, SHORT);
	waits = waiter(tb);
	pid = apply_up_to_the_flip(tb, applied);
	AWAIT(mark_now(c, fd) == EF);
	assert_int_equal(traced_finish(pid), 0);
	assert_int_equal(mark_now(c, fd), CS5);
	AWAIT(pid_gone(waits));
	assert_int_equal(mark_now(c, fd), CS5);
	assert_int_equal(hostqos(tb, "status"), 0);
	close(fd);
}

/* No descriptor is left to it once it has cut the way back. */
static void failed_keep_leaves_the_trial(void **state)
{
	const struct rlimit none = {};
	struct testbed *tb = *state;
	pid_t pid;

	apply(tb, policy);
	must_try(tb, tried, LONG);
	pid = traced_start(tb, "keep", NULL, NULL, NULL);
	assert_true(traced_until(pid, TRACED_UPDATE));
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &none, NULL), 0);
	assert_int_equal(traced_finish(pid), 1);
	assert_true(on_trial(tb));
	assert_int_equal(hostqos(tb, "keep"), 0);
	assert_false(on_trial(tb));
}

/* What replaced a trial has a slot of its own; the next ones take turns as ever. */
static void all_slots_are_as_good_as_ever(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4), i;
	struct bpf_ids before, after;

	apply(tb, applied);
	apply(tb, policy);
	bpf_ids_collect(tb, &before);
	for (i = 0; i < 3; i++) {
		must_try(tb, tried, LONG);
		apply(tb, applied);
		assert_int_equal(mark_now(c, fd), CS5);
		must_try(tb, tried, LONG);
		assert_int_equal(mark_now(c, fd), AF21);
		assert_int_equal(hostqos(tb, "keep"), 0);
		apply(tb, policy);
		assert_int_equal(mark_now(c, fd), EF);
	}
	AWAIT((bpf_ids_collect(tb, &after), after.map_count == before.map_count));
	close(fd);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(killed_apply_leaves_the_trial_or_its_policy),
		NET_TEST(killed_try_is_no_trial),
		NET_TEST(kernel_goes_back_from_a_killed_apply),
		NET_TEST(deadline_within_an_apply),
		NET_TEST(failed_keep_leaves_the_trial),
		NET_TEST(all_slots_are_as_good_as_ever),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
