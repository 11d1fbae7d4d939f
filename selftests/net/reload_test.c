/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Policies replaced under load, hundreds of times in a row: no packet leaves
 * with a mark of neither, no connection notices, nothing that is counted or
 * owed is forgotten.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#include <hostqos/abi.h>

#define APPLIES	     500
#define APPLIES_SLOW 16 /* where HOSTQOS_SLOW is set: each takes seconds there under this load */
#define CONNECTIONS                                                                                \
	2000 /* per second, half of them from each side; or as many as the machine does */
#define PAUSE_NS 1000000

#define STEADY (4 * MBIT)
#define BURST  65536

/* Ports at the far end of the near end's flows, but for SERVED and LONG_IN. */
enum { OPENED, SERVED, LONG_OUT, LONG_IN, DATAGRAMS, STEADILY, SHIFTING, ROLES };
#define PORT(role) (7001 + (role))

/* Each role has a class, and that has one DSCP in each of the two policies. */
static const struct {
	const char *class;
	int dscp[2];
} roles[ROLES] = {
	[OPENED] = {"opened", {46, 10}},       [SERVED] = {"served", {44, 12}},
	[LONG_OUT] = {"long", {34, 14}},       [LONG_IN] = {"long", {34, 14}},
	[DATAGRAMS] = {"datagrams", {26, 18}}, [STEADILY] = {"steady", {20, 8}},
	[SHIFTING] = {"shifting", {22, 24}},
};

#define CLASSES(opened, served, live, datagrams, steady, shifting, rate)                           \
	"  opened: { dscp: " #opened " }\n"                                                        \
	"  served: { dscp: " #served " }\n"                                                        \
	"  long: { dscp: " #live " }\n"                                                            \
	"  datagrams: { dscp: " #datagrams " }\n"                                                  \
	"  steady: { dscp: " #steady ", egress: { rate: 4mbit, burst: 64kb } }\n"                  \
	"  shifting: { dscp: " #shifting ", egress: { rate: " #rate ", burst: 64kb } }\n"

#define RULES                                                                                      \
	"  - { match: { cgroup: @/app, protocol: tcp, remote_port: 7001 }, class: opened }\n"      \
	"  - { match: { cgroup: @/app, protocol: tcp, local_port: 7002 }, class: served }\n"       \
	"  - { match: { cgroup: @/app, remote_port: 7003 }, class: long }\n"                       \
	"  - { match: { cgroup: @/app, local_port: 7004 }, class: long }\n"                        \
	"  - { match: { cgroup: @/app, remote_port: 7005 }, class: datagrams }\n"                  \
	"  - { match: { cgroup: @/app, remote_port: 7006 }, class: steady }\n"                     \
	"  - { match: { cgroup: @/app, remote_port: 7007 }, class: shifting }\n"

/* The second has rules and classes in other places: nothing but names relates the two. */
static const char *const policies[2] = {
	"classes:\n" CLASSES(46, 44, 34, 26, 20, 22, 4mbit) "rules:\n" RULES,
	"classes:\n  other: { dscp: 1 }\n" CLASSES(
		10, 12, 14, 18, 8, 24,
		8mbit) "rules:\n  - { match: { cgroup: @/nobody, remote_port: 7001 }, class: other }\n" RULES,
};

/* What the processes of a test tell each other. */
struct board {
	volatile int ready, go, stop;
	volatile size_t made, failed;
	volatile uint64_t offered[ROLES]; /* bytes of datagrams */
	volatile int error;
};

static struct board *board;

static void note(bool ok)
{
	__atomic_add_fetch(ok ? &board->made : &board->failed, 1, __ATOMIC_RELAXED);
	if (!ok)
		board->error = errno;
}

static void nap(long ns)
{
	nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static void await_go(void)
{
	__atomic_add_fetch(&board->ready, 1, __ATOMIC_RELAXED);
	while (!board->go)
		nap(PAUSE_NS);
}

static pid_t children[16];
static size_t child_count;

#define CHILD(place)                                                                               \
	for (pid_t pid = place_fork(place, 0); pid == 0 || (children[child_count++] = pid, 0);     \
	     _exit(0))

/* How a connection ends: by the client's FIN, by the server's, by a reset. */
static const char manners[] = {'c', 's', 'r'};

static void serve(int listener)
{
	struct timeval limit = {.tv_sec = patience(30)};
	char byte;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1 &&
		    byte != 's')
			recv(fd, &byte, 1, 0);
		close(fd);
	}
}

