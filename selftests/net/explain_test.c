/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What `explain` says of a flow is what its packets bear at the far side.
 */
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <hostqos/abi.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"

#define AF21 18
#define AF41 34
#define EF   46

static const char policy[] =
	"classes:\n"
	"  voice: { dscp: EF }\n"
	"  video: { dscp: AF41 }\n"
	"  web: { dscp: AF21 }\n"
	"  own: { dscp: CS1, cgroup: @/own }\n"
	"rules:\n"
	"  - { name: media, match: { cgroup: \"@/voip*\", protocol: udp, remote_port: [5060, 7000-7010] }, class: voice }\n"
	"  - { match: { user: 4242, not: { remote: " FAR4_B " } }, class: video }\n"
	"  - { name: served, match: { direction: inbound, local_port: 8080 }, class: web }\n"
	"  - { name: six, match: { family: ipv6, remote: \"" FAR6_B "/128\" }, class: web }\n"
	"  - { name: no-smtp, match: { protocol: tcp, remote_port: 25 }, refuse: true }\n";

/* What a verb prints with these arguments; `@` is the testbed's cgroup. */
static struct json_object *explain(struct testbed *tb, int status, const char *arguments)
{
	char verb[1024] = "explain ";
	size_t used = strlen(verb);

	for (; *arguments && used < sizeof(verb) - 1; arguments++) {
		if (*arguments == '@')
			used += snprintf(verb + used, sizeof(verb) - used, "%s", tb->cgroup);
		else
			verb[used++] = *arguments;
	}
	verb[used] = '\0';
	return hostqos_json(tb, status, verb);
}

static const char *text_of(struct json_object *o, const char *name)
{
	return json_object_get_string(json_member(o, name));
}

static int dscp_of(struct json_object *o)
{
	struct json_object *value = json_member(json_member(o, "dscp"), "value");

	return value ? json_object_get_int(value) : 0;
}

/* A datagram's socket, and the same in words. */
static const struct {
	const char *cgroup;
	uid_t uid;
	const char *to;
	int port;
	const char *words, *rule;
} datagrams[] = {
	{"/voip", 0, FAR4, 7000, "--cgroup @/voip --remote-port 7000", "media"},
	{"/voip-2/x", 0, FAR6, 5060, "--cgroup @/voip-2/x --remote-port 5060", "media"},
	{"/voip", 4242, FAR4, 7011, "--cgroup @/voip --remote-port 7011 --user 4242", "#10"},
	{"/own", 4242, FAR4_B, 7000, "--cgroup @/own --remote-port 7000 --user 4242", "class own"},
	{"/own/a/b", 0, FAR4, 9, "--cgroup @/own/a/b --remote-port 9", "class own"},
	{"/app", 0, FAR6_B, 9, "--cgroup @/app --remote-port 9", "six"},
	{"/app", 0, MAPPED FAR4, 9, "--cgroup @/app --remote-port 9", NULL},
};

static void described_flows_are_marked_so(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct json_object *o;
	char words[512];
	size_t i;

	apply(tb, policy);
	for (i = 0; i < sizeof(datagrams) / sizeof(datagrams[0]); i++) {
		struct place place = near_place(tb, datagrams[i].cgroup);
		const char *to = datagrams[i].to, *rule;
		int fd;

		place.uid = datagrams[i].uid;
		fd = udp_socket(&place, to);
		snprintf(words, sizeof(words),
			 "--user %u --protocol udp --direction outbound --remote %s %s",
			 datagrams[i].uid, strncmp(to, MAPPED, 7) ? to : to + 7,
			 datagrams[i].words);
		o = explain(tb, 0, words);
		rule = text_of(o, "rule");
		if (datagrams[i].rule ? !rule || strcmp(rule, datagrams[i].rule) : rule != NULL)
			fail_msg("%s: rule %s", words, rule);
		assert_false(json_object_get_boolean(json_member(o, "provisional")));
		capture_clear(c);
		assert_int_equal(send_to(fd, to, datagrams[i].port, 100), 0);
		await_packets(c, FLOW(.protocol = IPPROTO_UDP), 1);
		judge(c, FLOW(.protocol = IPPROTO_UDP), dscp_of(o), 1);
		json_object_put(o);
		close(fd);
	}
}

