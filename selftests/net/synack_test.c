/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * SYN-ACKs carry the mark of the connection that they open, from the first
 * one, under whatever conditions the kernel sends them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "hostqos.h"
#include "services.h"

#define AF11 10
#define AF21 18
#define AF41 34
#define CS5  40
#define EF   46

/* A cookie's SYN-ACK belongs to no socket (tcp_make_synack()). 2: always, not in need only. */
static void send_cookies(struct testbed *tb)
{
	netns_sysctl(tb->near, "ipv4/tcp_syncookies", "2");
}

static void each_service(struct testbed *tb, int syn_ack, int rest)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");

	for_each_service(i)
	{
		int listener = service_listen(&near, i);

		visit(tb, listener, i, services[i].from, 0);
		judge(c, FROM_SERVICE(i, SYN_ACK), syn_ack, 1);
		judge(c, FROM_SERVICE(i, NO_SYN), rest, 2);
		close(listener);
	}
}

static void syn_ack_has_the_mark_of_its_class(void **state)
{
	apply(*state, "classes: { web: { dscp: AF21, cgroup: @/web } }\n");
	each_service(*state, AF21, AF21);
}

static void syn_ack_may_have_a_mark_of_its_own(void **state)
{
	apply(*state, "classes: { web: { dscp: AF21, syn_ack: CS5, cgroup: @/web } }\n");
	each_service(*state, CS5, AF21);
	send_cookies(*state);
	each_service(*state, CS5, AF21);
}

/* Visits of a client of either class, and what they must see. */
static void both_clients(struct testbed *tb, int a, int syn_ack_b, int b)
{
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");

	for_each_service(i)
	{
		const struct service *s = &services[i];
		int listener = service_listen(&near, i);

		visit(tb, listener, i, s->from_b, 0);
		visit(tb, listener, i, s->from, 0);
		judge(c, FROM_SERVICE(i, .to = s->from, SYN_ACK), a, 1);
		judge(c, FROM_SERVICE(i, .to = s->from), a, 3);
		judge(c, FROM_SERVICE(i, .to = s->from_b, SYN_ACK), syn_ack_b, 1);
		judge(c, FROM_SERVICE(i, .to = s->from_b, NO_SYN), b, 2);
		close(listener);
	}
}

static void syn_ack_is_of_its_clients_class(void **state)
{
	struct testbed *tb = *state;

	apply(tb, "classes:\n"
		  "  web: { dscp: AF21 }\n"
		  "  gold: { dscp: AF41, syn_ack: CS5 }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/web, remote: " CLIENTS_B " }, class: gold }\n"
		  "  - { match: { cgroup: @/web }, class: web }\n");
	both_clients(tb, AF21, CS5, AF41);
	send_cookies(tb);
	both_clients(tb, AF21, CS5, AF41);
}

/* The SYN-ACK is built from the listener's DS field, which bears the other clients' mark. */
static void exempt_client_gets_no_mark(void **state)
{
	struct testbed *tb = *state;

	apply(tb, "classes: { web: { dscp: AF21 } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/web, remote: " CLIENTS_B " }, class: default }\n"
		  "  - { match: { cgroup: @/web }, class: web }\n");
	both_clients(tb, AF21, 0, 0);
	send_cookies(tb);
	both_clients(tb, AF21, 0, 0);
}

static const char gold_for_ef[] =
	"classes:\n"
	"  web: { dscp: AF21, cgroup: @/web }\n"
	"  gold: { dscp: AF41, syn_ack: CS5 }\n"
	"rules:\n"
	"  - { match: { cgroup: @/web, remote: " CLIENTS ", inbound_dscp: EF }, class: gold }\n";

/* Under cookies the kernel keeps nothing of the SYN, its DSCP neither. */
static void syn_ack_is_of_its_syns_class(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");
	int cookies, port;

	apply(tb, gold_for_ef);
	for (cookies = 0; cookies < 2; cookies++) {
		for_each_service(i)
		{
			int listener = service_listen(&near, i);

			port = visit(tb, listener, i, services[i].from, EF);
			judge(c, FROM_SERVICE(i, .to_port = port, SYN_ACK), CS5, 1);
			judge(c, FROM_SERVICE(i, .to_port = port, NO_SYN), AF41, 2);
			port = visit(tb, listener, i, services[i].from, AF11);
			judge(c, FROM_SERVICE(i, .to_port = port), AF21, 3);
			close(listener);
		}
		send_cookies(tb);
	}
}

#define NEAR_LLADDR "02:00:00:00:00:01"
#define FAR_LLADDR  "02:00:00:00:00:02"

