// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events for `hostqos monitor`: into its ring buffer, each kind up to so many a
 * second, and what is too many, or finds no room, is counted.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "flow.h"
#include "monitor.h"

#define SECOND 1000000000ULL

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 19);
} events MAP;

/* Of each kind, and of what a class's bucket refuses, of each class. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HQ_MONITOR_WINDOWS);
	__type(key, __u32);
	__type(value, struct hq_monitor_window);
} monitor_windows MAP;

/* A monitor that was killed renews no more: whoever finds that out takes it down. */
static __always_inline int is_over(struct hq_monitor *m, __u64 now)
{
	__u64 until = *(volatile __u64 *)&m->until;

	if (until && until < now)
		__sync_val_compare_and_swap(&m->until, until, 0);
	return until < now;
}

static __always_inline int is_wanted(const struct hq_monitor *m, const struct hq_flow *flow,
				     struct hq_decision decision)
{
	const struct hq_rule *rule;

	if ((m->pid && m->pid != flow->pid) || (m->class && m->class != decision.class + 1U))
		return 0;
	if (!m->rule)
		return 1;
	rule = policy_rule_of(decision.generation, decision.rule);
	return rule && rule->key == m->rule;
}

/* Counts every event: as told, or as one too many in this second. */
static __always_inline int is_within_limit(struct hq_monitor_window *w, const struct hq_monitor *m,
					   __u64 now)
{
	__u64 second = now / SECOND;

	if (*(volatile __u64 *)&w->second != second) {
		*(volatile __u64 *)&w->second = second;
		*(volatile __u64 *)&w->taken = 0;
	}
	if (__sync_fetch_and_add(&w->taken, 1) < m->limit)
		return 1;
	__sync_fetch_and_add(&w->suppressed, 1);
	return 0;
}

static __always_inline void tell(struct hq_event *e, const struct hq_flow *flow,
				 const struct flow_key *key)
{
	e->counted = flow->counted;
	e->cgroup = flow->id.cgroup;
	e->pid = flow->pid;
	e->uid = flow->id.uid;
	e->known = flow->id.known | key->known;
	__builtin_memcpy(e->local, key->local, 16);
	__builtin_memcpy(e->remote, key->remote, 16);
	e->local_port = key->local_port;
	e->remote_port = key->remote_port;
	e->protocol = flow->protocol;
	e->origin = key->origin;
}

__noinline int monitor_event(struct hq_flow *flow, struct flow_key *key, __u64 decision, __u32 kind,
			     __u32 bytes)
{
	union {
		__u64 word;
		struct hq_decision decision;
	} u = {.word = decision};
	__u32 zero = 0, window = kind;
	struct hq_monitor_window *w;
	__u64 now = bpf_ktime_get_ns();
	struct hq_monitor *m;
	struct hq_event *e;

	m = bpf_map_lookup_elem(&monitor, &zero);
	if (!m || !flow || !key || is_over(m, now) || !is_wanted(m, flow, u.decision))
		return 0;
	if (kind == HQ_EVENT_DROPPED || kind == HQ_EVENT_REMARKED)
		window = HQ_NEVENTS + u.decision.class;
	w = bpf_map_lookup_elem(&monitor_windows, &window);
	if (!w || !is_within_limit(w, m, now))
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&w->lost, 1);
		return 0;
	}
	e->ns = now;
	e->decision = u.decision;
	e->kind = kind;
	e->bytes = bytes;
	tell(e, flow, key);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
