/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The command line as it is documented: statuses, help, where options stand,
 * what is said where.
 */
#include <stdio.h>
#include <unistd.h>

#include "hostqos.h"
#include "process.h"

#define GOOD  "hostqos: 1\nclasses: { voice: { dscp: EF, cgroup: /a } }\n"
#define BELOW "hostqos: 1\nattach: { cgroup: /a }\nclasses: { voice: { dscp: EF, cgroup: /a } }\n"
#define BAD   "hostqos: 1\nclasses: { voice: { dscp: EF, rat: 1 } }\n"

/* Run by the shell in SCRATCH, where good.yaml and bad.yaml are; $H is the binary. */
static const struct call {
	const char *command;
	int status;
	const char *out, *err; /* must be in it; NULL: it is empty */
} calls[] = {
	{"$H check good.yaml", 0, "correct", NULL},
	{"$H check - <good.yaml", 0, "correct", NULL},
	{"$H check bad.yaml", 1, NULL, "bad.yaml:2:31: error: unknown key 'rat'"},
	{"$H check none.yaml", 1, NULL, "none.yaml"},
	{"$H check good.yaml >/dev/full", 1, NULL, "cannot write the result"},
	{"$H check good.yaml >&-", 1, NULL, "cannot write the result: Bad file descriptor"},
	{"$H --help >/dev/full", 1, NULL, "hostqos: cannot write the result: No space"},
	{"$H check --help >/dev/full", 1, NULL, "hostqos check: cannot write the result"},
	{"$H --version >/dev/full", 1, NULL, "cannot write the result"},
	{"$H -j check good.yaml", 0, "\"ok\":true", NULL},
	{"$H check good.yaml -j", 0, "\"ok\":true", NULL},
	{"$H check -j bad.yaml", 1, "\"column\":31", NULL},
	{"$H --instance x status", 1, "'x' is not installed", NULL},
	{"$H status --instance x", 1, "'x' is not installed", NULL},
	{"$H status --instance a/b", 2, NULL, "a/b"},
	{"$H detach --instance x", 0, "nothing to detach", NULL},
	{"$H diff good.yaml --instance x", 0, "voice", NULL},
	{"$H --version", 0, "hostqos ", NULL},
	{"$H --help", 0, "detach", NULL},
	{"$H check --help", 0, "Example: hostqos check", NULL},
	{"$H apply --help", 0, "Example: hostqos apply", NULL},
	{"$H diff --help", 0, "Example: hostqos diff", NULL},
	{"$H status --help", 0, "Example: hostqos status", NULL},
	{"$H show --help", 0, "Example: hostqos show", NULL},
	{"$H explain --help", 0, "Example: hostqos explain", NULL},
	{"$H monitor --help", 0, "Example: hostqos monitor", NULL},
	{"$H try --help", 0, "Example: hostqos try", NULL},
	{"$H keep --help", 0, "Example: hostqos keep", NULL},
	{"$H shadow --help", 0, "Example: hostqos shadow", NULL},
	{"$H adopt --help", 0, "Example: hostqos adopt", NULL},
	{"$H watch --help", 0, "Example: hostqos watch", NULL},
	{"$H watch --limit 3", 2, NULL, "'watch' has no option --limit"},
	{"setpriv --bounding-set=-net_admin $H status", 1, NULL, "no CAP_NET_ADMIN here"},
	{"setpriv --bounding-set=-sys_ptrace $H watch", 1, NULL, "no CAP_SYS_PTRACE here"},
	{"setpriv --bounding-set=-sys_admin $H apply good.yaml --instance x", 1, NULL,
	 "no CAP_SYS_ADMIN here"},
	{"setpriv --bounding-set=-sys_admin $H check good.yaml", 0, "correct", NULL},
	{"$H monitor --instance x", 1, NULL, "no policy is in force"},
	{"$H run --help", 0, "Example: hostqos run", NULL},
	{"$H detach --help", 0, "Example: hostqos detach", NULL},
	{"$H", 2, NULL, "usage"},
	{"$H aply good.yaml", 2, NULL, "did you mean 'apply'"},
	{"$H help", 2, NULL, "did you mean '--help'"},
	{"$H apply", 2, NULL, "usage"},
	{"$H keep it", 2, NULL, "usage: hostqos keep\n"},
	{"$H explain --policy good.yaml --cgroup /a/b", 0, "class voice", NULL},
	{"$H explain --policy below.yaml --cgroup /b | tail -n 1", 0, "Not governed", NULL},
	{"$H explain --policy good.yaml --remote 1.2.3", 2, NULL, "the flow's remote"},
	{"$H explain --protocol bogus", 2, NULL, "the flow's protocol"},
	{"$H explain --local-port 70000 --instance x", 2, NULL, "the flow's local_port"},
	{"$H explain --protocol tcp --type dgram", 2, NULL, "no sockets of that type"},
	{"$H explain --pid abc", 2, NULL, "--pid abc: not a number from 1"},
	{"$H explain --pid 99999999999", 2, NULL, "not a number from 1"},
	{"$H monitor --pid -1", 2, NULL, "--pid -1: not a number from 1"},
	{"$H -j monitor --limit 0", 2, NULL, "--limit 0: not a number from 1"},
	{"$H try good.yaml --for 5", 2, NULL, "a time such as"},
	{"$H explain --policy good.yaml --live", 2, NULL, "knows no live sockets"},
	{"$H explain --pid 1 --user 0", 2, NULL, "not chosen by their user"},
	{"$H status --pid 1", 2, NULL, "no option --pid"},
	{"$H check --no-such", 2, NULL, "no-such"},
	{"$H show none --instance x", 2, NULL, "none"},
};

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void expect_text(const struct call *call, const char *where, const char *text,
			const char *wanted)
{
	if (wanted ? !strstr(text, wanted) : *text)
		fail_msg("%s: on %s '%s', not '%s'", call->command, where, text, wanted ?: "");
}

