// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Flows in words, and the reasons that `explain` gives of their rules.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "describe.h"
#include "explain.h"
#include "policy_helper.h"

#define WORDS(...) ((const char *const[POLICY_KEYS]){__VA_ARGS__})

static struct policy_flow describe(const char *const words[POLICY_KEYS])
{
	struct policy_flow flow;
	struct scalar_error error;
	enum policy_key wrong;

	if (describe_flow(&flow, words, helper_exe, &wrong, &error))
		fail_msg("%s: %s", policy_key_name(wrong), error.why);
	return flow;
}

static void refuse(const char *const words[POLICY_KEYS], enum policy_key key, const char *why)
{
	struct policy_flow flow;
	struct scalar_error error;
	enum policy_key wrong;

	assert_int_not_equal(describe_flow(&flow, words, helper_exe, &wrong, &error), 0);
	assert_int_equal(wrong, key);
	assert_string_equal(error.why, why);
}

static void only_what_is_said_is_known(void **state)
{
	struct policy_flow flow = describe(WORDS(NULL));

	(void)state;
	assert_int_equal(flow.known, 0);
	flow = describe(WORDS([POLICY_USER] = "4242", [POLICY_REMOTE_PORT] = "53"));
	assert_int_equal(flow.known, HQ_BIT(HQ_DIM_USER) | HQ_BIT(HQ_DIM_REMOTE_PORT));
	assert_int_equal(flow.uid, 4242);
	assert_int_equal(flow.remote_port, 53);
	flow = describe(WORDS([POLICY_INBOUND_DSCP] = "none", [POLICY_CGROUP] = "/"));
	assert_int_equal(flow.inbound_dscp, HQ_DSCP_NONE);
	assert_string_equal(flow.cgroup, "");
}

static void what_follows_is_known_too(void **state)
{
	struct policy_flow flow = describe(WORDS([POLICY_REMOTE] = "224.0.0.1"));

	(void)state;
	assert_int_equal(flow.known,
			 HQ_BIT(HQ_DIM_REMOTE) | HQ_BIT(HQ_DIM_FAMILY) | HQ_BIT(HQ_DIM_MULTICAST));
	assert_int_equal(flow.family, 4);
	assert_int_equal(flow.multicast, 1);
	flow = describe(WORDS([POLICY_LOCAL] = "fd00::1"));
	assert_int_equal(flow.known, HQ_BIT(HQ_DIM_LOCAL) | HQ_BIT(HQ_DIM_FAMILY));
	assert_int_equal(flow.family, 6);
	flow = describe(WORDS([POLICY_PROTOCOL] = "tcp", [POLICY_DIRECTION] = "outbound"));
	assert_int_equal(flow.type, SOCK_STREAM);
	assert_int_equal(flow.inbound_dscp, HQ_DSCP_NONE);
	assert_true(flow.known & HQ_BIT(HQ_DIM_INBOUND_DSCP));
	flow = describe(WORDS([POLICY_PROTOCOL] = "icmp"));
	assert_int_equal(flow.known, HQ_BIT(HQ_DIM_PROTOCOL));
}

/* A base name leaves open which file it is; a path says both, also where there is no file. */
static void executables(void **state)
{
	struct policy_flow flow = describe(WORDS([POLICY_EXE] = "one"));

	(void)state;
	assert_int_equal(flow.known, HQ_BIT(HQ_DIM_EXE_NAME));
	assert_true(flow.exe_hash == policy_name_hash("one"));
	flow = describe(WORDS([POLICY_EXE] = "/no/such/file"));
	assert_int_equal(flow.known, HQ_BIT(HQ_DIM_EXE_NAME) | HQ_BIT(HQ_DIM_EXE_FILE));
	assert_int_equal(flow.exe_inode, 0);
	assert_true(flow.exe_hash == policy_name_hash("file"));
}

