/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What the policy compiler, the loader and the BPF programs agree on.
 *
 * Every struct here is the value (or key) of a BPF map. All integers are in
 * host byte order unless a field says otherwise; addresses are 16 bytes in
 * network byte order, IPv4 as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2), so that no
 * code past the parser knows two families.
 *
 * A policy is a set of tables (header, rules, classes, vectors, exact,
 * prefixes, ports, enums, paths). Each table is an inner map; the outer maps
 * have HQ_SLOTS slots, and hq_slot() says which is in force. Generation 0 means
 * that no policy is.
 */
#ifndef HOSTQOS_ABI_H
#define HOSTQOS_ABI_H

#include <linux/types.h>

#define HQ_ABI_VERSION 3

/*
 * The generation of a shadow policy has this bit; its tables are in a slot of
 * their own. Policies that replace one another take turns in two slots; while
 * one is on trial, both are taken, and what replaces it goes into the spare
 * slot, which is that of each eighth generation.
 */
#define HQ_SHADOW     (1U << 31)
#define HQ_SLOT_SPARE 3
#define HQ_SLOTS      4

static inline __u32 hq_slot(__u32 generation)
{
	if (generation & HQ_SHADOW)
		return 2;
	return (generation & 7) == 7 ? HQ_SLOT_SPARE : generation & 1;
}

#define HQ_MAX_CLASSES	   1024
#define HQ_MAX_RULES	   16383 /* compiled entries; HQ_RULE_NONE is not one */
#define HQ_RULE_NONE	   16383
#define HQ_MAX_PATH_STATES 65536
#define HQ_NAME_LEN	   64 /* of classes and rules, with the final NUL */
#define HQ_CLASS_DEFAULT   0

/* A DSCP or priority that says: leave what is there. */
#define HQ_KEEP 0xff

/*
 * What a rule can look at. A value in each dimension selects a row: the bit
 * vector of the rules that this value satisfies (Lakshman and Stiliadis). The
 * order is that of the tables that serve them: exact, enums, prefixes, ports.
 */
enum hq_dim {
	HQ_DIM_CGROUP,	     /* by path, through the automaton in `paths` */
	HQ_DIM_EXE_FILE,     /* exact: a = inode, b = device (kernel's dev_t) */
	HQ_DIM_EXE_NAME,     /* exact: a = hq_name_hash() of the base name */
	HQ_DIM_USER,	     /* exact: a = real uid */
	HQ_DIM_GROUP,	     /* exact: a = primary gid */
	HQ_DIM_FAMILY,	     /* enum: 4 or 6, what is on the wire */
	HQ_DIM_PROTOCOL,     /* enum: IPPROTO_*, MPTCP counts as TCP */
	HQ_DIM_TYPE,	     /* enum: SOCK_* */
	HQ_DIM_DIRECTION,    /* enum: enum hq_direction */
	HQ_DIM_INBOUND_DSCP, /* enum: 0..63, or HQ_DSCP_NONE */
	HQ_DIM_MULTICAST,    /* enum: 0 or 1, of the remote address */
	HQ_DIM_ORIGIN,	     /* enum: enum hq_origin */
	HQ_DIM_LOCAL,	     /* prefix */
	HQ_DIM_REMOTE,	     /* prefix */
	HQ_DIM_LOCAL_PORT,   /* port */
	HQ_DIM_REMOTE_PORT,  /* port */
	HQ_NDIMS
};

#define HQ_BIT(dim) (1U << (dim))
#define HQ_ALL_DIMS (HQ_BIT(HQ_NDIMS) - 1)

enum hq_direction { HQ_INBOUND, HQ_OUTBOUND };

/* Whose packets: a socket's of this host, or another's that pass through. */
enum hq_origin { HQ_LOCAL, HQ_FORWARDED };

/* Inbound DSCP of a flow that has received nothing yet: no list matches it. */
#define HQ_DSCP_NONE 64

/* `enums`: cell (dim - HQ_DIM_FAMILY) * HQ_ENUM_VALUES + value holds a row. */
#define HQ_ENUM_VALUES 256
#define HQ_ENUM_DIMS   (HQ_DIM_ORIGIN - HQ_DIM_FAMILY + 1)
#define HQ_ENUM_CELLS  (HQ_ENUM_DIMS * HQ_ENUM_VALUES)

