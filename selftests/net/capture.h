/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What arrives at an interface, and the judge of it.
 */
#ifndef HOSTQOS_TEST_CAPTURE_H
#define HOSTQOS_TEST_CAPTURE_H

#include <netinet/in.h>

#include "testbed.h"

enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_ECE = 0x40,
	TCP_CWR = 0x80,
};

struct packet {
	uint64_t ns;
	uint8_t family; /* 4 or 6 */
	uint8_t protocol;
	uint8_t dsfield;
	uint8_t ttl;
	struct in6_addr source, destination; /* IPv4 as mapped */
	/* Of later fragments: those of the first. */
	uint16_t source_port, destination_port;
	uint8_t tcp_flags;
	bool fragment, more_fragments, dont_fragment;
	bool checksum_wrong; /* of the IPv4 header */
	uint32_t fragment_id, fragment_offset;
	uint32_t flow_label;
	uint32_t wire;	  /* bytes from the link header on */
	uint32_t payload; /* bytes past the transport header */
	uint32_t tcp_seq, tcp_ack;
	uint8_t tcp_header; /* its length */
	uint8_t sender;	    /* last octet of the link-layer source address */
};

#define DSCP(p) ((p)->dsfield >> 2)
#define ECN(p)	((p)->dsfield & 3)

struct capture {
	struct pcap *pcap;
	struct packet *packets;
	size_t count, room;
	struct capture *next;
};

/* Inbound packets only. Whole from here on: that none was lost is checked at each read. */
struct capture *capture_start(struct testbed *tb, int netns, const char *interface);
/* From here on only what tcpdump would take by this expression. */
void capture_only(struct capture *c, const char *expression);
/* Takes in what has arrived by now. */
void capture_read(struct capture *c);
/* Forgets what has arrived by now. */
void capture_clear(struct capture *c);
void capture_stop(struct capture *c);

/* Which packets; what is zero or NULL does not matter. */
struct flow {
	int family;	       /* 4 or 6 */
	int protocol;	       /* IPPROTO_* */
	const char *from, *to; /* addresses */
	int from_port, to_port;
	int with, without; /* TCP flags: all of these set, none of these */
	int dsfield;	   /* DS_IS(x) */
	bool data;	   /* has payload */
	uint64_t after;
};

#define DS_IS(x) ((x) | 0x100)

/* The macro's arguments are initializers: FLOW(.to_port = 80, .with = TCP_SYN) */
#define FLOW(...) (&(struct flow){__VA_ARGS__})

bool flow_has(const struct flow *flow, const struct packet *p);
size_t flow_count(struct capture *c, const struct flow *flow);
uint64_t flow_wire_bytes(struct capture *c, const struct flow *flow);
/* As tcpdump would say it; static storage, a few calls deep. */
const char *packet_text(const struct packet *p);

/* How many packets the flow has, and how many of them lack the DSCP or a right checksum. */
struct verdict {
	size_t packets, wrong;
};
struct verdict verdict_of(struct capture *c, const struct flow *flow, int dscp);

/* Every packet of the flow has the DSCP, and at least `least` there were. */
#define judge(c, flow, dscp, least) judge_at(c, flow, dscp, least, __FILE__, __LINE__)
void judge_at(struct capture *c, const struct flow *flow, int dscp, size_t least, const char *file,
	      int line);

#define await_packets(c, flow, least) await_packets_at(c, flow, least, __FILE__, __LINE__)
void await_packets_at(struct capture *c, const struct flow *flow, size_t least, const char *file,
		      int line);

#endif
