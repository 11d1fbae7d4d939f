/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Every match key, from the policy's text to the packet's mark. Class `hit` is
 * EF; what the rule does not match keeps the mark of nobody, 0.
 */
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"

#define AF41 34
#define EF   46

/* Root could open any socket; these two are the least that it can become. */
#define NOBODY	65534
#define NOGROUP 65534

#define RULE(match)                                                                                \
	"classes: { hit: { dscp: EF } }\n"                                                         \
	"rules: [{ match: { " match " }, class: hit }]\n"

/* A socket's birth and its first packet. Zero: cgroup /app, root, UDP, FAR4, port 7000. */
struct probe {
	const char *cgroup;
	uid_t uid;
	gid_t gid;
	int protocol;
	const char *from, *to;
	int from_port, to_port;
	int dscp;
};

static void send_tcp(int fd, const struct testbed *tb, const char *to, int port)
{
	struct place far = far_place(tb);
	int listener = tcp_listener(&far, to, port);

	connect_to(fd, to, port);
	close_with_reset(fd);
	close(listener);
}

static void send_icmp(int fd, const char *to)
{
	struct icmphdr echo = {.type = ICMP_ECHO, .checksum = (uint16_t)~htons(ICMP_ECHO << 8)};
	struct address a = address_of(to, 0);

	if (sendto(fd, &echo, sizeof(echo), 0, (void *)&a.storage, a.length) < 0)
		fail_msg("send ICMP: %s", strerror(errno));
	close(fd);
}

static int probe_socket(const struct testbed *tb, const struct probe *p, const char *to)
{
	struct place near = near_place(tb, p->cgroup ? p->cgroup : "/app");

	near.uid = p->uid;
	near.gid = p->gid;
	return socket_try(&near, address_family(to),
			  p->protocol == IPPROTO_TCP	? SOCK_STREAM
			  : p->protocol == IPPROTO_ICMP ? SOCK_RAW
							: SOCK_DGRAM,
			  p->protocol);
}

static void probe(struct testbed *tb, struct capture *c, const struct probe *p)
{
	int protocol = p->protocol ? p->protocol : IPPROTO_UDP;
	int port = p->to_port ? p->to_port : 7000;
	const char *to = p->to ? p->to : FAR4;
	int fd = probe_socket(tb, p, to);

	capture_clear(c);
	if (p->from || p->from_port)
		bind_to(fd, p->from ? p->from : "0.0.0.0", p->from_port);
	if (protocol == IPPROTO_TCP) {
		send_tcp(fd, tb, to, port);
	} else if (protocol == IPPROTO_ICMP) {
		send_icmp(fd, to);
	} else {
		assert_int_equal(send_to(fd, to, port, 100), 0);
		close(fd);
	}
	await_packets(c, FLOW(.protocol = protocol), 1);
	judge(c, FLOW(.protocol = protocol), p->dscp, 1);
}

#define probe_all(tb, policy, ...)                                                                 \
	do {                                                                                       \
		const struct probe probes[] = {__VA_ARGS__};                                       \
		probe_array(tb, policy, probes, sizeof(probes) / sizeof(probes[0]));               \
	} while (0)

static void probe_array(struct testbed *tb, const char *policy, const struct probe *probes,
			size_t count)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i;

	apply(tb, policy);
	for (i = 0; i < count; i++)
		probe(tb, c, &probes[i]);
}

/* A path means its subtree; most of these cgroups appear after the policy. */
static void cgroup_path(void **state)
{
	near_place(*state, "/web");
	probe_all(*state, RULE("cgroup: @/web"), {.cgroup = "/web", .dscp = EF},
		  {.cgroup = "/web/worker", .dscp = EF}, {.cgroup = "/web/a/b/c", .dscp = EF},
		  {.cgroup = "/webmail", .dscp = 0}, {.cgroup = "/other/web", .dscp = 0},
		  {.cgroup = "", .dscp = 0});
}

static void cgroup_glob(void **state)
{
	probe_all(*state, RULE("cgroup: \"@/user-*/app\""), {.cgroup = "/user-1/app", .dscp = EF},
		  {.cgroup = "/user-1/app/x", .dscp = EF}, {.cgroup = "/user-/app", .dscp = EF},
		  {.cgroup = "/user-1/x/app", .dscp = 0}, {.cgroup = "/user-1/apple", .dscp = 0},
		  {.cgroup = "/user/app", .dscp = 0});
	probe_all(*state, RULE("cgroup: \"@/**/app-*\""), {.cgroup = "/a/b/c/app-1", .dscp = EF},
		  {.cgroup = "/a/app-2", .dscp = EF}, {.cgroup = "/a/app", .dscp = 0});
}

