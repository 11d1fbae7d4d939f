/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Policies on trial: they go back by themselves, whoever died, unless kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define AF21 18
#define EF   46

static const char policy[] = "classes: { voice: { dscp: EF, cgroup: @/app } }\n";
static const char other_policy[] =
	"classes:\n"
	"  other: { dscp: AF11 }\n"
	"  voice: { dscp: AF21, cgroup: @/app, egress: { rate: 100mbit } }\n"
	"rules: [{ match: { cgroup: @/app, remote_port: 25 }, refuse: true }]\n";

/* Long enough to see the policy in force, also where something else stalls the machine. */
#define SHORT ((int)patience(4))
#define LONG  ((int)patience(60))

static void must_try(struct testbed *tb, const char *text, int seconds)
{
	assert_int_equal(hostqos(tb, "try %s --for %ds", policy_file(tb, text), seconds), 0);
}

/* A connected socket whose datagrams somebody takes. */
static int connected_socket(struct testbed *tb)
{
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int fd = udp_socket(&near, FAR4);

	udp_sink(&far, FAR4, 7000);
	connect_to(fd, FAR4, 7000);
	return fd;
}

static bool pinned(const struct testbed *tb)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/fs/bpf/hostqos/%s", tb->instance);
	return !access(path, F_OK);
}

/* `status` whatever it thinks of it; to be put. */
static struct json_object *status_of(struct testbed *tb)
{
	struct process *p = hostqos_start(tb, "-j status");
	struct json_object *json;
	char *text;

	process_wait(p);
	text = process_output(p);
	json = json_tokener_parse(text);
	assert_non_null(json);
	free(text);
	return json;
}

static bool on_trial(struct testbed *tb)
{
	struct json_object *status = status_of(tb), *trial = NULL;
	bool on = json_object_object_get_ex(status, "trial", &trial) && trial;

	json_object_put(status);
	return on;
}

/* Who waits for the end of the trial; 0: nobody yet. */
static pid_t waiter(struct testbed *tb)
{
	struct json_object *status = status_of(tb);
	pid_t pid = json_object_get_int(json_member(json_member(status, "trial"), "pid"));

	json_object_put(status);
	return pid;
}

/* The trial's record goes first; that live sockets have followed is noted last. */
static void await_end(struct testbed *tb)
{
	AWAIT(!on_trial(tb));
	AWAIT(hostqos(tb, "status") == 0);
}

/* The policy's own text, as the kernel has it. */
static char *text_in_force(struct testbed *tb)
{
	struct place near = near_place(tb, NULL);
	struct process *p =
		process_start(tb, &near, "bpftool map dump pinned /sys/fs/bpf/hostqos/%s/maps/text",
			      tb->instance);

	assert_int_equal(process_wait(p), 0);
	return process_output(p);
}

static void goes_back_by_itself(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct json_object *before, *after;
	int fd = connected_socket(tb);
	char *text_before, *text_after;

	apply(tb, policy);
	before = hostqos_json(tb, 0, "status");
	text_before = text_in_force(tb);
	must_try(tb, other_policy, SHORT);
	assert_true(on_trial(tb));
	assert_int_equal(mark_now(c, fd), AF21);
	await_end(tb);
	assert_int_equal(mark_now(c, fd), EF);
	assert_int_equal(flow_mark(tb, fd, "granted", "tos"), EF);
	after = hostqos_json(tb, 0, "status");
	assert_string_equal(json_object_get_string(json_member(before, "policy")),
			    json_object_get_string(json_member(after, "policy")));
	assert_string_equal(json_object_get_string(json_member(before, "hash")),
			    json_object_get_string(json_member(after, "hash")));
	/* The hooks too: those that only the other policy needed are gone. */
	assert_int_equal(json_object_array_length(json_member(before, "attached")),
			 json_object_array_length(json_member(after, "attached")));
	text_after = text_in_force(tb);
	assert_string_equal(text_before, text_after);
	free(text_before);
	free(text_after);
	json_object_put(before);
	json_object_put(after);
	close(fd);
}

