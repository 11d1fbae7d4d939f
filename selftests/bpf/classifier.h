/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* What the property test asks the kernel's classifier, many flows at once. */
#ifndef HOSTQOS_SELFTESTS_CLASSIFIER_H
#define HOSTQOS_SELFTESTS_CLASSIFIER_H

#include <hostqos/abi.h>

#define ASKED_MOST 512

/* A flow: its socket's part, and the rest as flow_key of bpf/classify.h has it. */
struct asked {
	struct hq_flow flow;
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
	__u8 family;
	__u8 direction;
	__u8 inbound_dscp;
	__u8 origin;
	__u32 known;
	__u32 generation;
	struct hq_decision answer;
};

/* What the iterator tells of a cgroup. */
struct found_cgroup {
	__u64 id;
	__u64 pointer;
};

#endif
