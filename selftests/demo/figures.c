// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Judges the demo from its packet captures: what the media stream and the
 * control connections met, without and with hostqos, side by side.
 *
 * usage: figures WITHOUT_DIR WITH_DIR
 *
 * Each folder holds one run: near.pcap, captured where packets leave the
 * sender, far.pcap, captured where they reach the receiver (same clock), and
 * phases, as written by burst. Exit status 1 if hostqos made no difference.
 */
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEDIA_PORT   5201
#define CONTROL_PORT 80
#define MAX_PACKETS  20000
#define MAX_PHASES   256
#define MS	     1000000LL
#define NEVER	     INT64_MAX

/*
 * A burst counts as such until the queue that it filled has drained: the
 * router's queue holds some 100 ms of the link.
 */
#define DRAIN (250 * MS)

/*
 * What tells one media packet from another, as an RTP header would: iperf3
 * begins each with a time stamp (8 bytes) and a sequence number (4 bytes).
 */
#define KEY_LEN	     12
#define SEQUENCE_OFF 8

enum phase { QUIET, BURST, PHASES, OUTSIDE = PHASES };

struct seen { /* one packet in a capture; ports in host byte order */
	int64_t time;
	uint8_t protocol, dscp;
	uint16_t source, destination;
	bool syn, ack;
	const uint8_t *payload;
	long captured;	  /* bytes of payload in the capture */
	long payload_len; /* on the wire */
};

struct datagram {
	uint8_t key[KEY_LEN];
	int64_t sent, received;
};

struct connection { /* by client port; times are 0 until it happened */
	int64_t syn, established, answered;
};

struct run {
	int64_t phase_start[MAX_PHASES];
	enum phase phase[MAX_PHASES];
	size_t phase_count;
	struct datagram media[MAX_PACKETS];
	size_t media_count, matched;
	uint32_t next_sequence;
	struct connection control[65536];
	uint32_t media_dscp[64], control_dscp[64]; /* packets that arrived with it */
};

struct series { /* of times in ns */
	int64_t values[MAX_PACKETS];
	size_t count;
};

struct figures {
	size_t packets, lost;
	double jitter;
	int64_t delay_p99;
	size_t connections;
	int64_t setup_median, setup_worst, answer_median, answer_worst;
};

static struct run runs[2]; /* without, with */

/* ---- reading the captures ---- */

static bool parse_l4(struct seen *seen, const uint8_t *l4, const uint8_t *end, long wire_len)
{
	struct udphdr udp;
	struct tcphdr tcp;
	long header;

	if (seen->protocol == IPPROTO_UDP && end - l4 >= (long)sizeof(udp)) {
		memcpy(&udp, l4, sizeof(udp));
		seen->source = ntohs(udp.source);
		seen->destination = ntohs(udp.dest);
		header = sizeof(udp);
	} else if (seen->protocol == IPPROTO_TCP && end - l4 >= (long)sizeof(tcp)) {
		memcpy(&tcp, l4, sizeof(tcp));
		seen->source = ntohs(tcp.source);
		seen->destination = ntohs(tcp.dest);
		seen->syn = tcp.syn;
		seen->ack = tcp.ack;
		header = tcp.doff * 4;
	} else {
		return false;
	}
	if (header > wire_len || header > end - l4)
		return false;
	seen->payload = l4 + header;
	seen->captured = end - seen->payload;
	seen->payload_len = wire_len - header;
	return true;
}

/* Ethernet, IPv4 or IPv6 without extension headers: all that the demo sends. */
static bool parse_packet(const struct pcap_pkthdr *pcap, const uint8_t *data, struct seen *seen)
{
	const uint8_t *ip = data + sizeof(struct ether_header), *end = data + pcap->caplen;
	struct ip6_hdr v6;
	struct iphdr v4;

	memset(seen, 0, sizeof(*seen));
	/* tv_usec holds nanoseconds: the file was opened so. */
	seen->time = pcap->ts.tv_sec * 1000 * MS + pcap->ts.tv_usec;
	if (end - ip >= (long)sizeof(v4) && ip[0] >> 4 == 4) {
		memcpy(&v4, ip, sizeof(v4));
		seen->protocol = v4.protocol;
		seen->dscp = v4.tos >> 2;
		return parse_l4(seen, ip + v4.ihl * 4, end, ntohs(v4.tot_len) - v4.ihl * 4);
	}
	if (end - ip >= (long)sizeof(v6) && ip[0] >> 4 == 6) {
		memcpy(&v6, ip, sizeof(v6));
		seen->protocol = v6.ip6_nxt;
		seen->dscp = ntohl(v6.ip6_flow) >> 22 & 63;
		return parse_l4(seen, ip + sizeof(v6), end, ntohs(v6.ip6_plen));
	}
	return false;
}