/* What was counted before and meanwhile is one count; the bytes of a class are its id's. */
static void counters_go_on(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct json_object *classes;
	int fd = udp_socket(&near, FAR4);

	apply(tb, "classes: { voice: { dscp: EF, cgroup: @/app } }\n");
	assert_int_equal(mark_now(c, fd), EF);
	/* The class is not in the policy on trial, and another one is. */
	must_try(tb, "classes: { tried: { dscp: AF21, cgroup: @/app } }\n", SHORT);
	assert_int_equal(mark_now(c, fd), AF21);
	AWAIT(!on_trial(tb));
	assert_int_equal(mark_now(c, fd), EF);
	classes = hostqos_json(tb, 0, "show classes");
	assert_int_equal(
		json_object_get_int(json_member(
			json_find(json_member(classes, "classes"), "name", "voice"), "packets")),
		2);
	json_object_put(classes);
	close(fd);
}

/* Nothing can flip it any more: the kernel's timer is gone with its map, and so is who waited. */
static void kept_it_stays(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4);
	struct bpf_ids during, after;
	size_t kept;
	pid_t pid;

	apply(tb, policy);
	must_try(tb, other_policy, LONG);
	pid = waiter(tb);
	assert_false(pid_gone(pid));
	bpf_ids_collect(tb, &during);
	assert_int_equal(hostqos(tb, "keep"), 0);
	AWAIT(pid_gone(pid));
	bpf_ids_collect(tb, &after);
	/* Two maps fewer, the record and the timer; and the kernel has them no more. */
	assert_int_equal(after.map_count, during.map_count - 2);
	kept = bpf_ids_alive(&after);
	AWAIT(bpf_ids_alive(&during) == kept);
	assert_false(on_trial(tb));
	assert_int_equal(mark_now(c, fd), AF21);
	/* Once. */
	assert_int_equal(hostqos(tb, "keep"), 1);
	close(fd);
}

static void first_policy_goes_back_to_nothing(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = connected_socket(tb);
	struct bpf_ids ids;

	must_try(tb, policy, SHORT);
	bpf_ids_collect(tb, &ids);
	assert_int_equal(mark_now(c, fd), EF);
	assert_int_equal(flow_mark(tb, fd, "granted", "tos"), EF);
	AWAIT(!pinned(tb));
	AWAIT(!bpf_ids_alive(&ids));
	assert_int_equal(mark_now(c, fd), 0);
	assert_int_equal(get_option(fd, IPPROTO_IP, IP_TOS), 0);
	close(fd);
}

static void first_policy_can_be_kept(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4);

	must_try(tb, policy, LONG);
	assert_int_equal(hostqos(tb, "keep"), 0);
	assert_int_equal(hostqos(tb, "status"), 0);
	assert_int_equal(mark_now(c, fd), EF);
	close(fd);
}

/* A shell on a terminal of its own runs it, and the connection to the terminal breaks. */
static void terminal_that_hangs_up(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL), app = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&app, FAR4), master, slave;
	char command[512];
	pid_t shell;

	apply(tb, policy);
	snprintf(command, sizeof(command), "%s --instance %s try %s --for %ds; exec sleep 1000",
		 hostqos_binary(), tb->instance, policy_file(tb, other_policy), SHORT);
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	shell = place_fork(&near, 0);
	if (shell == 0) {
		close(master);
		login_tty(slave);
		alarm(0);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(slave);
	AWAIT(on_trial(tb));
	AWAIT(waiter(tb) > 0);
	close(master);
	assert_int_equal(waitpid(shell, NULL, 0), shell);
	assert_int_equal(mark_now(c, fd), AF21);
	await_end(tb);
	assert_int_equal(mark_now(c, fd), EF);
	close(fd);
}

/* Nobody is left: the kernel goes back, `status` says what is not done, `apply` does it. */
static void kernel_goes_back_alone(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = connected_socket(tb);
	struct process *shadow;

	apply(tb, policy);
	must_try(tb, other_policy, SHORT);
	assert_int_equal(kill(waiter(tb), SIGKILL), 0);
	assert_int_equal(mark_now(c, fd), AF21);
	AWAIT(mark_now(c, fd) == EF);
	assert_int_equal(hostqos(tb, "status"), 1);
	assert_int_equal(hostqos(tb, "keep"), 1);
	/* Nobody would ever see the end that one could wait for. */
	shadow = hostqos_start(tb, "shadow %s", policy_file(tb, other_policy));
	assert_int_equal(process_wait(shadow), 1);
	assert_non_null(strstr(process_errors(shadow), "ran out"));
	apply(tb, policy);
	assert_int_equal(hostqos(tb, "status"), 0);
	assert_false(on_trial(tb));
	assert_int_equal(mark_now(c, fd), EF);
	close(fd);
}

