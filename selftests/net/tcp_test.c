/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Every packet of a governed TCP connection carries its class's DSCP, from the
 * SYN to the TIME_WAIT ACK, and the ECN bits it would have had.
 */
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"

#define EF 46

static const char policy[] = "classes: { voice: { dscp: EF, cgroup: @/voice } }\n";

/* All the ways in which two hosts can meet; near is governed. */
static const struct meeting {
	const char *listen, *connect;
	bool near_listens;
} meetings[] = {
	{FAR4, FAR4, false},  {FAR6, FAR6, false}, {FAR4, MAPPED FAR4, false}, {NEAR4, NEAR4, true},
	{NEAR6, NEAR6, true}, {"::", NEAR4, true}, {"::", NEAR6, true},
};

#define MEETINGS (sizeof(meetings) / sizeof(meetings[0]))

struct ends {
	int near, far;
};

static struct ends meet(const struct testbed *tb, const struct meeting *m, int port)
{
	struct place near = near_place(tb, "/voice"), far = far_place(tb);
	struct connection c;

	c = m->near_listens ? tcp_connection(&far, &near, m->connect, port)
			    : tcp_connection(&near, &far, m->connect, port);
	close(c.listener);
	return m->near_listens ? (struct ends){c.server, c.client}
			       : (struct ends){c.client, c.server};
}

/*
 * The scenario runs once for each way to meet; the capture has that run only.
 * A scenario that ends in a RST judges that itself.
 */
static void each_meeting(struct testbed *tb, void (*scenario)(struct capture *, struct ends))
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i;

	apply(tb, policy);
	for (i = 0; i < MEETINGS; i++) {
		capture_clear(c);
		scenario(c, meet(tb, &meetings[i], 7000 + i));
		judge(c, FLOW(.protocol = IPPROTO_TCP, .without = TCP_RST), EF, 2);
		judge(c, FLOW(.protocol = IPPROTO_TCP, .with = TCP_SYN), EF, 1);
	}
}

static void talk(struct ends e)
{
	send_bytes(e.near, 100000);
	receive_bytes(e.far, 100000);
	send_bytes(e.far, 100000);
	receive_bytes(e.near, 100000);
}

static void near_closes_first(struct capture *c, struct ends e)
{
	talk(e);
	close(e.near);
	receive_end(e.far);
	close(e.far);
	/* The ACK of far's FIN, from a socket in TIME_WAIT or about to be. */
	await_packets(c, FLOW(.with = TCP_FIN), 1);
}

static void far_closes_first(struct capture *c, struct ends e)
{
	talk(e);
	close(e.far);
	receive_end(e.near);
	close(e.near);
	await_packets(c, FLOW(.with = TCP_FIN), 1);
}

static void closed_connections_are_marked_to_the_fin(void **state)
{
	each_meeting(*state, near_closes_first);
	detach(*state);
	each_meeting(*state, far_closes_first);
}

static void reset_without_linger(struct capture *c, struct ends e)
{
	talk(e);
	close_with_reset(e.near);
	await_packets(c, FLOW(.with = TCP_RST), 1);
	judge(c, FLOW(.with = TCP_RST), EF, 1);
	close(e.far);
}

static void reset_of_lingerless_close_is_marked(void **state)
{
	each_meeting(*state, reset_without_linger);
}

static void reset_with_data_unread(struct capture *c, struct ends e)
{
	send_bytes(e.far, 1000);
	AWAIT(recv(e.near, &(char){0}, 1, MSG_PEEK) == 1);
	close(e.near);
	await_packets(c, FLOW(.with = TCP_RST), 1);
	judge(c, FLOW(.with = TCP_RST), EF, 1);
	close(e.far);
}

static void reset_with_data_unread_is_marked(void **state)
{
	each_meeting(*state, reset_with_data_unread);
}

/*
 * Since Linux 6.13 a RST that the kernel's control socket sends tells for which
 * socket (ip_send_unicast_reply()); before, it is nobody's, and reflects the DS
 * field of the packet that it answers.
 */
static int dscp_of_control_packets(void)
{
	unsigned int major, minor;
	struct utsname name;

	uname(&name);
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2)
		fail_msg("kernel release %s", name.release);
	return major > 6 || (major == 6 && minor >= 13) ? EF : 0;
}

/*
 * TCP_LINGER2 beyond a TIME_WAIT's life keeps the closed end a whole socket in
 * FIN_WAIT2 (tcp_rcv_state_process()); data that comes then is answered by a
 * RST, sent for it by the control socket (tcp_v4_send_reset()).
 */
static void data_for_a_closed_end(struct capture *c, struct ends e)
{
	talk(e);
	set_option(e.near, IPPROTO_TCP, TCP_LINGER2, 100);
	close(e.near);
	receive_end(e.far);
	send_bytes(e.far, 1000);
	await_packets(c, FLOW(.with = TCP_RST), 1);
	judge(c, FLOW(.with = TCP_RST), dscp_of_control_packets(), 1);
	close(e.far);
}

static void reset_for_data_at_a_closed_end_is_marked(void **state)
{
	each_meeting(*state, data_for_a_closed_end);
}

static void go_deaf(int fd)
{
	struct sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &drop_all};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		fail_msg("SO_ATTACH_FILTER");
}

/* Far hears no ACK of its FIN and repeats it; near answers out of TIME_WAIT. */
static void far_repeats_its_fin(struct capture *c, struct ends e)
{
	talk(e);
	close(e.near);
	receive_end(e.far);
	capture_read(c);
	go_deaf(e.far);
	close(e.far);
	await_packets(c, FLOW(.with = TCP_ACK, .without = TCP_FIN, .after = now_ns()), 3);
}