static void systemd_unit(void **state)
{
	probe_all(*state, RULE("unit: mail.service"), {.cgroup = "/mail.service", .dscp = EF},
		  {.cgroup = "/system.slice/mail.service/x", .dscp = EF},
		  {.cgroup = "/email.service", .dscp = 0});
}

static void written_rules_then_the_deepest_cgroup_then_default(void **state)
{
	probe_all(*state,
		  "classes:\n"
		  "  outer: { dscp: CS1, cgroup: @/a }\n"
		  "  inner: { dscp: CS2, cgroup: @/a/b }\n"
		  "  named: { dscp: CS3 }\n"
		  "  later: { dscp: CS4 }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/a, remote_port: 7001 }, class: named }\n"
		  "  - { match: { cgroup: @/a, remote_port: 7001-7002 }, class: later }\n",
		  {.cgroup = "/a", .dscp = 8}, {.cgroup = "/a/b", .dscp = 16},
		  {.cgroup = "/a/b/c", .dscp = 16}, {.cgroup = "/a/b", .to_port = 7001, .dscp = 24},
		  {.cgroup = "/a", .to_port = 7002, .dscp = 32}, {.cgroup = "/x", .dscp = 0});
}

/* `default` is for what is governed and matches nothing, not for all that leaves the host. */
static void default_class_takes_the_rest(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place outside = near_place(tb, NULL);
	int fd;

	probe_all(tb,
		  "classes: { default: { dscp: CS1 }, hit: { dscp: EF } }\n"
		  "rules: [{ match: { remote_port: 7001 }, class: hit }]\n",
		  {.dscp = 8}, {.protocol = IPPROTO_TCP, .dscp = 8}, {.to_port = 7001, .dscp = EF},
		  {.to = FAR6, .dscp = 8});
	fd = udp_socket(&outside, FAR4);
	capture_clear(c);
	assert_int_equal(send_to(fd, FAR4, 7000, 100), 0);
	assert_int_equal(send_to(fd, FAR4, 7001, 100), 0);
	await_packets(c, FLOW(.protocol = IPPROTO_UDP), 2);
	judge(c, FLOW(.protocol = IPPROTO_UDP), 0, 2);
	close(fd);
}

static void user_and_group(void **state)
{
	probe_all(*state, RULE("user: nobody"), {.uid = NOBODY, .dscp = EF}, {.dscp = 0});
	probe_all(*state, RULE("group: nogroup"), {.gid = NOGROUP, .dscp = EF},
		  {.uid = NOBODY, .gid = 1, .dscp = 0});
	probe_all(*state, RULE("user: 4242, group: 4243"), {.uid = 4242, .gid = 4243, .dscp = EF},
		  {.uid = 4242, .gid = 1, .dscp = 0});
}

/* What is on the wire, not the socket's. */
static void family(void **state)
{
	probe_all(*state, RULE("family: ipv4"), {.to = FAR4, .dscp = EF},
		  {.to = MAPPED FAR4, .dscp = EF}, {.to = FAR6, .dscp = 0});
	probe_all(*state, RULE("family: ipv6"), {.to = FAR4, .dscp = 0},
		  {.to = MAPPED FAR4, .dscp = 0}, {.to = FAR6, .dscp = EF});
}

static void protocol_and_type(void **state)
{
	probe_all(*state, RULE("protocol: tcp"), {.protocol = IPPROTO_TCP, .dscp = EF},
		  {.dscp = 0});
	probe_all(*state, RULE("protocol: [udp, icmp]"), {.protocol = IPPROTO_TCP, .dscp = 0},
		  {.dscp = EF}, {.protocol = IPPROTO_ICMP, .dscp = EF});
	probe_all(*state, RULE("protocol: udplite, remote_port: 7000"),
		  {.protocol = IPPROTO_UDPLITE, .dscp = EF},
		  {.protocol = IPPROTO_UDPLITE, .to_port = 7001, .dscp = 0}, {.dscp = 0});
	probe_all(*state, RULE("type: stream"), {.protocol = IPPROTO_TCP, .dscp = EF}, {.dscp = 0});
	probe_all(*state, RULE("type: [dgram, raw]"), {.protocol = IPPROTO_TCP, .dscp = 0},
		  {.dscp = EF}, {.protocol = IPPROTO_ICMP, .dscp = EF});
}

