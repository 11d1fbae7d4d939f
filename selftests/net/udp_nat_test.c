/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Where netfilter translates addresses, a datagram's class is by those that its
 * socket sees, whatever is on the wire.
 */
#include <netinet/udp.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define AF11 10
#define AF41 34
#define EF   46

/* Of a service; no host has them. */
#define VIP4  "10.9.1.1"
#define VIP6  "fd00:9:1::1"
#define SNAT4 "10.9.0.9"
#define SNAT6 "fd00:9::9"

static const struct service {
	const char *own, *to, *address;
} services[] = {
	{NEAR4, FAR4, VIP4},
	{NEAR6, FAR6, VIP6},
	{NEAR6, MAPPED FAR4, MAPPED VIP4},
};

#define SERVICES (sizeof(services) / sizeof(services[0]))

/* What netfilter leaves of them: the host's own address. */
static const char by_address[] =
	"classes: { service: { dscp: AF41 }, host: { dscp: EF } }\n"
	"rules:\n"
	"  - { match: { cgroup: @/app, remote: [" VIP4 ", \"" VIP6 "\"] }, class: service }\n"
	"  - { match: { cgroup: @/app, remote: [" FAR4 ", \"" FAR6 "\"] }, class: host }\n";

static void nft(struct testbed *tb, const char *command)
{
	struct place near = near_place(tb, NULL);

	run(tb, &near, "nft %s", command);
}

static void nat_hook(struct testbed *tb, const char *hook)
{
	struct place near = near_place(tb, NULL);

	nft(tb, "add table inet test");
	run(tb, &near, "nft add chain inet test %s { type nat hook %s priority 0 ; }", hook, hook);
}

static void add_services(struct testbed *tb)
{
	struct place near = near_place(tb, NULL);

	run(tb, &near, "ip route add 10.9.1.0/24 dev " NEAR_IF);
	run(tb, &near, "ip route add fd00:9:1::/64 dev " NEAR_IF);
	nat_hook(tb, "output");
	nft(tb, "add rule inet test output ip daddr " VIP4 " dnat ip to " FAR4);
	nft(tb, "add rule inet test output ip6 daddr " VIP6 " dnat ip6 to " FAR6);
}

static void judge_routes(struct testbed *tb, const char *policy,
			 void (*send)(int fd, const struct service *r, int port, int service),
			 size_t to_host, size_t to_service)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	size_t i;

	apply(tb, policy);
	for (i = 0; i < SERVICES; i++) {
		int fd = udp_socket(&near, services[i].own), host = 7000 + i, service = 8000 + i;
		int sinks[] = {udp_sink(&far, "::", host), udp_sink(&far, "::", service)};

		send(fd, &services[i], host, service);
		await_packets(c, FLOW(.to_port = host), to_host);
		await_packets(c, FLOW(.to_port = service), to_service);
		judge(c, FLOW(.to_port = host), EF, to_host);
		judge(c, FLOW(.to_port = service), AF41, to_service);
		close(fd);
		close(sinks[0]);
		close(sinks[1]);
	}
	assert_int_equal(flow_count(c, FLOW(.to = VIP4)), 0);
	assert_int_equal(flow_count(c, FLOW(.to = VIP6)), 0);
}

static void send_to_services(int fd, const struct service *r, int host, int service)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	int i;

	for (i = 0; i < 5; i++) {
		assert_int_equal(send_to(fd, r->address, service, 100), 0);
		assert_int_equal(send_to(fd, r->to, host, 100), 0);
	}
	connect_to(fd, r->address, service);
	send_bytes(fd, 100);
	assert_int_equal(send_to(fd, r->to, host, 100), 0);
	send_bytes(fd, 100);
	connect_to(fd, r->to, host);
	send_bytes(fd, 100);
	assert_int_equal(send_to(fd, r->address, service, 100), 0);
	assert_int_equal(connect(fd, &none, sizeof(none)), 0);
	assert_int_equal(send_to(fd, r->to, host, 100), 0);
	assert_int_equal(send_to(fd, r->address, service, 100), 0);
}

static void service_address_is_what_the_socket_sent_to(void **state)
{
	add_services(*state);
	judge_routes(*state, by_address, send_to_services, 8, 9);
}

static void send_large(int fd, const struct service *r, int host, int service)
{
	assert_int_equal(send_to(fd, r->address, service, 8000), 0);
	assert_int_equal(send_to(fd, r->to, host, 8000), 0);
	connect_to(fd, r->address, service);
	send_bytes(fd, 8000);
	assert_int_equal(send_to(fd, r->to, host, 8000), 0);
}

static void fragments_to_a_service_have_one_mark(void **state)
{
	add_services(*state);
	judge_routes(*state, by_address, send_large, 12, 12);
}

static void send_segments(int fd, const struct service *r, int host, int service)
{
	set_option(fd, IPPROTO_UDP, UDP_SEGMENT, 1000);
	assert_int_equal(send_to(fd, r->address, service, 10000), 0);
	assert_int_equal(send_to(fd, r->to, host, 10000), 0);
	connect_to(fd, r->address, service);
	send_bytes(fd, 10000);
}