/* Every earlier rule, and what of it failed. */
static void earlier_rules_have_their_reasons(void **state)
{
	struct testbed *tb = *state;
	struct json_object *o, *why, *r;

	apply(tb, policy);
	o = explain(
		tb, 0,
		"--cgroup @/app --user 4242 --protocol tcp --direction outbound --remote " FAR4_B
		" --remote-port 25 --local-port 9");
	assert_string_equal(text_of(o, "rule"), "no-smtp");
	assert_null(json_member(o, "class"));
	assert_true(json_object_get_boolean(json_member(o, "refuse")));
	why = json_member(o, "why");
	assert_int_equal(json_object_array_length(why), 5);
	r = json_object_array_get_idx(why, 0);
	assert_string_equal(
		json_object_to_json_string_ext(json_member(r, "failed"), JSON_C_TO_STRING_PLAIN),
		"[\"cgroup\",\"protocol\",\"remote_port\"]");
	assert_false(json_object_get_boolean(json_member(r, "matches")));
	r = json_object_array_get_idx(why, 1);
	assert_string_equal(text_of(r, "rule"), "#10");
	assert_string_equal(text_of(r, "text"), "remote is " FAR4_B ", which `not` excludes");
	assert_string_equal(
		json_object_to_json_string_ext(json_member(r, "failed"), JSON_C_TO_STRING_PLAIN),
		"[\"not.remote\"]");
	assert_true(
		json_object_get_boolean(json_member(json_object_array_get_idx(why, 4), "matches")));
	json_object_put(o);
}

/* What is not said leaves rules undecided, as it does in the hooks. */
static void unknown_keys_are_undecided(void **state)
{
	struct testbed *tb = *state;
	struct json_object *o, *r;

	apply(tb, policy);
	o = explain(tb, 0, "--cgroup @/own --protocol udp");
	assert_string_equal(text_of(o, "rule"), "class own");
	assert_true(json_object_get_boolean(json_member(o, "provisional")));
	r = json_object_array_get_idx(json_member(o, "why"), 1);
	assert_null(json_member(r, "matches"));
	assert_string_equal(text_of(r, "text"), "user and remote are not known");
	json_object_put(o);
	/* Not even a protocol: the kernel's classifier leaves that open too. */
	o = explain(tb, 0, "--remote-port 25");
	assert_null(json_member(o, "rule"));
	assert_string_equal(text_of(o, "class"), "default");
	assert_true(json_object_get_boolean(json_member(o, "provisional")));
	json_object_put(o);
}

/* Packets without a socket here: only rules that ask for them, and no class by default. */
static void forwarded_packets(void **state)
{
	struct testbed *tb = *state;
	struct json_object *o;

	apply(tb, policy);
	o = explain(tb, 0, "--origin forwarded --protocol udp --remote " FAR4);
	assert_null(json_member(o, "rule"));
	assert_null(json_member(o, "class"));
	json_object_put(o);
	apply(tb, "classes: { through: { dscp: AF41 } }\n"
		  "rules:\n"
		  "  - { name: ours, match: { protocol: udp }, class: through }\n"
		  "  - { name: theirs, match: { origin: forwarded, remote: " FAR4
		  " }, class: through }\n");
	o = explain(tb, 0, "--origin forwarded --protocol udp --remote " FAR4);
	assert_string_equal(text_of(o, "rule"), "theirs");
	assert_int_equal(dscp_of(o), AF41);
	json_object_put(o);
	o = explain(tb, 0, "--protocol udp --remote " FAR4);
	assert_string_equal(text_of(o, "rule"), "ours");
	json_object_put(o);
}

/* Whatever the rules say, packets of a cgroup that the policy does not govern bear no mark. */
static void ungoverned_cgroups(void **state)
{
	struct testbed *tb = *state;
	struct place beside = near_place(tb, "/beside"), app = near_place(tb, "/app/x");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int out = udp_socket(&beside, FAR4), in = udp_socket(&app, FAR4);
	struct json_object *o;

	apply(tb, "hostqos: 1\n"
		  "attach: { cgroup: @/app, interfaces: [near0] }\n"
		  "classes: { voice: { dscp: EF } }\n"
		  "rules: [{ name: all, match: { protocol: udp }, class: voice }]\n");
	assert_int_equal(send_to(out, FAR4, 7000, 10), 0);
	assert_int_equal(send_to(in, FAR4, 7001, 10), 0);
	await_packets(c, FLOW(.to_port = 7001), 1);
	judge(c, FLOW(.to_port = 7000), 0, 1);
	judge(c, FLOW(.to_port = 7001), EF, 1);
	o = explain(tb, 0, "--protocol udp --cgroup @/beside");
	assert_false(json_object_get_boolean(json_member(o, "governed")));
	assert_null(json_member(o, "rule"));
	assert_null(json_member(o, "class"));
	json_object_put(o);
	o = explain(tb, 0, "--protocol udp --cgroup @/app/x");
	assert_true(json_object_get_boolean(json_member(o, "governed")));
	assert_string_equal(text_of(o, "rule"), "all");
	json_object_put(o);
	close(out);
	close(in);
}

