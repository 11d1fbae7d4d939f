// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* The image: entries and their order, classes, meters, ids, the tables' promises. */
#include <hostqos/bucket.h>

#include <hostqos/app_dscp.h>

#include "policy_helper.h"

static const struct hq_class *class_named(const struct hq_image *image, const char *name)
{
	int i;

	for (i = 0; i < HQ_MAX_CLASSES; i++)
		if (image->classes[i].defined && !strcmp(image->classes[i].name, name))
			return &image->classes[i];
	fail_msg("no class %s", name);
	return NULL;
}

static uint16_t id_of(const struct hq_image *image, const char *name)
{
	return class_named(image, name) - image->classes;
}

static const struct hq_rule *rule_named(const struct hq_image *image, const char *name)
{
	uint32_t i;

	for (i = 0; i < image->header.rules; i++)
		if (!strcmp(image->rules[i].name, name))
			return &image->rules[i];
	fail_msg("no rule %s", name);
	return NULL;
}

static void the_least_policy_has_class_default(void **state)
{
	struct hq_image *image = helper_compile("hostqos: 1\n", NULL);
	const struct hq_class *class = &image->classes[HQ_CLASS_DEFAULT];
	struct policy_flow flow = {.known = 0};

	(void)state;
	assert_int_equal(image->header.abi, HQ_ABI_VERSION);
	assert_int_equal(image->header.rules, 0);
	assert_int_equal(image->header.chunks, 1);
	assert_int_equal(image->header.used, 0);
	assert_int_equal(image->header.features, 0);
	assert_true(class->defined);
	assert_string_equal(class->name, "default");
	assert_int_equal(class->dscp, HQ_KEEP);
	assert_int_equal(class->syn_ack, HQ_KEEP);
	assert_int_equal(class->priority, HQ_KEEP);
	assert_int_equal(class->egress.rate, 0);
	assert_int_equal(policy_match(image, &flow).sure, HQ_RULE_NONE);
	assert_int_equal(policy_match(image, &flow).maybe, HQ_RULE_NONE);
	image_free(image);
}

static void classes_say_what_is_written(void **state)
{
	struct hq_image *image = helper_compile(
		"hostqos: 1\n"
		"attach: { cgroup: /top, interfaces: [\"eth*\", \"!eth9\"] }\n"
		"classes:\n"
		"  voice: { dscp: EF, cgroup: /top/v, priority: 6, egress: { rate: 20mbit, burst: 32kb } }\n"
		"  web: { dscp: AF21, syn_ack: AF22, egress: { rate: 80mbit, exceed: { remark: AF23 } } }\n"
		"  fast: { dscp: AF11, egress: { rate: 40gbit } }\n",
		NULL);
	const struct hq_class *voice = class_named(image, "voice");
	const struct hq_class *web = class_named(image, "web");
	const struct hq_class *fast = class_named(image, "fast");

	(void)state;
	assert_int_equal(voice->dscp, 46);
	assert_int_equal(voice->syn_ack, 46);
	assert_int_equal(voice->priority, 6);
	assert_int_equal(voice->line, 4);
	assert_int_equal(voice->exceed, HQ_EXCEED_DROP);
	assert_int_equal(voice->egress.rate, 2500000);
	assert_int_equal(voice->egress.burst, 32768);
	assert_int_equal(voice->pace, 2500000 - 2500000 / 32);
	assert_int_equal(web->syn_ack, 20);
	assert_int_equal(web->priority, HQ_KEEP);
	assert_int_equal(web->exceed, HQ_EXCEED_REMARK);
	assert_int_equal(web->exceed_dscp, 22);
	assert_int_equal(web->egress.burst, 500000); /* 50 ms */
	assert_int_equal(web->pace, 0);		     /* the excess is carried, too */
	assert_int_equal(fast->pace, 0);	     /* 5 GB/s are more than a u32 */
	assert_int_equal(image->header.features,
			 HQ_FEATURE_PACING | HQ_FEATURE_PRIORITY | HQ_FEATURE_APP_DSCP);
	image_free(image);
}

static void features_are_what_the_policy_asks_for(void **state)
{
	struct hq_image *image = helper_compile("hostqos: 1\n"
						"classes: { default: { priority: 1 } }\n"
						"rules:\n"
						"- { match: { inbound_dscp: EF }, refuse: true }\n",
						NULL);

	(void)state;
	assert_int_equal(image->header.features, HQ_FEATURE_REFUSE | HQ_FEATURE_INBOUND_DSCP |
							 HQ_FEATURE_PRIORITY | HQ_FEATURE_APP_DSCP);
	assert_int_equal(image->header.used, HQ_BIT(HQ_DIM_INBOUND_DSCP));
	image_free(image);
}