/* Only the former policy refuses: the hook that does it is there still. */
static void kernel_goes_back_with_the_hooks(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = connected_socket(tb), later;

	apply(tb, "classes: { voice: { dscp: EF, cgroup: @/app } }\n"
		  "rules: [{ match: { cgroup: @/app, remote_port: 25 }, refuse: true }]\n");
	must_try(tb, "classes: { voice: { dscp: AF21, cgroup: @/app } }\n", SHORT);
	assert_int_equal(kill(waiter(tb), SIGKILL), 0);
	AWAIT(mark_now(c, fd) == EF);
	later = udp_socket(&near, FAR4);
	assert_int_equal(send_to(later, FAR4, 25, 100), -EPERM);
	close(later);
	close(fd);
}

/* A second wire, with addresses of its own. */
#define SIDE_IF	   "side0"
#define SIDE_NEAR4 "10.9.2.1"
#define SIDE_FAR4  "10.9.2.2"

static struct capture *make_side(struct testbed *tb)
{
	struct place near = near_place(tb, NULL), far = far_place(tb);

	run(tb, &near,
	    "ip link add " SIDE_IF
	    " index 40 type veth peer name side1 index 50 netns /proc/%d/fd/%d",
	    getpid(), tb->far);
	run(tb, &near, "ip address add " SIDE_NEAR4 "/24 dev " SIDE_IF);
	run(tb, &near, "ip link set " SIDE_IF " up");
	run(tb, &far, "ip address add " SIDE_FAR4 "/24 dev side1");
	run(tb, &far, "ip link set side1 up");
	return capture_start(tb, tb->far, "side1");
}

/* Of a datagram whose class nobody but the interface knows. */
static int side_mark(struct capture *c, int fd)
{
	capture_clear(c);
	assert_int_equal(send_to(fd, SIDE_FAR4, 7000, 100), 0);
	await_packets(c, FLOW(.to_port = 7000), 1);
	return DSCP(&c->packets[c->count - 1]);
}

#define AT(interfaces) "hostqos: 1\nattach: { cgroup: @, interfaces: [" interfaces "] }\n"
#define ALL(dscp)                                                                                  \
	"classes: { all: { dscp: " dscp                                                            \
	" } }\nrules: [{ match: { remote_port: 7000 }, class: all }]\n"

static const char both[] = AT(NEAR_IF ", " SIDE_IF) ALL("EF");
static const char one[] = AT(NEAR_IF) ALL("AF21");

/* What is tried governs fewer interfaces: the others are governed still. */
static void kernel_goes_back_at_all_interfaces(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF), *side = make_side(tb);
	int fd = udp_socket(&near, FAR4);

	apply(tb, both);
	assert_int_equal(side_mark(side, fd), EF);
	must_try(tb, one, SHORT);
	assert_int_equal(kill(waiter(tb), SIGKILL), 0);
	AWAIT(mark_now(c, fd) == EF);
	assert_int_equal(side_mark(side, fd), EF);
	close(fd);
}

/* Not before it is kept, whoever fits it to the machine meanwhile. */
static void kept_it_lets_the_others_go(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF), *side = make_side(tb);
	int fd = udp_socket(&near, FAR4);
	struct process *watch;

	apply(tb, both);
	must_try(tb, one, LONG);
	watch = hostqos_start(tb, "watch");
	AWAIT(process_said(watch, "interfaces:", 1));
	process_kill(watch, SIGTERM);
	process_wait(watch);
	assert_int_equal(side_mark(side, fd), AF21);
	/* Said anywhere: who waits for the end shows the way. */
	run(tb, &far, "%s --instance %s keep", hostqos_binary(), tb->instance);
	assert_int_equal(side_mark(side, fd), 0);
	assert_int_equal(mark_now(c, fd), AF21);
	assert_int_equal(hostqos(tb, "status"), 0);
	close(fd);
}