/* A policy in a file, with no kernel asked, says of each flow what the one in force says. */
static void file_and_kernel_agree(void **state)
{
	struct testbed *tb = *state;
	const char *file = policy_file(tb, policy);
	struct json_object *in_force, *in_file;
	char words[512];
	size_t i;

	apply(tb, policy);
	for (i = 0; i < sizeof(datagrams) / sizeof(datagrams[0]); i++) {
		snprintf(words, sizeof(words), "%s --policy %s", datagrams[i].words, file);
		in_force = explain(tb, 0, datagrams[i].words);
		in_file = explain(tb, 0, words);
		assert_string_equal(json_object_to_json_string(in_force),
				    json_object_to_json_string(in_file));
		json_object_put(in_force);
		json_object_put(in_file);
	}
}

static struct json_object *only_flow(struct json_object *o)
{
	struct json_object *flows = json_member(o, "flows");

	assert_int_equal(json_object_array_length(flows), 1);
	return json_object_array_get_idx(flows, 0);
}

static void live_sockets_are_explained(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app"), voip = near_place(tb, "/voip");
	struct place far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection served;
	struct json_object *o, *flow;
	char words[128];
	int udp;

	apply(tb, policy);
	served = tcp_connection(&far, &app, NEAR4, 8080);
	udp = udp_socket(&voip, FAR4);
	connect_to(udp, FAR4, 7000);
	send_bytes(udp, 10);
	send_bytes(served.server, 10);
	snprintf(words, sizeof(words), "--live --protocol tcp --local-port 8080 --remote-port %d",
		 local_port(served.client));
	o = explain(tb, 0, words);
	flow = only_flow(o);
	assert_string_equal(text_of(flow, "rule"), "served");
	assert_string_equal(text_of(flow, "carries"), "web");
	await_packets(c, FLOW(.from_port = 8080, .data = true), 1);
	judge(c, FLOW(.from_port = 8080), dscp_of(flow), 2);
	json_object_put(o);
	/* The test program holds them all. */
	snprintf(words, sizeof(words), "--pid %d --protocol udp", getpid());
	o = explain(tb, 0, words);
	flow = only_flow(o);
	assert_string_equal(text_of(flow, "rule"), "media");
	assert_string_equal(text_of(flow, "remote"), FAR4 ":7000");
	await_packets(c, FLOW(.to_port = 7000), 1);
	judge(c, FLOW(.to_port = 7000), dscp_of(flow), 1);
	json_object_put(o);
	snprintf(words, sizeof(words), "--pid %d", getpid());
	o = explain(tb, 0, words);
	/* The listener, the accepted connection and the datagram socket; the client is not
	 * governed. */
	assert_int_equal(json_object_array_length(json_member(o, "flows")), 3);
	json_object_put(o);
	json_object_put(explain(tb, 1, "--live --local-port 1"));
	json_object_put(explain(tb, 1, "--pid 1"));
	close(udp);
	close(served.client);
	close(served.server);
	close(served.listener);
}

/* A connection that lives on although its like is refused, and marks that it asked for. */
static void what_a_live_socket_carries_is_told(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app"), far = far_place(tb);
	struct connection kept;
	struct json_object *o;

	apply(tb, "classes: { default: { app_dscp: honor } }\n");
	kept = tcp_connection(&far, &app, NEAR4, 8080);
	set_option(kept.server, IPPROTO_IP, IP_TOS, AF41 << 2);
	apply(tb, "rules: [{ match: { protocol: tcp, local_port: 8080 }, refuse: true }]\n");
	o = explain(tb, 0, "--live --remote " FAR4);
	assert_true(json_object_get_boolean(json_member(only_flow(o), "refuse")));
	assert_string_equal(text_of(only_flow(o), "carries"), "default");
	assert_string_equal(text_of(json_member(only_flow(o), "carries_dscp"), "name"), "AF41");
	json_object_put(o);
	close(kept.client);
	close(kept.server);
	close(kept.listener);
}

