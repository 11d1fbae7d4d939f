// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of a trial (hostqos try), should nobody be left to see to it: a timer
 * flips back to the former policy, whose slot is untouched. It takes one word,
 * after which every packet has its former class; what sockets carry themselves
 * is changed by the next command only.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <hostqos/trial.h>

#include "policy.h"

#define CLOCK_BOOTTIME 7

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hq_trial);
} trial MAP;

/* By itself: to write an element from user space is to cancel its timer. */
struct trial_timer {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct trial_timer);
} trial_timer MAP;

static int go_back(void *map, __u32 *key, struct trial_timer *timer)
{
	__u32 zero = 0;
	struct hq_active *a = bpf_map_lookup_elem(&active, &zero);
	struct hq_trial *t = bpf_map_lookup_elem(&trial, &zero);

	(void)map, (void)key, (void)timer;
	if (a && t && t->back) /* unless an apply has just ended it */
		__sync_val_compare_and_swap(&a->generation, t->generation, t->back);
	return 0;
}

/* Run once, by BPF_PROG_RUN; the timer keeps the program. */
SEC("tc")
int trial_start(struct __sk_buff *skb)
{
	__u64 now = bpf_ktime_get_boot_ns();
	__u32 zero = 0;
	struct hq_trial *t = bpf_map_lookup_elem(&trial, &zero);
	struct trial_timer *timer = bpf_map_lookup_elem(&trial_timer, &zero);
	long err;

	(void)skb;
	if (!t || !timer)
		return -1;
	err = bpf_timer_init(&timer->timer, &trial_timer, CLOCK_BOOTTIME);
	if (!err)
		err = bpf_timer_set_callback(&timer->timer, go_back);
	if (!err)
		err = bpf_timer_start(&timer->timer, t->fallback > now ? t->fallback - now : 0, 0);
	return err;
}

char LICENSE[] SEC("license") = "GPL";
