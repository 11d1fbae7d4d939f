/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Datagrams that go where one went before are remembered (bpf/remembered.h).
 * Here others look the same on the wire, but are not: of a translated address,
 * of a tunnel, of another state of their socket.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define AF21 18
#define AF41 34
#define EF   46

#define PORT 7000
#define EACH 5 /* the first is classified, the others are remembered */

/* The memory is of one CPU: stay there. */
static void stay_on_this_cpu(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	if (sched_setaffinity(0, sizeof(here), &here))
		fail_msg("sched_setaffinity: %s", strerror(errno));
}

static void send_each(int fd, const char *to, int port)
{
	int i;

	for (i = 0; i < EACH; i++)
		assert_int_equal(send_to(fd, to, port, 100), 0);
}

static void expect_marks(struct capture *c, const struct flow *flow, int dscp, size_t count)
{
	await_packets(c, flow, count);
	judge(c, flow, dscp, count);
	capture_clear(c);
}

/* Of a service; no host has them. */
#define VIP4 "10.9.1.1"
#define VIP6 "fd00:9:1::1"

static const struct service {
	const char *own, *host, *address;
} services[] = {
	{NEAR4, FAR4, VIP4},
	{NEAR6, FAR6, VIP6},
	{MAPPED NEAR4, MAPPED FAR4, MAPPED VIP4},
};

#define SERVICES (sizeof(services) / sizeof(services[0]))

static void translate_services(struct testbed *tb)
{
	struct place near = near_place(tb, NULL);

	run(tb, &near, "ip route add 10.9.1.0/24 dev " NEAR_IF);
	run(tb, &near, "ip route add fd00:9:1::/64 dev " NEAR_IF);
	run(tb, &near, "nft add table inet test");
	run(tb, &near, "nft add chain inet test output { type nat hook output priority 0 ; }");
	run(tb, &near, "nft add rule inet test output ip daddr " VIP4 " dnat ip to " FAR4);
	run(tb, &near, "nft add rule inet test output ip6 daddr " VIP6 " dnat ip6 to " FAR6);
}

/* What the socket sent to the host itself, before, had the same ends on the wire. */
static void host_is_not_taken_for_the_service_behind_it(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	int sink = udp_sink(&far, "::", PORT), fd[SERVICES];
	size_t i;

	stay_on_this_cpu();
	apply(tb,
	      "classes: { service: { dscp: AF41 }, host: { dscp: EF } }\n"
	      "rules:\n"
	      "  - { match: { cgroup: @/app, remote: [" VIP4 ", \"" VIP6 "\"] }, class: service }\n"
	      "  - { match: { cgroup: @/app }, class: host }\n");
	for (i = 0; i < SERVICES; i++) {
		fd[i] = udp_socket(&near, services[i].own);
		bind_to(fd[i], services[i].own, 0);
		send_each(fd[i], services[i].host, PORT);
		expect_marks(c, FLOW(.to_port = PORT, .from_port = local_port(fd[i])), EF, EACH);
	}
	translate_services(tb);
	for (i = 0; i < SERVICES; i++) {
		send_each(fd[i], services[i].address, PORT);
		expect_marks(c, FLOW(.to_port = PORT, .from_port = local_port(fd[i])), AF41, EACH);
		close(fd[i]);
	}
	close(sink);
}

#define VXLAN	   "vx0"
#define VXLAN_UDP  4789
#define VXLAN_FROM 50000
#define INNER_NEAR "10.9.2.1"
#define INNER_FAR  "10.9.2.2"
#define NEAR_MAC   "02:00:00:00:00:01"
#define FAR_MAC	   "02:00:00:00:00:02"

/*
 * One end of a VXLAN; its packets leave from one port. The other end's address
 * is known to it: what it sends are the test's packets only.
 */
static void vxlan_end(struct testbed *tb, const struct place *place, const char *ends,
		      const char *mac, const char *address, const char *peer)
{
	run(tb, place,
	    "ip link add " VXLAN " address %s mtu 1400 type vxlan id 7 %s dstport %d"
	    " srcport %d %d tos inherit",
	    mac, ends, VXLAN_UDP, VXLAN_FROM, VXLAN_FROM + 1);
	run(tb, place, "ip address add %s/24 dev " VXLAN, address);
	run(tb, place, "ip link set " VXLAN " up");
	run(tb, place, "ip neighbour replace %s dev " VXLAN " nud permanent", peer);
}

