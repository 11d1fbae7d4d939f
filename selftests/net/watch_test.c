/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * hostqos watch: interfaces, executables, accounts and cgroups that come and go
 * under a policy.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"
#include "traffic.h"

#define AF21 18
#define AF41 34
#define EF   46

#define LATE_NEAR4 "10.9.2.1"
#define LATE_FAR4  "10.9.2.2"

#define ATTACH(interfaces) "hostqos: 1\nattach: { cgroup: @" interfaces " }\n"
#define VOICE		   "classes: { voice: { dscp: EF, cgroup: @/app } }\n"
#define VIDEO		   "classes: { voice: { dscp: AF41, cgroup: @/app } }\n"

/* Started as a service manager does, and ready. */
static struct process *start(struct testbed *tb, const char *verb)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = SCRATCH "/notify"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct process *watch;
	char state[64] = "";

	unlink(name.sun_path);
	if (bind(fd, (void *)&name, sizeof(name)))
		fail_msg("%s: %s", name.sun_path, strerror(errno));
	setenv("NOTIFY_SOCKET", name.sun_path, 1);
	watch = hostqos_start(tb, "%s", verb);
	unsetenv("NOTIFY_SOCKET");
	AWAIT(recv(fd, state, sizeof(state) - 1, 0) > 0 || process_ended(watch));
	if (strcmp(state, "READY=1"))
		fail_msg("watch is not ready: %s%s", state, process_errors(watch));
	close(fd);
	return watch;
}

static struct process *start_watch(struct testbed *tb)
{
	return start(tb, "watch");
}

/* A second wire, which `apply` did not see. */
static void make_late(struct testbed *tb, const char *name)
{
	struct place near = near_place(tb, NULL), far = far_place(tb);

	run(tb, &near,
	    "ip link add %s index 40 type veth peer name late1 index 50 netns /proc/%d/fd/%d", name,
	    getpid(), tb->far);
	run(tb, &far, "ip address add " LATE_FAR4 "/24 dev late1");
	run(tb, &far, "ip link set late1 up");
}

static void set_late_up(struct testbed *tb, const char *name)
{
	struct place near = near_place(tb, NULL);

	run(tb, &near, "ip address add " LATE_NEAR4 "/24 dev %s", name);
	run(tb, &near, "ip link set %s up", name);
}

static int dscp_of_first(struct capture *c, const struct flow *flow)
{
	size_t i;

	await_packets(c, flow, 1);
	for (i = 0; !flow_has(flow, &c->packets[i]); i++)
		;
	return DSCP(&c->packets[i]);
}

/* The DSCP of a datagram by way of the late interface. */
static int late_mark(struct testbed *tb)
{
	struct place app = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, "late1");
	int fd = udp_socket(&app, LATE_FAR4);

	assert_int_equal(send_to(fd, LATE_FAR4, 7000, 100), 0);
	close(fd);
	return dscp_of_first(c, FLOW(.to_port = 7000));
}

static void interface_that_appears_is_attached(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct process *watch;

	apply(tb, ATTACH(", interfaces: [" NEAR_IF ", \"late*\"]") VOICE);
	watch = start_watch(tb);
	make_late(tb, "late0");
	AWAIT(process_said(watch, NEAR_IF " late0\n", 1));
	set_late_up(tb, "late0");
	assert_int_equal(late_mark(tb), EF);
	/* Removed, and made again. */
	run(tb, &near, "ip link delete late0");
	AWAIT(process_said(watch, NEAR_IF "\n", 2));
	make_late(tb, "late0");
	AWAIT(process_said(watch, NEAR_IF " late0\n", 2));
	set_late_up(tb, "late0");
	assert_int_equal(late_mark(tb), EF);
	assert_int_equal(hostqos(tb, "status"), 0);
}

static int egress_program(struct testbed *tb)
{
	struct json_object *status = hostqos_json(tb, 0, "status"), *link;
	int id;

	link = json_find(json_member(status, "attached"), "target", "late0");
	assert_non_null(link);
	id = json_object_get_int(json_member(link, "program_id"));
	json_object_put(status);
	return id;
}