/* Hooks of a cgroup that nobody but a command could go back to. */
static void other_cgroup_is_not_tried(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = connected_socket(tb);
	struct process *p;

	apply(tb, policy);
	p = hostqos_start(tb, "try %s",
			  policy_file(tb, "hostqos: 1\n"
					  "attach: { cgroup: @/app, interfaces: [near0] }\n"));
	assert_int_equal(process_wait(p), 1);
	assert_non_null(strstr(process_errors(p), tb->cgroup));
	assert_false(on_trial(tb));
	assert_int_equal(mark_now(c, fd), EF);
	close(fd);
}

static void kernel_goes_back_to_nothing_alone(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = connected_socket(tb);
	struct bpf_ids ids;

	must_try(tb, policy, SHORT);
	assert_int_equal(kill(waiter(tb), SIGKILL), 0);
	bpf_ids_collect(tb, &ids);
	assert_int_equal(mark_now(c, fd), EF);
	AWAIT(mark_now(c, fd) == 0);
	detach(tb);
	AWAIT(!bpf_ids_alive(&ids));
	assert_int_equal(get_option(fd, IPPROTO_IP, IP_TOS), 0);
	close(fd);
}

static void apply_ends_it(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4), i;
	pid_t pid;

	apply(tb, policy);
	must_try(tb, other_policy, LONG);
	pid = waiter(tb);
	/* Another trial would need the tables that the first goes back to. */
	assert_int_equal(hostqos(tb, "try %s", policy_file(tb, policy)), 1);
	assert_int_equal(mark_now(c, fd), AF21);
	/* What does not compile changes nothing. */
	assert_int_equal(hostqos(tb, "apply %s", policy_file(tb, "classes: { a: { dscp: XX } }\n")),
			 1);
	assert_true(on_trial(tb));
	apply(tb, policy);
	AWAIT(pid_gone(pid));
	assert_false(on_trial(tb));
	assert_int_equal(hostqos(tb, "keep"), 1);
	/* Generations went up and down; both slots are as good as ever. */
	for (i = 0; i < 4; i++) {
		assert_int_equal(mark_now(c, fd), i % 2 ? AF21 : EF);
		apply(tb, i % 2 ? policy : other_policy);
	}
	close(fd);
}

static void detach_ends_it(void **state)
{
	struct testbed *tb = *state;
	struct bpf_ids ids;
	pid_t pid;

	apply(tb, policy);
	must_try(tb, other_policy, LONG);
	pid = waiter(tb);
	bpf_ids_collect(tb, &ids);
	detach(tb);
	AWAIT(pid_gone(pid));
	AWAIT(!bpf_ids_alive(&ids));
	assert_false(pinned(tb));
}

static void bad_trials_change_nothing(void **state)
{
	struct testbed *tb = *state;
	const char *file = policy_file(tb, policy);

	assert_int_equal(hostqos(tb, "try %s --for 10", file), 2);
	assert_int_equal(hostqos(tb, "try %s --for 0s", file), 2);
	assert_int_equal(hostqos(tb, "try %s --for 1000h", file), 2);
	assert_int_equal(hostqos(tb, "apply %s --for 10s", file), 2);
	assert_int_equal(hostqos(tb, "keep"), 1);
	assert_int_equal(
		hostqos(tb, "try %s --for 9s", policy_file(tb, "classes: { a: { dscp: XX } }\n")),
		1);
	assert_false(pinned(tb));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(goes_back_by_itself),
		NET_TEST(counters_go_on),
		NET_TEST(kept_it_stays),
		NET_TEST(first_policy_goes_back_to_nothing),
		NET_TEST(first_policy_can_be_kept),
		NET_TEST(terminal_that_hangs_up),
		NET_TEST(kernel_goes_back_alone),
		NET_TEST(kernel_goes_back_with_the_hooks),
		NET_TEST(kernel_goes_back_at_all_interfaces),
		NET_TEST(kept_it_lets_the_others_go),
		NET_TEST(other_cgroup_is_not_tried),
		NET_TEST(kernel_goes_back_to_nothing_alone),
		NET_TEST(apply_ends_it),
		NET_TEST(detach_ends_it),
		NET_TEST(bad_trials_change_nothing),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