/* The far host knows the near one's link address and tells nobody its own. */
static void mute_far(struct testbed *tb)
{
	struct place near = near_place(tb, NULL), far = far_place(tb);

	run(tb, &near, "ip link set " NEAR_IF " address " NEAR_LLADDR);
	run(tb, &far, "ip link set " FAR_IF " address " FAR_LLADDR);
	run(tb, &far, "ip neigh replace " NEAR4 " lladdr " NEAR_LLADDR " dev " FAR_IF);
	run(tb, &far, "ip neigh replace " NEAR6 " lladdr " NEAR_LLADDR " dev " FAR_IF);
	run(tb, &far, "nft add table arp mute");
	run(tb, &far, "nft add chain arp mute out { type filter hook output priority 0 ; }");
	run(tb, &far, "nft add rule arp mute out drop");
	run(tb, &far, "nft add table ip6 mute");
	run(tb, &far, "nft add chain ip6 mute out { type filter hook output priority 0 ; }");
	run(tb, &far, "nft add rule ip6 mute out icmpv6 type nd-neighbor-advert drop");
}

/* What the near host knows of a far address, from now on. */
static void set_neighbour(struct testbed *tb, const char *address, const char *how)
{
	struct place near = near_place(tb, NULL);

	run(tb, &near, "ip neigh replace %s dev " NEAR_IF " %s", address, how);
}

static int begin_visit(struct testbed *tb, int service, int dscp)
{
	struct place far = far_place(tb);
	int client = visitor(&far, service, services[service].from, dscp);

	fcntl(client, F_SETFL, O_NONBLOCK);
	connect_try(client, services[service].connect, SERVICE_PORTS + service);
	return client;
}

/*
 * Until the kernel has asked for the peer's link address its SYN-ACKs wait
 * (neigh_resolve_output()), and meet tc egress when other SYNs have come.
 */
static void syn_acks_wait_for_their_neighbour(void **state)
{
	static const struct {
		int dscp, syn_ack;
	} of[] = {{EF, CS5}, {AF11, AF21}, {0, AF21}};
	const int n = sizeof(of) / sizeof(of[0]);
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");
	int clients[n], listener, k;
	uint64_t sent;

	apply(tb, gold_for_ef);
	send_cookies(tb);
	mute_far(tb);
	for_each_service(i)
	{
		listener = service_listen(&near, i);
		set_neighbour(tb, services[i].from, "nud none");
		sent = netns_counter(tb->near, "SyncookiesSent");
		for (k = 0; k < n; k++)
			clients[k] = begin_visit(tb, i, of[k].dscp);
		AWAIT(netns_counter(tb->near, "SyncookiesSent") >= sent + n);
		assert_int_equal(flow_count(c, FROM_SERVICE(i, SYN_ACK)), 0);
		set_neighbour(tb, services[i].from, "lladdr " FAR_LLADDR);
		for (k = 0; k < n; k++)
			close(accept_from(listener));
		for (k = 0; k < n; k++) {
			judge(c, FROM_SERVICE(i, .to_port = local_port(clients[k]), SYN_ACK),
			      of[k].syn_ack, 1);
			close(clients[k]);
		}
		close(listener);
	}
}

static void listener_older_than_the_policy_is_adopted(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");
	int listeners[SERVICES];

	for_each_service(i) listeners[i] = service_listen(&near, i);
	apply(tb, "classes: { web: { dscp: AF21, syn_ack: AF11, cgroup: @/web } }\n");
	for_each_service(i)
	{
		visit(tb, listeners[i], i, services[i].from, 0);
		judge(c, FROM_SERVICE(i, SYN_ACK), AF11, 1);
		judge(c, FROM_SERVICE(i, NO_SYN), AF21, 2);
		close(listeners[i]);
	}
}

#define GROUP_VISITS 12

/* Two listeners share a port: each SYN-ACK is of the class of the one that got the SYN. */
static void listeners_of_a_group_keep_their_classes(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place web = near_place(tb, "/web"), gold = near_place(tb, "/gold");
	const struct place *members[] = {&web, &gold};
	static const int marks[] = {AF21, AF41};
	struct place far = far_place(tb);
	int cookies, member, visits, listeners[2], client, server, seen[2] = {0};

	apply(tb, "classes: { web: { dscp: AF21 }, gold: { dscp: AF41 } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/web, remote: " CLIENTS " }, class: web }\n"
		  "  - { match: { cgroup: @/gold, remote: " CLIENTS " }, class: gold }\n");
	for (cookies = 0; cookies < 2; cookies++) {
		for_each_service(i)
		{
			const struct service *s = &services[i];

			for (member = 0; member < 2; member++) {
				listeners[member] = tcp_socket(members[member], s->listen);
				set_option(listeners[member], SOL_SOCKET, SO_REUSEPORT, 1);
				bind_to(listeners[member], s->listen, SERVICE_PORTS + i);
				listen(listeners[member], 128);
				fcntl(listeners[member], F_SETFL, O_NONBLOCK);
			}
			for (visits = 0; visits < GROUP_VISITS; visits++) {
				client = tcp_client(&far, s->connect, SERVICE_PORTS + i);
				/* Under cookies the client may be connected first. */
				AWAIT((member = 0, server = accept(listeners[0], NULL, NULL)) >=
					      0 ||
				      (member = 1, server = accept(listeners[1], NULL, NULL)) >= 0);
				send_bytes(server, 1);
				receive_bytes(client, 1);
				judge(c, FROM_SERVICE(i, .to_port = local_port(client)),
				      marks[member], 2);
				seen[member]++;
				close(server);
				close(client);
			}
			close(listeners[0]);
			close(listeners[1]);
		}
		send_cookies(tb);
	}
	assert_true(seen[0] && seen[1]);
}