/* To load them again would take seconds, in which nothing is marked. */
static void programs_are_kept_for_the_next_interface(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct process *watch;
	int program;

	apply(tb, ATTACH(", interfaces: [\"late*\"]") VOICE);
	watch = start_watch(tb);
	make_late(tb, "late0");
	AWAIT(process_said(watch, "interfaces: late0\n", 1));
	program = egress_program(tb);
	run(tb, &near, "ip link delete late0");
	AWAIT(process_said(watch, "interfaces: none", 2));
	make_late(tb, "late0");
	AWAIT(process_said(watch, "interfaces: late0\n", 2));
	assert_int_equal(egress_program(tb), program);
	set_late_up(tb, "late0");
	assert_int_equal(late_mark(tb), EF);
}

static void renamed_interface_is_what_its_name_says(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct process *watch;

	apply(tb, ATTACH(", interfaces: [\"late*\"]") VOICE);
	watch = start_watch(tb);
	make_late(tb, "other0");
	run(tb, &near, "ip link set other0 name late5");
	AWAIT(process_said(watch, "interfaces: late5\n", 1));
	set_late_up(tb, "late5");
	assert_int_equal(late_mark(tb), EF);
	run(tb, &near, "ip link set late5 down");
	run(tb, &near, "ip link set late5 name other0");
	AWAIT(process_said(watch, "interfaces: none", 2));
	run(tb, &near, "ip link set other0 up");
	assert_int_equal(late_mark(tb), 0);
}

/* Without patterns: those that are no other's upper, as apply chooses. */
static void uppers_and_lowers_change_places(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct process *watch;

	apply(tb, ATTACH("") VOICE);
	watch = start_watch(tb);
	assert_true(process_said(watch, "interfaces: " NEAR_IF "\n", 1));
	run(tb, &near, "ip link add bridge0 index 30 type bridge");
	AWAIT(process_said(watch, "interfaces: " NEAR_IF " bridge0\n", 1));
	make_late(tb, "late0");
	AWAIT(process_said(watch, "interfaces: " NEAR_IF " bridge0 late0\n", 1));
	run(tb, &near, "ip link set late0 master bridge0");
	AWAIT(process_said(watch, "interfaces: " NEAR_IF " late0\n", 1));
	run(tb, &near, "ip link set late0 up");
	set_late_up(tb, "bridge0");
	assert_int_equal(late_mark(tb), EF);
	run(tb, &near, "ip link set late0 nomaster");
	AWAIT(process_said(watch, "interfaces: " NEAR_IF " bridge0 late0\n", 2));
	assert_int_equal(hostqos(tb, "status"), 0);
}

static int mark_of(struct testbed *tb, const struct place *place, const char *program)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	run(tb, place, "%s " SEND_DATAGRAM " " FAR4 " 7000", program);
	return dscp_of_first(c, FLOW(.to_port = 7000));
}

/* As a package manager does: the new file beside the old one, then renamed over it. */
static void install_program(struct testbed *tb, const char *path)
{
	struct place near = near_place(tb, NULL);

	run(tb, &near, "cp /proc/%d/exe %s.new", getpid(), path);
	run(tb, &near, "mv %s.new %s", path, path);
}