/* `ports`: cell (dim - HQ_DIM_LOCAL_PORT) * HQ_PORT_VALUES + port holds a row. */
#define HQ_PORT_VALUES 65536
#define HQ_PORT_CELLS  (2 * HQ_PORT_VALUES)

/* `exact`: value is the row, u32. No entry: header.other_row[dim]. */
struct hq_exact_key {
	__u64 dim; /* enum hq_dim */
	__u64 a;
	__u64 b;
};

/* `prefixes` (LPM trie): value is the row, u32. No entry: other_row[dim]. */
struct hq_prefix_key {
	__u32 length; /* in bits: 16 for `side`, then those of the prefix */
	__u16 side;   /* HQ_DIM_LOCAL, HQ_DIM_REMOTE, or HQ_SIDE_MIRROR + class id */
	__u8 address[16];
} __attribute__((packed));

#define HQ_PREFIX_SIDE_BITS 16

/* Sides of the classes that mirror: the value is 1 where the peer is trusted, else 0. */
#define HQ_SIDE_MIRROR HQ_NDIMS

/*
 * `vectors`: a row is 1 + header.chunks of them. Bit i of word w of the vector
 * 1 + c is rule c * 512 + w * 64 + i. The first vector is the row's summary:
 * its bit i says whether any of the rules from 32 * i on, 32 of them, is in the
 * row. Row 0 has all the rules.
 */
#define HQ_CHUNK_WORDS 8
#define HQ_CHUNK_RULES (HQ_CHUNK_WORDS * 64)
#define HQ_MAX_CHUNKS  ((HQ_MAX_RULES + HQ_CHUNK_RULES - 1) / HQ_CHUNK_RULES)
#define HQ_ROW_ALL     0

#define HQ_ROW_VECTORS(header) (1 + (header)->chunks)

struct hq_vector {
	__u64 word[HQ_CHUNK_WORDS];
};

/*
 * `paths`: the automaton that reads a cgroup's path, "" for the root, else
 * "/a/b". Cell state * header.path_stride + header.byte_class[byte] is the
 * next state; the stride's last cell is the row of a path that ends here.
 * State 0 is where a path begins.
 */

/* Why a hook is needed at all; the loader attaches only what the policy asks. */
enum hq_feature {
	HQ_FEATURE_REFUSE = 1 << 0,	  /* some rule refuses */
	HQ_FEATURE_INBOUND_DSCP = 1 << 1, /* some rule or mirror reads the inbound DSCP */
	HQ_FEATURE_PACING = 1 << 2,	  /* some class has an egress rate */
	HQ_FEATURE_PRIORITY = 1 << 3,	  /* some class has a priority */
	HQ_FEATURE_FORWARDED = 1 << 4,	  /* some rule matches forwarded packets */
	HQ_FEATURE_LATEST = 1 << 5,	  /* some class mirrors the latest packet's DSCP */
	HQ_FEATURE_UPSTREAM = 1 << 6,	  /* some class mirrors across a proxy */
	HQ_FEATURE_APP_DSCP = 1 << 7, /* some class marks, or denies applications their own marks */
};

struct hq_header {
	__u32 abi; /* HQ_ABI_VERSION */
	__u32 generation;
	__u32 rules;	   /* entries in `rules` */
	__u32 chunks;	   /* per row of `vectors`: ceil(rules / 512), >= 1 */
	__u32 used;	   /* HQ_BIT()s of the dimensions that any rule reads */
	__u32 features;	   /* enum hq_feature */
	__u32 path_stride; /* cells per state of `paths` */
	__u32 text_length; /* bytes of the policy's source in `text` */
	/* Checksum of `exact` and `vectors`: what the users and files in the text stood for. */
	__u32 resolved;
	__u32 any_row[HQ_NDIMS];   /* rules that do not read the dimension */
	__u32 other_row[HQ_NDIMS]; /* rules satisfied by a value none names */
	__u8 byte_class[256];
	char file[256];	 /* the policy's path as given to apply, cut to fit */
	char sha256[72]; /* of its text, hexadecimal */
};

/* `text`: the policy's source, so that the kernel alone can say what is in force. */
#define HQ_TEXT_CHUNK 4096

struct hq_text {
	char bytes[HQ_TEXT_CHUNK];
};

/*
 * `names`: what a user, a group or an executable in the policy's text stood for
 * when it came into force. One that is gone since keeps that. For the loader alone.
 */
