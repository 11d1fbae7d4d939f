/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The marks that applications ask for by ancillary data, datagram by datagram.
 */
#include <netinet/udp.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "sockets.h"
#include "traffic.h"

#define AF41 34
#define EF   46
#define CS6  48

/* Class `app`, with its treatment of applications' marks. */
#define APP(treatment) "classes: { app: { dscp: EF, cgroup: @/app" treatment " } }\n"

/* One datagram with the DSCP as ancillary data, to an address or the socket's peer. */
static void send_marked(int fd, const struct route *r, int port, int dscp, size_t length)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct address to = address_of(r->to, port);
	struct iovec data = {calloc(1, length), length};
	struct msghdr message = {.msg_name = port ? &to.storage : NULL,
				 .msg_namelen = port ? to.length : 0,
				 .msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	int dsfield = dscp << 2;

	control.header.cmsg_level = r->ipv4 ? IPPROTO_IP : IPPROTO_IPV6;
	control.header.cmsg_type = r->ipv4 ? IP_TOS : IPV6_TCLASS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &dsfield, sizeof(dsfield));
	assert_int_equal(sendmsg(fd, &message, 0), length);
	free(data.iov_base);
}

/* A datagram each with ancillary AF41, then CS6, then without any: what becomes of them. */
static void expect_ancillary(struct testbed *tb, struct capture *c, const struct route *r,
			     bool connected, int af41, int cs6, int without)
{
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	const int sent[] = {AF41, CS6}, want[] = {af41, cs6};
	int fd = udp_socket(&near, r->own), sink = udp_sink(&far, "::", 7001);
	size_t i;

	if (connected)
		connect_to(fd, r->to, 7001);
	set_option(fd, IPPROTO_UDP, UDP_SEGMENT, 1000);
	for (i = 0; i < 2; i++) {
		capture_clear(c);
		send_marked(fd, r, connected ? 0 : 7001, sent[i], 4000);
		await_packets(c, FLOW(.to_port = 7001), 1);
		judge(c, FLOW(.to_port = 7001), want[i], 1);
	}
	capture_clear(c);
	assert_int_equal(send_to(fd, r->to, 7001, 100), 0);
	await_packets(c, FLOW(.to_port = 7001), 1);
	judge(c, FLOW(.to_port = 7001), without, 1);
	close(fd);
	close(sink);
}

static void ancillary_data_counts_where_honored(void **state)
{
	static const struct {
		const char *policy;
		int af41, cs6, without;
	} cases[] = {
		{APP(""), EF, EF, EF},
		{APP(", app_dscp: deny"), EF, EF, EF},
		{APP(", app_dscp: honor"), AF41, CS6, EF},
		{APP(", app_dscp: { honor: [AF41] }"), AF41, EF, EF},
		{"classes: {}\n", AF41, CS6, 0},
	};
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i, k;

	for (k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		apply(tb, cases[k].policy);
		for (i = 0; i < 2 * ROUTES; i++)
			expect_ancillary(tb, c, &routes[i / 2], i & 1, cases[k].af41, cases[k].cs6,
					 cases[k].without);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(ancillary_data_counts_where_honored),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
