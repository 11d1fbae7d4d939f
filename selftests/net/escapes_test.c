/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What leaves a governed interface outside the policy is counted by its reason,
 * byte for byte as it arrives; with what the classes count it is all there is.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "capture.h"
#include "container.h"
#include "hostqos.h"
#include "process.h"
#include "sockets.h"

#define CLOSED 4444 /* a port where nobody listens */

static const char policy[] =
	"classes: { default: { dscp: CS1 }, hit: { dscp: EF } }\n"
	"rules: [{ match: { protocol: udp, remote_port: 7000 }, class: hit }]\n";

static uint64_t escaped(struct testbed *tb, const char *reason)
{
	struct json_object *status = hostqos_json(tb, 0, "status");
	struct json_object *o = json_member(json_member(status, "escapes"), reason);
	uint64_t bytes = json_object_get_uint64(json_member(o, "bytes"));

	json_object_put(status);
	return bytes;
}

/* All IP that was counted, in classes or beside them. */
static uint64_t counted(struct testbed *tb)
{
	static const char *const reasons[] = {"no_socket", "kernel_socket", "forwarded",
					      "raw",	   "other_cgroup",  "internal_error"};
	struct json_object *json = hostqos_json(tb, 0, "show classes");
	struct json_object *classes = json_member(json, "classes");
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < json_object_array_length(classes); i++)
		bytes += json_object_get_uint64(
			json_member(json_object_array_get_idx(classes, i), "bytes"));
	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		bytes += escaped(tb, reasons[i]);
	json_object_put(json);
	return bytes;
}

/* A capture that begins with a policy: no packet is in the one and not in the other. */
static struct capture *begin(struct testbed *tb, uint64_t *before)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, policy);
	do {
		*before = counted(tb);
		capture_clear(c);
	} while (counted(tb) != *before);
	return c;
}

/* The flow arrived, and the reason counts its bytes and no others. */
static void expect(struct testbed *tb, struct capture *c, const char *reason, uint64_t before,
		   const struct flow *flow)
{
	await_packets(c, flow, 1);
	AWAIT(escaped(tb, reason) - before == flow_wire_bytes(c, flow));
}

static void send_from(const struct place *place, const char *to, int port)
{
	int fd = udp_socket(place, to);

	assert_int_equal(send_to(fd, to, port, 100), 0);
	close(fd);
}

static void sockets_of_other_cgroups(void **state)
{
	struct testbed *tb = *state;
	struct place outside = near_place(tb, NULL), app = near_place(tb, "/app");
	uint64_t all;
	struct capture *c = begin(tb, &all);

	send_from(&outside, FAR4, 7001);
	send_from(&outside, FAR6, 7001);
	send_from(&app, FAR4, 7000);
	send_from(&app, FAR4, 7002);
	expect(tb, c, "other_cgroup", 0, FLOW(.protocol = IPPROTO_UDP, .to_port = 7001));
	await_packets(c, FLOW(.to_port = 7002), 1);
	AWAIT(counted(tb) - all == flow_wire_bytes(c, FLOW(0)));
}

/* tcp_v4_send_reset() sends through a socket of the kernel's, tcp_v6_send_response() without. */
static void resets_of_closed_ports(void **state)
{
	struct testbed *tb = *state;
	struct place far = far_place(tb);
	uint64_t all, kernel, none;
	struct capture *c = begin(tb, &all);
	int fd[] = {tcp_socket(&far, NEAR4), tcp_socket(&far, NEAR6)};

	none = escaped(tb, "no_socket");
	kernel = escaped(tb, "kernel_socket");
	assert_int_equal(connect_try(fd[0], NEAR4, CLOSED), -ECONNREFUSED);
	assert_int_equal(connect_try(fd[1], NEAR6, CLOSED), -ECONNREFUSED);
	expect(tb, c, "no_socket", none, FLOW(.family = 6, .from_port = CLOSED));
	await_packets(c, FLOW(.family = 4, .from_port = CLOSED), 1);
	/* Neighbour discovery is the kernel's, too. */
	AWAIT(escaped(tb, "kernel_socket") - kernel ==
	      flow_wire_bytes(c, FLOW(.family = 4, .from_port = CLOSED)) +
		      flow_wire_bytes(c, FLOW(.protocol = IPPROTO_ICMPV6)));
	AWAIT(counted(tb) - all == flow_wire_bytes(c, FLOW(0)));
	close(fd[0]);
	close(fd[1]);
}

static void icmp_errors(void **state)
{
	struct testbed *tb = *state;
	struct place far = far_place(tb);
	uint64_t all, kernel;
	struct capture *c = begin(tb, &all);

	kernel = escaped(tb, "kernel_socket");
	send_from(&far, NEAR4, CLOSED);
	send_from(&far, NEAR6, CLOSED);
	await_packets(c, FLOW(.protocol = IPPROTO_ICMP), 1);
	await_packets(c, FLOW(.protocol = IPPROTO_ICMPV6), 1);
	AWAIT(escaped(tb, "kernel_socket") - kernel ==
	      flow_wire_bytes(c, FLOW(.protocol = IPPROTO_ICMP)) +
		      flow_wire_bytes(c, FLOW(.protocol = IPPROTO_ICMPV6)));
	AWAIT(counted(tb) - all == flow_wire_bytes(c, FLOW(0)));
}

