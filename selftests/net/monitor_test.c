/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What `monitor` tells, against what was done: every kind of event, and none
 * missing that is not counted.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <hostqos/abi.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"
#include "traffic.h"

static const char policy[] =
	"classes:\n"
	"  voice: { dscp: EF }\n"
	"  web: { dscp: AF21 }\n"
	"  tight: { dscp: AF41, egress: { rate: 8kbit, burst: 2kb } }\n"
	"  soft: { dscp: AF31, egress: { rate: 8kbit, burst: 2kb, exceed: { remark: AF32 } } }\n"
	"rules:\n"
	"  - { name: media, match: { protocol: udp, remote_port: 7000 }, class: voice }\n"
	"  - { name: pages, match: { protocol: tcp, remote_port: 7001 }, class: web }\n"
	"  - { name: narrow, match: { protocol: udp, remote_port: 7002 }, class: tight }\n"
	"  - { name: gentle, match: { protocol: udp, remote_port: 7003 }, class: soft }\n"
	"  - { name: no-smtp, match: { protocol: tcp, remote_port: 25 }, refuse: true }\n";

/* One line's object into *o, where there is a whole line. */
static char *next_line(char *text, struct json_object **o)
{
	char *end = strchr(text, '\n');

	*o = NULL;
	if (!end)
		return NULL;
	*end = '\0';
	*o = json_tokener_parse(text);
	if (!*o)
		fail_msg("not JSON: %s", text);
	return end + 1;
}

static bool is(struct json_object *o, const char *key, const char *value)
{
	struct json_object *member = json_object_object_get(o, key);

	return member && !strcmp(json_object_get_string(member), value);
}

/* Events of a name with a member of this value (or any, for NULL), and the sum of `count` in them.
 */
static size_t events(struct process *monitor, const char *event, const char *key, const char *value,
		     uint64_t *sum)
{
	char *text = process_output(monitor), *line = text;
	struct json_object *o;
	size_t n = 0;

	while (line && (line = next_line(line, &o))) {
		if (is(o, "event", event) && (!key || is(o, key, value))) {
			n++;
			if (sum)
				*sum += json_object_get_uint64(json_member(o, "count"));
		}
		json_object_put(o);
	}
	free(text);
	return n;
}

static size_t told(struct process *monitor, const char *event, const char *key, const char *value)
{
	return events(monitor, event, key, value, NULL);
}

static struct process *monitor_start(struct testbed *tb, const char *arguments)
{
	struct process *monitor = hostqos_start(tb, "-j monitor %s", arguments);

	AWAIT(told(monitor, "monitoring", NULL, NULL) || process_ended(monitor));
	if (process_ended(monitor))
		fail_msg("monitor: %s%s", process_output(monitor), process_errors(monitor));
	return monitor;
}

static void monitor_stop(struct process *monitor)
{
	process_kill(monitor, SIGINT);
	assert_int_equal(process_wait(monitor), 0);
}

static int connected(const struct place *place, int port)
{
	int fd = udp_socket(place, FAR4);

	connect_to(fd, FAR4, port);
	return fd;
}

static void sockets_that_come_into_classes(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app"), far = far_place(tb);
	struct process *monitor;
	struct connection tcp;
	char number[16];
	int udp;

	apply(tb, policy);
	monitor = monitor_start(tb, "");
	udp = connected(&app, 7000);
	send_bytes(udp, 10);
	send_bytes(udp, 10);
	tcp = tcp_connection(&app, &far, FAR4, 7001);
	AWAIT(told(monitor, "classified", "rule", "pages") == 1);
	AWAIT(told(monitor, "classified", "remote", FAR4 ":7000") == 1);
	assert_int_equal(told(monitor, "classified", "class", "voice"), 1);
	snprintf(number, sizeof(number), "%d", getpid());
	/* The test makes its sockets in children that are gone. */
	assert_int_equal(told(monitor, "classified", "pid", number), 0);
	apply(tb, "classes: { voice: { dscp: EF }, web: { dscp: AF21 } }\n"
		  "rules: [{ name: all, match: { protocol: udp }, class: web }]\n");
	AWAIT(told(monitor, "reload", "generation", "2") == 1);
	AWAIT(told(monitor, "moved", "before", "voice") == 1);
	assert_int_equal(told(monitor, "moved", "rule", "all"), 1);
	AWAIT(told(monitor, "moved", "before", "web") == 1); /* to default */
	monitor_stop(monitor);
	close(udp);
	close(tcp.client);
	close(tcp.server);
	close(tcp.listener);
}

static void refusals(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct process *monitor;
	int fd;

	apply(tb, policy);
	monitor = monitor_start(tb, "");
	fd = tcp_socket(&app, FAR4);
	assert_int_equal(connect_try(fd, FAR4, 25), -EPERM);
	AWAIT(told(monitor, "refused", "rule", "no-smtp") == 1);
	assert_int_equal(told(monitor, "refused", "remote", FAR4 ":25"), 1);
	monitor_stop(monitor);
	assert_int_equal(told(monitor, "refused", NULL, NULL), 1);
	close(fd);
}

