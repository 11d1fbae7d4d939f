/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What the verbs say about a policy in force, and that it is so.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"

#define EF 46

static const char policy[] =
	"classes:\n"
	"  voice: { dscp: EF, cgroup: @/app, egress: { rate: 24mbit } }\n"
	"rules:\n"
	"  - { name: dns, match: { cgroup: @/app, remote_port: 53 }, refuse: true }\n";

static void run_places_the_command_in_its_class(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, policy);
	assert_int_equal(
		hostqos(tb, "run --class voice -- /proc/%d/exe " SEND_DATAGRAM " " FAR4 " 7000",
			getpid()),
		0);
	await_packets(c, FLOW(.to_port = 7000), 1);
	judge(c, FLOW(.to_port = 7000), EF, 1);
}

static void run_exits_as_the_command_does(void **state)
{
	struct testbed *tb = *state;
	struct json_object *o;
	struct process *p;
	char path[128];

	apply(tb, policy);
	assert_int_equal(hostqos(tb, "run --class voice -- true"), 0);
	assert_int_equal(hostqos(tb, "run --class voice -- false"), 1);
	assert_int_equal(hostqos(tb, "run --class voice -- " SCRATCH "/none"), 127);
	o = hostqos_json(tb, 127, "run --class voice -- " SCRATCH "/none");
	assert_int_equal(json_object_array_length(json_member(o, "errors")), 1);
	json_object_put(o);
	p = hostqos_start(tb, "run --class nothing -- true");
	assert_int_equal(process_wait(p), 1);
	assert_non_null(strstr(process_errors(p), "nothing"));
	snprintf(path, sizeof(path), "%s/app", tb->cgroup);
	cgroup_remove(path);
	p = hostqos_start(tb, "run --class voice -- true");
	assert_int_equal(process_wait(p), 1);
	assert_non_null(strstr(process_errors(p), "apply the policy again"));
	apply(tb, policy);
	assert_int_equal(hostqos(tb, "run --class voice -- true"), 0);
}

static void status_is_read_back_from_the_kernel(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	struct json_object *status, *attached;
	size_t i;

	assert_int_equal(hostqos(tb, "status"), 1);
	apply(tb, policy);
	status = hostqos_json(tb, 0, "status");
	assert_true(json_object_get_boolean(json_member(status, "healthy")));
	attached = json_member(status, "attached");
	assert_true(json_object_array_length(attached) > 1);
	for (i = 0; i < json_object_array_length(attached); i++)
		assert_true(json_object_get_boolean(
			json_member(json_object_array_get_idx(attached, i), "ok")));
	assert_non_null(json_find(attached, "target", NEAR_IF));
	json_object_put(status);
	/* With the interface goes what was attached to it, whatever a pin may say. */
	run(tb, &near, "ip link del " NEAR_IF);
	status = hostqos_json(tb, 1, "status");
	assert_false(json_object_get_boolean(json_member(status, "healthy")));
	json_object_put(status);
	detach(tb);
	assert_int_equal(hostqos(tb, "status"), 1);
}

/* Hooks that stay with a removed cgroup govern nobody who comes. */
static void status_of_a_cgroup_that_is_gone(void **state)
{
	struct testbed *tb = *state;
	struct place gone = near_place(tb, "/gone");
	int fd = socket_at(&gone, AF_INET, SOCK_DGRAM); /* remembers it */
	char path[128];

	apply(tb, "hostqos: 1\n"
		  "attach: { cgroup: @/gone, interfaces: [near0] }\n"
		  "classes: { voice: { dscp: EF } }\n");
	assert_int_equal(hostqos(tb, "status"), 0);
	snprintf(path, sizeof(path), "%s/gone", tb->cgroup);
	cgroup_remove(path);
	assert_int_equal(hostqos(tb, "status"), 1);
	detach(tb);
	close(fd);
}

/*
 * From where no process leads back: not the names that its numbers have here, and
 * nothing stays behind where the namespace has a name.
 */
static void interfaces_of_a_namespace_that_no_process_is_in(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL), far = far_place(tb);
	struct process *p;
	char script[1024];

	run(tb, &near, "ip link add here0 index 77 type veth peer name here1");
	run(tb, &far, "ip link add there0 index 77 type veth peer name there1");
	apply(tb, "hostqos: 1\n"
		  "attach: { cgroup: @, interfaces: [here0] }\n"
		  "classes: { voice: { dscp: EF, cgroup: @/app } }\n");
	p = process_start(tb, &far, "%s --instance %s status", hostqos_binary(), tb->instance);
	assert_int_equal(process_wait(p), 0);
	assert_non_null(strstr(process_output(p), " here0 "));
	assert_null(strstr(process_output(p), "there0 "));
	/* As `ip netns` names it, in a /run of our own. */
	snprintf(script, sizeof(script),
		 "mount -t tmpfs run /run && mkdir /run/netns && touch /run/netns/near &&"
		 "mount --bind /proc/%d/fd/%d /run/netns/near && %s --instance %s detach",
		 getpid(), tb->near, hostqos_binary(), tb->instance);
	p = process_startv(tb, &far, (char *[]){"unshare", "--mount", "sh", "-c", script, NULL});
	assert_int_equal(process_wait(p), 0);
	assert_string_equal(process_errors(p), "");
	p = process_start(tb, &near, "tc qdisc show dev here0");
	assert_int_equal(process_wait(p), 0);
	assert_null(strstr(process_output(p), "clsact"));
}

