// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* What classes mirror, compiled. */
#include <string.h>

#include "arena.h"
#include "compile.h"
#include "scalar.h"

void compile_mirror(struct hq_class *to, const struct policy_mirror *from, __u32 *features)
{
	static const __u32 needs[] = {
		[HQ_MIRROR_NONE] = 0,
		[HQ_MIRROR_SYN] = HQ_FEATURE_INBOUND_DSCP,
		[HQ_MIRROR_LATEST] = HQ_FEATURE_INBOUND_DSCP | HQ_FEATURE_LATEST,
		[HQ_MIRROR_UPSTREAM] = HQ_FEATURE_INBOUND_DSCP | HQ_FEATURE_UPSTREAM,
	};

	to->mirror = from->of;
	to->mirror_allow = from->allow;
	*features |= needs[from->of];
}

bool policy_mirrors_upstream(const struct policy *policy)
{
	size_t i;

	for (i = 0; i < policy->class_count; i++)
		if (policy->classes[i].mirror.of == HQ_MIRROR_UPSTREAM)
			return true;
	return false;
}

static void add_peers(struct hq_image *image, uint16_t class, const struct policy_value *value,
		      bool trusted)
{
	struct hq_prefix *prefix = &image->prefixes[image->prefix_count++];

	*prefix = (struct hq_prefix){.key = {.length = HQ_PREFIX_SIDE_BITS + value->prefix.length,
					     .side = HQ_SIDE_MIRROR + class},
				     .row = trusted};
	memcpy(prefix->key.address, value->prefix.address, sizeof(prefix->key.address));
}

static bool same_prefix(const struct policy_value *a, const struct policy_value *b)
{
	return a->prefix.length == b->prefix.length &&
	       !memcmp(a->prefix.address, b->prefix.address, sizeof(a->prefix.address));
}

/* ::/0 is IPv6 alone: ::ffff:0:0/96 is another matter, unless it is trusted too. */
static void add_class(struct hq_image *image, uint16_t class, const struct policy_mirror *mirror)
{
	static const struct policy_value all_ipv4 = {
		.prefix = {.address = {[10] = 0xff, [11] = 0xff}, .length = SCALAR_IPV4_BITS}};
	bool ipv4 = false;
	size_t i;

	image->prefixes = mem_resize(image->prefixes, image->prefix_count + mirror->from_count + 1,
				     sizeof(*image->prefixes));
	for (i = 0; i < mirror->from_count; i++) {
		add_peers(image, class, &mirror->from[i], true);
		ipv4 |= same_prefix(&mirror->from[i], &all_ipv4);
	}
	if (!ipv4)
		add_peers(image, class, &all_ipv4, false);
}

void compile_trusted(struct compiler *c, const uint16_t *class_ids)
{
	size_t i;

	for (i = 0; i < c->policy->class_count; i++)
		if (c->policy->classes[i].mirror.of)
			add_class(c->image, class_ids[i], &c->policy->classes[i].mirror);
}