/* Every packet of each: as many as were sent. */
static void out_of_profile(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct process *monitor;
	int tight, soft, i;

	apply(tb, policy);
	tight = connected(&app, 7002);
	soft = connected(&app, 7003);
	monitor = monitor_start(tb, "");
	for (i = 0; i < 20; i++) {
		send_bytes(tight, 1000);
		send_bytes(soft, 1000);
	}
	await_packets(c, FLOW(.to_port = 7003), 20);
	AWAIT(told(monitor, "remarked", "class", "soft") ==
	      flow_count(c, FLOW(.to_port = 7003, .dsfield = DS_IS(28 << 2))));
	AWAIT(told(monitor, "dropped", "class", "tight") ==
	      20 - flow_count(c, FLOW(.to_port = 7002)));
	assert_true(told(monitor, "dropped", "class", "tight") > 0);
	assert_int_equal(told(monitor, "dropped", "bytes", "1042"),
			 told(monitor, "dropped", NULL, NULL));
	monitor_stop(monitor);
	close(tight);
	close(soft);
}

/* As if a program had counted one. */
static void faults(void **state)
{
	struct testbed *tb = *state;
	__u32 fault = HQ_FAULT_CLASS;
	__u64 *each = calloc(libbpf_num_possible_cpus(), sizeof(*each));
	struct process *monitor;
	uint64_t sum = 0;
	char path[256];
	int map;

	apply(tb, policy);
	monitor = monitor_start(tb, "");
	snprintf(path, sizeof(path), "/sys/fs/bpf/hostqos/%s/maps/faults", tb->instance);
	map = bpf_obj_get(path);
	assert_true(map >= 0);
	each[0] = 3;
	assert_int_equal(bpf_map_update_elem(map, &fault, each, 0), 0);
	AWAIT(told(monitor, "fault", "fault", "class_undefined"));
	events(monitor, "fault", NULL, NULL, &sum);
	assert_int_equal(sum, 3);
	monitor_stop(monitor);
	close(map);
	free(each);
}

/* More than the limit: what was told and what was not are together what was sent. */
static void none_is_missing_in_silence(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct process *monitor;
	uint64_t missing = 0;
	size_t seen, i;
	int fd;

	apply(tb, policy);
	fd = udp_socket(&app, FAR4);
	monitor = monitor_start(tb, "--limit 20");
	for (i = 0; i < 3000; i++)
		assert_int_equal(send_to(fd, FAR4, 7000, 10), 0);
	monitor_stop(monitor);
	seen = told(monitor, "packet", "remote", FAR4 ":7000");
	assert_true(seen >= 20);
	assert_true(events(monitor, "suppressed", "kind", "packet", &missing) > 0);
	events(monitor, "lost", "kind", "packet", &missing);
	print_message("told %zu, not told %lu\n", seen, missing);
	assert_int_equal(seen + missing, 3000);
	close(fd);
}

/*
 * Where nothing is refused, datagrams that go where one went before are
 * remembered (bpf/remembered.h); while somebody watches they are told.
 */
static void remembered_datagrams_are_told(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct process *monitor;
	int fd, i;

	apply(tb, "classes: { voice: { dscp: EF } }\n"
		  "rules: [{ match: { protocol: udp, remote_port: 7000 }, class: voice }]\n");
	fd = udp_socket(&app, FAR4);
	for (i = 0; i < 50; i++)
		assert_int_equal(send_to(fd, FAR4, 7000, 10), 0);
	monitor = monitor_start(tb, "");
	for (i = 0; i < 50; i++)
		assert_int_equal(send_to(fd, FAR4, 7000, 10), 0);
	AWAIT(told(monitor, "packet", "remote", FAR4 ":7000") == 50);
	monitor_stop(monitor);
	close(fd);
}

static void filters(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct process *monitor;
	int voice, tight;

	apply(tb, policy);
	monitor = monitor_start(tb, "--class voice");
	tight = connected(&app, 7002);
	send_bytes(tight, 10);
	voice = connected(&app, 7000);
	send_bytes(voice, 10);
	AWAIT(told(monitor, "classified", "class", "voice") == 1);
	monitor_stop(monitor);
	assert_int_equal(told(monitor, "classified", NULL, NULL), 1);
	close(voice);
	close(tight);
	monitor = monitor_start(tb, "--rule narrow");
	voice = connected(&app, 7000);
	send_bytes(voice, 10);
	tight = connected(&app, 7002);
	send_bytes(tight, 10);
	AWAIT(told(monitor, "classified", "rule", "narrow") == 1);
	monitor_stop(monitor);
	assert_int_equal(told(monitor, "classified", NULL, NULL), 1);
	monitor = monitor_start(tb, "--pid 1");
	send_bytes(connected(&app, 7000), 10);
	monitor_stop(monitor);
	assert_int_equal(told(monitor, "classified", NULL, NULL), 0);
	assert_int_equal(hostqos(tb, "monitor --class none"), 1);
	close(voice);
	close(tight);
}