static int read_capture(const char *folder, const char *name, struct run *run,
			void (*each)(struct run *run, const struct seen *seen))
{
	char path[4096], error[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *header;
	const uint8_t *data;
	struct seen seen;
	pcap_t *pcap;
	int got;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, error);
	if (!pcap) {
		fprintf(stderr, "figures: %s: %s\n", path, error);
		return -1;
	}
	while ((got = pcap_next_ex(pcap, &header, &data)) == 1)
		if (parse_packet(header, data, &seen))
			each(run, &seen);
	if (got == PCAP_ERROR)
		fprintf(stderr, "figures: %s: %s\n", path, pcap_geterr(pcap));
	pcap_close(pcap);
	return got == PCAP_ERROR ? -1 : 0;
}

static bool is_media(const struct seen *seen)
{
	return seen->protocol == IPPROTO_UDP && seen->destination == MEDIA_PORT &&
	       seen->payload_len >= KEY_LEN && seen->captured >= KEY_LEN;
}

static void note_control(struct connection *connection, const struct seen *seen)
{
	bool from_server = seen->source == CONTROL_PORT;

	if (seen->syn && !from_server && !connection->syn)
		connection->syn = seen->time;
	if (seen->syn && from_server && !connection->established)
		connection->established = seen->time;
	if (seen->payload_len && from_server && !connection->answered)
		connection->answered = seen->time;
}

static void add_datagram(struct run *run, const struct seen *seen, const uint8_t *key)
{
	struct datagram *datagram;

	if (run->media_count == MAX_PACKETS)
		return;
	datagram = &run->media[run->media_count++];
	memcpy(datagram->key, key, KEY_LEN);
	datagram->sent = seen->time;
	datagram->received = NEVER;
}

/* A packet that the sender's own host dropped is missed in the sequence, and lost too. */
static void note_media(struct run *run, const struct seen *seen)
{
	static const uint8_t dropped[KEY_LEN];
	uint32_t sequence;

	memcpy(&sequence, seen->payload + SEQUENCE_OFF, sizeof(sequence));
	sequence = ntohl(sequence);
	while (run->media_count && run->media_count < MAX_PACKETS &&
	       run->next_sequence < sequence) {
		add_datagram(run, seen, dropped);
		run->next_sequence++;
	}
	add_datagram(run, seen, seen->payload);
	run->next_sequence = sequence + 1;
}

static void near_packet(struct run *run, const struct seen *seen)
{
	if (is_media(seen))
		note_media(run, seen);
	if (seen->protocol == IPPROTO_TCP && seen->destination == CONTROL_PORT)
		note_control(&run->control[seen->source], seen);
	if (seen->protocol == IPPROTO_TCP && seen->source == CONTROL_PORT)
		note_control(&run->control[seen->destination], seen);
}

/* The path keeps the order of a stream, so the search goes on where it was. */
static void far_packet(struct run *run, const struct seen *seen)
{
	size_t i;

	if (seen->protocol == IPPROTO_TCP && seen->destination == CONTROL_PORT)
		run->control_dscp[seen->dscp]++;
	if (!is_media(seen))
		return;
	run->media_dscp[seen->dscp]++;
	for (i = run->matched; i < run->media_count; i++) {
		if (memcmp(run->media[i].key, seen->payload, KEY_LEN))
			continue;
		run->media[i].received = seen->time;
		run->matched = i + 1;
		return;
	}
}