static void show_counts_what_was_sent(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct json_object *json, *voice, *dns, *own;
	char match[128];
	int i, fd;

	apply(tb, policy);
	fd = udp_socket(&near, FAR4);
	for (i = 0; i < 10; i++)
		assert_int_equal(send_to(fd, FAR4, 7000, 100), 0);
	assert_true(send_to(fd, FAR4, 53, 100) < 0);
	await_packets(c, FLOW(.to_port = 7000), 10);
	json = hostqos_json(tb, 0, "show classes");
	voice = json_find(json_member(json, "classes"), "name", "voice");
	assert_non_null(voice);
	assert_int_equal(json_object_get_int64(json_member(voice, "packets")), 10);
	assert_int_equal(json_object_get_int64(json_member(voice, "bytes")), 10 * 142);
	json_object_put(json);
	json = hostqos_json(tb, 0, "show rules");
	dns = json_find(json_member(json, "rules"), "name", "dns");
	assert_non_null(dns);
	assert_true(json_object_get_int64(json_member(dns, "refused")) >= 1);
	own = json_find(json_member(json, "rules"), "name", "class voice");
	snprintf(match, sizeof(match), "{ cgroup: %s/app }", tb->cgroup);
	assert_string_equal(json_object_get_string(json_member(own, "match")), match);
	json_object_put(json);
	close(fd);
}

#define COUNTED "classes: { voice: { dscp: EF, cgroup: @/app } }\n"

static void expect_flows(struct testbed *tb, int flows)
{
	struct json_object *json = hostqos_json(tb, 0, "show classes");
	struct json_object *voice = json_find(json_member(json, "classes"), "name", "voice");

	assert_non_null(voice);
	assert_int_equal(json_object_get_int64(json_member(voice, "flows")), flows);
	json_object_put(json);
}

/* However many hooks a connection passes, it is one flow. */
static void show_counts_a_connection_once(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct connection out, in;

	apply(tb, COUNTED);
	out = tcp_connection(&near, &far, FAR4, 7001);
	send_bytes(out.client, 1);
	receive_bytes(out.server, 1);
	expect_flows(tb, 1);
	/* The listener and the connection that it accepts. */
	in = tcp_connection(&far, &near, NEAR4, 7002);
	send_bytes(in.server, 1);
	receive_bytes(in.client, 1);
	expect_flows(tb, 3);
	close(out.client), close(out.server), close(out.listener);
	close(in.client), close(in.server), close(in.listener);
}

static void show_counts_a_udp_socket_once(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd;

	apply(tb, COUNTED);
	fd = udp_socket(&near, FAR4);
	bind_to(fd, NEAR4, 7000);
	connect_to(fd, FAR4, 7000);
	send_bytes(fd, 1);
	send_bytes(fd, 1);
	await_packets(c, FLOW(.to_port = 7000), 2);
	expect_flows(tb, 1);
	close(fd);
}

static void show_flows_lists_live_sockets(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct json_object *json, *flows, *flow, *class;
	struct connection tcp;
	size_t i, mine = 0;

	apply(tb, policy);
	tcp = tcp_connection(&near, &far, FAR4, 7000);
	json = hostqos_json(tb, 0, "show flows");
	flows = json_member(json, "flows");
	for (i = 0; i < json_object_array_length(flows); i++) {
		flow = json_object_array_get_idx(flows, i);
		class = json_member(flow, "class");
		if (!strcmp(json_object_get_string(class), "voice"))
			mine++;
	}
	assert_int_equal(mine, 1);
	json_object_put(json);
	close(tcp.client), close(tcp.server), close(tcp.listener);
}

static void diff_tells_and_does_nothing(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd = udp_socket(&near, FAR4);
	struct json_object *json;
	char verb[64];

	apply(tb, policy);
	snprintf(verb, sizeof(verb), "diff %s", policy_file(tb, policy));
	json = hostqos_json(tb, 0, verb);
	assert_false(json_object_get_boolean(json_member(json, "changed")));
	json_object_put(json);
	snprintf(verb, sizeof(verb), "diff %s",
		 policy_file(tb, "classes: { voice: { dscp: LE, cgroup: @/app } }\n"));
	json = hostqos_json(tb, 0, verb);
	assert_true(json_object_get_boolean(json_member(json, "changed")));
	json_object_put(json);
	assert_int_equal(send_to(fd, FAR4, 7000, 100), 0);
	await_packets(c, FLOW(.to_port = 7000), 1);
	judge(c, FLOW(.to_port = 7000), EF, 1);
	close(fd);
}

