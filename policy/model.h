/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The checked policy: what the text says, each thing with its place in it.
 * Everything lives in the policy's arena and goes with policy_free().
 */
#ifndef HOSTQOS_MODEL_H
#define HOSTQOS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hostqos/abi.h>

#include "arena.h"
#include "diag.h"

/* What a rule can match on, in canonical order. */
enum policy_key {
	POLICY_CGROUP,
	POLICY_UNIT,
	POLICY_EXE,
	POLICY_USER,
	POLICY_GROUP,
	POLICY_FAMILY,
	POLICY_PROTOCOL,
	POLICY_TYPE,
	POLICY_DIRECTION,
	POLICY_LOCAL,
	POLICY_REMOTE,
	POLICY_LOCAL_PORT,
	POLICY_REMOTE_PORT,
	POLICY_INBOUND_DSCP,
	POLICY_MULTICAST,
	POLICY_ORIGIN,
	POLICY_KEYS
};

/* "cgroup", "local_port", ... */
const char *policy_key_name(enum policy_key key);

/* One value of a key. Which member counts follows from the key. */
struct policy_value {
	struct diag_at at;
	const char *text; /* cgroup pattern, unit, exe; user or group as written */
	bool gone;	  /* user or group: there is none any more, `number` is what it had */
	union {
		uint32_t number; /* uid, gid, 4 or 6, IPPROTO_*, SOCK_*, direction, DSCP, 0 or 1 */
		struct {
			uint16_t first, last;
		} ports;
		struct {
			uint8_t address[16]; /* IPv4 as IPv4-mapped */
			uint8_t length;	     /* of those 128 bits */
		} prefix;
	};
};

/* `key: value` or `key: [values]`: any of the values. */
struct policy_term {
	enum policy_key key;
	struct diag_at at; /* of the key */
	struct policy_value *values;
	size_t count;
};

/* A block of terms, each key at most once, in canonical order. */
struct policy_match {
	struct policy_term *terms;
	size_t count;
};

struct policy_rule {
	const char *name;  /* NULL if unnamed */
	struct diag_at at; /* where the rule begins */
	struct policy_match match;
	struct policy_match *nots; /* in each block, no term may match */
	size_t nots_count;
	bool has_match; /* written, empty or not */
	bool refuse;
	const char *class_name;	 /* NULL where refuse */
	uint16_t class;		 /* index into policy->classes, unless refuse */
	struct diag_at class_at; /* of the value of `class` or `refuse` */
};

struct policy_egress {
	uint64_t rate;		 /* bits/s on the wire; 0: no meter */
	uint64_t burst;		 /* bytes; 0: not given so */
	uint64_t burst_usecs;	 /* burst given as time; 0: not given so */
	struct diag_at burst_at; /* of its value, where it is written */
	enum hq_exceed exceed;
	uint8_t exceed_dscp; /* where exceed is HQ_EXCEED_REMARK */
};

/* Marks derived from those that come in. */
struct policy_mirror {
	struct diag_at at;
	enum hq_mirror of;	   /* HQ_MIRROR_NONE where not written */
	struct policy_value *from; /* prefixes of the peers that are trusted */
	size_t from_count;
	uint64_t allow; /* bit n: DSCP n */
};

/* What becomes of applications' own marks. */
enum policy_app_dscp {
	POLICY_APP_DSCP_UNSAID, /* `default` honours, other classes ignore */
	POLICY_IGNORE,
	POLICY_HONOR,
	POLICY_DENY,
};

struct policy_class {
	const char *name;
	struct diag_at at;  /* of the name; line 0: `default` that is not written */
	const char *cgroup; /* "/hostqos/voice", or NULL */
	struct diag_at cgroup_at;
	uint8_t dscp;	  /* 0..63 or HQ_KEEP */
	uint8_t syn_ack;  /* 0..63 or HQ_KEEP; dscp where not written */
	uint8_t priority; /* 0..15 or HQ_KEEP */
	enum policy_app_dscp app_dscp;
	uint64_t honored; /* bit d: DSCP d; where app_dscp is POLICY_HONOR */
	struct diag_at app_dscp_at;
	struct policy_egress egress;
	struct policy_mirror mirror;
};

struct policy_interface {
	struct diag_at at;
	const char *glob; /* without the "!" */
	bool exclude;
};

struct policy {
	struct arena arena;
	const char *file;
	const char *text;
	size_t length;
	const struct hq_named *names; /* what names stood for before, for those that are gone */
	size_t name_count;
	const char *attach_cgroup; /* "/" where not written */
	struct diag_at attach_cgroup_at;
	struct policy_interface *interfaces;
	size_t interface_count;
	struct policy_class *classes; /* [0] is `default`, the others as written */
	size_t class_count;
	struct policy_rule *rules;
	size_t rule_count;
};

/* Index of the class of this name, or -1. */
int policy_find_class(const struct policy *policy, const char *name);

/* Bit d: an application of the class may choose DSCP d. */
uint64_t policy_honored(const struct policy_class *class);

/* What a name stood for before, or NULL. */
const struct hq_named *policy_former(const struct policy *policy, enum hq_dim dim,
				     const char *name);

/* Does some class mirror across a proxy? */
bool policy_mirrors_upstream(const struct policy *policy);

/* The burst in bytes: as written, or chosen from the rate. */
uint64_t policy_burst(const struct policy_egress *egress);

#endif
