/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Network namespaces without names: a file descriptor is all that holds one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "process.h"
#include "testbed.h"

static int own_netns(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail_msg("/proc/self/ns/net: %s", strerror(errno));
	return fd;
}

static void enter(int netns)
{
	if (setns(netns, CLONE_NEWNET))
		fail_msg("setns: %s", strerror(errno));
}

void netns_do(int netns, void (*f)(void *), void *arg)
{
	int home = own_netns();

	enter(netns);
	f(arg);
	enter(home);
	close(home);
}

struct sysctl {
	const char *name, *value;
};

static void write_sysctl(void *arg)
{
	const struct sysctl *s = arg;
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", s->name);
	file = fopen(path, "we");
	if (!file || fputs(s->value, file) < 0 || fclose(file))
		fail_msg("%s: %s", path, strerror(errno));
}

void netns_sysctl(int netns, const char *name, const char *value)
{
	netns_do(netns, write_sysctl, &(struct sysctl){name, value});
}

int netns_new(void)
{
	int home = own_netns(), fresh;

	if (unshare(CLONE_NEWNET))
		fail_msg("unshare(CLONE_NEWNET): %s", strerror(errno));
	fresh = own_netns();
	enter(home);
	close(home);
	/* An IPv6 address is of use as soon as it is given. */
	netns_sysctl(fresh, "ipv6/conf/all/accept_dad", "0");
	netns_sysctl(fresh, "ipv6/conf/default/accept_dad", "0");
	netns_sysctl(fresh, "ipv6/conf/default/addr_gen_mode", "1");
	/* Flow labels are random by default; none can be told from one that was touched. */
	netns_sysctl(fresh, "ipv6/auto_flowlabels", "0");
	return fresh;
}

struct interface_up {
	const char *name;
	bool up;
};

static void read_up(void *arg)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct interface_up *state = arg;
	struct ifreq request = {0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", state->name);
	state->up = !ioctl(fd, SIOCGIFFLAGS, &request) && (request.ifr_flags & IFF_RUNNING);
	close(fd);
}

static bool interface_is_up(int netns, const char *name)
{
	struct interface_up state = {.name = name};

	netns_do(netns, read_up, &state);
	return state.up;
}

static void address_end(int netns, const char *name, const char *ipv4, const char *ipv6)
{
	struct place place = {.netns = netns};

	run(NULL, &place, "ip link set lo up");
	run(NULL, &place, "ip address add %s/24 dev %s", ipv4, name);
	run(NULL, &place, "ip address add %s/64 dev %s nodad", ipv6, name);
	run(NULL, &place, "ip link set %s up", name);
}

void netns_join(int netns_a, const char *name_a, int netns_b, const char *name_b)
{
	struct place place = {.netns = netns_a};

	/*
	 * The ends have unequal numbers, as they would in one namespace:
	 * linkwatch_urgent_event() lets an interface whose peer's number is its
	 * own wait a second for its carrier.
	 */
	run(NULL, &place,
	    "ip link add %s index 10 type veth peer name %s index 20 netns /proc/%d/fd/%d", name_a,
	    name_b, getpid(), netns_b);
	address_end(netns_a, name_a, NEAR4, NEAR6);
	address_end(netns_b, name_b, FAR4, FAR6);
	AWAIT(interface_is_up(netns_a, name_a));
	AWAIT(interface_is_up(netns_b, name_b));
}

static void segmentation_off(void *arg)
{
	static const __u32 commands[] = {ETHTOOL_STSO, ETHTOOL_SGSO};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_value value;
	struct ifreq request = {0};
	size_t i;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", (const char *)arg);
	request.ifr_data = (void *)&value;
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		value = (struct ethtool_value){.cmd = commands[i], .data = 0};
		if (ioctl(fd, SIOCETHTOOL, &request))
			fail_msg("ethtool %s: %s", (const char *)arg, strerror(errno));
	}
	close(fd);
}

void netns_no_segmentation(int netns, const char *interface)
{
	netns_do(netns, segmentation_off, (void *)interface);
}

struct listening {
	int protocol, port;
	bool found;
};

/* /proc/net/{tcp,udp}*: local port and state; 0A is TCP_LISTEN, 07 a UDP socket's only one. */
static void find_listener(void *arg)
{
	struct listening *l = arg;
	bool tcp = l->protocol == IPPROTO_TCP;
	const char *files[] = {tcp ? "/proc/thread-self/net/tcp" : "/proc/thread-self/net/udp",
			       tcp ? "/proc/thread-self/net/tcp6" : "/proc/thread-self/net/udp6"};
	unsigned int port, state;
	char line[512];
	FILE *file;
	size_t i;

	for (i = 0; i < 2; i++) {
		file = fopen(files[i], "re");
		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, "%*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x", &port, &state) ==
			    2)
				l->found |= (int)port == l->port && state == (tcp ? 0x0a : 0x07);
		if (file)
			fclose(file);
	}
}

bool netns_listens(int netns, int protocol, int port)
{
	struct listening l = {.protocol = protocol, .port = port};

	netns_do(netns, find_listener, &l);
	return l.found;
}

struct counter {
	const char *name;
	uint64_t value;
	bool found;
};

/* Of /proc/net/netstat: pairs of lines, one with the names and one with the values. */
static void read_counter(void *arg)
{
	FILE *file = fopen("/proc/thread-self/net/netstat", "re");
	char names[8192], values[8192], *name, *value, *n, *v;
	struct counter *c = arg;

	while (file && fgets(names, sizeof(names), file) && fgets(values, sizeof(values), file)) {
		name = strtok_r(names, " \n", &n);
		value = strtok_r(values, " \n", &v);
		for (; name && value;
		     name = strtok_r(NULL, " \n", &n), value = strtok_r(NULL, " \n", &v)) {
			if (strcmp(name, c->name))
				continue;
			c->value = strtoull(value, NULL, 10);
			c->found = true;
		}
	}
	if (file)
		fclose(file);
}

uint64_t netns_counter(int netns, const char *name)
{
	struct counter c = {.name = name};

	netns_do(netns, read_counter, &c);
	if (!c.found)
		fail_msg("this kernel does not count %s", name);
	return c.value;
}