static int read_phases(const char *folder, struct run *run)
{
	char path[4096], word[8] = "";
	long long seconds, ns;
	FILE *file;

	snprintf(path, sizeof(path), "%s/phases", folder);
	file = fopen(path, "r");
	if (!file) {
		perror(path);
		return -1;
	}
	while (run->phase_count < MAX_PHASES &&
	       fscanf(file, "%lld.%lld %7s", &seconds, &ns, word) == 3) {
		run->phase_start[run->phase_count] = seconds * 1000 * MS + ns;
		if (!strcmp(word, "burst"))
			run->phase[run->phase_count] = BURST;
		else if (!strcmp(word, "quiet"))
			run->phase[run->phase_count] = QUIET;
		else
			run->phase[run->phase_count] = OUTSIDE;
		if (run->phase_count && run->phase[run->phase_count - 1] == BURST)
			run->phase_start[run->phase_count] += DRAIN;
		run->phase_count++;
	}
	fclose(file);
	if (strcmp(word, "end")) {
		fprintf(stderr, "figures: %s: the cross traffic did not come to its end\n", path);
		return -1;
	}
	return 0;
}

static int read_run(const char *folder, struct run *run)
{
	if (read_phases(folder, run) || read_capture(folder, "near.pcap", run, near_packet))
		return -1;
	return read_capture(folder, "far.pcap", run, far_packet);
}

/* ---- the figures ---- */

static enum phase phase_at(const struct run *run, int64_t time)
{
	size_t i = run->phase_count;

	while (i > 0)
		if (time >= run->phase_start[--i])
			return run->phase[i];
	return OUTSIDE;
}