/* A socket whose rule reads what came in last from its peer. */
static void inbound_dscp_of_a_live_socket_is_known(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int near = udp_socket(&app, FAR4), peer = udp_socket(&far, FAR4);
	struct json_object *o;

	apply(tb, "classes: { voice: { dscp: EF } }\n"
		  "rules: [{ match: { remote: " FAR4 ", inbound_dscp: AF41 }, class: voice }]\n");
	bind_to(near, NEAR4, 7000);
	bind_to(peer, FAR4, 7001);
	connect_to(near, FAR4, 7001);
	set_option(peer, IPPROTO_IP, IP_TOS, AF41 << 2);
	assert_int_equal(send_to(peer, NEAR4, 7000, 10), 0);
	receive_bytes(near, 10);
	send_bytes(near, 10);
	await_packets(c, FLOW(.from_port = 7000), 1);
	o = explain(tb, 0, "--live --local-port 7000");
	assert_string_equal(text_of(only_flow(o), "class"), "voice");
	judge(c, FLOW(.from_port = 7000), dscp_of(only_flow(o)), 1);
	json_object_put(o);
	close(near);
	close(peer);
}

/* A table that says otherwise than the text, as none but a bug or a hand could make it. */
static void a_contradiction_is_no_answer(void **state)
{
	struct testbed *tb = *state;
	__u32 cell = HQ_PORT_VALUES + 7000, other = HQ_PORT_VALUES + 1, row;
	char path[256];
	struct json_object *o, *errors;
	int ports;

	apply(tb, policy);
	snprintf(path, sizeof(path), "/sys/fs/bpf/hostqos/%s/maps/ports", tb->instance);
	ports = bpf_obj_get(path);
	assert_true(ports >= 0);
	json_object_put(
		explain(tb, 0, "--cgroup @/voip --protocol udp --remote-port 7000 --user 0"));
	assert_int_equal(bpf_map_lookup_elem(ports, &other, &row), 0);
	assert_int_equal(bpf_map_update_elem(ports, &cell, &row, 0), 0);
	o = explain(tb, 1, "--cgroup @/voip --protocol udp --remote-port 7000 --user 0");
	assert_false(json_object_get_boolean(json_member(o, "ok")));
	errors = json_member(o, "errors");
	assert_int_equal(json_object_array_length(errors), 1);
	assert_non_null(strstr(text_of(json_object_array_get_idx(errors, 0), "message"),
			       "by the policy's text it would be media"));
	json_object_put(o);
	close(ports);
}

static void nothing_changes_by_asking(void **state)
{
	struct testbed *tb = *state;
	struct json_object *before, *after;
	struct bpf_ids ids = {}, again = {};

	apply(tb, policy);
	before = hostqos_json(tb, 0, "show rules");
	bpf_ids_collect(tb, &ids);
	json_object_put(explain(tb, 0, "--cgroup @/voip --protocol udp --remote-port 7000"));
	after = hostqos_json(tb, 0, "show rules");
	bpf_ids_collect(tb, &again);
	assert_string_equal(json_object_to_json_string(before), json_object_to_json_string(after));
	assert_int_equal(ids.map_count, again.map_count);
	assert_int_equal(ids.program_count, again.program_count);
	json_object_put(before);
	json_object_put(after);
	detach(tb);
	json_object_put(explain(tb, 1, "--protocol udp"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(described_flows_are_marked_so),
		NET_TEST(earlier_rules_have_their_reasons),
		NET_TEST(unknown_keys_are_undecided),
		NET_TEST(forwarded_packets),
		NET_TEST(ungoverned_cgroups),
		NET_TEST(file_and_kernel_agree),
		NET_TEST(live_sockets_are_explained),
		NET_TEST(what_a_live_socket_carries_is_told),
		NET_TEST(inbound_dscp_of_a_live_socket_is_known),
		NET_TEST(a_contradiction_is_no_answer),
		NET_TEST(nothing_changes_by_asking),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
