/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Every datagram of a governed socket, and every fragment of it, carries the
 * mark of the class that the datagram is in.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define AF11 10
#define AF41 34
#define EF   46

static const char by_cgroup[] = "classes: { voice: { dscp: EF, cgroup: @/voice } }\n";

static const char by_destination[] =
	"classes:\n"
	"  voice: { dscp: EF }\n"
	"  video: { dscp: AF41 }\n"
	"rules:\n"
	"  - match: { cgroup: @/voice, protocol: udp, remote: [" FAR4_B ", \"" FAR6_B "\"] }\n"
	"    class: video\n"
	"  - match: { cgroup: @/voice }\n"
	"    class: voice\n";

/* A socket's family, by an address of it, and two addresses that it can reach. */
static const struct route {
	const char *own, *to, *to_b;
} routes[] = {
	{NEAR4, FAR4, FAR4_B},
	{NEAR6, FAR6, FAR6_B},
	{NEAR6, MAPPED FAR4, MAPPED FAR4_B},
};

#define ROUTES (sizeof(routes) / sizeof(routes[0]))

static void connected_socket_is_marked(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	size_t i;

	apply(tb, by_cgroup);
	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own);

		connect_to(fd, routes[i].to, 7000 + i);
		send_bytes(fd, 100);
		send_bytes(fd, 100);
		await_packets(c, FLOW(.to_port = 7000 + i), 2);
		judge(c, FLOW(.to_port = 7000 + i), EF, 2);
		close(fd);
	}
}

static void unconnected_socket_is_marked(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	size_t i;

	apply(tb, by_cgroup);
	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own);

		assert_int_equal(send_to(fd, routes[i].to, 7000 + i, 100), 0);
		assert_int_equal(send_to(fd, routes[i].to_b, 7000 + i, 100), 0);
		await_packets(c, FLOW(.to_port = 7000 + i), 2);
		judge(c, FLOW(.to_port = 7000 + i), EF, 2);
		close(fd);
	}
}

/* One socket, two classes, turn by turn. */
static void each_datagram_is_of_its_destinations_class(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	size_t i, n;

	apply(tb, by_destination);
	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own);

		for (n = 0; n < 10; n++) {
			assert_int_equal(send_to(fd, routes[i].to, 7000 + i, 100), 0);
			assert_int_equal(send_to(fd, routes[i].to_b, 8000 + i, 100), 0);
		}
		await_packets(c, FLOW(.to_port = 7000 + i), 10);
		await_packets(c, FLOW(.to_port = 8000 + i), 10);
		judge(c, FLOW(.to_port = 7000 + i), EF, 10);
		judge(c, FLOW(.to_port = 8000 + i), AF41, 10);
		close(fd);
	}
}

static void connecting_again_changes_the_class(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	size_t i;

	apply(tb, by_destination);
	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own);

		connect_to(fd, routes[i].to, 7000 + i);
		send_bytes(fd, 100);
		connect_to(fd, routes[i].to_b, 8000 + i);
		send_bytes(fd, 100);
		await_packets(c, FLOW(.to_port = 7000 + i), 1);
		await_packets(c, FLOW(.to_port = 8000 + i), 1);
		judge(c, FLOW(.to_port = 7000 + i), EF, 1);
		judge(c, FLOW(.to_port = 8000 + i), AF41, 1);
		close(fd);
	}
}

static void reply_of_a_server_is_marked(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice"), far = far_place(tb);
	int client = udp_socket(&far, FAR4), server;
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	char byte;

	apply(tb,
	      "classes: { dns: { dscp: AF41 } }\n"
	      "rules: [{ match: { cgroup: @/voice, local_port: 7000, direction: inbound }, class: dns }]\n");
	server = udp_socket(&near, NEAR6);
	bind_to(server, "::", 7000);
	assert_int_equal(send_to(client, NEAR4, 7000, 1), 0);
	assert_int_equal(recvfrom(server, &byte, 1, 0, (void *)&peer, &size), 1);
	assert_int_equal(sendto(server, "x", 1, 0, (void *)&peer, size), 1);
	receive_bytes(client, 1);
	judge(c, FLOW(.protocol = IPPROTO_UDP, .from_port = 7000), AF41, 1);
	close(client);
	close(server);
}