struct hq_named {
	__u64 name;   /* hash of the text */
	__u64 number; /* uid, gid or inode */
	__u32 device; /* of an executable */
	__u32 dim;    /* HQ_DIM_USER, HQ_DIM_GROUP or HQ_DIM_EXE_FILE */
};

/* What a rule does. Written rules come first, then the classes' own cgroups. */
struct hq_rule {
	__u64 key;     /* stable over reloads: hash of the name, else the text */
	__u32 line;    /* in the policy's text */
	__u16 class;   /* meaningless where refuse is set */
	__u16 counter; /* index into `rule_counters` */
	__u8 refuse;
	__u8 pad[3];
	__u32 since;		/* refuse: the generation that brought the rule */
	char name[HQ_NAME_LEN]; /* "#LINE" if unnamed, "class NAME" for a cgroup */
};

/* What becomes of packets out of profile (RFC 2475, 2.3.3). */
enum hq_exceed { HQ_EXCEED_DROP, HQ_EXCEED_REMARK };

/* What a class's outbound marks are derived from, where peers are trusted with that. */
enum hq_mirror {
	HQ_MIRROR_NONE,
	HQ_MIRROR_SYN,	    /* the SYN of a connection accepted here */
	HQ_MIRROR_LATEST,   /* the latest packet from the peer */
	HQ_MIRROR_UPSTREAM, /* the SYN of the connection that a proxy's thread served last */
};

/*
 * A token bucket in time units (see bucket.h). Charging L bytes costs
 * (L * mult) >> shift ticks; `depth` is the burst's cost.
 */
struct hq_meter {
	__u64 rate;  /* bytes/s on the wire; 0: no meter */
	__u64 depth; /* ticks */
	__u32 mult;
	__u32 shift;
	__u32 burst; /* bytes */
	__u32 pad;
};

struct hq_class {
	struct hq_meter egress;
	__u64 mirror_allow; /* bit n: DSCP n may be taken over */
	__u64 honored;	    /* bit n: DSCP n is an application's to choose; see app_dscp.h */
	__u8 dscp;	    /* 0..63 or HQ_KEEP */
	__u8 syn_ack;	    /* 0..63 or HQ_KEEP */
	__u8 exceed;	    /* enum hq_exceed */
	__u8 exceed_dscp;   /* 0..63, where exceed is HQ_EXCEED_REMARK */
	__u8 priority;	    /* SO_PRIORITY 0..15, or HQ_KEEP */
	__u8 defined;	    /* 0: id not in use */
	__u8 mirror;	    /* enum hq_mirror */
	__u8 deny;	    /* applications may not set marks */
	__u32 line;
	__u32 pace; /* bytes/s for SO_MAX_PACING_RATE on the wire; 0: none */
	char name[HQ_NAME_LEN];
};

/* What flow.mark_only is for packets with this DSCP, if they need only to be counted. */
static inline __u32 hq_marked(__u32 generation, __u8 dscp)
{
	return generation << 8 | (__u8)(dscp + 1);
}

/*
 * The same of the DSCP with which a connection's packets need nothing else by
 * this class; of none (HQ_KEEP + 1 is 0 in a __u8), if it does more than mark.
 */
static inline __u32 hq_mark_only(const struct hq_class *c, __u32 generation)
{
	__u64 more = c->egress.rate | c->mirror | c->honored | (c->priority ^ HQ_KEEP) |
		     (c->syn_ack ^ c->dscp);

	return hq_marked(generation, more ? HQ_KEEP : c->dscp);
}

/* The classifier's answer. One word, so that it is read and replaced whole. */
struct hq_decision {
	__u32 generation; /* of the policy that gave it; 0: none yet */
	__u16 class;
	__u16 rule : 14;       /* index into `rules`, or HQ_RULE_NONE */
	__u16 provisional : 1; /* an earlier rule could not be decided yet */
	__u16 refuse : 1;
};

/* Who made a socket. Captured at its creation, never changed but by adoption. */
struct hq_identity {
	__u64 cgroup;	  /* id of the socket's cgroup, or of its holders' (bpf/homes.h) */
	__u64 cgroup_ptr; /* its struct cgroup; the socket holds a reference to its own */
	__u64 exe_inode;
	__u64 exe_name; /* hq_name_hash() of the running file's base name */
	__u32 exe_device;
	__u32 uid;
	__u32 gid;
	__u32 known; /* HQ_BIT()s of the dimensions above that are known */
};

