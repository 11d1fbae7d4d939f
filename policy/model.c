// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "policy.h"
#include "schema.h"

/*
 * A burst that is not written: 50 ms of the rate, but never so little that TCP
 * starves. The kernel does not pace the first ten segments
 * (tcp_update_skb_after_send()); where most of them are dropped bbr does not
 * recover. Measured at 1, 2, 3 mbit: 3 to 71% of the rate with 10 to 18 kB, 40
 * to 98% with 24 kB, 92 to 105% with 32 kB.
 */
#define BURST_USECS 50000
#define BURST_LEAST 32768

int policy_find_class(const struct policy *policy, const char *name)
{
	size_t i;

	for (i = 0; i < policy->class_count; i++)
		if (!strcmp(policy->classes[i].name, name))
			return i;
	return -1;
}

uint64_t policy_burst(const struct policy_egress *egress)
{
	uint64_t usecs = egress->burst_usecs ? egress->burst_usecs : BURST_USECS;
	uint64_t bytes = (unsigned __int128)egress->rate * usecs / 8000000;

	if (egress->burst)
		return egress->burst;
	if (egress->burst_usecs)
		return bytes;
	if (bytes < BURST_LEAST)
		return BURST_LEAST;
	return bytes < SCALAR_SIZE_MOST ? bytes : SCALAR_SIZE_MOST;
}

static struct policy *policy_new(const char *file, const char *text, size_t length)
{
	struct policy *policy = mem_alloc(1, sizeof(*policy));

	policy->file = file;
	policy->text = text;
	policy->length = length;
	policy->attach_cgroup = "/";
	policy->classes = arena_alloc(&policy->arena, sizeof(*policy->classes));
	policy->classes[HQ_CLASS_DEFAULT] = (struct policy_class){
		.name = "default", .dscp = HQ_KEEP, .syn_ack = HQ_KEEP, .priority = HQ_KEEP};
	policy->class_count = 1;
	return policy;
}

static void keep_names(struct policy *policy, const struct hq_named *names, size_t count)
{
	struct hq_named *copy = arena_alloc(&policy->arena, count * sizeof(*copy));

	if (count)
		memcpy(copy, names, count * sizeof(*copy));
	policy->names = copy;
	policy->name_count = count;
}

static void read_text(struct policy *policy, struct diag *diag)
{
	struct arena nodes = {0};
	struct tree_node *root;
	struct schema *s;

	if (policy->length > POLICY_MAX_TEXT) {
		diag_error(diag, (struct diag_at){0}, "too large: more than %d bytes",
			   POLICY_MAX_TEXT);
		return;
	}
	root = tree_parse(&nodes, &policy->arena, policy->text, policy->length, diag);
	if (root) {
		s = mem_alloc(1, sizeof(*s));
		s->policy = policy;
		s->diag = diag;
		schema_read(s, root);
		free(s);
	}
	arena_free(&nodes);
	if (root)
		check_policy(policy, diag);
}

struct policy *policy_parse(const char *file, const char *text, size_t length, struct diag *diag)
{
	return policy_parse_again(file, text, length, NULL, 0, diag);
}

struct policy *policy_parse_again(const char *file, const char *text, size_t length,
				  const struct hq_named *names, size_t count, struct diag *diag)
{
	static const char mark[] = "\xef\xbb\xbf"; /* a byte order mark in UTF-8 says nothing */
	struct policy *policy;

	if (length >= strlen(mark) && !memcmp(text, mark, strlen(mark))) {
		text += strlen(mark);
		length -= strlen(mark);
	}
	diag->file = file;
	diag->text = text;
	diag->length = length;
	policy = policy_new(file, text, length);
	keep_names(policy, names, count);
	read_text(policy, diag);
	if (!diag_errors(diag))
		return policy;
	policy_free(policy);
	return NULL;
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	arena_free(&policy->arena);
	free(policy);
}