/* 8 KB is six packets; what tells the later ones' class is the first. */
static void all_fragments_have_one_mark(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	size_t i;

	apply(tb, by_destination);
	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own);

		assert_int_equal(send_to(fd, routes[i].to, 7000 + i, 8000), 0);
		assert_int_equal(send_to(fd, routes[i].to_b, 8000 + i, 8000), 0);
		connect_to(fd, routes[i].to, 9000 + i);
		send_bytes(fd, 8000);
		await_packets(c, FLOW(.to_port = 7000 + i), 6);
		await_packets(c, FLOW(.to_port = 8000 + i), 6);
		await_packets(c, FLOW(.to_port = 9000 + i), 6);
		judge(c, FLOW(.to_port = 7000 + i), EF, 6);
		judge(c, FLOW(.to_port = 8000 + i), AF41, 6);
		judge(c, FLOW(.to_port = 9000 + i), EF, 6);
		close(fd);
	}
}

/* The class is by a port, which later fragments do not have. */
static void fragments_follow_the_ports_of_their_first(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	size_t i;

	apply(tb, "classes: { voice: { dscp: EF }, video: { dscp: AF41 } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/voice, remote_port: 7000-7099 }, class: voice }\n"
		  "  - { match: { cgroup: @/voice, remote_port: 8000-8099 }, class: video }\n");
	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own);

		assert_int_equal(send_to(fd, routes[i].to, 7000 + i, 8000), 0);
		assert_int_equal(send_to(fd, routes[i].to, 8000 + i, 8000), 0);
		await_packets(c, FLOW(.to_port = 7000 + i), 6);
		await_packets(c, FLOW(.to_port = 8000 + i), 6);
		judge(c, FLOW(.to_port = 7000 + i), EF, 6);
		judge(c, FLOW(.to_port = 8000 + i), AF41, 6);
		close(fd);
	}
}

/* One packet up to the far side of the veth, and one header for all that it stands for. */
static void gso_datagram_is_marked(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	size_t i;

	apply(tb, by_destination);
	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own);

		set_option(fd, IPPROTO_UDP, UDP_SEGMENT, 1000);
		assert_int_equal(send_to(fd, routes[i].to, 7000 + i, 10000), 0);
		assert_int_equal(send_to(fd, routes[i].to_b, 8000 + i, 10000), 0);
		await_packets(c, FLOW(.to_port = 7000 + i), 1);
		await_packets(c, FLOW(.to_port = 8000 + i), 1);
		judge(c, FLOW(.to_port = 7000 + i), EF, 1);
		judge(c, FLOW(.to_port = 8000 + i), AF41, 1);
		close(fd);
	}
}

static void set_dsfield(int fd, const struct route *r, int dsfield)
{
	set_option(fd, IPPROTO_IP, IP_TOS, dsfield);
	if (address_family(r->own) == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, dsfield);
}

/* An application's DSCP does not count in a written class; its ECN bits are its own. */
static void ecn_bits_of_the_application_stay(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	size_t i;
	int ecn;

	apply(tb, by_cgroup);
	for (i = 0; i < ROUTES; i++) {
		for (ecn = 0; ecn < 4; ecn++) {
			int fd = udp_socket(&near, routes[i].own);
			int port = 7000 + i * 10 + ecn;

			set_dsfield(fd, &routes[i], 10 << 2 | ecn);
			assert_int_equal(send_to(fd, routes[i].to, port, 100), 0);
			connect_to(fd, routes[i].to, port);
			send_bytes(fd, 100);
			set_dsfield(fd, &routes[i], 12 << 2 | ecn);
			send_bytes(fd, 100);
			await_packets(c, FLOW(.to_port = port), 3);
			judge(c, FLOW(.to_port = port), EF, 3);
			assert_int_equal(flow_count(c, FLOW(.to_port = port,
							    .dsfield = DS_IS(EF << 2 | ecn))),
					 3);
			close(fd);
		}
	}
}

/* Ancillary data marks one datagram; no hook can refuse it. */
static void ancillary_data_does_not_override_the_class(void **state)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	struct iovec data = {"x", 1};
	int tos = 10 << 2;
	size_t i;

	apply(tb, by_cgroup);
	for (i = 0; i < 2; i++) {
		struct address to = address_of(routes[i].to, 7000 + i);
		struct msghdr message = {.msg_name = &to.storage,
					 .msg_namelen = to.length,
					 .msg_iov = &data,
					 .msg_iovlen = 1,
					 .msg_control = &control,
					 .msg_controllen = sizeof(control)};
		int fd = udp_socket(&near, routes[i].own);

		control.header.cmsg_level = i ? IPPROTO_IPV6 : IPPROTO_IP;
		control.header.cmsg_type = i ? IPV6_TCLASS : IP_TOS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &tos, sizeof(tos));
		assert_int_equal(sendmsg(fd, &message, 0), 1);
		await_packets(c, FLOW(.to_port = 7000 + i), 1);
		judge(c, FLOW(.to_port = 7000 + i), EF, 1);
		close(fd);
	}
}