/* What hostqos set on the socket, and what the socket had before. */
enum hq_saved_bits {
	HQ_SAVED_TOS = 1 << 0,
	HQ_SAVED_TCLASS = 1 << 1,
	HQ_SAVED_PRIORITY = 1 << 2,
	HQ_SAVED_PACING = 1 << 3,
	HQ_SAVED_SYN = 1 << 4, /* TCP_SAVE_SYN */
	HQ_SAVED_MARKS = HQ_SAVED_TOS | HQ_SAVED_TCLASS | HQ_SAVED_PRIORITY,
};

struct hq_saved {
	__u16 bits;  /* enum hq_saved_bits: which fields are in use */
	__u16 asked; /* and which of the marks the application was seen to set */
	__s32 tos, set_tos;
	__s32 tclass, set_tclass;
	__s32 priority, set_priority;
	__u32 pacing, set_pacing; /* bytes/s; ~0: unlimited */
	__u32 window; /* TCP's congestion window, segments at most, as set; 0: not set */
};

enum hq_flow_bits {
	HQ_FLOW_CONNECTED = 1 << 0, /* one remote: the class holds for every packet */
	HQ_FLOW_INBOUND = 1 << 2,   /* TCP: the peer sent the SYN */
	HQ_FLOW_DIRECTED = 1 << 3,  /* TCP: the direction is known */
	HQ_FLOW_ADOPTED = 1 << 4,   /* existed before the first policy */
	HQ_FLOW_LISTENER = 1 << 5,
	HQ_FLOW_KEPT = 1 << 6,	    /* a later policy refuses it; it lived already */
	HQ_FLOW_IPV6_ONLY = 1 << 7, /* never sends IPv4, though its family allows it */
	HQ_FLOW_LEFT = 1 << 8,	    /* its cgroup is not governed any more: about to go */
};

/* `flows`: what a socket carries (socket storage). */
struct hq_flow {
	struct hq_decision decision;
	struct hq_identity id;
	struct hq_saved saved;
	__u16 bits;	   /* enum hq_flow_bits */
	__u8 protocol;	   /* IPPROTO_*, MPTCP as TCP */
	__u8 type;	   /* SOCK_* */
	__u8 family;	   /* AF_* of the socket */
	__u8 inbound_dscp; /* 0..63 or HQ_DSCP_NONE; of an opened connection: HQ_MIRROR_UPSTREAM's
			    */
	__u16 counted;	   /* the class that counts it as a flow, plus 1 */
	__u8 latest_dscp;  /* of the latest packet: as inbound_dscp */
	__u8 trusted;	   /* 1: its class takes over what its peer marks */
	/* Of subflows and the MPTCP socket that owns them, for bpf/share.h. */
	__u8 busy, busy_before; /* subflows that sent in this epoch, in the one before */
	__u16 epoch;
	__u16 bound_port; /* that bind() asked for, last; the socket has it where that worked */
	__u32 began;	  /* when TCP sent its first data, in ms, where its class is slow; else 0 */
	__u32 pid;	  /* of the process that made it, or held it when it was adopted; else 0 */
	__u32 born;	  /* the generation in force then; 0: older than any */
	__u32 mark_only;  /* hq_mark_only() of its class, in the generation of its decision */
};

/*
 * What the socket iterators write, one for each socket: `tcp_sockets` and
 * `process_sockets` after they have classified it, `flow_sockets` as it is.
 */
struct hq_socket {
	__u64 cookie;
	__u32 pid; /* a process that holds it and its descriptor: process_sockets only */
	__s32 fd;
	__u32 netns; /* inode number of its network namespace */
	__s32 error; /* 0, or the -errno with which its marks could not be set */
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port; /* host byte order, as the next */
	__u16 remote_port;
	__u8 state; /* TCP_* */
	__u8 tos;   /* the options that the socket has now */
	__u8 tclass;
	__u8 pad;
	__u32 priority;
	struct hq_decision before; /* what it was before this pass; generation 0: new here */
	struct hq_flow flow;
};

/* What `socket_holders` writes of each process that holds a socket with a flow. */
struct hq_holding {
	__u64 cookie;
	__u64 home;   /* id of the cgroup that the socket is classified by */
	__u64 holder; /* that of the process; 0: it holds the socket for others only */
	__u32 pid;
	__u8 outside; /* the holder's cgroup is not governed */
	__u8 pad[3];
};

