/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Real programs, unmodified: every packet that they send is marked.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"

#define AF21 18
#define AF31 26
#define EF   46

#define FILE_SIZE (3 << 20)

static void make_file(const char *path, size_t length)
{
	write_file(path, "");
	if (truncate(path, length))
		fail_msg("%s: %s", path, strerror(errno));
}

/* A dual-stack server on port 8080 that writes nowhere but to SCRATCH. */
static void start_nginx(struct testbed *tb, const struct place *place)
{
	static const char config[] =
		"daemon off;\n"
		"user root;\n"
		"pid " SCRATCH "/nginx.pid;\n"
		"error_log stderr;\n"
		"events { worker_connections 64; }\n"
		"http {\n"
		"  access_log off;\n"
		"  client_body_temp_path " SCRATCH "/t1;\n"
		"  proxy_temp_path " SCRATCH "/t2;\n"
		"  fastcgi_temp_path " SCRATCH "/t3;\n"
		"  uwsgi_temp_path " SCRATCH "/t4;\n"
		"  scgi_temp_path " SCRATCH "/t5;\n"
		"  server { listen [::]:8080 ipv6only=off; root " SCRATCH "/www; }\n"
		"}\n";

	mkdir(SCRATCH "/www", 0755);
	make_file(SCRATCH "/www/file", FILE_SIZE);
	write_file(SCRATCH "/nginx.conf", config);
	process_start(tb, place, "%s -e stderr -c " SCRATCH "/nginx.conf", server_program("nginx"));
	AWAIT(netns_listens(place->netns, IPPROTO_TCP, 8080));
}

static void fetch(struct testbed *tb, const struct place *place, const char *host)
{
	bool ipv6 = strchr(host, ':');

	run(tb, place, "curl -sS -f -g --max-time %d -o /dev/null http://%s%s%s:8080/file",
	    (int)patience(20), ipv6 ? "[" : "", host, ipv6 ? "]" : "");
}

static void nginx_serves_both_families_in_its_class(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/web"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	char text[1024];

	snprintf(
		text, sizeof(text),
		"classes: { web: { dscp: AF21, syn_ack: AF31 } }\n"
		"rules: [{ match: { exe: %s, protocol: tcp, local_port: [80, 8080], direction: inbound }, class: web }]\n",
		server_program("nginx"));
	apply(tb, text);
	start_nginx(tb, &near);
	fetch(tb, &far, NEAR4);
	fetch(tb, &far, NEAR6);
	judge(c, FLOW(.family = 4, .from_port = 8080, .with = TCP_SYN), AF31, 1);
	judge(c, FLOW(.family = 6, .from_port = 8080, .with = TCP_SYN), AF31, 1);
	judge(c, FLOW(.family = 4, .from_port = 8080, .without = TCP_SYN), AF21, 20);
	judge(c, FLOW(.family = 6, .from_port = 8080, .without = TCP_SYN), AF21, 20);
}

static void nginx_that_runs_already_is_adopted(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/web"), far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	start_nginx(tb, &near);
	apply(tb, "classes: { web: { dscp: AF21, cgroup: @/web } }\n");
	fetch(tb, &far, NEAR4);
	fetch(tb, &far, NEAR6);
	judge(c, FLOW(.family = 4, .from_port = 8080), AF21, 20);
	judge(c, FLOW(.family = 6, .from_port = 8080), AF21, 20);
}

static void curl_is_marked_as_a_client(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, "/app"), other = near_place(tb, "/other");
	struct place far = far_place(tb);
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	start_nginx(tb, &far);
	apply(tb,
	      "classes: { fetch: { dscp: AF31 } }\n"
	      "rules: [{ match: { cgroup: @/app, exe: curl, remote_port: 8080 }, class: fetch }]\n");
	fetch(tb, &near, FAR4);
	fetch(tb, &near, FAR6);
	judge(c, FLOW(.family = 4, .to_port = 8080), AF31, 10);
	judge(c, FLOW(.family = 6, .to_port = 8080), AF31, 10);
	/* Elsewhere: the last ACKs of those above may still be on their way. */
	fetch(tb, &other, FAR4_B);
	judge(c, FLOW(.to = FAR4_B, .to_port = 8080), 0, 10);
}

/* Bound, or over UDP it would answer from whichever of far's addresses the route prefers. */
static void measure(struct testbed *tb, const char *address, const char *options)
{
	struct place near = near_place(tb, "/app"), far = far_place(tb);
	struct process *server;

	server = process_start(tb, &far, "iperf3 -s -1 -p 5201 -B %s", address);
	AWAIT(netns_listens(tb->far, IPPROTO_TCP, 5201));
	run(tb, &near, "iperf3 -c %s -p 5201 -n 4M %s", address, options);
	assert_int_equal(process_wait(server), 0);
}

static void iperf3_is_marked_over_tcp_and_udp(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);

	apply(tb, "classes: { voice: { dscp: EF, cgroup: @/app } }\n");
	measure(tb, FAR4, "");
	measure(tb, FAR6, "");
	measure(tb, FAR4, "-R");
	measure(tb, FAR4, "-u -b 100M");
	measure(tb, FAR6, "-u -b 100M");
	judge(c, FLOW(.family = 4, .protocol = IPPROTO_TCP), EF, 50);
	judge(c, FLOW(.family = 6, .protocol = IPPROTO_TCP), EF, 50);
	judge(c, FLOW(.family = 4, .protocol = IPPROTO_UDP), EF, 1000);
	judge(c, FLOW(.family = 6, .protocol = IPPROTO_UDP), EF, 1000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(nginx_serves_both_families_in_its_class),
		NET_TEST(nginx_that_runs_already_is_adopted),
		NET_TEST(curl_is_marked_as_a_client),
		NET_TEST(iperf3_is_marked_over_tcp_and_udp),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
