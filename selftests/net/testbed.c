/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Making a testbed, and taking it away whatever happens.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"
#include "testbed.h"

#define BPFFS "/sys/fs/bpf"

/* No test takes this many seconds, times HOSTQOS_SLOW. */
#define TEST_LIMIT 300

double patience(double seconds)
{
	const char *slow = getenv("HOSTQOS_SLOW");
	double factor = slow ? strtod(slow, NULL) : 1;

	return seconds * (factor > 1 ? factor : 1);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t); /* the clock of pcap's timestamps */
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

void await_nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void die(const char *what)
{
	fprintf(stderr, "cannot set the tests up: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* What is mounted here nobody else sees, and it goes with the last process of the tests. */
static void private_mounts(void)
{
	if (unshare(CLONE_NEWNS))
		die("unshare(CLONE_NEWNS) (the tests need root)");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("make mounts private");
	if (mount("hostqos-test", BPFFS, "bpf", 0, NULL))
		die("mount bpffs at " BPFFS);
	if (mount("hostqos-test", SCRATCH, "tmpfs", 0, "mode=755"))
		die("mount tmpfs at " SCRATCH);
}

/*
 * The one thing that could outlive the test program is its cgroup. A process
 * that nothing but a SIGKILL of its own ends waits for the program's end, and
 * removes it; what it misses too, the next program's start removes.
 */
static void start_reaper(void)
{
	pid_t parent = getpid(), child = fork();
	struct pollfd end = {.events = POLLIN};
	int signal_number, null;

	if (child < 0)
		die("fork");
	if (child > 0)
		return;
	setsid();
	for (signal_number = 1; signal_number < NSIG; signal_number++)
		signal(signal_number, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	null = open("/dev/null", O_RDWR);
	dup3(null, 0, 0);
	dup3(null, 1, 0);
	dup3(null, 2, 0);
	end.fd = syscall(SYS_pidfd_open, parent, 0);
	while (end.fd >= 0 && getppid() == parent && poll(&end, 1, -1) < 1)
		;
	cgroup_remove_all_of(parent);
	_exit(0);
}

/* A program of one packet, for tests that are about the process. */
static int send_datagram(const char *address, int port)
{
	int fd = socket(address_family(address), SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return send_to(fd, address, port, 1) ? 1 : 0;
}

int testbed_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
	if (argc == 4 && !strcmp(argv[1], SEND_DATAGRAM))
		return send_datagram(argv[2], atoi(argv[3]));
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	private_mounts();
	cgroup_remove_stale();
	start_reaper();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests(argv[0], tests, count, NULL, NULL);
}

static void set_up_wire(struct testbed *tb)
{
	struct place far = far_place(tb);

	netns_join(tb->near, NEAR_IF, tb->far, FAR_IF);
	run(tb, &far, "ip address add " FAR4_B "/24 dev " FAR_IF);
	run(tb, &far, "ip address add " FAR6_B "/64 dev " FAR_IF " nodad");
}

int testbed_setup(void **state)
{
	static unsigned int serial;
	struct testbed *tb = calloc(1, sizeof(*tb));

	alarm(patience(TEST_LIMIT));
	snprintf(tb->cgroup, sizeof(tb->cgroup), "/hostqos-test-%d-%u", getpid(), serial);
	snprintf(tb->instance, sizeof(tb->instance), "test-%d-%u", getpid(), serial++);
	cgroup_make(tb->cgroup);
	tb->near = netns_new();
	tb->far = netns_new();
	set_up_wire(tb);
	*state = tb;
	return 0;
}

/* The pins go even where `detach` is what failed: a program must not outlive its test. */
static void remove_pins(struct testbed *tb)
{
	char path[128];

	snprintf(path, sizeof(path), BPFFS "/hostqos/%s", tb->instance);
	if (access(path, F_OK))
		return;
	hostqos(tb, "detach");
	if (access(path, F_OK))
		return;
	run(tb, &(struct place){.netns = tb->near}, "rm -r %s", path);
}

int testbed_teardown(void **state)
{
	struct testbed *tb = *state;

	process_end_all(tb);
	remove_pins(tb);
	process_end_all(tb);
	while (tb->captures) {
		struct capture *c = tb->captures;

		tb->captures = c->next;
		capture_stop(c);
	}
	close(tb->near);
	close(tb->far);
	cgroup_remove(tb->cgroup);
	free(tb);
	alarm(0);
	return 0;
}

struct place near_place(const struct testbed *tb, const char *cgroup)
{
	struct place place = {.netns = tb->near};

	if (cgroup) {
		snprintf(place.cgroup, sizeof(place.cgroup), "%s%s", tb->cgroup, cgroup);
		cgroup_make(place.cgroup);
	}
	return place;
}

struct place far_place(const struct testbed *tb)
{
	return (struct place){.netns = tb->far};
}