#define LISTENER_PORT 8000

/* Netfilter brings clients to another port, and its SYN-ACKs back; the rule is on the listener's.
 */
static void syn_ack_is_from_the_port_that_its_listener_has(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, NULL), web = near_place(tb, "/web");
	int cookies;

	run(tb, &near, "nft add table inet test");
	run(tb, &near, "nft add chain inet test in { type nat hook prerouting priority 0 ; }");
	run(tb, &near, "nft add rule inet test in tcp dport 7000-7003 redirect to :8000");
	apply(tb, "classes: { web: { dscp: AF21 }, gold: { dscp: AF41, syn_ack: CS5 } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/web, remote: " CLIENTS
		  ", local_port: 8000 }, class: gold }\n"
		  "  - { match: { cgroup: @/web }, class: web }\n");
	for (cookies = 0; cookies < 2; cookies++) {
		for_each_service(i)
		{
			int listener = tcp_listener(&web, services[i].listen, LISTENER_PORT);

			visit(tb, listener, i, services[i].from, 0);
			judge(c, FROM_SERVICE(i, SYN_ACK), CS5, 1 + cookies);
			judge(c, FROM_SERVICE(i, NO_SYN), AF41, 2 + 2 * cookies);
			close(listener);
		}
		send_cookies(tb);
	}
}

