/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Services whose sockets a manager opened (socket activation).
 */
#include <netinet/ip.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture.h"
#include "hostqos.h"
#include "process.h"
#include "puppet.h"
#include "sockets.h"
#include "traffic.h"

#define AF21 18
#define EF   46

#define LISTEN_PORT 7002

/* A service: answers each connection on descriptor 3 with one byte. */
#define SERVE  "serve"
#define DAEMON "daemon" /* in the background, as daemon(3) */

static int serve(bool in_background)
{
	int fd;

	if (in_background && fork())
		return 0;
	while ((fd = accept(3, NULL, NULL)) >= 0) {
		send(fd, "x", 1, MSG_NOSIGNAL);
		close(fd);
	}
	return 1;
}

#define SERVICE SCRATCH "/service"

/*
 * What systemd does: opens sockets of services, starts one of them on its own
 * socket, in its own cgroup, and holds all of them all along.
 */
static const char *service_verb;

static void be_manager(int orders)
{
	int mine, its;
	char order;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (mine = 0; mine < 2; mine++) {
		its = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bind_to(its, NEAR4, LISTEN_PORT + mine);
		listen(its, 8);
	}
	if (read(orders, &order, 1) == 1 && fork() == 0) {
		/* Told when it has been moved. */
		if (read(orders, &order, 1) != 1)
			_exit(1);
		dup2(its, 3);
		execl(SERVICE, SERVICE, service_verb, NULL);
		_exit(1);
	}
	for (;;)
		if (wait(NULL) < 0)
			pause();
}

static struct puppet start_manager(struct testbed *tb, const char *verb)
{
	struct place place = near_place(tb, "/init.scope");
	struct puppet p;

	service_verb = verb;
	run(tb, &place, "cp /proc/%d/exe " SERVICE, getpid());
	p = puppet_start(&place, be_manager);
	AWAIT(netns_listens(tb->near, IPPROTO_TCP, LISTEN_PORT + 1));
	return p;
}

/* About to be started: it holds all that its parent holds. */
static pid_t prepare_service(struct testbed *tb, const struct puppet *manager)
{
	pid_t service;

	puppet_order(manager, 'f');
	AWAIT((service = child_of(manager->pid)));
	move_to(tb, service, "/web");
	return service;
}

static void end_services(struct puppet *manager, pid_t service)
{
	kill(service, SIGKILL);
	kill(manager->pid, SIGKILL);
	puppet_end(manager);
}

static void expect_service(struct testbed *tb, struct capture *c, int dscp)
{
	struct place far = far_place(tb);
	int client = tcp_client(&far, NEAR4, LISTEN_PORT + 1), port = local_port(client);

	receive_bytes(client, 1);
	receive_end(client);
	close(client);
	judge(c, FLOW(.from_port = LISTEN_PORT + 1, .to_port = port), dscp, 2);
}

/* The other service's socket is nobody's but the manager's. */
static void expect_other_service(struct testbed *tb, struct capture *c, int dscp)
{
	struct place far = far_place(tb);
	int client = tcp_client(&far, NEAR4, LISTEN_PORT);

	judge(c, FLOW(.from_port = LISTEN_PORT, .to_port = local_port(client)), dscp, 1);
	close(client);
}

#define SERVICES                                                                                   \
	"classes: { manager: { dscp: EF }, web: { dscp: AF21 } }\n"                                \
	"rules:\n"                                                                                 \
	"  - { match: { cgroup: @/web, exe: " SERVICE " }, class: web }\n"                         \
	"  - { match: { cgroup: @/init.scope }, class: manager }\n"

static void socket_of_a_service_goes_to_the_service(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct puppet manager = start_manager(tb, SERVE);
	pid_t service;

	apply(tb, SERVICES);
	service = prepare_service(tb, &manager);
	expect_adoption(tb, 0, 0);
	puppet_order(&manager, 'x');
	expect_service(tb, c, EF);
	expect_adoption(tb, 1, 0);
	expect_service(tb, c, AF21);
	expect_other_service(tb, c, EF);
	end_services(&manager, service);
}

/* It did not begin with execve(2), and its parent is the manager now: it is no service to come. */
static void service_in_the_background_holds_its_sockets(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct puppet manager = start_manager(tb, DAEMON);
	pid_t service, daemon;

	apply(tb, SERVICES);
	service = prepare_service(tb, &manager);
	puppet_order(&manager, 'x');
	AWAIT((daemon = child_of(manager.pid)) && daemon != service);
	expect_service(tb, c, EF);
	expect_adoption(tb, 1, 0);
	expect_service(tb, c, AF21);
	expect_other_service(tb, c, EF);
	end_services(&manager, daemon);
}

static void watch_sees_a_service_begin(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct puppet manager = start_manager(tb, SERVE);
	struct process *watch;
	pid_t service;

	apply(tb, SERVICES);
	watch = hostqos_start(tb, "-j watch");
	AWAIT(process_said(watch, "interfaces", 1));
	service = prepare_service(tb, &manager);
	puppet_order(&manager, 'x');
	AWAIT(process_said(watch, "\"class\":\"web\"", 1));
	expect_service(tb, c, AF21);
	expect_other_service(tb, c, EF);
	end_services(&manager, service);
}

/* Its first process has ended when watch comes to look. */
static void watch_finds_a_service_in_the_background(void **state)
{
	struct testbed *tb = *state;
	struct capture *c = capture_start(tb, tb->far, FAR_IF);
	struct puppet manager = start_manager(tb, DAEMON);
	struct process *watch;
	pid_t service, daemon;

	apply(tb, SERVICES);
	watch = hostqos_start(tb, "-j watch");
	AWAIT(process_said(watch, "interfaces", 1));
	service = prepare_service(tb, &manager);
	process_kill(watch, SIGSTOP);
	puppet_order(&manager, 'x');
	AWAIT((daemon = child_of(manager.pid)) && daemon != service);
	process_kill(watch, SIGCONT);
	AWAIT(process_said(watch, "\"class\":\"web\"", 1));
	expect_service(tb, c, AF21);
	expect_other_service(tb, c, EF);
	end_services(&manager, daemon);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(socket_of_a_service_goes_to_the_service),
		NET_TEST(service_in_the_background_holds_its_sockets),
		NET_TEST(watch_sees_a_service_begin),
		NET_TEST(watch_finds_a_service_in_the_background),
	};

	if (argc == 2 && (!strcmp(argv[1], SERVE) || !strcmp(argv[1], DAEMON)))
		return serve(!strcmp(argv[1], DAEMON));
	return RUN_NET_TESTS(argc, argv, tests);
}