static void gso_datagram_to_a_service_is_marked(void **state)
{
	add_services(*state);
	judge_routes(*state, by_address, send_segments, 1, 2);
}

/* The port is another on the wire, and so are address and port of the sender. */
static void send_from_a_port(int fd, const struct service *r, int host)
{
	bind_to(fd, address_family(r->own) == AF_INET6 ? "::" : "0.0.0.0", 5060);
	assert_int_equal(send_to(fd, r->to, 53, 100), 0);
	assert_int_equal(send_to(fd, r->to, host, 100), 0);
	assert_int_equal(send_to(fd, r->to, 53, 8000), 0);
	connect_to(fd, r->to, host);
	send_bytes(fd, 100);
	assert_int_equal(send_to(fd, r->to, 53, 100), 0);
}

static void translated_ports_are_those_of_the_socket(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	size_t i;

	/* Without an address of its own to ask from, IPv6 does not find its neighbours. */
	run(tb, &near, "ip address add " SNAT6 "/64 dev " NEAR_IF " nodad preferred_lft 0");
	nat_hook(tb, "output");
	nat_hook(tb, "postrouting");
	nft(tb,
	    "add rule inet test output meta nfproto ipv4 udp dport 53 dnat ip to " FAR4 ":9053");
	nft(tb,
	    "add rule inet test output meta nfproto ipv6 udp dport 53 dnat ip6 to [" FAR6 "]:9053");
	nft(tb, "add rule inet test postrouting meta nfproto ipv4 udp sport 5060 snat ip to " SNAT4
		":40000-40999");
	nft(tb,
	    "add rule inet test postrouting meta nfproto ipv6 udp sport 5060 snat ip6 to [" SNAT6
	    "]:40000-40999");
	apply(tb, "classes: { dns: { dscp: AF41 }, sip: { dscp: EF }, rest: { dscp: AF11 } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/app, remote_port: 53 }, class: dns }\n"
		  "  - { match: { cgroup: @/app, local: [" NEAR4 ", \"" NEAR6
		  "\"], local_port: 5060 }, class: sip }\n"
		  "  - { match: { cgroup: @/app }, class: rest }\n");
	for (i = 0; i < SERVICES; i++) {
		int fd = udp_socket(&near, services[i].own), sink = udp_sink(&far, "::", 7000 + i);
		int dns = udp_sink(&far, "::", 9053);

		send_from_a_port(fd, &services[i], 7000 + i);
		await_packets(c, FLOW(.to_port = 7000 + i), 2);
		await_packets(c, FLOW(.to_port = 9053), 8);
		judge(c, FLOW(.to_port = 7000 + i), EF, 2);
		judge(c, FLOW(.to_port = 9053), AF41, 8);
		close(fd);
		close(sink);
		close(dns);
		capture_clear(c);
	}
	assert_int_equal(flow_count(c, FLOW(.from_port = 5060)), 0);
}

/* A service that netfilter brings to another port: replies are translated back as they leave. */
static void reply_is_from_the_port_that_the_server_has(void **state)
{
	static const char *const hosts[][4] = {{NEAR4, NEAR4, FAR4, FAR4_B},
					       {NEAR6, NEAR6, FAR6, FAR6_B},
					       {"::", NEAR4, FAR4, FAR4_B}};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct sockaddr_storage peer;
	socklen_t size;
	size_t i, n;
	char byte;

	nat_hook(tb, "prerouting");
	nft(tb, "add rule inet test prerouting udp dport 53 redirect to :5353");
	apply(tb,
	      "classes: { dns: { dscp: AF41 }, gold: { dscp: EF } }\n"
	      "rules:\n"
	      "  - { match: { cgroup: @/app, local_port: 5353, remote: [" FAR4 ", \"" FAR6
	      "\"] }, class: gold }\n"
	      "  - { match: { cgroup: @/app, local_port: 5353, direction: inbound }, class: dns }\n");
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		int server = udp_socket(&near, hosts[i][0]);

		bind_to(server, hosts[i][0], 5353);
		for (n = 2; n < 4; n++) {
			int client = udp_socket(&far, hosts[i][n]);

			bind_to(client, hosts[i][n], 0);
			assert_int_equal(send_to(client, hosts[i][1], 53, 1), 0);
			size = sizeof(peer);
			assert_int_equal(recvfrom(server, &byte, 1, 0, (void *)&peer, &size), 1);
			assert_int_equal(sendto(server, "x", 1, 0, (void *)&peer, size), 1);
			receive_bytes(client, 1);
			judge(c, FLOW(.from_port = 53, .to = hosts[i][n]), n == 2 ? EF : AF41, 1);
			close(client);
		}
		close(server);
		capture_clear(c);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(service_address_is_what_the_socket_sent_to),
		NET_TEST(fragments_to_a_service_have_one_mark),
		NET_TEST(gso_datagram_to_a_service_is_marked),
		NET_TEST(translated_ports_are_those_of_the_socket),
		NET_TEST(reply_is_from_the_port_that_the_server_has),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
