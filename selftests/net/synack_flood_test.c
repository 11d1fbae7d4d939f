/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A SYN flood from addresses that do not answer, at listeners of every family.
 * Their queues fill, the kernel goes over to SYN cookies, and clients that mean
 * it come in between.
 *
 * 200,000 SYNs take a second or two; where HOSTQOS_SLOW says that the machine
 * is slow, that many times fewer, which fill the queues as well: from the 129th
 * SYN on a listener sends cookies.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostqos.h"
#include "process.h"
#include "services.h"

#define CS1  8
#define AF11 10
#define AF21 18
#define AF41 34
#define CS5  40
#define EF   46

#define FLOOD_SYNS (200000 / patience(1))
#define FLOOD_MOST (10 * FLOOD_SYNS)
#define BATCH	   64

/* Where the flood claims to come from. */
#define FLOOD4 "198.18.0.0"
#define FLOOD6 "2001:db8:f::"

/* Shared with the process that sends it. */
struct flood {
	struct sockaddr_ll to;
	volatile size_t sent;
	volatile int enough; /* the clients have been there */
	volatile int error;
};

/* A SYN to a service. Sources are made of the template's prefix and a number. */
struct syn {
	union {
		struct iphdr ip4;
		struct ip6_hdr ip6;
	};
	uint8_t length; /* of the network header */
	struct tcphdr tcp;
};

static uint32_t sum_of(const void *data, size_t length)
{
	const uint16_t *word = data;
	uint32_t sum = 0;

	for (; length; length -= 2)
		sum += *word++;
	return sum;
}

/* RFC 1071 */
static uint16_t checksum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static void put_source(struct syn *s, uint32_t number)
{
	uint32_t pseudo = htons(IPPROTO_TCP) + htons(sizeof(s->tcp));

	s->tcp.source = htons(1024 + number % 60000);
	s->tcp.seq = number;
	s->tcp.check = 0;
	if (s->length == sizeof(s->ip4)) {
		s->ip4.saddr = htonl((ntohl(s->ip4.saddr) & 0xfffe0000) | (number & 0x1ffff));
		s->ip4.check = 0;
		s->ip4.check = checksum(sum_of(&s->ip4, sizeof(s->ip4)));
		pseudo += sum_of(&s->ip4.saddr, 8);
	} else {
		s->ip6.ip6_src.s6_addr32[3] = htonl(number);
		pseudo += sum_of(&s->ip6.ip6_src, 32);
	}
	s->tcp.check = checksum(pseudo + sum_of(&s->tcp, sizeof(s->tcp)));
}

static struct syn syn_to(int service)
{
	struct syn s = {.tcp = {.doff = 5, .syn = 1, .window = htons(65535)}};

	s.tcp.dest = htons(SERVICE_PORTS + service);
	if (address_family(services[service].connect) == AF_INET) {
		s.length = sizeof(s.ip4);
		s.ip4 = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP};
		s.ip4.tot_len = htons(s.length + sizeof(s.tcp));
		inet_pton(AF_INET, FLOOD4, &s.ip4.saddr);
		inet_pton(AF_INET, NEAR4, &s.ip4.daddr);
	} else {
		s.length = sizeof(s.ip6);
		s.ip6.ip6_flow = htonl(6 << 28);
		s.ip6.ip6_plen = htons(sizeof(s.tcp));
		s.ip6.ip6_nxt = IPPROTO_TCP;
		s.ip6.ip6_hlim = 64;
		inet_pton(AF_INET6, FLOOD6, &s.ip6.ip6_src);
		inet_pton(AF_INET6, NEAR6, &s.ip6.ip6_dst);
	}
	return s;
}

/* As many SYNs as one system call takes, in turn to each of the services. */
static void send_batch(struct flood *f, int fd)
{
	struct sockaddr_ll to[BATCH];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH][2];
	struct syn syns[BATCH];
	int i, sent;

	for (i = 0; i < BATCH; i++) {
		syns[i] = syn_to(i % SERVICES);
		put_source(&syns[i], f->sent + i);
		to[i] = f->to;
		to[i].sll_protocol =
			htons(syns[i].length == sizeof(struct iphdr) ? ETH_P_IP : ETH_P_IPV6);
		parts[i][0] = (struct iovec){&syns[i], syns[i].length};
		parts[i][1] = (struct iovec){&syns[i].tcp, sizeof(syns[i].tcp)};
		messages[i].msg_hdr = (struct msghdr){.msg_name = &to[i],
						      .msg_namelen = sizeof(to[i]),
						      .msg_iov = parts[i],
						      .msg_iovlen = 2};
	}
	sent = sendmmsg(fd, messages, BATCH, 0);
	if (sent > 0)
		f->sent += sent;
	else if (errno != ENOBUFS && errno != EINTR)
		f->error = errno;
}

/* Until the clients have been there, and for no less than its SYNs. */
static void send_flood(struct flood *f)
{
	uint64_t end = now_ns() + patience(60) * 1e9;
	int fd = socket(AF_PACKET, SOCK_DGRAM, 0);

	f->error = fd < 0 ? errno : 0;
	while (!f->error && (!f->enough || f->sent < FLOOD_SYNS) && f->sent < FLOOD_MOST &&
	       now_ns() < end)
		send_batch(f, fd);
}

