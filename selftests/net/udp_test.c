/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Every datagram of a governed socket, and every fragment of it, carries the
 * mark of the class that the datagram is in, however it is sent.
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

static const char by_port[] =
	"classes: { voice: { dscp: EF }, video: { dscp: AF41 } }\n"
	"rules:\n"
	"  - { match: { cgroup: @/voice, remote_port: 7000-7099 }, class: voice }\n"
	"  - { match: { cgroup: @/voice, remote_port: 8000-8099 }, class: video }\n";

/* A socket whose packets to port `port` are to be EF, and those to `port_b` AF41. */
struct sender {
	const struct route *route;
	int fd, port, port_b;
};

static void send_a(const struct sender *s, size_t length)
{
	assert_int_equal(send_to(s->fd, s->route->to, s->port, length), 0);
}

static void send_b(const struct sender *s, size_t length)
{
	assert_int_equal(send_to(s->fd, s->route->to_b, s->port_b, length), 0);
}

/* One socket of each route sends so; so many packets must come of either class. */
static void judge_senders(struct testbed *tb, const char *policy,
			  void (*send)(const struct sender *s), size_t packets, size_t packets_b)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice"), far = far_place(tb);
	size_t i;

	apply(tb, policy);
	for (i = 0; i < ROUTES; i++) {
		int sink = udp_sink(&far, "::", 7000 + i), sink_b = udp_sink(&far, "::", 8000 + i);
		struct sender s = {&routes[i], udp_socket(&near, routes[i].own), 7000 + i,
				   8000 + i};

		send(&s);
		await_packets(c, FLOW(.to_port = s.port), packets);
		await_packets(c, FLOW(.to_port = s.port_b), packets_b);
		judge(c, FLOW(.to_port = s.port), EF, packets);
		judge(c, FLOW(.to_port = s.port_b), AF41, packets_b);
		close(s.fd);
		close(sink);
		close(sink_b);
	}
}

static void send_connected(const struct sender *s)
{
	connect_to(s->fd, s->route->to, s->port);
	send_bytes(s->fd, 100);
	send_bytes(s->fd, 100);
}

static void connected_socket_is_marked(void **state)
{
	judge_senders(*state, by_cgroup, send_connected, 2, 0);
}

static void send_unconnected(const struct sender *s)
{
	send_a(s, 100);
	assert_int_equal(send_to(s->fd, s->route->to_b, s->port, 100), 0);
}

static void unconnected_socket_is_marked(void **state)
{
	judge_senders(*state, by_cgroup, send_unconnected, 2, 0);
}

/* One socket, two classes, turn by turn. */
static void send_by_turns(const struct sender *s)
{
	int i;

	for (i = 0; i < 10; i++) {
		send_a(s, 100);
		send_b(s, 100);
	}
}

static void each_datagram_is_of_its_destinations_class(void **state)
{
	judge_senders(*state, by_destination, send_by_turns, 10, 10);
}

static void connect_twice(const struct sender *s)
{
	connect_to(s->fd, s->route->to, s->port);
	send_bytes(s->fd, 100);
	connect_to(s->fd, s->route->to_b, s->port_b);
	send_bytes(s->fd, 100);
}

static void connecting_again_changes_the_class(void **state)
{
	judge_senders(*state, by_destination, connect_twice, 1, 1);
}

/* A broadcast address, without SO_BROADCAST; of IPv6, one that no route leads to. */
static void fail_to_connect(const struct sender *s)
{
	bool ipv4 = s->route != &routes[1];

	connect_to(s->fd, s->route->to_b, s->port_b);
	assert_int_not_equal(connect_try(s->fd,
					 s->route == &routes[0] ? "10.9.0.255"
					 : ipv4			? MAPPED "10.9.0.255"
								: "2001:db8::1",
					 s->port),
			     0);
	send_bytes(s->fd, 100);
	send_a(s, 100);
}

static void failed_connect_leaves_the_old_peers_class(void **state)
{
	judge_senders(*state, by_destination, fail_to_connect, 1, 1);
}

/* The peer's port, not its address, tells the classes apart. */
static void send_past_the_peer(const struct sender *s)
{
	connect_to(s->fd, s->route->to, s->port);
	send_bytes(s->fd, 100);
	assert_int_equal(send_to(s->fd, s->route->to, s->port_b, 100), 0);
	send_b(s, 100);
	send_bytes(s->fd, 100);
	send_a(s, 100);
}

static void datagram_past_the_peer_is_of_its_own_class(void **state)
{
	judge_senders(*state, by_port, send_past_the_peer, 3, 2);
}

/* connect() to AF_UNSPEC runs no hook. */
static void disconnect(const struct sender *s)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	connect_to(s->fd, s->route->to, s->port);
	send_bytes(s->fd, 100);
	assert_int_equal(connect(s->fd, &none, sizeof(none)), 0);
	send_b(s, 100);
	send_a(s, 100);
	connect_to(s->fd, s->route->to_b, s->port_b);
	send_bytes(s->fd, 100);
}

static void disconnected_socket_has_no_class_left(void **state)
{
	judge_senders(*state, by_destination, disconnect, 2, 2);
}

/* 8 KB is six packets; what tells the later ones' class is the first. */
static void send_fragments(const struct sender *s)
{
	send_a(s, 8000);
	send_b(s, 8000);
	connect_to(s->fd, s->route->to, s->port);
	send_bytes(s->fd, 8000);
	send_b(s, 8000);
}

static void all_fragments_have_one_mark(void **state)
{
	judge_senders(*state, by_destination, send_fragments, 12, 12);
}