/* A client that hears nothing makes the server repeat its SYN-ACK. */
static int deaf_client(struct testbed *tb, int service)
{
	struct sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &drop_all};
	const struct service *s = &services[service];
	struct place far = far_place(tb);
	int client = tcp_socket(&far, s->connect);

	if (setsockopt(client, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		fail_msg("SO_ATTACH_FILTER");
	fcntl(client, F_SETFL, O_NONBLOCK);
	bind_to(client, s->from_b, 0);
	return client;
}

/* SYN-ACKs to a deaf client go on while others fill the accept queue: one beyond its length. */
static void repeated_syn_acks_are_marked(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web"), far = far_place(tb);
	int listeners[SERVICES], deaf[SERVICES], others[SERVICES][2];

	apply(tb, "classes: { web: { dscp: AF21, cgroup: @/web }, gold: { dscp: AF41 } }\n"
		  "rules: [{ match: { remote: " CLIENTS_B " }, class: gold }]\n");
	for_each_service(i)
	{
		listeners[i] = service_listen(&near, i);
		listen(listeners[i], 1);
		deaf[i] = deaf_client(tb, i);
		connect_try(deaf[i], services[i].connect, SERVICE_PORTS + i);
		others[i][0] = tcp_client(&far, services[i].connect, SERVICE_PORTS + i);
		others[i][1] = tcp_client(&far, services[i].connect, SERVICE_PORTS + i);
	}
	for_each_service(i)
	{
		await_packets(c, FROM_SERVICE(i, .to = services[i].from_b, SYN_ACK), 2);
		judge(c, FROM_SERVICE(i, .to = services[i].from_b), AF41, 2);
		close(deaf[i]);
		close(others[i][0]);
		close(others[i][1]);
		close(listeners[i]);
	}
}

#define FASTOPEN_BOTH_WITHOUT_COOKIES "1543" /* 0x607; ip-sysctl, tcp_fastopen */

/* A byte in the SYN, and one that answers it. */
static void open_fast(struct testbed *tb, int listener, int service, const char *from)
{
	const struct service *s = &services[service];
	struct address to = address_of(s->connect, SERVICE_PORTS + service);
	struct place far = far_place(tb);
	int client = tcp_socket(&far, s->connect), server;
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	bind_to(client, from, 0);
	if (sendto(client, "", 1, MSG_FASTOPEN, (void *)&to.storage, to.length) != 1)
		fail_msg("MSG_FASTOPEN: %s", strerror(errno));
	server = accept_from(listener);
	receive_bytes(server, 1);
	send_bytes(server, 1);
	receive_bytes(client, 1);
	if (getsockopt(client, SOL_TCP, TCP_INFO, &info, &size) ||
	    !(info.tcpi_options & TCPI_OPT_SYN_DATA))
		fail_msg("the connection was not opened fast");
	close(server);
	receive_end(client);
	close(client);
}

/* Its socket is there before its SYN-ACK; only that has the mark of SYN-ACKs, repeated too. */
static void fast_open_syn_ack_has_its_own_mark(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web");
	int listeners[SERVICES], deaf[SERVICES], servers[SERVICES];

	netns_sysctl(tb->near, "ipv4/tcp_fastopen", FASTOPEN_BOTH_WITHOUT_COOKIES);
	netns_sysctl(tb->far, "ipv4/tcp_fastopen", FASTOPEN_BOTH_WITHOUT_COOKIES);
	apply(tb, "classes: { web: { dscp: AF21 }, gold: { dscp: AF41, syn_ack: CS5 } }\n"
		  "rules:\n"
		  "  - { match: { cgroup: @/web, remote: " CLIENTS_B " }, class: gold }\n"
		  "  - { match: { cgroup: @/web }, class: web }\n");
	for_each_service(i)
	{
		const struct service *s = &services[i];
		struct address to = address_of(s->connect, SERVICE_PORTS + i);

		listeners[i] = service_listen(&near, i);
		open_fast(tb, listeners[i], i, s->from);
		open_fast(tb, listeners[i], i, s->from_b);
		judge(c, FROM_SERVICE(i, .to = s->from), AF21, 3);
		judge(c, FROM_SERVICE(i, .to = s->from_b, SYN_ACK), CS5, 1);
		judge(c, FROM_SERVICE(i, .to = s->from_b, NO_SYN), AF41, 2);
		deaf[i] = deaf_client(tb, i);
		sendto(deaf[i], "", 1, MSG_FASTOPEN, (void *)&to.storage, to.length);
		servers[i] = accept_from(listeners[i]);
	}
	for_each_service(i)
	{
		await_packets(c, FROM_SERVICE(i, .to = services[i].from_b, SYN_ACK), 3);
		judge(c, FROM_SERVICE(i, .to = services[i].from_b, SYN_ACK), CS5, 3);
		close(deaf[i]);
		close(servers[i]);
		close(listeners[i]);
	}
}

/* Data in a SYN is the class's like all that follows, whoever calls for it. */
static void fast_open_client_is_marked(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct place near = near_place(tb, "/web"), far = far_place(tb);
	int listener = tcp_listener(&far, FAR4, SERVICE_PORTS), client, server;
	struct address to = address_of(FAR4, SERVICE_PORTS);

	netns_sysctl(tb->near, "ipv4/tcp_fastopen", FASTOPEN_BOTH_WITHOUT_COOKIES);
	apply(tb, "classes: { web: { dscp: AF21 } }\n"
		  "rules: [{ match: { cgroup: @/web, remote_port: 7000 }, class: web }]\n");
	client = tcp_socket(&near, FAR4);
	set_option(client, SOL_TCP, TCP_FASTOPEN_CONNECT, 1);
	connect_to(client, FAR4, SERVICE_PORTS);
	send_bytes(client, 1);
	server = accept_from(listener);
	close(client);
	client = tcp_socket(&near, FAR4);
	if (sendto(client, "", 1, MSG_FASTOPEN, (void *)&to.storage, to.length) != 1)
		fail_msg("MSG_FASTOPEN: %s", strerror(errno));
	close(server);
	server = accept_from(listener);
	close(client);
	receive_bytes(server, 1);
	judge(c, FLOW(.to_port = SERVICE_PORTS, .with = TCP_SYN, .data = true), AF21, 2);
	judge(c, FLOW(.to_port = SERVICE_PORTS), AF21, 4);
	close(server);
	close(listener);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(syn_ack_has_the_mark_of_its_class),
		NET_TEST(syn_ack_may_have_a_mark_of_its_own),
		NET_TEST(syn_ack_is_of_its_clients_class),
		NET_TEST(exempt_client_gets_no_mark),
		NET_TEST(syn_ack_is_of_its_syns_class),
		NET_TEST(syn_acks_wait_for_their_neighbour),
		NET_TEST(listener_older_than_the_policy_is_adopted),
		NET_TEST(listeners_of_a_group_keep_their_classes),
		NET_TEST(syn_ack_is_from_the_port_that_its_listener_has),
		NET_TEST(repeated_syn_acks_are_marked),
		NET_TEST(fast_open_syn_ack_has_its_own_mark),
		NET_TEST(fast_open_client_is_marked),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