static void words_that_say_nothing_are_refused(void **state)
{
	(void)state;
	refuse(WORDS([POLICY_LOCAL_PORT] = "x"), POLICY_LOCAL_PORT, "'x' is not a port");
	refuse(WORDS([POLICY_REMOTE_PORT] = "1-2"), POLICY_REMOTE_PORT,
	       "'1-2' is a range; a flow has one port");
	refuse(WORDS([POLICY_REMOTE] = "10.0.0.0/8"), POLICY_REMOTE,
	       "'10.0.0.0/8' is a prefix; a flow has one address");
	refuse(WORDS([POLICY_LOCAL] = "10.0.0.1", [POLICY_REMOTE] = "::1"), POLICY_REMOTE,
	       "the address is not of that family");
	refuse(WORDS([POLICY_FAMILY] = "ipv6", [POLICY_LOCAL] = "10.0.0.1"), POLICY_LOCAL,
	       "the address is not of that family");
	refuse(WORDS([POLICY_CGROUP] = "a/b"), POLICY_CGROUP,
	       "'a/b' is not the path of a cgroup, as in '/a/b'");
	refuse(WORDS([POLICY_EXE] = "a/b"), POLICY_EXE,
	       "'a/b' is neither an absolute path nor a base name");
	refuse(WORDS([POLICY_USER] = "nobody-at-all"), POLICY_USER,
	       "there is no user 'nobody-at-all'; a number need not exist");
}

static void contradict(const char *const words[POLICY_KEYS], enum policy_key key, const char *why)
{
	struct policy_flow flow = describe(words);
	struct scalar_error error;
	enum policy_key wrong;
	int err = describe_contradiction(&flow, &wrong, &error);

	assert_int_equal(!!err, !!why);
	if (!why)
		return;
	assert_int_equal(wrong, key);
	assert_string_equal(error.why, why);
}

static void words_that_contradict_one_another_are_refused(void **state)
{
	(void)state;
	contradict(WORDS([POLICY_PROTOCOL] = "tcp", [POLICY_TYPE] = "dgram"), POLICY_TYPE,
		   "its protocol has no sockets of that type");
	contradict(WORDS([POLICY_PROTOCOL] = "icmp", [POLICY_REMOTE_PORT] = "25"),
		   POLICY_REMOTE_PORT, "its protocol has no ports");
	contradict(WORDS([POLICY_PROTOCOL] = "icmp", [POLICY_LOCAL_PORT] = "25"), POLICY_LOCAL_PORT,
		   "its protocol has no ports");
	contradict(WORDS([POLICY_PROTOCOL] = "icmp", [POLICY_REMOTE] = "fd00::1"), POLICY_PROTOCOL,
		   "it is of a family that the rest excludes");
	contradict(WORDS([POLICY_PROTOCOL] = "icmpv6", [POLICY_FAMILY] = "ipv4"), POLICY_PROTOCOL,
		   "it is of a family that the rest excludes");
	contradict(WORDS([POLICY_PROTOCOL] = "icmp", [POLICY_REMOTE] = "192.0.2.1"), 0, NULL);
	contradict(WORDS([POLICY_PROTOCOL] = "udp", [POLICY_TYPE] = "raw"), 0, NULL);
	contradict(WORDS([POLICY_PROTOCOL] = "sctp", [POLICY_LOCAL_PORT] = "25"), 0, NULL);
	contradict(WORDS([POLICY_REMOTE_PORT] = "25", [POLICY_FAMILY] = "ipv6"), 0, NULL);
}

static const char policy_text[] =
	"hostqos: 1\n"
	"classes: { voice: { dscp: EF }, bulk: { dscp: LE, cgroup: /own }, deep: { cgroup: /own/x } }\n"
	"rules:\n"
	"  - { name: media, match: { cgroup: /voip, protocol: udp, local_port: [10000-20000, 5060] }, class: voice }\n"
	"  - { match: { exe: [/exe/1, two], user: 0 }, class: voice }\n"
	"  - { name: except, match: { protocol: tcp, not: { remote: 192.0.2.0/24 } }, class: bulk }\n"
	"  - { name: smtp, match: { protocol: tcp, remote_port: 25 }, refuse: true }\n";