static void tunnel(struct testbed *tb)
{
	struct place near = near_place(tb, NULL), far = far_place(tb);

	vxlan_end(tb, &near, "local " NEAR4 " remote " FAR4, NEAR_MAC, INNER_NEAR,
		  INNER_FAR " lladdr " FAR_MAC);
	vxlan_end(tb, &far, "local " FAR4 " remote " NEAR4, FAR_MAC, INNER_FAR,
		  INNER_NEAR " lladdr " NEAR_MAC);
}

/* A datagram of the same program has the ends that the tunnel's outer header has. */
static void outer_header_is_not_taken_for_a_datagram(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	const struct flow *outer = FLOW(.from_port = VXLAN_FROM, .to_port = VXLAN_UDP);
	int sink, direct, inner;

	stay_on_this_cpu();
	tunnel(tb);
	apply(tb, "classes: { inner: { dscp: AF21 }, outer: { dscp: EF } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/app, remote: " INNER_FAR " }, class: inner }\n"
		  "  - { match: { cgroup: @/app, remote: " FAR4 " }, class: outer }\n");
	sink = udp_sink(&far, INNER_FAR, PORT);
	direct = udp_socket(&near, NEAR4);
	bind_to(direct, NEAR4, VXLAN_FROM);
	connect_to(direct, FAR4, VXLAN_UDP);
	send_each(direct, FAR4, VXLAN_UDP);
	expect_marks(c, outer, EF, EACH);
	inner = udp_socket(&near, INNER_NEAR);
	connect_to(inner, INNER_FAR, PORT);
	send_each(inner, INNER_FAR, PORT);
	expect_marks(c, outer, AF21, EACH);
	close(direct), close(inner), close(sink);
}

#define IDS 2048 /* as many as the kernel may leave out between two packets, and more */

/* First fragments of datagrams of the program's own, by the ids that the tunnel is to use next. */
static void use_up_ids(const struct place *near, uint32_t after)
{
	struct {
		struct iphdr ip;
		struct udphdr udp;
		char data[8];
	} p = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP}};
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd = socket_try(near, AF_INET, SOCK_RAW, IPPROTO_RAW), i;

	assert_true(fd >= 0);
	inet_pton(AF_INET, NEAR4, &p.ip.saddr);
	inet_pton(AF_INET, FAR4, &p.ip.daddr);
	to.sin_addr.s_addr = p.ip.daddr;
	p.ip.frag_off = htons(0x2000);
	for (i = 1; i <= IDS; i++) {
		p.ip.id = htons(after + i);
		assert_int_equal(sendto(fd, &p, sizeof(p), 0, (void *)&to, sizeof(to)), sizeof(p));
	}
	close(fd);
}

/*
 * Fragments of the tunnel's packets have no inner headers to tell them by
 * (ip_do_fragment()); nor are they of the datagrams that had their ids before.
 */
static void fragments_of_a_tunnel_have_the_class_within(void **state)
{
	const struct flow *outer = FLOW(.protocol = IPPROTO_UDP, .from = NEAR4, .to = FAR4);
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int sink, fd, i;

	stay_on_this_cpu();
	tunnel(tb);
	run(tb, &near, "ip link set " VXLAN " mtu 4000");
	apply(tb, "classes: { inner: { dscp: AF21 }, outer: { dscp: EF } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/app, remote: " INNER_FAR " }, class: inner }\n"
		  "  - { match: { cgroup: @/app, remote: " FAR4 " }, class: outer }\n");
	sink = udp_sink(&far, INNER_FAR, PORT);
	fd = udp_socket(&near, INNER_NEAR);
	connect_to(fd, INNER_FAR, PORT);
	/* Not at the size that the tunnel asks for after the first (skb_tunnel_check_pmtu()). */
	set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE);
	send_bytes(fd, 3500);
	await_packets(c, outer, 3);
	judge(c, outer, AF21, 3);
	use_up_ids(&near, c->packets[c->count - 1].fragment_id);
	expect_marks(c, FLOW(.to = FAR4, .dsfield = DS_IS(EF << 2)), EF, IDS);
	for (i = 0; i < EACH; i++)
		send_bytes(fd, 3500);
	expect_marks(c, outer, AF21, 3 * EACH);
	close(fd), close(sink);
}