static void find_addresses(void *arg)
{
	struct sockaddr_ll *to = arg;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = NEAR_IF};

	if (ioctl(fd, SIOCGIFHWADDR, &request))
		fail_msg("SIOCGIFHWADDR: %s", strerror(errno));
	memcpy(to->sll_addr, request.ifr_hwaddr.sa_data, ETH_ALEN);
	close(fd);
}

static void find_interface(void *arg)
{
	((struct sockaddr_ll *)arg)->sll_ifindex = if_nametoindex(FAR_IF);
}

static pid_t flood_start(struct testbed *tb, struct flood **out)
{
	struct place near = near_place(tb, NULL), far = far_place(tb);
	struct flood *f =
		mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	run(tb, &near, "ip route add " FLOOD4 "/15 via " FAR4);
	run(tb, &near, "ip route add " FLOOD6 "/48 via " FAR6);
	f->to = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_halen = ETH_ALEN};
	netns_do(tb->near, find_addresses, &f->to);
	netns_do(tb->far, find_interface, &f->to);
	pid = place_fork(&far, 0);
	if (pid == 0) {
		send_flood(f);
		_exit(0);
	}
	*out = f;
	return pid;
}

static void flood_stop(struct flood *f, pid_t pid)
{
	f->enough = 1;
	if (waitpid(pid, NULL, 0) != pid)
		fail_msg("waitpid: %s", strerror(errno));
	if (f->error || f->sent < FLOOD_SYNS)
		fail_msg("the flood ended after %zu SYNs: %s", f->sent, strerror(f->error));
	print_message("%zu SYNs\n", f->sent);
}

static const char policy[] =
	"classes:\n"
	"  web: { dscp: AF21, cgroup: @/web }\n"
	"  gold: { dscp: AF41, syn_ack: CS5 }\n"
	"  voice: { dscp: EF }\n"
	"  strangers: { dscp: CS1 }\n"
	"rules:\n"
	"  - { match: { cgroup: @/web, remote: " CLIENTS_B " }, class: gold }\n"
	"  - { match: { cgroup: @/web, remote: [" FLOOD4 "/15, '" FLOOD6
	"/48'] }, class: strangers }\n"
	"  - match: { cgroup: @/web, remote: [" FAR4 ", '" FAR6 "'], inbound_dscp: AF11 }\n"
	"    class: voice\n";

/* To the flood's addresses, but without the mark of strangers. */
static const char wrong_to_strangers[] =
	"(ip dst net " FLOOD4 "/15 and ip[1] & 0xfc != 0x20) or "
	"(ip6 dst net " FLOOD6 "/48 and ip6[0:2] & 0x0fc0 != 0x0200)";

/* What a client looks like, and how it is answered. */
static const struct client {
	bool b;
	int dscp, syn_ack, rest;
} clients[] = {
	{.dscp = 0, .syn_ack = AF21, .rest = AF21},
	{.dscp = AF11, .syn_ack = EF, .rest = EF},
	{.b = true, .syn_ack = CS5, .rest = AF41},
};

#define NCLIENTS ((int)(sizeof(clients) / sizeof(clients[0])))

static void visit_as(struct testbed *tb, struct capture *c, int listener, int service,
		     const struct client *as)
{
	const struct service *s = &services[service];
	int port = visit(tb, listener, service, as->b ? s->from_b : s->from, as->dscp);

	judge(c, FROM_SERVICE(service, .to_port = port, SYN_ACK), as->syn_ack, 1);
	judge(c, FROM_SERVICE(service, .to_port = port, NO_SYN), as->rest, 2);
}

static void clients_keep_their_classes_in_a_flood(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct capture *wrong = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");
	int listeners[SERVICES];
	struct flood *flood;
	uint64_t before;
	pid_t pid;
	int k;

	capture_only(c, "dst host " FAR4 " or " FAR4_B " or " FAR6 " or " FAR6_B);
	capture_only(wrong, wrong_to_strangers);
	apply(tb, policy);
	for_each_service(i)
	{
		listeners[i] = service_listen(&near, i);
		visit(tb, listeners[i], i, services[i].from, 0);
	}
	pid = flood_start(tb, &flood);
	AWAIT(netns_counter(tb->near, "SyncookiesSent") > 100 * SERVICES || flood->error);
	before = netns_counter(tb->near, "SyncookiesRecv");
	for_each_service(i) for (k = 0; k < NCLIENTS; k++)
		visit_as(tb, c, listeners[i], i, &clients[k]);
	/* All of them were let in by a cookie. */
	assert_in_range(netns_counter(tb->near, "SyncookiesRecv") - before, NCLIENTS * SERVICES,
			SIZE_MAX);
	flood_stop(flood, pid);
	for_each_service(i) close(listeners[i]);
	assert_int_equal(flow_count(wrong, FLOW(0)), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(clients_keep_their_classes_in_a_flood),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