/* Every rule to the one that matches, a line each. */
static char *explained(const char *const words[POLICY_KEYS])
{
	static const char *const answers[] = {"no", "undecided", "yes"};
	struct policy *policy = helper_parse(policy_text);
	struct policy_flow flow = describe(words);
	struct explanation e;
	char *text = NULL;
	size_t size, i;
	FILE *out = open_memstream(&text, &size);

	explain_flow(&e, policy, &flow, helper_exe);
	for (i = 0; i < e.count; i++)
		fprintf(out, "%s: %s: %s\n", e.reasons[i].rule, answers[e.reasons[i].matches],
			e.reasons[i].text);
	fclose(out);
	explain_free(&e);
	policy_free(policy);
	return text;
}

static void expect(const char *const words[POLICY_KEYS], const char *wanted)
{
	char *text = explained(words);

	assert_string_equal(text, wanted);
	free(text);
}

static void reasons_are_sentences(void **state)
{
	(void)state;
	expect(WORDS([POLICY_CGROUP] = "/voip/a", [POLICY_PROTOCOL] = "udp",
		     [POLICY_LOCAL_PORT] = "5060"),
	       "media: yes: every key matches\n");
	expect(WORDS([POLICY_CGROUP] = "/own/x/y", [POLICY_PROTOCOL] = "tcp", [POLICY_EXE] = "one",
		     [POLICY_USER] = "7", [POLICY_REMOTE] = "192.0.2.7",
		     [POLICY_REMOTE_PORT] = "80"),
	       "media: no: cgroup is /own/x/y, not /voip; protocol is tcp, not udp\n"
	       "#5: no: user is 7, not 0\n"
	       "except: no: remote is 192.0.2.7, which `not` excludes\n"
	       "smtp: no: remote_port is 80, not 25\n"
	       "class deep: yes: every key matches\n");
	expect(WORDS([POLICY_CGROUP] = "/own", [POLICY_PROTOCOL] = "udp", [POLICY_LOCAL_PORT] = "9",
		     [POLICY_EXE] = "three", [POLICY_USER] = "0"),
	       "media: no: cgroup is /own, not /voip; local_port is 9, not 10000-20000 or 5060\n"
	       "#5: undecided: exe is not known\n"
	       "except: no: protocol is udp, not tcp\n"
	       "smtp: no: protocol is udp, not tcp\n"
	       "class deep: no: cgroup is /own, not /own/x\n"
	       "class bulk: yes: every key matches\n");
	expect(WORDS([POLICY_PROTOCOL] = "tcp", [POLICY_REMOTE_PORT] = "25"),
	       "media: no: protocol is tcp, not udp\n"
	       "#5: undecided: exe and user are not known\n"
	       "except: undecided: remote is not known\n"
	       "smtp: yes: every key matches\n");
	expect(WORDS([POLICY_ORIGIN] = "forwarded", [POLICY_PROTOCOL] = "udp"),
	       "media: no: origin is forwarded, not local\n"
	       "#5: no: origin is forwarded, not local\n"
	       "except: no: origin is forwarded, not local\n"
	       "smtp: no: origin is forwarded, not local\n"
	       "class deep: no: origin is forwarded, not local\n"
	       "class bulk: no: origin is forwarded, not local\n");
}

/* A list of paths and base names is two entries of the compiled rules, but one rule. */
static void entries_are_counted_as_rules(void **state)
{
	struct policy *policy = helper_parse(policy_text);
	static const size_t ranks[] = {0, 1, 1, 2, 3, 4, 5};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++)
		assert_int_equal(policy_rank(policy, i), ranks[i]);
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_said_is_known),
		cmocka_unit_test(what_follows_is_known_too),
		cmocka_unit_test(executables),
		cmocka_unit_test(words_that_say_nothing_are_refused),
		cmocka_unit_test(words_that_contradict_one_another_are_refused),
		cmocka_unit_test(reasons_are_sentences),
		cmocka_unit_test(entries_are_counted_as_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