/* A raw socket of IP passes the hooks as others do: its ping is within the policy. */
static void send_ping(const struct place *place)
{
	struct icmphdr echo = {.type = ICMP_ECHO, .checksum = (uint16_t)~htons(ICMP_ECHO << 8)};
	struct address to = address_of(FAR4, 0);
	int fd = socket_try(place, AF_INET, SOCK_RAW, IPPROTO_ICMP);

	assert_int_equal(sendto(fd, &echo, sizeof(echo), 0, (void *)&to.storage, to.length),
			 sizeof(echo));
	close(fd);
}

static void find_index(void *index)
{
	*(int *)index = if_nametoindex(NEAR_IF);
}

/* A packet socket writes the network header itself. */
static void send_frame(const struct testbed *tb, const struct place *place, int port)
{
	struct {
		struct iphdr ip;
		uint16_t from, to, length, checksum;
	} packet = {
		.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP},
		.to = htons(port),
		.length = htons(8),
	};
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_halen = 6,
		.sll_addr = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	};
	int fd = socket_try(place, AF_PACKET, SOCK_DGRAM, 0);

	netns_do(tb->near, find_index, &to.sll_ifindex);
	packet.ip.tot_len = htons(sizeof(packet));
	inet_pton(AF_INET, NEAR4, &packet.ip.saddr);
	inet_pton(AF_INET, FAR4, &packet.ip.daddr);
	assert_int_equal(sendto(fd, &packet, sizeof(packet), 0, (void *)&to, sizeof(to)),
			 sizeof(packet));
	close(fd);
}

static void packet_sockets_are_raw(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app"), outside = near_place(tb, NULL);
	uint64_t all;
	struct capture *c = begin(tb, &all);

	send_ping(&app);
	send_frame(tb, &app, 7003);
	send_frame(tb, &outside, 7004);
	expect(tb, c, "raw", 0, FLOW(.to_port = 7003));
	expect(tb, c, "other_cgroup", 0, FLOW(.to_port = 7004));
	judge(c, FLOW(.protocol = IPPROTO_ICMP), 8, 1);
	AWAIT(counted(tb) - all == flow_wire_bytes(c, FLOW(0)));
}

/* Where a rule asks for forwarded packets, those that it matches are within the policy. */
static void forwarded_packets(void **state)
{
	struct testbed *tb = *state;
	struct place inner = {.netns = container_routed(tb)};
	uint64_t all;
	struct capture *c = begin(tb, &all);

	send_from(&inner, FAR4, 7000);
	send_from(&inner, FAR6, 7000);
	expect(tb, c, "forwarded", 0, FLOW(.protocol = IPPROTO_UDP));
	AWAIT(counted(tb) - all == flow_wire_bytes(c, FLOW(0)));
	apply(tb,
	      "classes: { hit: { dscp: EF } }\n"
	      "rules: [{ match: { origin: forwarded, protocol: udp, remote_port: 7000 }, class: hit }]\n");
	all = escaped(tb, "forwarded");
	send_from(&inner, FAR4, 7000);
	send_from(&inner, FAR4, 7001);
	expect(tb, c, "forwarded", all, FLOW(.to_port = 7001));
	close(inner.netns);
}

/* As if its storage could not be had: hostqos's own failure is told apart from all else. */
static void sockets_without_storage(void **state)
{
	struct testbed *tb = *state;
	struct place app = near_place(tb, "/app");
	char path[256];
	uint64_t all;
	struct capture *c = begin(tb, &all);
	int flows, fd = udp_socket(&app, FAR4);

	snprintf(path, sizeof(path), "/sys/fs/bpf/hostqos/%s/flows", tb->instance);
	flows = bpf_obj_get(path);
	assert_true(flows >= 0);
	assert_int_equal(bpf_map_delete_elem(flows, &fd), 0);
	assert_int_equal(send_to(fd, FAR4, 7000, 100), 0);
	expect(tb, c, "internal_error", 0, FLOW(.to_port = 7000));
	judge(c, FLOW(.to_port = 7000), 0, 1);
	AWAIT(counted(tb) - all == flow_wire_bytes(c, FLOW(0)));
	close(flows);
	close(fd);
}

/* ARP has no DSCP, but takes of the link what it takes. */
static void what_is_not_ip(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL), app = near_place(tb, "/app");
	uint64_t all, before;

	begin(tb, &all);
	before = escaped(tb, "not_ip");
	run(tb, &near, "ip neighbour flush dev " NEAR_IF);
	send_from(&app, FAR4, 7000);
	AWAIT(escaped(tb, "not_ip") > before);
	assert_true((escaped(tb, "not_ip") - before) % 42 == 0); /* RFC 826 in Ethernet */
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(sockets_of_other_cgroups),
		NET_TEST(resets_of_closed_ports),
		NET_TEST(icmp_errors),
		NET_TEST(packet_sockets_are_raw),
		NET_TEST(forwarded_packets),
		NET_TEST(sockets_without_storage),
		NET_TEST(what_is_not_ip),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
