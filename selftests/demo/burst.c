// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * The demo's cross traffic: UDP for two seconds, silence for two seconds, as
 * the load generator of the Sprint paper. Bounded in rate, count and time.
 *
 * Each phase is announced on stdout as "SECONDS.NANOSECONDS quiet|burst|end",
 * in the clock of packet captures (CLOCK_REALTIME).
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PHASE_NS     2000000000ULL
#define PAYLOAD	     1200
#define MAX_BURSTS   100
#define MAX_RATE_BIT 1000000000UL

static unsigned long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static void sleep_until(unsigned long long ns)
{
	struct timespec until = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
		;
}

static void announce(const char *phase)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	printf("%lld.%09ld %s\n", (long long)now.tv_sec, now.tv_nsec, phase);
	fflush(stdout);
}

static int udp_socket(const char *address, const char *port)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_DGRAM};
	struct addrinfo *to;
	int error, fd;

	error = getaddrinfo(address, port, &hints, &to);
	if (error) {
		fprintf(stderr, "burst: %s port %s: %s\n", address, port, gai_strerror(error));
		return -1;
	}
	fd = socket(to->ai_family, to->ai_socktype, 0);
	if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen)) {
		perror("burst: cannot reach the sink");
		fd = -1;
	}
	freeaddrinfo(to);
	return fd;
}

/*
 * The gaps between packets are random: a regular stream beside regular media
 * would find the queue full always or never (Floyd and Jacobson, "On Traffic
 * Phase Effects in Packet-Switched Gateways"). A packet that the socket
 * refuses is a packet less: this is only load.
 */
static void burst(int fd, unsigned long long start, unsigned long rate)
{
	static const char payload[PAYLOAD];
	unsigned long long gap = sizeof(payload) * 8 * 1000000000ULL / rate;
	unsigned long long next = start, end = start + PHASE_NS;

	for (; next < end && now_ns() < end; next += random() % (2 * gap)) {
		sleep_until(next);
		send(fd, payload, sizeof(payload), MSG_DONTWAIT);
	}
}

int main(int argc, char **argv)
{
	unsigned long rate, bursts, i;
	unsigned long long start;
	int fd;

	rate = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
	bursts = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
	if (!rate || rate > MAX_RATE_BIT || !bursts || bursts > MAX_BURSTS) {
		fprintf(stderr, "usage: burst ADDRESS PORT BITS_PER_SECOND BURSTS\n");
		return 2;
	}
	fd = udp_socket(argv[1], argv[2]);
	if (fd < 0)
		return 1;

	start = now_ns();
	announce("quiet");
	for (i = 0; i < bursts; i++) {
		start += PHASE_NS;
		sleep_until(start);
		announce("burst");
		burst(fd, start, rate);
		start += PHASE_NS;
		announce("quiet");
	}
	sleep_until(start + PHASE_NS);
	announce("end");
	return 0;
}