static bool connect_once(const char *address, int port, char manner)
{
	struct linger reset = {.l_onoff = manner == 'r'};
	struct timeval limit = {.tv_sec = patience(30)};
	struct address a = address_of(address, port);
	char byte = manner;
	int fd = socket(a.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	ok = !connect(fd, (void *)&a.storage, a.length) && send(fd, &byte, 1, MSG_NOSIGNAL) == 1 &&
	     recv(fd, &byte, 1, 0) == 1 && byte == manner &&
	     (manner != 's' || recv(fd, &byte, 1, 0) == 0);
	close(fd);
	return ok;
}

/* One connection after the other, at half the rate of all. */
static void connect_for_ever(const char *const addresses[2], int port)
{
	uint64_t start;
	size_t n;

	await_go();
	start = now_ns();
	for (n = 0; !board->stop; n++) {
		while (now_ns() < start + n * 2000000000ULL / CONNECTIONS)
			nap(PAUSE_NS);
		note(connect_once(addresses[n / 3 % 2], port, manners[n % 3]));
	}
}

/* What is sent comes back, byte for byte, as long as the test runs. */
static void talk_for_ever(int fd)
{
	unsigned char sent = 0, got;

	await_go();
	for (; !board->stop; sent++) {
		if (send(fd, &sent, 1, MSG_NOSIGNAL) != 1 || recv(fd, &got, 1, 0) != 1 ||
		    got != sent) {
			note(false);
			return;
		}
		nap(PAUSE_NS);
	}
}

static void echo(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char byte;

	while (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
		;
}

/* Sockets older than the first policy; bytes, to addresses of both families. */
static void send_datagrams(const char *const addresses[2], int port, bool connected, size_t length)
{
	static const char bytes[FULL_FRAME];
	struct address to[2];
	int fd[2], i;

	for (i = 0; i < 2; i++) {
		to[i] = address_of(addresses[i], port);
		fd[i] = socket(to[i].storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (connected && connect(fd[i], (void *)&to[i].storage, to[i].length))
			note(false);
	}
	await_go();
	for (i = 0; !board->stop; i = !i) {
		sendto(fd[i], bytes, length, MSG_DONTWAIT,
		       connected ? NULL : (void *)&to[i].storage, connected ? 0 : to[i].length);
		__atomic_add_fetch(&board->offered[port - PORT(0)], length, __ATOMIC_RELAXED);
		nap(PAUSE_NS);
	}
}

static const char *const far_addresses[] = {FAR4, FAR6}, *const near_addresses[] = {NEAR4, NEAR6};

static void start_connections(struct testbed *tb)
{
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int to_far = tcp_listener(&far, "::", PORT(OPENED));
	int to_near = tcp_listener(&near, "::", PORT(SERVED));

	CHILD(&far) serve(to_far);
	CHILD(&near) serve(to_near);
	CHILD(&near) connect_for_ever(far_addresses, PORT(OPENED));
	CHILD(&far) connect_for_ever(near_addresses, PORT(SERVED));
	close(to_far);
	close(to_near);
}

static void start_talks(struct testbed *tb)
{
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int to_far = tcp_listener(&far, FAR4, PORT(LONG_OUT));
	int to_near = tcp_listener(&near, NEAR6, PORT(LONG_IN));
	int from_near = tcp_client(&near, FAR4, PORT(LONG_OUT));
	int from_far = tcp_client(&far, NEAR6, PORT(LONG_IN));

	CHILD(&far) echo(to_far);
	CHILD(&near) echo(to_near);
	CHILD(&near) talk_for_ever(from_near);
	CHILD(&far) talk_for_ever(from_far);
	close(to_far);
	close(to_near);
	close(from_near);
	close(from_far);
}

static void start_datagrams(struct testbed *tb)
{
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int i;

	for (i = 0; i < 2; i++) {
		udp_sink(&far, far_addresses[i], PORT(DATAGRAMS));
		udp_sink(&far, far_addresses[i], PORT(STEADILY));
		udp_sink(&far, far_addresses[i], PORT(SHIFTING));
	}
	CHILD(&near) send_datagrams(far_addresses, PORT(DATAGRAMS), false, 100);
	CHILD(&near) send_datagrams(far_addresses, PORT(DATAGRAMS), true, 100);
	CHILD(&near) send_datagrams(far_addresses, PORT(STEADILY), true, 1400);
	CHILD(&near) send_datagrams(far_addresses, PORT(SHIFTING), true, 1400);
}

/* All is there, and waits; the sockets that live long are older than any policy. */
static void start_traffic(struct testbed *tb)
{
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	child_count = 0;
	start_connections(tb);
	start_talks(tb);
	start_datagrams(tb);
	AWAIT(board->ready == 8);
}

static void stop_traffic(void)
{
	board->stop = 1;
	nap(100 * PAUSE_NS);
	while (child_count) {
		kill(children[--child_count], SIGKILL);
		waitpid(children[child_count], NULL, 0);
	}
}

/* Hundreds of processes: none is kept by the testbed. */
static void apply_file(struct testbed *tb, const char *file)
{
	struct place place = near_place(tb, NULL);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), status = -1;
	pid_t pid = place_fork(&place, 0);

	if (pid == 0) {
		alarm(0);
		dup2(null, 1);
		execl(hostqos_binary(), hostqos_binary(), "--instance", tb->instance, "apply", file,
		      NULL);
		_exit(127);
	}
	close(null);
	if (waitpid(pid, &status, 0) != pid || status)
		fail_msg("apply %s: status %#x", file, status);
}

struct seen {
	size_t packets[ROLES][2]; /* by policy */
	uint64_t bytes[ROLES];
	uint64_t first, last; /* ns */
};

/*
 * A reset without ACK answers a segment that has no socket any more
 * (tcp_v4_send_reset()): nobody's packet, it has the mark of what it answers.
 */
static bool is_nobodys(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && (p->tcp_flags & (TCP_RST | TCP_ACK)) == TCP_RST;
}

/* -1 for packets that are not the test's. */
static int role_of(const struct packet *p)
{
	int port = p->destination_port, role;

	if (is_nobodys(p))
		return -1;
	if (p->source_port == PORT(SERVED) || p->source_port == PORT(LONG_IN))
		port = p->source_port;
	role = port - PORT(0);
	return role >= 0 && role < ROLES ? role : -1;
}

/* Every packet has the one or the other policy's mark. Forgets them. */
static void judge_all(struct capture *c, struct seen *seen)
{
	size_t i;

	capture_read(c);
	for (i = 0; i < c->count; i++) {
		const struct packet *p = &c->packets[i];
		int role = role_of(p);

		if (role < 0)
			continue;
		if (DSCP(p) != roles[role].dscp[0] && DSCP(p) != roles[role].dscp[1])
			fail_msg("of neither policy's class '%s': %s", roles[role].class,
				 packet_text(p));
		seen->packets[role][DSCP(p) == roles[role].dscp[1]]++;
		seen->bytes[role] += p->wire;
		seen->first = seen->first ?: p->ns;
		seen->last = p->ns;
	}
	c->count = 0;
}

#define NCOUNTERS 3
static const char *const counters[NCOUNTERS] = {"packets", "bytes", "flows"};

/* Counters of the roles' classes, none less than it was. */
static void read_counters(struct testbed *tb, int64_t values[ROLES][NCOUNTERS])
{
	struct json_object *json = hostqos_json(tb, 0, "show classes"), *class;
	int64_t value;
	int i, j;

	for (i = 0; i < ROLES; i++) {
		class = json_find(json_member(json, "classes"), "name", roles[i].class);
		assert_non_null(class);
		for (j = 0; j < NCOUNTERS; j++) {
			value = json_object_get_int64(json_member(class, counters[j]));
			if (value < values[i][j])
				fail_msg("class '%s': %s went back from %lld to %lld",
					 roles[i].class, counters[j], (long long)values[i][j],
					 (long long)value);
			values[i][j] = value;
		}
	}
	json_object_put(json);
}

/* The bucket of the class whose rate stays: never fuller than time alone has made it. */
static void check_bucket(struct testbed *tb, uint32_t class, uint64_t *tat)
{
	struct hq_bucket bucket;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/bpf/hostqos/%s/maps/buckets", tb->instance);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &class, &bucket), 0);
	close(fd);
	if (*tat && (int64_t)(bucket.tat - *tat) < 0)
		fail_msg("the bucket of class %u went back by %lld ticks", class,
			 (long long)(*tat - bucket.tat));
	*tat = bucket.tat;
}

/* What came of a metered class is no more than its rate and one burst, and not far below it. */
static void check_rate(const struct seen *seen, int role, double least, double most)
{
	double seconds = (seen->last - seen->first) / 1e9, bits = seen->bytes[role] * 8.0;
	double offered = board->offered[role] * 8.0;

	print_message("%s: %.3f mbit of %.3f over %.1f s\n", roles[role].class,
		      bits / seconds / MBIT, offered / seconds / MBIT, seconds);
	assert_true(bits <= most * seconds + BURST * 8);
	assert_true(bits >= (offered < least * seconds ? offered : least * seconds) / 2);
}

static void policies_alternate_under_load(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int64_t values[ROLES][NCOUNTERS] = {};
	int i, applies = patience(1) > 1 ? APPLIES_SLOW : APPLIES;
	const char *files[2];
	char names[2][64];
	struct seen seen = {};
	uint64_t tat = 0;

	for (i = 0; i < 2; i++)
		files[i] = strcpy(names[i], policy_file(tb, policies[i]));
	start_traffic(tb);
	apply_file(tb, files[0]);
	capture_clear(c);
	board->go = 1;
	for (i = 1; i <= applies; i++) {
		apply_file(tb, files[i % 2]);
		judge_all(c, &seen);
		check_bucket(tb, 5, &tat);
		if (i % 16 == 0)
			read_counters(tb, values);
	}
	stop_traffic();
	await_queue(c, &near, FAR4);
	judge_all(c, &seen);
	read_counters(tb, values);
	print_message("%d applies, %zu connections in %.1f s\n", applies, board->made,
		      (seen.last - seen.first) / 1e9);
	if (board->failed)
		fail_msg("%zu of %zu connections failed: %s", board->failed,
			 board->failed + board->made, strerror(board->error));
	assert_true(board->made > 10UL * applies);
	for (i = 0; i < ROLES; i++)
		assert_true(seen.packets[i][0] > 0 && seen.packets[i][1] > 0);
	for (i = DATAGRAMS; i < ROLES; i++)
		assert_int_equal(values[i][0], seen.packets[i][0] + seen.packets[i][1]);
	check_rate(&seen, STEADILY, STEADY, STEADY);
	check_rate(&seen, SHIFTING, STEADY, 2 * STEADY);
}

/* What became of live sockets, and by which rule. */
static void apply_tells_of_live_sockets(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct connection tcp = tcp_connection(&near, &far, FAR4, 25);
	int udp = udp_socket(&near, FAR4), left = udp_socket(&near, FAR4);
	struct json_object *json, *o;
	char verb[128];

	connect_to(udp, FAR4, 7000);
	connect_to(left, FAR4, 7001);
	apply(tb, "classes: { voice: { dscp: EF, cgroup: @/app } }\n");
	snprintf(verb, sizeof(verb), "apply %s",
		 policy_file(tb, "classes: { bulk: { dscp: LE } }\n"
				 "rules:\n"
				 "  - { name: media, match: { cgroup: @/app, remote_port: 7000 }, "
				 "class: bulk }\n"
				 "  - { name: no-smtp, match: { protocol: tcp, remote_port: 25 }, "
				 "refuse: true }\n"));
	json = hostqos_json(tb, 0, verb);
	assert_int_equal(json_object_get_int(json_member(json, "moved")), 2);
	o = json_find(json_member(json, "moves"), "to", "bulk");
	assert_non_null(o);
	assert_string_equal(json_object_get_string(json_member(o, "from")), "voice");
	assert_string_equal(json_object_get_string(json_member(o, "rule")), "media");
	assert_int_equal(json_object_get_int(json_member(o, "sockets")), 1);
	o = json_find(json_member(json, "moves"), "to", "default");
	assert_non_null(o);
	assert_null(json_member(o, "rule"));
	assert_int_equal(json_object_get_int(json_member(json, "kept")), 1);
	o = json_find(json_member(json, "kept_sockets"), "remote", FAR4 ":25");
	assert_non_null(o);
	assert_string_equal(json_object_get_string(json_member(o, "rule")), "no-smtp");
	assert_int_equal(json_object_get_int(json_member(o, "pid")), getpid());
	assert_int_equal(json_object_array_length(json_member(json, "refused")), 0);
	json_object_put(json);
	close(udp);
	close(left);
	close(tcp.client);
	close(tcp.server);
	close(tcp.listener);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(policies_alternate_under_load),
		NET_TEST(apply_tells_of_live_sockets),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