static void upgraded_executable_is_known_again(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct process *watch;

	mkdir(SCRATCH "/bin", 0755);
	install_program(tb, SCRATCH "/bin/mailer-1");
	run(tb, &app, "ln -sfn mailer-1 " SCRATCH "/bin/mailer");
	run(tb, &app, "ln -sfn bin " SCRATCH "/sbin");
	apply(tb, "classes: { voice: { dscp: EF } }\n"
		  "rules: [{ match: { exe: " SCRATCH "/sbin/mailer }, class: voice }]\n");
	assert_int_equal(mark_of(tb, &app, SCRATCH "/bin/mailer"), EF);
	install_program(tb, SCRATCH "/bin/mailer-1");
	assert_int_equal(mark_of(tb, &app, SCRATCH "/bin/mailer"), 0);
	watch = start_watch(tb);
	assert_int_equal(mark_of(tb, &app, SCRATCH "/bin/mailer"), EF);
	install_program(tb, SCRATCH "/bin/mailer-1");
	AWAIT(process_said(watch, "what it names has changed", 2));
	assert_int_equal(mark_of(tb, &app, SCRATCH "/bin/mailer"), EF);
	/* Another version, by the symbolic link; and a directory on the way is another one. */
	install_program(tb, SCRATCH "/bin/mailer-2");
	run(tb, &app, "ln -sfn mailer-2 " SCRATCH "/bin/mailer");
	AWAIT(process_said(watch, "what it names has changed", 3));
	assert_int_equal(mark_of(tb, &app, SCRATCH "/bin/mailer-2"), EF);
	assert_int_equal(mark_of(tb, &app, SCRATCH "/bin/mailer-1"), 0);
	mkdir(SCRATCH "/bin2", 0755);
	install_program(tb, SCRATCH "/bin2/mailer");
	run(tb, &app, "ln -sfn bin2 " SCRATCH "/sbin");
	AWAIT(process_said(watch, "what it names has changed", 4));
	assert_int_equal(mark_of(tb, &app, SCRATCH "/bin2/mailer"), EF);
	assert_int_equal(mark_of(tb, &app, SCRATCH "/bin/mailer-2"), 0);
}

/* Components of so many bytes together, made below the path if they are to be. */
static void add_components(char *path, size_t bytes, bool make)
{
	char *end = path + strlen(path), *stop = end + bytes;

	for (; end < stop; end += 200) {
		memset(end, 'd', 200);
		end[0] = '/';
		end[200] = '\0';
		if (make && mkdir(path, 0755))
			fail_msg("mkdir: %s", strerror(errno));
	}
}

/* The link's target and what follows it are longer together than a path may be. */
static void executable_that_cannot_be_watched_is_known(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/near");
	char target[4096] = SCRATCH "/far", path[4096] = SCRATCH "/away", policy[8192];
	struct process *watch;

	mkdir(target, 0755);
	add_components(target, 2000, true);
	assert_int_equal(symlink(target, path), 0);
	add_components(path, 2200, true);
	strcat(path, "/mailer");
	install_program(tb, SCRATCH "/mailer");
	assert_int_equal(link(SCRATCH "/mailer", path), 0);
	snprintf(policy, sizeof(policy),
		 "classes: { voice: { dscp: EF } }\n"
		 "rules: [{ match: { exe: %s }, class: voice }]\n",
		 path);
	apply(tb, policy);
	assert_int_equal(mark_of(tb, &near, SCRATCH "/mailer"), EF);
	watch = start_watch(tb);
	assert_true(process_complained(watch, "cannot watch all paths", 1));
	assert_false(process_complained(watch, "not there any more", 1));
	assert_int_equal(mark_of(tb, &near, SCRATCH "/mailer"), EF);
}

/* An /etc of the tests' own, for this mount namespace. */
#define ETC SCRATCH "/etc"

/* 0: there is none. */
static void write_account(uid_t uid)
{
	FILE *file = fopen(ETC "/passwd.new", "we");

	fprintf(file, "root:x:0:0::/:/bin/sh\n");
	if (uid)
		fprintf(file, "hostqos-late:x:%u:4242::/:/bin/sh\n", uid);
	fclose(file);
	if (rename(ETC "/passwd.new", ETC "/passwd"))
		fail_msg("rename " ETC "/passwd: %s", strerror(errno));
}

static int mark_of_user(struct testbed *tb, uid_t uid)
{
	struct place app = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd, mark;

	app.uid = uid;
	fd = udp_socket(&app, FAR4);
	mark = mark_now(c, fd);
	close(fd);
	return mark;
}