/* Inspection with plain bpftool is a feature: names, not bytes. */
static void bpftool_dumps_every_pinned_map(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	char folder[128], *text;
	struct dirent *entry;
	struct process *dump;
	size_t maps = 0;
	DIR *dir;

	apply(tb, policy);
	snprintf(folder, sizeof(folder), "/sys/fs/bpf/hostqos/%s/maps", tb->instance);
	dir = opendir(folder);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		maps++;
		dump = process_start(tb, &near, "bpftool map dump pinned %s/%s", folder,
				     entry->d_name);
		if (process_wait(dump))
			fail_msg("%s: %s", entry->d_name, process_errors(dump));
		text = process_output(dump);
		/* Without BTF it would be "key: 00 00 00 00". The kernel takes none for maps of
		 * maps. */
		if (strncmp(entry->d_name, "policy_", strlen("policy_")))
			assert_int_equal(*text, '[');
		if (!strcmp(entry->d_name, "class_counters"))
			assert_non_null(strstr(text, "\"packets\""));
		if (!strcmp(entry->d_name, "active"))
			assert_non_null(strstr(text, "\"generation\""));
		free(text);
	}
	closedir(dir);
	assert_true(maps > 8);
}

/* No UTF-8, and what turns a terminal red. */
#define RUDE	  "a\xff\x1b[31m"
#define RUDE_TEXT "a??[31m"
#define RUDE_JSON "a\xef\xbf\xbd\\u001b[31m"

static void call_itself_rude(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, RUDE);
	connect_try(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), FAR4, 7000);
	pause();
}

static bool is_clean(char *text)
{
	bool clean = !strpbrk(text, "\x1b\xff");

	free(text);
	return clean;
}

static void expect_clean(struct process *p, const char *name)
{
	AWAIT(process_said(p, name, 1) || process_complained(p, name, 1) || process_ended(p));
	assert_true(process_said(p, name, 1) || process_complained(p, name, 1));
	assert_true(is_clean(process_output(p)));
	assert_true(is_clean(process_errors(p)));
}

static void monitor_tells(struct testbed *tb, const char *option, const char *name)
{
	struct process *monitor = hostqos_start(tb, "%s monitor", option);
	struct place rude = near_place(tb, "/" RUDE);

	AWAIT(process_said(monitor, "monitoring", 1) || process_ended(monitor));
	process_call(tb, &rude, call_itself_rude, NULL);
	AWAIT(process_said(monitor, "classified", 1) || process_ended(monitor));
	expect_clean(monitor, name);
	process_kill(monitor, SIGTERM);
	assert_int_equal(process_wait(monitor), 0);
}

/* A process chooses its name, and a user the names of files and, where delegated, of cgroups. */
static void names_of_others_do_no_harm(void **state)
{
	static const char *const file = SCRATCH "/" RUDE ".yaml";
	struct testbed *tb = *state;

	assert_int_equal(rename(policy_file(tb, policy), file), 0);
	expect_clean(hostqos_start(tb, "check %s", file), SCRATCH "/" RUDE_TEXT ".yaml: correct");
	expect_clean(hostqos_start(tb, "check %s.none", file), RUDE_TEXT ".yaml.none");
	expect_clean(hostqos_start(tb, "-j check %s.none", file), RUDE_JSON ".yaml.none");
	expect_clean(hostqos_start(tb, "apply %s", file), RUDE_TEXT ".yaml is in force");
	expect_clean(hostqos_start(tb, "status"), RUDE_TEXT ".yaml");
	expect_clean(hostqos_start(tb, "-j status"), RUDE_JSON ".yaml");
	monitor_tells(tb, "", "comm " RUDE_TEXT);
	monitor_tells(tb, "-j", "\"comm\":\"" RUDE_JSON);
	expect_clean(hostqos_start(tb, "show flows"), "/" RUDE_TEXT);
	expect_clean(hostqos_start(tb, "-j show flows"), "/" RUDE_JSON);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(run_places_the_command_in_its_class),
		NET_TEST(run_exits_as_the_command_does),
		NET_TEST(status_is_read_back_from_the_kernel),
		NET_TEST(status_of_a_cgroup_that_is_gone),
		NET_TEST(interfaces_of_a_namespace_that_no_process_is_in),
		NET_TEST(show_counts_what_was_sent),
		NET_TEST(show_counts_a_connection_once),
		NET_TEST(show_counts_a_udp_socket_once),
		NET_TEST(show_flows_lists_live_sockets),
		NET_TEST(diff_tells_and_does_nothing),
		NET_TEST(names_of_others_do_no_harm),
		NET_TEST(bpftool_dumps_every_pinned_map),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