/* What `exe_files` writes of each open file: its executable's identity, were it run. */
struct hq_exe_file {
	__u32 pid; /* of a process that has it open, and its descriptor */
	__s32 fd;
	__u32 device; /* kernel's dev_t, as hq_identity.exe_device */
	__u32 pad;
	__u64 inode;
};

/*
 * What `explain` asks its program, and the answer, in the .bss of an object that
 * is loaded for that alone. The flow has its cgroup in `path`, and no cgroup_ptr.
 */
struct hq_question {
	struct hq_flow flow;
	__u64 cookie; /* of a live socket, to learn what its peer sent last; else 0 */
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port; /* host byte order, as the next */
	__u16 remote_port;
	__u8 family; /* 4 or 6 */
	__u8 direction;
	__u8 inbound_dscp;
	__u8 origin;
	__u32 known;		   /* HQ_BIT()s beside flow.id.known */
	__u32 unknown;		   /* HQ_BIT()s of what any socket has, but not this flow */
	struct hq_decision answer; /* generation 0: there was none */
	char path[4096];	   /* "" for the root, else "/a/b" */
};

/* `interfaces`: where tc egress is attached, by ifindex. For the loader. */
struct hq_interface {
	__u32 tcx;	   /* 1: a pinned tcx link, 0: a clsact filter */
	__u32 made_clsact; /* 1: the qdisc is ours to remove */
	__u32 handle;	   /* of the clsact filter */
	__u32 priority;
	char name[16];
};

/* `made_cgroups`: directories that hostqos made, by cgroup id. For the loader. */
struct hq_made_cgroup {
	char path[256]; /* from the cgroup2 mount */
};

/* `install`: what put the programs where they are. For the loader. */
struct hq_install {
	__u32 metered_mark;    /* skb->tc_index of packets that were metered already */
	__u32 netns;	       /* inode number of the network namespace of `interfaces` */
	__u64 cgroup;	       /* id of the cgroup that the hooks are attached to */
	char cgroup_path[256]; /* from the cgroup2 mount */
	char object[72];       /* SHA-256 of the BPF object, hexadecimal */
	__u32 cgroup_level;    /* that cgroup's depth below the cgroup2 mount */
	__u32 followed;	       /* the generation that all live sockets follow */
};

/* `class_counters` (per CPU), bytes as on the wire at egress. */
struct hq_class_counters {
	__u64 packets; /* left the host in this class, GSO segments counted one by one */
	__u64 bytes;
	__u64 marked;	      /* of these, those whose DSCP was rewritten at egress */
	__u64 exceed_packets; /* out of profile: dropped or remarked */
	__u64 exceed_bytes;
	__u64 refused; /* operations and packets refused */
	__u64 flows;   /* sockets put into the class */
};

/*
 * `shadow_changes` (per CPU), by class of the shadow policy: what would become
 * of packets that leave under the policy in force.
 */
struct hq_shadow_changes {
	__u64 same;	 /* the same DSCP */
	__u64 remarked;	 /* another DSCP */
	__u64 dropped;	 /* out of profile */
	__u64 refused;	 /* by a rule */
	__u64 unmatched; /* no rule is for them any more; counted above as well */
	__u64 admitted;	 /* the policy in force drops them, the shadow would not */
};

/* `shadow`: the one word that the shadow's programs read. */
struct hq_shadow {
	__u32 generation;
	__u32 pad;
};

/* `rule_counters` (per CPU). */
struct hq_rule_counters {
	__u64 flows; /* classifications that this rule decided */
	__u64 refused;
};

/* `buckets`: state of a class's meter, one cache line. */
struct hq_bucket {
	__u64 tat;     /* theoretical arrival time, ticks; see bucket.h */
	__u64 jiffies; /* when the clock was read for it last, */
	__u64 ns;      /* and what it said then; see tick_clock() in bpf/meter.h */
	__u64 pad[5];
};

/* `faults` (per CPU): internal errors, each of which let traffic pass. */
enum hq_fault {
	HQ_FAULT_TABLE,	     /* a table of the policy in force was missing */
	HQ_FAULT_STORAGE,    /* no socket storage could be had */
	HQ_FAULT_CLASS,	     /* a class that is not defined */
	HQ_FAULT_PARSE,	     /* headers truncated or not understood */
	HQ_FAULT_REWRITE,    /* the DSCP could not be written */
	HQ_FAULT_PATH,	     /* a cgroup's path could not be read to its end */
	HQ_FAULT_CONTENTION, /* the bucket's compare-and-swap gave up */
	HQ_NFAULTS
};