static void addresses(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);

	run(tb, &near, "ip address add 10.9.0.9/24 dev " NEAR_IF);
	probe_all(tb, RULE("remote: [ 10.9.0.3/32, fd00:9::/127 ]"), {.to = FAR4_B, .dscp = EF},
		  {.to = MAPPED FAR4_B, .dscp = EF}, {.to = FAR4, .dscp = 0},
		  {.to = FAR6, .dscp = 0}, {.to = FAR4_B, .protocol = IPPROTO_TCP, .dscp = EF},
		  {.to = FAR4_B, .protocol = IPPROTO_ICMP, .dscp = EF},
		  {.to = FAR4, .protocol = IPPROTO_ICMP, .dscp = 0});
	probe_all(tb, RULE("remote: \"fd00:9::2/127\""), {.to = FAR6, .dscp = EF},
		  {.to = FAR6_B, .dscp = EF}, {.to = FAR4, .dscp = 0});
	probe_all(tb, RULE("local: 10.9.0.9"), {.from = "10.9.0.9", .dscp = EF},
		  {.from = NEAR4, .dscp = 0}, {.dscp = 0},
		  {.from = "10.9.0.9", .protocol = IPPROTO_TCP, .dscp = EF});
	/* Not bound: the route chooses the address. */
	probe_all(tb, RULE("local: 10.9.0.0/29"), {.dscp = EF}, {.from = "10.9.0.9", .dscp = 0},
		  {.protocol = IPPROTO_TCP, .dscp = EF}, {.to = MAPPED FAR4, .dscp = EF},
		  {.to = FAR6, .dscp = 0});
}

static void ports(void **state)
{
	probe_all(*state, RULE("remote_port: [7, 7000-7010]"), {.to_port = 7000, .dscp = EF},
		  {.to_port = 7010, .dscp = EF}, {.to_port = 7011, .dscp = 0},
		  {.to_port = 6999, .dscp = 0},
		  {.to_port = 7005, .protocol = IPPROTO_TCP, .dscp = EF});
	probe_all(*state, RULE("local_port: 5060"), {.from_port = 5060, .dscp = EF},
		  {.from_port = 5061, .dscp = 0}, {.dscp = 0},
		  {.from_port = 5060, .protocol = IPPROTO_TCP, .dscp = EF});
}

static void multicast(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);

	run(tb, &near, "ip route add 239.0.0.0/8 dev " NEAR_IF);
	run(tb, &near, "ip -6 route add ff15::/16 dev " NEAR_IF " table local");
	probe_all(tb, RULE("multicast: true"), {.to = "239.1.2.3", .dscp = EF},
		  {.to = "ff15::1", .dscp = EF}, {.to = FAR4, .dscp = 0}, {.to = FAR6, .dscp = 0});
	probe_all(tb, RULE("protocol: udp, multicast: false"), {.to = "239.1.2.3", .dscp = 0},
		  {.to = FAR4, .dscp = EF});
}

static void negation(void **state)
{
	probe_all(*state, RULE("cgroup: @/app, not: { remote: " FAR4_B " }"),
		  {.to = FAR4, .dscp = EF}, {.to = FAR4_B, .dscp = 0}, {.to = FAR6, .dscp = EF},
		  {.cgroup = "/x", .to = FAR4, .dscp = 0});
	/* Every key of a block must fail, in every block. */
	probe_all(*state, RULE("cgroup: @/app, not: [ { remote_port: 7001 }, { user: nobody } ]"),
		  {.dscp = EF}, {.to_port = 7001, .dscp = 0}, {.uid = NOBODY, .dscp = 0});
}

/* Who sent the SYN; of UDP, whether it is bound on purpose. */
static void direction(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct connection in, out;

	apply(tb, RULE("direction: inbound"));
	in = tcp_connection(&far, &near, NEAR4, 7000);
	out = tcp_connection(&near, &far, FAR4, 7001);
	send_bytes(in.server, 1);
	receive_bytes(in.client, 1);
	send_bytes(out.client, 1);
	receive_bytes(out.server, 1);
	judge(c, FLOW(.from_port = 7000), EF, 2);
	judge(c, FLOW(.to_port = 7001), 0, 2);
	close(in.client), close(in.server), close(in.listener);
	close(out.client), close(out.server), close(out.listener);
	probe(tb, c, &(struct probe){.from_port = 7002, .dscp = EF});
	probe(tb, c, &(struct probe){.dscp = 0});
}