/* FAR_B is exempt by an earlier rule: its datagrams keep what the application gave the socket. */
static const char with_exempt_peer[] =
	"classes: { voice: { dscp: EF } }\n"
	"rules:\n"
	"  - match: { cgroup: @/voice, remote: [" FAR4_B ", \"" FAR6_B "\"] }\n"
	"    class: default\n"
	"  - match: { cgroup: @/voice }\n"
	"    class: voice\n";

/* The same, by a peer that no rule names. */
static const char with_unnamed_peer[] =
	"classes: { voice: { dscp: EF } }\n"
	"rules:\n"
	"  - match: { cgroup: @/voice, remote: [" FAR4 ", \"" FAR6 "\"] }\n"
	"    class: voice\n";

/* The mark that the class set on the socket is there when sendto() goes past its peer. */
static void judge_datagrams_past_the_peer(struct testbed *tb, struct capture *c, int dscp)
{
	struct place near = near_place(tb, "/voice"), far = far_place(tb);
	size_t i;

	for (i = 0; i < ROUTES; i++) {
		int fd = udp_socket(&near, routes[i].own), sink = udp_sink(&far, "::", 7000 + i);

		if (dscp)
			set_dsfield(fd, &routes[i], dscp << 2);
		connect_to(fd, routes[i].to, 7000 + i);
		send_bytes(fd, 100);
		assert_int_equal(flow_mark(tb, fd, "granted", "tos"), EF);
		assert_int_equal(send_to(fd, routes[i].to_b, 8000 + i, 100), 0);
		send_bytes(fd, 100);
		await_packets(c, FLOW(.to_port = 7000 + i), 2);
		await_packets(c, FLOW(.to_port = 8000 + i), 1);
		judge(c, FLOW(.to_port = 7000 + i), EF, 2);
		judge(c, FLOW(.to_port = 8000 + i), dscp, 1);
		close(fd);
		close(sink);
	}
	capture_clear(c);
}

static void exempt_peer_gets_the_connected_sockets_own_mark(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, with_exempt_peer);
	judge_datagrams_past_the_peer(tb, c, 0);
	judge_datagrams_past_the_peer(tb, c, AF11);
}

static void unnamed_peer_gets_the_connected_sockets_own_mark(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, with_unnamed_peer);
	judge_datagrams_past_the_peer(tb, c, 0);
	judge_datagrams_past_the_peer(tb, c, AF11);
}

/* bind() has marked the server's socket by the rule on its port. */
static void exempt_peer_gets_the_servers_own_mark(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	int dscp, server;
	size_t i;

	apply(tb, "classes: { dns: { dscp: EF } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/voice, remote: [" FAR4_B ", \"" FAR6_B
		  "\"] }, class: default }\n"
		  "  - { match: { cgroup: @/voice, local_port: 53 }, class: dns }\n");
	for (dscp = 0; dscp <= AF11; dscp += AF11) {
		for (i = 0; i < ROUTES; i++) {
			server = udp_socket(&near, routes[i].own);
			set_dsfield(server, &routes[i], dscp << 2);
			bind_to(server, address_family(routes[i].own) == AF_INET6 ? "::" : NEAR4,
				53);
			assert_int_equal(send_to(server, routes[i].to, 7000 + i, 100), 0);
			assert_int_equal(send_to(server, routes[i].to_b, 8000 + i, 100), 0);
			await_packets(c, FLOW(.to_port = 7000 + i), 1);
			await_packets(c, FLOW(.to_port = 8000 + i), 1);
			judge(c, FLOW(.to_port = 7000 + i), EF, 1);
			judge(c, FLOW(.to_port = 8000 + i), dscp, 1);
			close(server);
		}
		capture_clear(c);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(connected_socket_is_marked),
		NET_TEST(unconnected_socket_is_marked),
		NET_TEST(each_datagram_is_of_its_destinations_class),
		NET_TEST(connecting_again_changes_the_class),
		NET_TEST(reply_of_a_server_is_marked),
		NET_TEST(all_fragments_have_one_mark),
		NET_TEST(fragments_follow_the_ports_of_their_first),
		NET_TEST(gso_datagram_is_marked),
		NET_TEST(ecn_bits_of_the_application_stay),
		NET_TEST(ancillary_data_does_not_override_the_class),
		NET_TEST(exempt_peer_gets_the_connected_sockets_own_mark),
		NET_TEST(unnamed_peer_gets_the_connected_sockets_own_mark),
		NET_TEST(exempt_peer_gets_the_servers_own_mark),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