/* `escapes` (per CPU): what left a governed interface outside the policy, and why. */
enum hq_escape {
	HQ_ESCAPE_NO_SOCKET,	 /* the kernel's own packets: a RST of IPv6, IGMP */
	HQ_ESCAPE_KERNEL_SOCKET, /* the kernel's own sockets: ICMP errors, a RST of IPv4, NDP */
	HQ_ESCAPE_FORWARDED,	 /* came in at an interface, and no rule asks for it */
	HQ_ESCAPE_RAW,		 /* packet sockets (AF_PACKET), which pass no hook of IP */
	HQ_ESCAPE_OTHER_CGROUP,	 /* a socket of a cgroup that is not governed */
	HQ_ESCAPE_INTERNAL,	 /* a fault, or a socket that no hook has seen */
	HQ_ESCAPE_NOT_IP,	 /* ARP, LLDP: there is no DSCP */
	HQ_NESCAPES
};

struct hq_escape_counters {
	__u64 packets; /* GSO segments counted one by one */
	__u64 bytes;   /* on the wire */
};

/* `events`: what `hostqos monitor` is told. */
enum hq_event_kind {
	HQ_EVENT_CLASSIFIED, /* a socket came into its class */
	HQ_EVENT_MOVED,	     /* from one class to another */
	HQ_EVENT_PACKET,     /* a packet was classified by itself: a datagram, a forwarded one */
	HQ_EVENT_REFUSED,    /* an operation or a packet */
	HQ_EVENT_DROPPED,    /* out of profile */
	HQ_EVENT_REMARKED,   /* likewise */
	HQ_NEVENTS
};

struct hq_event {
	__u64 ns; /* CLOCK_MONOTONIC */
	struct hq_decision decision;
	__u64 cgroup; /* its id */
	__u32 pid;    /* of the process that made the socket; 0: not known, as the next */
	__u32 uid;
	__u32 known; /* HQ_BIT()s of what follows and of `uid` */
	__u32 kind;  /* enum hq_event_kind */
	__u32 bytes; /* of a packet, on the wire */
	__u16 local_port;
	__u16 remote_port;
	__u8 local[16];
	__u8 remote[16];
	__u16 counted; /* the class that the socket was in, plus 1; 0: none */
	__u8 protocol;
	__u8 origin; /* enum hq_origin */
	__u32 pad;
};

/* `monitor`: who watches, and for what; 0 in a filter is anything. */
struct hq_monitor {
	__u64 until; /* CLOCK_MONOTONIC; put off by the command while it lives. 0: nobody watches */
	__u64 rule;  /* hq_rule.key */
	__u32 pid;
	__u32 class; /* id plus 1 */
	__u32 limit; /* events of a kind in a second */
	__u32 pad;
};

/*
 * `monitor_windows`: a kind's events in this second, and those that could not be
 * told. Of what a bucket refuses each class has a window, at HQ_NEVENTS + class.
 */
#define HQ_MONITOR_WINDOWS (HQ_NEVENTS + HQ_MAX_CLASSES)

struct hq_monitor_window {
	__u64 second;
	__u64 taken;
	__u64 suppressed; /* over the limit */
	__u64 lost;	  /* no room in `events` */
};

/* `active`: the one word that puts a policy in force. */
struct hq_active {
	__u32 generation;
	__u32 newest; /* the last that was given out: a trial goes back to an older one */
};

#define HQ_CHECK_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
HQ_CHECK_SIZE(struct hq_exact_key, 24);
HQ_CHECK_SIZE(struct hq_prefix_key, 22);
HQ_CHECK_SIZE(struct hq_vector, 64);
HQ_CHECK_SIZE(struct hq_rule, 88);
HQ_CHECK_SIZE(struct hq_meter, 32);
HQ_CHECK_SIZE(struct hq_class, 128);
HQ_CHECK_SIZE(struct hq_decision, 8);
HQ_CHECK_SIZE(struct hq_identity, 48);
HQ_CHECK_SIZE(struct hq_bucket, 64);
HQ_CHECK_SIZE(struct hq_flow, 128);

#endif
