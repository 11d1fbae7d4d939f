/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The socket itself carries the mark, so what wraps its packets can inherit it:
 * ESP, and tunnels told to. hostqos is attached to an interface that sees none
 * of them, so that tc egress cannot be who marked.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"
#include "traffic.h"

#define EF 46

#define IDLE	    "idle0"
#define UNTOUCHED   "hostqos: 1\nattach: { cgroup: @, interfaces: [" IDLE "] }\n"
#define EVERYTHING  "hostqos: 1\nattach: { cgroup: @, interfaces: [" NEAR_IF "] }\n"
#define CLASS	    "classes: { voice: { dscp: EF, cgroup: @/app } }\n"
#define CIPHER	    "aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128"
#define VXLAN_PORT  4789
#define TUNNEL_NEAR "10.9.5.1"
#define TUNNEL_FAR  "10.9.5.2"

static void idle_interface(struct testbed *tb)
{
	struct place near = near_place(tb, NULL);

	run(tb, &near, "ip link add " IDLE " type veth peer name idle1");
	run(tb, &near, "ip link set " IDLE " up");
}

/* One direction of a security association, at one of its ends. false: the kernel has no ESP. */
static bool esp_half(struct testbed *tb, const struct place *place, const char *from,
		     const char *to, const char *mode, const char *direction)
{
	struct process *state = process_start(
		tb, place, "ip xfrm state add src %s dst %s proto esp spi 0x100 mode %s " CIPHER,
		from, to, mode);
	static const char *const protocols[] = {"tcp", "udp"};
	char *errors;
	bool missing;
	int i;

	if (process_wait(state)) {
		errors = process_errors(state);
		missing = strstr(errors, "not found") != NULL;
		if (!missing)
			fail_msg("ip xfrm state add: %s", errors);
		free(errors);
		return false;
	}
	/* Not all: neighbour discovery would be in it as well, and is nobody's. */
	for (i = 0; i < 2; i++)
		run(tb, place,
		    "ip xfrm policy add src %s dst %s proto %s dir %s tmpl src %s dst %s proto esp "
		    "mode %s",
		    from, to, protocols[i], direction, from, to, mode);
	return true;
}

static bool esp_between(struct testbed *tb, const char *a, const char *b, const char *mode)
{
	struct place near = near_place(tb, NULL), far = far_place(tb);

	return esp_half(tb, &near, a, b, mode, "out") && esp_half(tb, &near, b, a, mode, "in") &&
	       esp_half(tb, &far, a, b, mode, "in") && esp_half(tb, &far, b, a, mode, "out");
}

/* A connection and a connected UDP socket of the class send to the far side. */
static void send_both(struct testbed *tb, const char *to)
{
	struct place app = near_place(tb, "/app"), far = far_place(tb);
	struct connection tcp = tcp_connection(&app, &far, to, 5001);
	int sink = udp_sink(&far, to, 7000), udp = udp_socket(&app, to);

	send_bytes(tcp.client, 3000);
	receive_bytes(tcp.server, 3000);
	connect_to(udp, to, 7000);
	udp_burst(udp, 5);
	close(udp);
	close(sink);
	close(tcp.client);
	receive_end(tcp.server);
	close(tcp.server);
	close(tcp.listener);
}

/* What a security association sends: SYN, ACK, data, FIN, datagrams. */
static void expect_esp(struct testbed *tb, struct capture *c, const char *from, const char *to)
{
	capture_clear(c);
	send_both(tb, to);
	await_packets(c, FLOW(.protocol = IPPROTO_ESP, .from = from), 9);
	judge(c, FLOW(.protocol = IPPROTO_ESP, .from = from), EF, 9);
}

static void esp_inherits(struct testbed *tb, const char *mode)
{
	static const char *const policies[] = {UNTOUCHED CLASS, EVERYTHING CLASS};
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i;

	idle_interface(tb);
	if (!esp_between(tb, NEAR4, FAR4, mode) || !esp_between(tb, NEAR6, FAR6, mode))
		skip();
	for (i = 0; i < 2; i++) {
		apply(tb, policies[i]);
		expect_esp(tb, c, NEAR4, FAR4);
		expect_esp(tb, c, NEAR6, FAR6);
		detach(tb);
	}
}

static void esp_transport_inherits(void **state)
{
	esp_inherits(*state, "transport");
}

static void esp_tunnel_inherits(void **state)
{
	esp_inherits(*state, "tunnel");
}

static void vxlan_end(struct testbed *tb, const struct place *place, const char *lower,
		      const char *remote, const char *address)
{
	run(tb, place, "ip link add vx0 type vxlan id 9 dev %s remote %s dstport %d tos inherit",
	    lower, remote, VXLAN_PORT);
	run(tb, place, "ip address add %s/24 dev vx0", address);
	run(tb, place, "ip link set vx0 up");
}

/* Ethernet is in it too: neighbour discovery is nobody's, so only what is long is judged. */
static void vxlan_inherits(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	size_t i, judged = 0;

	idle_interface(tb);
	vxlan_end(tb, &near, NEAR_IF, FAR4, TUNNEL_NEAR);
	vxlan_end(tb, &far, FAR_IF, NEAR4, TUNNEL_FAR);
	apply(tb, UNTOUCHED CLASS);
	send_both(tb, TUNNEL_FAR);
	await_packets(c, FLOW(.protocol = IPPROTO_UDP, .to_port = VXLAN_PORT), 9);
	for (i = 0; i < c->count; i++) {
		if (c->packets[i].payload < 1000)
			continue;
		assert_int_equal(c->packets[i].destination_port, VXLAN_PORT);
		assert_int_equal(DSCP(&c->packets[i]), EF);
		judged++;
	}
	assert_true(judged >= 5);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(esp_transport_inherits),
		NET_TEST(esp_tunnel_inherits),
		NET_TEST(vxlan_inherits),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