static void time_wait_acks_are_marked(void **state)
{
	each_meeting(*state, far_repeats_its_fin);
}

/* shutdown() ends a listener, which may connect then; its TIME_WAIT has the socket's own mark. */
static void listener_that_connects_is_a_client(void **state)
{
	static const char *const ways[][2] = {{NEAR4, FAR4}, {NEAR6, FAR6}, {"::", MAPPED FAR4}};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/voice"), far = far_place(tb);
	size_t i;

	apply(tb, "classes: { voice: { dscp: EF, syn_ack: CS5, cgroup: @/voice } }\n");
	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int fd = tcp_listener(&near, ways[i][0], 7000 + i);
		int listener = tcp_listener(&far, "::", 8000 + i);

		assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
		connect_to(fd, ways[i][1], 8000 + i);
		far_repeats_its_fin(c, (struct ends){fd, accept_from(listener)});
		judge(c, FLOW(.to_port = 8000 + i), EF, 6);
		close(listener);
	}
}

static void expect_ecn(struct capture *c, struct ends e)
{
	const struct flow data = {.protocol = IPPROTO_TCP, .data = true};
	struct flow ect0 = data;

	/* RFC 3168, 6.1.1: the SYN asks with both flags and is not ECN-capable itself. */
	talk(e);
	close(e.near);
	receive_end(e.far);
	close(e.far);
	assert_int_equal(flow_count(c, FLOW(.with = TCP_SYN, .dsfield = DS_IS(EF << 2))), 1);
	assert_int_equal(flow_count(c, FLOW(.with = TCP_SYN | TCP_ECE)), 1);
	ect0.dsfield = DS_IS(EF << 2 | 2);
	assert_int_equal(flow_count(c, &ect0), flow_count(c, &data));
}

static void ecn_is_negotiated_and_kept(void **state)
{
	struct testbed *tb = *state;

	netns_sysctl(tb->near, "ipv4/tcp_ecn", "1");
	netns_sysctl(tb->far, "ipv4/tcp_ecn", "1");
	each_meeting(tb, expect_ecn);
}

/* What of a packet does not differ from run to run. */
static void put_shape(char *text, size_t size, struct capture *c)
{
	size_t i, used = 0;

	capture_read(c);
	for (i = 0; i < c->count && used < size; i++) {
		const struct packet *p = &c->packets[i];

		if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
			continue;
		used += snprintf(
			text + used, size - used,
			"v%u ds %02x ttl %u df %d label %x proto %u flags %02x %u+%u sum %d\n",
			p->family, p->dsfield, p->ttl, p->dont_fragment, p->flow_label, p->protocol,
			p->tcp_flags, p->tcp_header, p->payload, !p->checksum_wrong);
	}
}

/* One connection and one datagram of a program that marks them itself, or does not. */
static void ungoverned_traffic(struct testbed *tb, struct capture *c, const char *address, int tos)
{
	struct place near = near_place(tb, "/other"), far = far_place(tb);
	int listener = tcp_listener(&far, address, 7000), udp = udp_socket(&near, address);
	int client = tcp_socket(&near, address), server;
	bool ipv4 = address_family(address) == AF_INET;

	if (tos) {
		set_option(client, ipv4 ? IPPROTO_IP : IPPROTO_IPV6, ipv4 ? IP_TOS : IPV6_TCLASS,
			   tos);
		set_option(udp, ipv4 ? IPPROTO_IP : IPPROTO_IPV6, ipv4 ? IP_TOS : IPV6_TCLASS, tos);
	}
	connect_to(client, address, 7000);
	server = accept_from(listener);
	send_bytes(client, 100);
	receive_bytes(server, 100);
	assert_int_equal(send_to(udp, address, 7001, 100), 0);
	close_with_reset(client);
	await_packets(c, FLOW(.with = TCP_RST), 1);
	await_packets(c, FLOW(.protocol = IPPROTO_UDP), 1);
	close(server);
	close(listener);
	close(udp);
}

static void compare_shapes(struct testbed *tb, const char *address, int tos)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	char before[4096], after[4096];

	ungoverned_traffic(tb, c, address, tos);
	put_shape(before, sizeof(before), c);
	capture_clear(c);
	apply(tb, policy);
	ungoverned_traffic(tb, c, address, tos);
	put_shape(after, sizeof(after), c);
	assert_string_equal(before, after);
	detach(tb);
}

static void ungoverned_flows_are_as_before(void **state)
{
	compare_shapes(*state, FAR4, 0);
	compare_shapes(*state, FAR6, 0);
}

static void marks_of_a_program_in_no_class_stay(void **state)
{
	compare_shapes(*state, FAR4, 10 << 2);
	compare_shapes(*state, FAR6, 10 << 2 | 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(closed_connections_are_marked_to_the_fin),
		NET_TEST(reset_of_lingerless_close_is_marked),
		NET_TEST(reset_with_data_unread_is_marked),
		NET_TEST(reset_for_data_at_a_closed_end_is_marked),
		NET_TEST(time_wait_acks_are_marked),
		NET_TEST(listener_that_connects_is_a_client),
		NET_TEST(ecn_is_negotiated_and_kept),
		NET_TEST(ungoverned_flows_are_as_before),
		NET_TEST(marks_of_a_program_in_no_class_stay),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