static long flows_of(struct testbed *tb, const char *class)
{
	struct json_object *json = hostqos_json(tb, 0, "show classes");
	struct json_object *found = json_find(json_member(json, "classes"), "name", class);
	long flows = found ? json_object_get_int64(json_member(found, "flows")) : -1;

	json_object_put(json);
	return flows;
}

/* Its datagrams were remembered before it had a peer; now that it has it is a flow of the class. */
static void socket_that_connects_comes_into_its_class(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int sink = udp_sink(&far, "::", PORT), fd;
	size_t i;

	stay_on_this_cpu();
	apply(tb, "classes: { app: { dscp: EF, cgroup: @/app } }\n");
	for (i = 0; i < ROUTES; i++) {
		fd = udp_socket(&near, routes[i].own);
		send_each(fd, routes[i].to, PORT);
		connect_to(fd, routes[i].to, PORT);
		assert_int_equal(flows_of(tb, "app"), i);
		send_each(fd, routes[i].to, PORT);
		expect_marks(c, FLOW(.to_port = PORT), EF, 2 * EACH);
		assert_int_equal(flows_of(tb, "app"), i + 1);
		close(fd);
	}
	close(sink);
}

/*
 * A server that answers is inbound, but not towards the peer that it is
 * connected to. Each of two ports of one host was its peer before.
 */
static void former_peer_is_not_taken_for_the_peer(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int sinks[] = {udp_sink(&far, "::", PORT), udp_sink(&far, "::", PORT + 1)}, fd;
	size_t i, n;

	stay_on_this_cpu();
	apply(tb, "classes: { server: { dscp: AF41 }, client: { dscp: EF } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/app, direction: inbound }, class: server }\n"
		  "  - { match: { cgroup: @/app }, class: client }\n");
	for (i = 0; i < SERVICES; i++) {
		fd = udp_socket(&near, services[i].own);
		bind_to(fd, services[i].own, 5060);
		for (n = 0; n < 4; n++) {
			connect_to(fd, services[i].host, PORT + n % 2);
			send_each(fd, services[i].host, PORT + n % 2);
			expect_marks(c, FLOW(.from_port = 5060), EF, EACH);
		}
		send_each(fd, services[i].host, PORT);
		expect_marks(c, FLOW(.from_port = 5060), AF41, EACH);
		close(fd);
	}
	close(sinks[0]), close(sinks[1]);
}

/* What is remembered is of a policy, and of that one only. */
static void memory_ends_with_its_policy(void **state)
{
	static const char *const policies[] = {
		"classes: { a: { dscp: EF }, b: { dscp: AF41 } }\n"
		"rules: [{ match: { cgroup: @/app }, class: a }]\n",
		"classes: { a: { dscp: EF }, b: { dscp: AF41 } }\n"
		"rules: [{ match: { cgroup: @/app }, class: b }]\n",
	};
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app");
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	int fd[ROUTES];
	size_t i, n;

	stay_on_this_cpu();
	for (n = 0; n < 4; n++) {
		apply(tb, policies[n % 2]);
		for (i = 0; i < ROUTES; i++) {
			if (!n)
				fd[i] = udp_socket(&near, routes[i].own);
			send_each(fd[i], routes[i].to, PORT + i);
			expect_marks(c, FLOW(.to_port = PORT + i), n % 2 ? AF41 : EF, EACH);
		}
	}
	for (i = 0; i < ROUTES; i++)
		close(fd[i]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(host_is_not_taken_for_the_service_behind_it),
		NET_TEST(outer_header_is_not_taken_for_a_datagram),
		NET_TEST(fragments_of_a_tunnel_have_the_class_within),
		NET_TEST(socket_that_connects_comes_into_its_class),
		NET_TEST(former_peer_is_not_taken_for_the_peer),
		NET_TEST(memory_ends_with_its_policy),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