static void own_accounts(struct testbed *tb)
{
	struct place near = near_place(tb, NULL);

	mkdir(ETC, 0755);
	run(tb, &near, "cp /etc/group /etc/nsswitch.conf /etc/ld.so.cache " ETC);
	write_account(4242);
	if (mount(ETC, "/etc", NULL, MS_BIND, NULL))
		fail_msg("mount " ETC ": %s", strerror(errno));
}

static void account_with_another_number_is_known_again(void **state)
{
	struct testbed *tb = *state;
	struct process *watch;

	own_accounts(tb);
	apply(tb, "classes: { voice: { dscp: EF } }\n"
		  "rules: [{ match: { user: hostqos-late }, class: voice }]\n");
	watch = start_watch(tb);
	assert_int_equal(mark_of_user(tb, 4242), EF);
	write_account(4343);
	AWAIT(process_said(watch, "what it names has changed", 1));
	assert_int_equal(mark_of_user(tb, 4343), EF);
	assert_int_equal(mark_of_user(tb, 4242), 0);
	umount2("/etc", MNT_DETACH);
}

static void account_that_vanishes_keeps_its_number(void **state)
{
	struct testbed *tb = *state;
	struct process *watch;

	own_accounts(tb);
	install_program(tb, SCRATCH "/mailer");
	apply(tb,
	      ATTACH(", interfaces: [" NEAR_IF
		     ", \"late*\"]") "classes: { voice: { dscp: EF, cgroup: @/voice } }\n"
				     "rules:\n"
				     "  - { match: { user: hostqos-late }, class: voice }\n"
				     "  - { match: { exe: " SCRATCH "/mailer }, class: voice }\n");
	watch = start_watch(tb);
	write_account(0);
	AWAIT(process_complained(watch, "user 'hostqos-late'", 1));
	assert_int_equal(mark_of_user(tb, 4242), EF);
	/* All else goes on, and is not told of it again. */
	make_late(tb, "late0");
	AWAIT(process_said(watch, NEAR_IF " late0\n", 1));
	install_program(tb, SCRATCH "/mailer");
	AWAIT(process_said(watch, "what it names has changed", 1));
	assert_int_equal(mark_of_user(tb, 4242), EF);
	assert_int_equal(hostqos(tb, "show classes"), 0);
	assert_int_equal(hostqos(tb, "run --class voice -- true"), 0);
	assert_false(process_complained(watch, "hostqos-late", 2));
	/* Another watch knows it from the kernel. */
	process_kill(watch, SIGTERM);
	process_wait(watch);
	watch = start_watch(tb);
	assert_true(process_complained(watch, "user 'hostqos-late'", 1));
	assert_int_equal(mark_of_user(tb, 4242), EF);
	write_account(4343);
	AWAIT(process_said(watch, "what it names has changed", 1));
	assert_int_equal(mark_of_user(tb, 4343), EF);
	assert_int_equal(mark_of_user(tb, 4242), 0);
	umount2("/etc", MNT_DETACH);
}

/* Its processes run on from the file, which is there as long as they do. */
static void executable_that_vanishes_keeps_its_number(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/near");
	struct process *watch;

	install_program(tb, SCRATCH "/mailer");
	run(tb, &near, "ln " SCRATCH "/mailer " SCRATCH "/running");
	apply(tb, "classes: { voice: { dscp: EF } }\n"
		  "rules: [{ match: { exe: " SCRATCH "/mailer }, class: voice }]\n");
	watch = start_watch(tb);
	unlink(SCRATCH "/mailer");
	AWAIT(process_complained(watch, "executable '" SCRATCH "/mailer'", 1));
	assert_int_equal(mark_of(tb, &near, SCRATCH "/running"), EF);
	install_program(tb, SCRATCH "/mailer");
	AWAIT(process_said(watch, "what it names has changed", 1));
	assert_int_equal(mark_of(tb, &near, SCRATCH "/mailer"), EF);
	assert_int_equal(mark_of(tb, &near, SCRATCH "/running"), 0);
}