static void marks_are_honored_as_written(void **state)
{
	struct hq_image *image =
		helper_compile("hostqos: 1\n"
			       "classes:\n"
			       "  unsaid: { dscp: EF, cgroup: /1 }\n"
			       "  honor: { dscp: EF, app_dscp: honor, cgroup: /2 }\n"
			       "  list: { dscp: EF, app_dscp: { honor: [LE, 63] }, cgroup: /3 }\n"
			       "  deny: { app_dscp: deny, cgroup: /4 }\n",
			       NULL);
	const struct hq_class *list = class_named(image, "list");

	(void)state;
	assert_true(image->classes[HQ_CLASS_DEFAULT].honored == HQ_HONOR_ALL);
	assert_true(class_named(image, "unsaid")->honored == 0);
	assert_true(class_named(image, "honor")->honored == HQ_HONOR_ALL);
	assert_true(list->honored == (1ULL << 1 | 1ULL << 63));
	assert_true(hq_honored_priorities(list) == 0);
	assert_true(hq_honors(list->honored, 1) && !hq_honors(list->honored, 46));
	assert_true(class_named(image, "deny")->deny && !list->deny);
	image_free(image);
	image = helper_compile("hostqos: 1\nclasses: { none: { cgroup: /1 } }\n", NULL);
	assert_int_equal(image->header.features, 0);
	image_free(image);
	image = helper_compile("hostqos: 1\nclasses: { deny: { app_dscp: deny, cgroup: /1 } }\n",
			       NULL);
	assert_int_equal(image->header.features, HQ_FEATURE_APP_DSCP);
	image_free(image);
}

/* Against the exact cost, 128 * 10^9 / rate ticks a byte, over the whole range of rates. */
static void meters_cost_what_the_rate_says(void **state)
{
	static const char *const rates[] = {"8kbit", "8001bit", "1mbit",   "20mbit", "999999999bit",
					    "1gbit", "10gbit",	"100gbit", "400gbit"};
	static const uint64_t bits[] = {8000,	     8001,	   1000000,
					20000000,    999999999,	   1000000000,
					10000000000, 100000000000, 400000000000};
	static const uint32_t lengths[] = {1500, 65536, 1 << 20, 0x7fffffff};
	char text[128];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		struct hq_image *image;
		const struct hq_meter *m;

		snprintf(text, sizeof(text),
			 "hostqos: 1\nclasses: { c: { egress: { rate: %s } } }\n", rates[i]);
		image = helper_compile(text, NULL);
		m = &class_named(image, "c")->egress;
		assert_int_equal(m->rate, bits[i] / 8);
		for (n = 0; n < sizeof(lengths) / sizeof(*lengths); n++) {
			double exact = lengths[n] * 128e9 / bits[i];
			double cost = hq_cost(m, lengths[n]);

			/* One tick is lost to rounding down. */
			assert_true(cost <= exact * 1.00001 + 1);
			assert_true(cost >= exact * 0.99999 - 1);
		}
		assert_int_equal(m->depth, hq_cost(m, m->burst));
		assert_true(m->burst >= 32768);
		image_free(image);
	}
}

static void entries_follow_the_rules_then_the_deepest_cgroup(void **state)
{
	struct hq_image *image = helper_compile(
		"hostqos: 1\n"
		"classes:\n"
		"  top: { cgroup: /a }\n"
		"  deep: { cgroup: /a/b/c }\n"
		"  middle: { cgroup: /a/b }\n"
		"  other: { cgroup: /x/y }\n"
		"rules:\n"
		"- { name: mixed, match: { exe: [/exe/1, one, /exe/2] }, class: top }\n"
		"- { match: { user: 7 }, refuse: true }\n",
		NULL);
	static const char *const names[] = {"mixed",	    "mixed",	   "#9",       "class deep",
					    "class middle", "class other", "class top"};
	uint32_t i;

	(void)state;
	assert_int_equal(image->header.rules, 7);
	for (i = 0; i < 7; i++)
		assert_string_equal(image->rules[i].name, names[i]);
	assert_int_equal(image->rules[0].key, image->rules[1].key);
	assert_int_equal(image->rules[0].counter, image->rules[1].counter);
	assert_int_not_equal(image->rules[0].counter, image->rules[2].counter);
	assert_int_equal(image->rules[0].class, id_of(image, "top"));
	assert_int_equal(image->rules[3].class, id_of(image, "deep"));
	assert_int_equal(image->rules[3].line, 4);
	assert_int_equal(image->rules[2].line, 9);
	assert_true(image->rules[2].refuse);
	assert_false(image->rules[0].refuse);
	image_free(image);
}