/* Its number is another's, and it has another number. */
static void a_class_that_comes_back_is_the_same(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct process *monitor;
	int voice, thief;

	apply(tb, policy);
	monitor = monitor_start(tb, "--class voice");
	apply(tb, "classes: { other: { dscp: CS1 } }\n");
	AWAIT(told(monitor, "reload", NULL, NULL) == 1);
	apply(tb, "classes: { thief: { dscp: AF11 }, voice: { dscp: EF } }\n"
		  "rules:\n"
		  "  - { match: { protocol: udp, remote_port: 7000 }, class: voice }\n"
		  "  - { match: { protocol: udp, remote_port: 7001 }, class: thief }\n");
	AWAIT(told(monitor, "gap", NULL, NULL) == 1);
	thief = connected(&app, 7001);
	send_bytes(thief, 10);
	voice = connected(&app, 7000);
	send_bytes(voice, 10);
	monitor_stop(monitor);
	assert_int_equal(told(monitor, "classified", "class", "voice"), 1);
	assert_int_equal(told(monitor, "classified", NULL, NULL), 1);
	close(voice);
	close(thief);
}

static uint64_t watched_until(int map)
{
	struct hq_monitor m;
	__u32 zero = 0;

	assert_int_equal(bpf_map_lookup_elem(map, &zero, &m), 0);
	return m.until;
}

/* Also a monitor that was killed is soon forgotten, and another may begin. */
static void nobody_watches_after_the_end(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	struct process *monitor;
	char path[256];
	int map, fd;

	apply(tb, policy);
	snprintf(path, sizeof(path), "/sys/fs/bpf/hostqos/%s/maps/monitor", tb->instance);
	map = bpf_obj_get(path);
	assert_true(map >= 0);
	fd = udp_socket(&app, FAR4);
	assert_true(watched_until(map) == 0);
	monitor = monitor_start(tb, "");
	assert_true(watched_until(map) > 0);
	assert_int_equal(hostqos(tb, "monitor"), 1); /* there is one */
	process_kill(monitor, SIGTERM);
	assert_int_equal(process_wait(monitor), 0);
	assert_true(watched_until(map) == 0);
	monitor = monitor_start(tb, "");
	process_kill(monitor, SIGKILL);
	process_wait(monitor);
	assert_int_equal(send_to(fd, FAR4, 7000, 10), 0);
	monitor = monitor_start(tb, "");
	process_kill(monitor, SIGKILL);
	process_wait(monitor);
	/* What the first one left unread was no news to the second. */
	assert_int_equal(told(monitor, "packet", NULL, NULL), 0);
	AWAIT(!send_to(fd, FAR4, 7000, 10) && !watched_until(map));
	close(map);
	close(fd);
}

static void ends_where_nothing_can_be_written(void **state)
{
	static const char *const outputs[] = {"&-", "/dev/full"};
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	char script[512];
	size_t i;

	apply(tb, policy);
	for (i = 0; i < 2; i++) {
		struct process *p;

		snprintf(script, sizeof(script), "exec %s --instance %s monitor >%s",
			 hostqos_binary(), tb->instance, outputs[i]);
		p = process_startv(tb, &near, (char *[]){"sh", "-c", script, NULL});
		assert_int_equal(process_wait(p), 1);
		assert_true(process_complained(p, "cannot write the result\n", 1));
	}
}

static void ends_with_its_reader_and_with_the_installation(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct process *monitor, *pipe;
	char script[512];
	char *argv[] = {"sh", "-c", script, NULL};

	apply(tb, policy);
	snprintf(script, sizeof(script), "%s --instance %s monitor | head -n 1", hostqos_binary(),
		 tb->instance);
	pipe = process_startv(tb, &near, argv);
	assert_int_equal(process_wait(pipe), 0);
	assert_non_null(strstr(process_output(pipe), "monitoring"));
	assert_string_equal(process_errors(pipe), "");
	monitor = monitor_start(tb, "");
	detach(tb);
	assert_int_equal(process_wait(monitor), 0);
	assert_int_equal(told(monitor, "detached", NULL, NULL), 1);
	assert_int_equal(hostqos(tb, "monitor"), 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(sockets_that_come_into_classes),
		NET_TEST(refusals),
		NET_TEST(out_of_profile),
		NET_TEST(faults),
		NET_TEST(none_is_missing_in_silence),
		NET_TEST(remembered_datagrams_are_told),
		NET_TEST(filters),
		NET_TEST(a_class_that_comes_back_is_the_same),
		NET_TEST(nobody_watches_after_the_end),
		NET_TEST(ends_where_nothing_can_be_written),
		NET_TEST(ends_with_its_reader_and_with_the_installation),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