/* What somebody else put in force is what later events are worked on. */
static void replaced_policy_is_not_put_back(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL), app = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct process *watch;
	int fd;

	install_program(tb, SCRATCH "/mailer");
	apply(tb, ATTACH(", interfaces: [" NEAR_IF ", \"late*\"]") VOICE
	      "rules: [{ match: { exe: " SCRATCH "/mailer }, class: voice }]\n");
	watch = start_watch(tb);
	apply(tb, ATTACH(", interfaces: [" NEAR_IF ", \"later*\"]") VIDEO
	      "rules: [{ match: { exe: " SCRATCH "/mailer, user: root }, class: voice }]\n");
	AWAIT(process_said(watch, "in force", 2));
	install_program(tb, SCRATCH "/mailer");
	AWAIT(process_said(watch, "what it names has changed", 1));
	make_late(tb, "late0");
	run(tb, &near, "ip link set late0 name later0");
	AWAIT(process_said(watch, "later0\n", 1));
	assert_false(process_said(watch, "late0", 1));
	fd = udp_socket(&app, FAR4);
	assert_int_equal(mark_now(c, fd), AF41);
	close(fd);
}

static void nothing_in_force_is_waited_for(void **state)
{
	struct testbed *tb = *state;
	struct process *watch = start(tb, "-j watch");
	struct bpf_ids ids;

	assert_true(process_complained(watch, "no policy is in force", 1));
	apply(tb, ATTACH(", interfaces: [" NEAR_IF ", \"late*\"]") VOICE);
	AWAIT(process_said(watch, "{\"interfaces\":[\"" NEAR_IF "\"],\"event\":\"interfaces\"}\n",
			   1));
	bpf_ids_collect(tb, &ids);
	detach(tb);
	AWAIT(process_complained(watch, "no policy is in force", 2));
	AWAIT(bpf_ids_alive(&ids) == 0);
	apply(tb, ATTACH(", interfaces: [" NEAR_IF ", \"late*\"]") VOICE);
	make_late(tb, "late0");
	AWAIT(process_said(watch, "[\"" NEAR_IF "\",\"late0\"]", 1));
	set_late_up(tb, "late0");
	assert_int_equal(late_mark(tb), EF);
}

/* As a service's cgroup is by its restart. */
static void governed_cgroup_that_is_made_anew_is_governed_again(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/gone");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct process *watch;
	int fd;

	apply(tb, "hostqos: 1\nattach: { cgroup: @/gone, interfaces: [" NEAR_IF "] }\n"
		  "classes: { default: { dscp: EF } }\n");
	watch = start_watch(tb);
	cgroup_remove(app.cgroup);
	cgroup_make(app.cgroup);
	AWAIT(process_said(watch, "generation 2", 1));
	fd = udp_socket(&app, FAR4);
	assert_int_equal(mark_now(c, fd), EF);
	assert_int_equal(hostqos(tb, "status"), 0);
	close(fd);
}

/* Should `try` be killed, the kernel goes back to the former policy and attaches nothing. */
static void hooks_of_the_former_policy_stay_during_a_trial(void **state)
{
	struct testbed *tb = *state;
	struct process *watch;
	char hook[128];

	apply(tb, VOICE "rules: [{ match: { cgroup: @/app, remote_port: 25 }, refuse: true }]\n");
	watch = start_watch(tb);
	assert_int_equal(hostqos(tb, "try %s --for 600s", policy_file(tb, VIDEO)), 0);
	/* What is said of a policy is said when all is as it is to be. */
	AWAIT(process_said(watch, "in force", 2));
	snprintf(hook, sizeof(hook), "/sys/fs/bpf/hostqos/%s/links/sendmsg4", tb->instance);
	assert_int_equal(access(hook, F_OK), 0);
}