/* Every row that any table can select is there, and has no bits beyond the rules. */
static void rows_are_in_bounds_and_distinct(void **state)
{
	struct hq_image *image;
	char *text = NULL;
	size_t size, rows, i, n;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	fprintf(out, "hostqos: 1\nclasses: { c: { cgroup: /c } }\nrules:\n");
	for (i = 0; i < 700; i++)
		fprintf(out,
			"- { match: { user: %zu, local_port: %zu-%zu, remote: 10.%zu.0.0/16, cgroup: /g%zu }, class: c }\n",
			i, i + 1, i + 100, i % 256, i % 50);
	fclose(out);
	image = helper_compile(text, NULL);
	free(text);
	assert_int_equal(image->header.rules, 701);
	assert_int_equal(image->header.chunks, 2);
	rows = image->vector_count / 3;
	for (i = 0; i < 701; i++)
		assert_true(image->vectors[1 + i / 512].word[i / 64 % 8] >> i % 64 & 1);
	for (i = 0; i < rows; i++) {
		const struct hq_vector *row = &image->vectors[3 * i];

		assert_int_equal(row[2].word[2] >> (701 - 640), 0);
		for (n = 3; n < 8; n++)
			assert_int_equal(row[2].word[n], 0);
		for (n = 0; n < 32; n++)
			assert_int_equal(
				row->word[0] >> n & 1,
				(row[1 + n / 16].word[n / 2 % 8] >> n % 2 * 32 & 0xffffffff) != 0);
		for (n = 0; n < i; n++)
			assert_memory_not_equal(row + 1, &image->vectors[3 * n + 1],
						2 * sizeof(struct hq_vector));
	}
	for (i = 0; i < HQ_PORT_CELLS; i++)
		assert_true(image->ports[i] < rows);
	for (i = 0; i < HQ_ENUM_CELLS; i++)
		assert_true(image->enums[i] < rows);
	for (i = 0; i < image->exact_count; i++)
		assert_true(image->exact[i].row < rows);
	for (i = 0; i < image->prefix_count; i++)
		assert_true(image->prefixes[i].row < rows);
	for (i = 0; i < HQ_NDIMS; i++) {
		assert_true(image->header.any_row[i] < rows);
		assert_true(image->header.other_row[i] < rows);
	}
	n = image->header.path_stride;
	for (i = 0; i < image->path_cells; i++)
		assert_true(image->paths[i] < (i % n == n - 1 ? rows : image->path_cells / n));
	for (i = 0; i < 256; i++)
		assert_true(image->header.byte_class[i] < n - 1);
	image_free(image);
}

static struct policy_ids ids_of(const struct hq_image *image)
{
	struct policy_ids ids = {
		.classes = calloc(HQ_MAX_CLASSES, sizeof(struct policy_id)),
		.rules = calloc(image->header.rules + 1, sizeof(struct policy_id)),
	};
	uint32_t i;

	for (i = 0; i < HQ_MAX_CLASSES; i++)
		if (image->classes[i].defined) {
			strcpy(ids.classes[ids.class_count].name, image->classes[i].name);
			ids.classes[ids.class_count++].id = i;
		}
	for (i = 0; i < image->header.rules; i++) {
		ids.rules[ids.rule_count].key = image->rules[i].key;
		ids.rules[ids.rule_count++].id = image->rules[i].counter;
	}
	return ids;
}

static void ids_stay_with_their_names(void **state)
{
	struct hq_image *before =
		helper_compile("hostqos: 1\n"
			       "classes: { a: {}, b: { cgroup: /b }, c: {} }\n"
			       "rules:\n"
			       "- { name: one, match: { user: 1 }, class: a }\n"
			       "- { match: { user: 2 }, class: a }\n"
			       "- { name: three, match: { user: 3 }, class: a }\n",
			       NULL);
	struct policy_ids ids = ids_of(before);
	struct hq_image *after = helper_compile(
		"hostqos: 1\n"
		"classes: { d: {}, c: {}, b: { cgroup: /other }, default: { dscp: EF } }\n"
		"rules:\n"
		"- { name: four, match: { user: 3 }, class: d }\n"
		"- { name: three, match: { user: 4 }, class: c }\n"
		"\n"
		"- { match: { user: 2 }, class: c }\n"
		"- { match: { user: [9] }, class: d }\n"
		"- { name: one, match: { user: 5 }, refuse: true }\n",
		&ids);
	uint32_t i, n;

	(void)state;
	assert_int_equal(id_of(after, "default"), HQ_CLASS_DEFAULT);
	assert_int_equal(id_of(after, "b"), id_of(before, "b"));
	assert_int_equal(id_of(after, "c"), id_of(before, "c"));
	/* What a counted is not taken for d's. */
	assert_int_not_equal(id_of(after, "d"), id_of(before, "a"));
	assert_int_equal(rule_named(after, "one")->counter, rule_named(before, "one")->counter);
	assert_int_equal(rule_named(after, "three")->counter, rule_named(before, "three")->counter);
	assert_int_equal(rule_named(after, "class b")->counter,
			 rule_named(before, "class b")->counter);
	for (i = 0; i < after->header.rules; i++)
		for (n = 0; n < i; n++)
			assert_int_not_equal(after->rules[i].counter, after->rules[n].counter);
	for (i = 0; i < before->header.rules; i++)
		assert_int_not_equal(rule_named(after, "four")->counter, before->rules[i].counter);
	free(ids.classes);
	free(ids.rules);
	image_free(before);
	image_free(after);
}