static int compare_times(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* The smallest value that `percent` of all values do not exceed. */
static int64_t percentile(struct series *series, unsigned int percent)
{
	if (!series->count)
		return NEVER;
	qsort(series->values, series->count, sizeof(series->values[0]), compare_times);
	return series->values[(series->count * percent + 99) / 100 - 1];
}

static void judge_media(const struct run *run, enum phase phase, struct figures *out)
{
	static struct series delays;
	int64_t delay, last = NEVER;
	double jitter = 0, sum = 0;
	size_t i, steps = 0;

	delays.count = 0;
	for (i = 0; i < run->media_count; i++) {
		if (phase_at(run, run->media[i].sent) != phase) {
			last = NEVER;
			continue;
		}
		out->packets++;
		if (run->media[i].received == NEVER) {
			out->lost++;
			continue;
		}
		delay = run->media[i].received - run->media[i].sent;
		delays.values[delays.count++] = delay;
		if (last != NEVER) { /* RFC 3550, section 6.4.1 */
			jitter += (llabs(delay - last) - jitter) / 16;
			sum += jitter;
			steps++;
		} else {
			jitter = 0;
		}
		last = delay;
	}
	out->jitter = steps ? sum / steps : 0;
	out->delay_p99 = percentile(&delays, 99);
}

static int64_t since(int64_t start, int64_t end)
{
	return end ? end - start : NEVER;
}

static void judge_control(const struct run *run, enum phase phase, struct figures *out)
{
	static struct series setups, answers;
	const struct connection *connection;

	setups.count = answers.count = 0;
	for (connection = run->control; connection < run->control + 65536; connection++) {
		if (!connection->syn || phase_at(run, connection->syn) != phase)
			continue;
		setups.values[setups.count++] = since(connection->syn, connection->established);
		answers.values[answers.count++] = since(connection->syn, connection->answered);
		if (setups.count == MAX_PACKETS)
			break;
	}
	out->connections = setups.count;
	out->setup_median = percentile(&setups, 50);
	out->setup_worst = percentile(&setups, 100);
	out->answer_median = percentile(&answers, 50);
	out->answer_worst = percentile(&answers, 100);
}

/* ---- the table ---- */

/* The mark of all packets, or -1 if they differ or there are none. */
static int only_dscp(const uint32_t *packets)
{
	int dscp, found = -1;

	for (dscp = 0; dscp < 64; dscp++) {
		if (!packets[dscp])
			continue;
		if (found >= 0)
			return -1;
		found = dscp;
	}
	return found;
}

static void print_dscp(const char *flow, const uint32_t *without, const uint32_t *with)
{
	const uint32_t *packets[2] = {without, with};
	char text[32];
	int i, dscp;

	printf("%-8s %-26s", flow, "DSCP on arrival");
	for (i = 0; i < 2; i++) {
		dscp = only_dscp(packets[i]);
		snprintf(text, sizeof(text), dscp < 0 ? "mixed" : "%d", dscp);
		printf(" %11s %11s", text, text);
	}
	printf("\n");
}

enum unit { COUNT, PERCENT, TIME };

static void print_value(double value, enum unit unit)
{
	char text[32];

	if (unit == COUNT)
		snprintf(text, sizeof(text), "%.0f", value);
	else if (unit == PERCENT)
		snprintf(text, sizeof(text), "%.1f %%", value);
	else if (value >= (double)NEVER)
		snprintf(text, sizeof(text), "never");
	else if (value < MS)
		snprintf(text, sizeof(text), "%.0f us", value / 1000);
	else
		snprintf(text, sizeof(text), "%.1f ms", value / MS);
	printf(" %11s", text);
}

static void print_row(const char *flow, const char *what, enum unit unit, double a, double b,
		      double c, double d)
{
	printf("%-8s %-26s", flow, what);
	print_value(a, unit);
	print_value(b, unit);
	print_value(c, unit);
	print_value(d, unit);
	printf("\n");
}

static double loss(const struct figures *figures)
{
	return figures->packets ? 100.0 * figures->lost / figures->packets : 100;
}

#define ROW(flow, what, unit, field)                                                               \
	print_row(flow, what, unit, f[0][QUIET].field, f[0][BURST].field, f[1][QUIET].field,       \
		  f[1][BURST].field)

static void print_table(const struct figures f[2][PHASES])
{
	printf("%-35s %23s %23s\n", "", "without hostqos", "with hostqos");
	printf("%-35s %11s %11s %11s %11s\n", "cross traffic", "off", "on", "off", "on");
	print_dscp("media", runs[0].media_dscp, runs[1].media_dscp);
	ROW("", "packets sent", COUNT, packets);
	print_row("", "lost", PERCENT, loss(&f[0][QUIET]), loss(&f[0][BURST]), loss(&f[1][QUIET]),
		  loss(&f[1][BURST]));
	ROW("", "jitter (RFC 3550)", TIME, jitter);
	ROW("", "delay, 99th percentile", TIME, delay_p99);
	print_dscp("control", runs[0].control_dscp, runs[1].control_dscp);
	ROW("", "connections tried", COUNT, connections);
	ROW("", "time to set up, median", TIME, setup_median);
	ROW("", "time to set up, worst", TIME, setup_worst);
	ROW("", "time to answer, median", TIME, answer_median);
	ROW("", "time to answer, worst", TIME, answer_worst);
}

/* A machine too busy to measure on is told apart from a policy without effect. */
static int verdict(const struct figures f[2][PHASES])
{
	const struct figures *without = &f[0][BURST], *with = &f[1][BURST];
	int media = only_dscp(runs[1].media_dscp), control = only_dscp(runs[1].control_dscp);
	int bad = 0;

	if (!without->packets || !with->packets || !without->connections || !with->connections) {
		fprintf(stderr, "figures: no traffic was captured beside the cross traffic\n");
		return -1;
	}
	if (media <= 0 || control <= 0) {
		fprintf(stderr, "figures: hostqos did not mark every packet of both classes\n");
		bad = -1;
	}
	if (loss(with) >= loss(without)) {
		fprintf(stderr, "figures: the media stream lost no less with hostqos\n");
		bad = -1;
	}
	if (with->delay_p99 >= without->delay_p99) {
		fprintf(stderr, "figures: the media stream was no faster with hostqos\n");
		bad = -1;
	}
	if (with->setup_median >= without->setup_median) {
		fprintf(stderr, "figures: the control connection was no faster with hostqos\n");
		bad = -1;
	}
	return bad;
}

int main(int argc, char **argv)
{
	static struct figures figures[2][PHASES];
	int i, phase;

	if (argc != 3) {
		fprintf(stderr, "usage: figures WITHOUT_DIR WITH_DIR\n");
		return 2;
	}
	for (i = 0; i < 2; i++) {
		if (read_run(argv[1 + i], &runs[i]))
			return 1;
		for (phase = 0; phase < PHASES; phase++) {
			judge_media(&runs[i], phase, &figures[i][phase]);
			judge_control(&runs[i], phase, &figures[i][phase]);
		}
	}
	print_table(figures);
	return verdict(figures) ? 1 : 0;
}