/* By a port, which later fragments do not have; to the peer's address, and not to its port. */
static void send_fragments_past_the_peer(const struct sender *s)
{
	send_a(s, 8000);
	assert_int_equal(send_to(s->fd, s->route->to, s->port_b, 8000), 0);
	connect_to(s->fd, s->route->to, s->port);
	send_bytes(s->fd, 8000);
	assert_int_equal(send_to(s->fd, s->route->to, s->port_b, 8000), 0);
}

static void fragments_follow_the_ports_of_their_first(void **state)
{
	judge_senders(*state, by_port, send_fragments_past_the_peer, 12, 12);
}

/* One packet up to the far side of the veth, and one header for all that it stands for. */
static void send_segments(const struct sender *s)
{
	set_option(s->fd, IPPROTO_UDP, UDP_SEGMENT, 1000);
	send_a(s, 10000);
	send_b(s, 10000);
	connect_to(s->fd, s->route->to, s->port);
	send_bytes(s->fd, 10000);
}

static void gso_datagram_is_marked(void **state)
{
	judge_senders(*state, by_destination, send_segments, 2, 1);
}

/* Segmented as it leaves. */
static void each_segment_is_marked(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);

	run(tb, &near, "ip link set " NEAR_IF " gso_max_segs 1");
	judge_senders(tb, by_destination, send_segments, 20, 10);
}

static void send_tos(const struct sender *s, const char *to, int port)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	bool ipv6 = s->route == &routes[1];
	struct iovec data = {"x", 1};
	struct address a = address_of(to, port);
	struct msghdr message = {.msg_name = &a.storage,
				 .msg_namelen = a.length,
				 .msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	int tos = AF11 << 2;

	control.header.cmsg_level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;
	control.header.cmsg_type = ipv6 ? IPV6_TCLASS : IP_TOS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &tos, sizeof(tos));
	assert_int_equal(sendmsg(s->fd, &message, 0), 1);
}

/* Ancillary data marks one datagram; no hook can refuse it. */
static void send_ancillary(const struct sender *s)
{
	send_tos(s, s->route->to, s->port);
	send_tos(s, s->route->to_b, s->port_b);
	connect_to(s->fd, s->route->to, s->port);
	send_tos(s, s->route->to, s->port);
	send_tos(s, s->route->to_b, s->port_b);
}

static void ancillary_data_does_not_override_the_class(void **state)
{
	judge_senders(*state, by_destination, send_ancillary, 2, 2);
}

/* To whom there is no connect(): one socket by turns to each and to a single host. */
static void multicast_and_broadcast_are_classified(void **state)
{
	static const struct {
		const char *own, *to, *single;
	} groups[] = {
		{NEAR4, "239.1.2.3", FAR4},	    {NEAR4, "10.9.0.255", FAR4},
		{NEAR4, "255.255.255.255", FAR4},   {NEAR6, "ff15::1", FAR6},
		{NEAR6, "ff02::1", FAR6},	    {NEAR6, MAPPED "239.1.2.3", MAPPED FAR4},
		{NEAR6, MAPPED "10.9.0.255", FAR6},
	};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice");
	size_t i, n;

	apply(tb,
	      "classes: { voice: { dscp: EF }, video: { dscp: AF41 } }\n"
	      "rules:\n"
	      "  - { match: { cgroup: @/voice, multicast: true }, class: video }\n"
	      "  - { match: { cgroup: @/voice, remote: [10.9.0.255, 255.255.255.255] }, class: video }\n"
	      "  - { match: { cgroup: @/voice }, class: voice }\n");
	for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		int fd = udp_socket(&near, groups[i].own);

		set_option(fd, SOL_SOCKET, SO_BROADCAST, 1);
		if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, NEAR_IF, sizeof(NEAR_IF)))
			fail_msg("SO_BINDTODEVICE: %s", strerror(errno));
		for (n = 0; n < 5; n++) {
			assert_int_equal(send_to(fd, groups[i].to, 8000 + i, 100), 0);
			assert_int_equal(send_to(fd, groups[i].single, 7000 + i, 100), 0);
		}
		/* 3 KB are three fragments. */
		assert_int_equal(send_to(fd, groups[i].to, 8000 + i, 3000), 0);
		await_packets(c, FLOW(.to_port = 8000 + i), 8);
		await_packets(c, FLOW(.to_port = 7000 + i), 5);
		judge(c, FLOW(.to_port = 8000 + i), AF41, 8);
		judge(c, FLOW(.to_port = 7000 + i), EF, 5);
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
	apply(tb, with_unnamed_peer);
	judge_datagrams_past_the_peer(tb, c, 0);
	judge_datagrams_past_the_peer(tb, c, AF11);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(connected_socket_is_marked),
		NET_TEST(unconnected_socket_is_marked),
		NET_TEST(each_datagram_is_of_its_destinations_class),
		NET_TEST(connecting_again_changes_the_class),
		NET_TEST(failed_connect_leaves_the_old_peers_class),
		NET_TEST(datagram_past_the_peer_is_of_its_own_class),
		NET_TEST(disconnected_socket_has_no_class_left),
		NET_TEST(all_fragments_have_one_mark),
		NET_TEST(fragments_follow_the_ports_of_their_first),
		NET_TEST(gso_datagram_is_marked),
		NET_TEST(each_segment_is_marked),
		NET_TEST(ancillary_data_does_not_override_the_class),
		NET_TEST(multicast_and_broadcast_are_classified),
		NET_TEST(ecn_bits_of_the_application_stay),
		NET_TEST(exempt_peer_gets_the_connected_sockets_own_mark),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