static void an_unnamed_rule_is_known_by_what_it_says(void **state)
{
	struct hq_image *before = helper_compile("hostqos: 1\nclasses: { a: {} }\n"
						 "rules:\n"
						 "- { match: { user: 1 }, class: a }\n"
						 "- { match: { user: 2 }, class: a }\n"
						 "- { match: { user: 2 }, class: a }\n",
						 NULL);
	struct hq_image *after = helper_compile("hostqos: 1\n\n\nclasses: { a: {} }\n"
						"rules:\n"
						"- { class: a, match: { user: [2] } }\n"
						"- { match: { user: 2 }, class: a }\n"
						"- { match: { user: 2 }, refuse: true }\n",
						NULL);

	(void)state;
	assert_int_equal(after->rules[0].key, before->rules[1].key);
	assert_int_equal(after->rules[1].key, before->rules[2].key);
	assert_int_not_equal(before->rules[1].key, before->rules[2].key);
	assert_int_not_equal(before->rules[1].counter, before->rules[2].counter);
	assert_int_not_equal(after->rules[2].key, after->rules[0].key);
	image_free(before);
	image_free(after);
}

/* When every id is taken by the policy before, old ones are used again rather than doubled. */
static void ids_do_not_run_out(void **state)
{
	struct policy_ids ids = {.classes = calloc(HQ_MAX_CLASSES, sizeof(struct policy_id))};
	struct hq_image *image;
	int i;

	(void)state;
	for (i = 0; i < HQ_MAX_CLASSES; i++) {
		snprintf(ids.classes[i].name, HQ_NAME_LEN, "old%d", i);
		ids.classes[i].id = i;
	}
	ids.class_count = HQ_MAX_CLASSES;
	image = helper_compile("hostqos: 1\nclasses: { a: {}, old5: {}, b: {} }\n", &ids);
	assert_int_equal(id_of(image, "old5"), 5);
	assert_int_not_equal(id_of(image, "a"), id_of(image, "b"));
	assert_int_not_equal(id_of(image, "a"), 5);
	free(ids.classes);
	image_free(image);
}

static void executables_are_looked_up_once(void **state)
{
	struct hq_image *image = helper_compile("hostqos: 1\nclasses: { a: {} }\n"
						"rules:\n"
						"- { match: { exe: [/exe/5, /gone] }, class: a }\n",
						NULL);
	__u32 device;
	__u64 inode;

	(void)state;
	assert_int_equal(image->exact_count, 1);
	assert_int_equal(image->exact[0].key.dim, HQ_DIM_EXE_FILE);
	assert_int_equal(image->exact[0].key.a, 5);
	assert_int_equal(image->exact[0].key.b, 7);
	image_free(image);
	assert_int_equal(policy_exe_stat("/proc/self/exe", &device, &inode), 0);
	assert_int_not_equal(inode, 0);
	assert_int_equal(policy_exe_stat("/", &device, &inode), -ENOEXEC);
	assert_int_equal(policy_exe_stat("/no/such/file", &device, &inode), -ENOENT);
}

static void one_rule_too_many_is_refused(void **state)
{
	char *text = NULL, *said;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int i;

	(void)state;
	fprintf(out, "hostqos: 1\nclasses: { c: { cgroup: /c } }\nrules:\n");
	for (i = 0; i < HQ_MAX_RULES; i++)
		fprintf(out, "- { match: { user: %d }, class: c }\n", i);
	fclose(out);
	said = helper_messages(text, size);
	assert_non_null(strstr(said, "error: too many rules: 16384"));
	free(said);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_policy_has_class_default),
		cmocka_unit_test(classes_say_what_is_written),
		cmocka_unit_test(features_are_what_the_policy_asks_for),
		cmocka_unit_test(marks_are_honored_as_written),
		cmocka_unit_test(meters_cost_what_the_rate_says),
		cmocka_unit_test(entries_follow_the_rules_then_the_deepest_cgroup),
		cmocka_unit_test(rows_are_in_bounds_and_distinct),
		cmocka_unit_test(ids_stay_with_their_names),
		cmocka_unit_test(an_unnamed_rule_is_known_by_what_it_says),
		cmocka_unit_test(ids_do_not_run_out),
		cmocka_unit_test(executables_are_looked_up_once),
		cmocka_unit_test(one_rule_too_many_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