/* By a look at the interfaces alone, which goes well. */
static void failure_is_not_forgotten(void **state)
{
	struct testbed *tb = *state;
	struct rlimit few, enough;
	struct process *watch;

	install_program(tb, SCRATCH "/mailer");
	apply(tb,
	      ATTACH(", interfaces: [" NEAR_IF ", \"late*\"]") "classes: { voice: { dscp: EF } }\n"
							       "rules: [{ match: { exe: " SCRATCH
							       "/mailer }, class: voice }]\n");
	watch = start_watch(tb);
	assert_int_equal(prlimit(watch->pid, RLIMIT_NOFILE, NULL, &enough), 0);
	few = (struct rlimit){8, enough.rlim_max};
	assert_int_equal(prlimit(watch->pid, RLIMIT_NOFILE, &few, NULL), 0);
	install_program(tb, SCRATCH "/mailer");
	AWAIT(process_complained(watch, "Too many open files", 1));
	assert_int_equal(prlimit(watch->pid, RLIMIT_NOFILE, &enough, NULL), 0);
	make_late(tb, "late0");
	AWAIT(process_said(watch, NEAR_IF " late0\n", 1));
	assert_true(process_said(watch, "what it names has changed", 1));
}

static void one_watch_is_enough(void **state)
{
	struct testbed *tb = *state;
	struct process *first, *second;
	char what[32];

	apply(tb, VOICE);
	first = start_watch(tb);
	second = hostqos_start(tb, "watch");
	assert_int_equal(process_wait(second), 1);
	snprintf(what, sizeof(what), "process %d watches", first->pid);
	assert_true(process_complained(second, what, 1));
	process_kill(first, SIGTERM);
	assert_int_equal(process_wait(first), 0);
	first = start_watch(tb);
	process_kill(first, SIGKILL);
	process_wait(first);
	start_watch(tb);
}

static struct process *start_monitor(struct testbed *tb)
{
	struct process *monitor = hostqos_start(tb, "monitor");

	AWAIT(process_said(monitor, "monitoring", 1) || process_ended(monitor));
	if (process_ended(monitor))
		fail_msg("monitor: %s", process_errors(monitor));
	return monitor;
}

/* Whichever of the two was first. */
static void watch_and_monitor_run_side_by_side(void **state)
{
	struct testbed *tb = *state;
	struct process *watch, *monitor, *second;
	char what[32];

	apply(tb, VOICE);
	watch = start_watch(tb);
	monitor = start_monitor(tb);
	second = hostqos_start(tb, "monitor");
	assert_int_equal(process_wait(second), 1);
	snprintf(what, sizeof(what), "process %d monitors", monitor->pid);
	assert_true(process_complained(second, what, 1));
	process_kill(watch, SIGTERM);
	assert_int_equal(process_wait(watch), 0);
	start_watch(tb);
	/* Another installation: what the former locked is no more. */
	detach(tb);
	assert_int_equal(process_wait(monitor), 0);
	apply(tb, VOICE);
	start_monitor(tb);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(interface_that_appears_is_attached),
		NET_TEST(programs_are_kept_for_the_next_interface),
		NET_TEST(renamed_interface_is_what_its_name_says),
		NET_TEST(uppers_and_lowers_change_places),
		NET_TEST(upgraded_executable_is_known_again),
		NET_TEST(executable_that_cannot_be_watched_is_known),
		NET_TEST(account_with_another_number_is_known_again),
		NET_TEST(account_that_vanishes_keeps_its_number),
		NET_TEST(executable_that_vanishes_keeps_its_number),
		NET_TEST(replaced_policy_is_not_put_back),
		NET_TEST(nothing_in_force_is_waited_for),
		NET_TEST(governed_cgroup_that_is_made_anew_is_governed_again),
		NET_TEST(hooks_of_the_former_policy_stay_during_a_trial),
		NET_TEST(failure_is_not_forgotten),
		NET_TEST(one_watch_is_enough),
		NET_TEST(watch_and_monitor_run_side_by_side),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