static void command_line_is_as_documented(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	size_t i;

	put_file(SCRATCH "/good.yaml", GOOD);
	put_file(SCRATCH "/bad.yaml", BAD);
	put_file(SCRATCH "/below.yaml", BELOW);
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		char script[512];
		char *argv[] = {"sh", "-c", script, NULL};
		struct process *p;
		int status;

		snprintf(script, sizeof(script), "cd " SCRATCH "; H=%s; %s", hostqos_binary(),
			 calls[i].command);
		p = process_startv(tb, &near, argv);
		status = process_wait(p);
		if (status != calls[i].status)
			fail_msg("%s: status %d, not %d", calls[i].command, status,
				 calls[i].status);
		expect_text(&calls[i], "stdout", process_output(p), calls[i].out);
		expect_text(&calls[i], "stderr", process_errors(p), calls[i].err);
	}
}

/* In one sentence, and nothing is left of the attempt. */
static void kernel_without_btf_is_named(void **state)
{
	struct testbed *tb = *state;
	struct place near = near_place(tb, NULL);
	char script[512], *errors;
	struct process *p;

	snprintf(script, sizeof(script),
		 "mount -t tmpfs none /sys/kernel/btf && %s --instance %s apply %s",
		 hostqos_binary(), tb->instance,
		 policy_file(tb, "classes: { a: { dscp: EF, cgroup: @/a } }\n"));
	p = process_startv(tb, &near, (char *[]){"unshare", "--mount", "sh", "-c", script, NULL});
	assert_int_equal(process_wait(p), 1);
	errors = process_errors(p);
	assert_non_null(strstr(errors, "no BTF as /sys/kernel/btf/vmlinux"));
	assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1);
	free(errors);
	assert_int_equal(hostqos(tb, "status"), 1);
}

/* The keys of `status -j`: scripts rely on them. json_member() fails where one is missing. */
static void status_has_its_keys(void **state)
{
	static const char *const keys[] = {"policy", "hash", "generation", "healthy", "attached"};
	static const char *const hook_keys[] = {"hook", "target", "link_id", "ok"};
	struct json_object *status, *attached;
	size_t i, j;

	apply(*state, "classes: { voice: { dscp: EF, cgroup: @/a } }\n");
	status = hostqos_json(*state, 0, "status");
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		json_member(status, keys[i]);
	assert_int_equal(strlen(json_object_get_string(json_member(status, "hash"))), 64);
	attached = json_member(status, "attached");
	/* A filter of clsact has no link, every other hook has. */
	assert_true(json_object_is_type(
		json_member(json_find(attached, "hook", "sock_create"), "link_id"), json_type_int));
	for (i = 0; i < json_object_array_length(attached); i++)
		for (j = 0; j < sizeof(hook_keys) / sizeof(hook_keys[0]); j++)
			json_member(json_object_array_get_idx(attached, i), hook_keys[j]);
	json_object_put(status);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		NET_TEST(command_line_is_as_documented),
		NET_TEST(kernel_without_btf_is_named),
		NET_TEST(status_has_its_keys),
	};

	return RUN_NET_TESTS(argc, argv, tests);
}