static void inbound_dscp_of_the_syn(void **state)
{
	static const struct {
		const char *listen, *connect;
	} services[] = {{NEAR4, NEAR4}, {NEAR6, NEAR6}, {"::", NEAR4}};
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int i, marked, client, server, listener;

	apply(tb, RULE("cgroup: @/app, inbound_dscp: [AF41, AF42]"));
	for (i = 0; i < 6; i++) {
		const char *connect = services[i / 2].connect;

		marked = i % 2;
		listener = tcp_listener(&near, services[i / 2].listen, 7000 + i);
		client = tcp_socket(&far, connect);
		if (address_family(connect) == AF_INET)
			set_option(client, IPPROTO_IP, IP_TOS, marked ? AF41 << 2 : 0);
		else
			set_option(client, IPPROTO_IPV6, IPV6_TCLASS, marked ? AF41 << 2 : 0);
		connect_to(client, connect, 7000 + i);
		server = accept_from(listener);
		send_bytes(server, 1);
		receive_bytes(client, 1);
		judge(c, FLOW(.from_port = 7000 + i), marked ? EF : 0, 2);
		close(server);
		close(client);
		close(listener);
	}
}

static void inbound_dscp_of_the_latest_datagram(void **state)
{
	static const int dscps[] = {AF41, 0, AF41};
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int client = udp_socket(&far, FAR4), server;
	size_t i;

	apply(tb, RULE("cgroup: @/app, inbound_dscp: AF41"));
	server = udp_socket(&near, NEAR4);
	bind_to(server, NEAR4, 7000);
	bind_to(client, FAR4, 7001);
	connect_to(server, FAR4, 7001);
	for (i = 0; i < 3; i++) {
		capture_clear(c);
		set_option(client, IPPROTO_IP, IP_TOS, dscps[i] << 2);
		assert_int_equal(send_to(client, NEAR4, 7000, 1), 0);
		receive_bytes(server, 1);
		send_bytes(server, 1);
		receive_bytes(client, 1);
		judge(c, FLOW(.from_port = 7000), dscps[i] == AF41 ? EF : 0, 1);
	}
	close(server);
	close(client);
}

/* What `exe` names is this program, by another name: it sends one datagram. */
static void send_as(struct testbed *tb, const char *program)
{
	struct place near = near_place(tb, "/app");

	run(tb, &near, "%s " SEND_DATAGRAM " " FAR4 " 7000", program);
}

static void judge_programs(struct testbed *tb, const char *policy, int hit, int other)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, policy);
	send_as(tb, SCRATCH "/mailer");
	await_packets(c, FLOW(.to_port = 7000), 1);
	judge(c, FLOW(.to_port = 7000), hit, 1);
	capture_clear(c);
	send_as(tb, SCRATCH "/mailer2");
	await_packets(c, FLOW(.to_port = 7000), 1);
	judge(c, FLOW(.to_port = 7000), other, 1);
}

static void executable(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);

	run(tb, &near, "cp /proc/%d/exe " SCRATCH "/mailer", getpid());
	run(tb, &near, "cp /proc/%d/exe " SCRATCH "/mailer2", getpid());
	run(tb, &near, "ln -sf mailer " SCRATCH "/link");
	judge_programs(tb, RULE("exe: " SCRATCH "/mailer"), EF, 0);
	judge_programs(tb, RULE("exe: " SCRATCH "/link"), EF, 0);
	judge_programs(tb, RULE("exe: mailer"), EF, 0);
	judge_programs(tb, RULE("exe: mailer2"), 0, EF);
}

static void executable_that_is_a_directory(void **state)
{
	struct testbed *tb = *state;
	struct json_object *json, *warning;
	char verb[64];

	snprintf(verb, sizeof(verb), "apply %s", policy_file(tb, RULE("exe: /etc")));
	json = hostqos_json(tb, 0, verb);
	warning = json_object_array_get_idx(json_member(json, "warnings"), 0);
	assert_non_null(strstr(json_object_get_string(json_member(warning, "message")),
			       "'/etc': it is not a regular file"));
	json_object_put(json);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(cgroup_path),
		NET_TEST(cgroup_glob),
		NET_TEST(systemd_unit),
		NET_TEST(written_rules_then_the_deepest_cgroup_then_default),
		NET_TEST(default_class_takes_the_rest),
		NET_TEST(user_and_group),
		NET_TEST(family),
		NET_TEST(protocol_and_type),
		NET_TEST(addresses),
		NET_TEST(ports),
		NET_TEST(multicast),
		NET_TEST(negation),
		NET_TEST(direction),
		NET_TEST(inbound_dscp_of_the_syn),
		NET_TEST(inbound_dscp_of_the_latest_datagram),
		NET_TEST(executable),
		NET_TEST(executable_that_is_a_directory),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
