/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * hostqos: a policy in YAML, in force on this host.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "suggest.h"
#include "verbs.h"

#define VERSION "0.1"

static const struct verb {
	const char *name;
	const char *arguments;
	int min_arguments, max_arguments; /* -1: any number */
	int (*run)(const struct options *options, int argc, char **argv);
	const char *summary;
	const char *help;
	const char *options; /* of its own, by name; NULL: none */
} verbs[] = {
	{"check", "FILE", 1, 1, cmd_check, "parse, validate and compile a policy",
	 "Needs no privileges and changes nothing. FILE may be - for standard input.\n"
	 "Warnings alone exit with 0.\n\n"
	 "Example: hostqos check policy.yaml\n",
	 NULL},
	{"apply", "FILE", 1, 1, cmd_apply, "put a policy in force, atomically",
	 "The first time it loads and attaches, later it replaces: no packet and no socket\n"
	 "sees half of two policies. Prints what changed. FILE may be - for standard input.\n\n"
	 "Example: hostqos apply policy.yaml\n",
	 NULL},
	{"try", "FILE [--for TIME]", 1, 1, cmd_try, "apply a policy, and go back unless it is kept",
	 "After TIME (60s, 5m, 1h; default 60s) the former policy is in force again, or all is\n"
	 "detached where none was, unless `hostqos keep` came before, whatever becomes of this\n"
	 "command, its terminal and its connection. `apply` ends a trial too.\n\n"
	 "Example: hostqos try policy.yaml --for 5m\n",
	 "for"},
	{"keep", "", 0, 0, cmd_keep, "keep the policy that is on trial",
	 "An error where none is.\n\n"
	 "Example: hostqos keep\n",
	 NULL},
	{"shadow", "FILE|--show|--promote|--discard", 0, 1, cmd_shadow,
	 "count what another policy would change",
	 "FILE is loaded beside the policy in force, changes nothing, and counts on the traffic\n"
	 "that leaves what it would remark, drop and refuse, by its own classes. --show prints the\n"
	 "counts, --promote puts it in force, --discard ends it, as `apply` does.\n\n"
	 "Example: hostqos shadow policy.yaml\n",
	 "show promote discard"},
	{"diff", "FILE", 1, 1, cmd_diff, "what apply would change",
	 "Exits with 0 either way; under -j, `changed` tells.\n\n"
	 "Example: hostqos diff policy.yaml\n",
	 NULL},
	{"status", "", 0, 0, cmd_status, "what is attached where, read back from the kernel",
	 "Exits with 1 where something that must be attached is not.\n\n"
	 "Example: hostqos status -j\n",
	 NULL},
	{"show", "classes|rules|flows", 1, 1, cmd_show, "configuration beside live counters",
	 "flows are sockets with their class, the rule that gave it, and why.\n\n"
	 "Example: hostqos show classes\n",
	 NULL},
	{"explain", "[FLOW] [--policy FILE | --pid PID | --live]", 0, 0, cmd_explain,
	 "which rule and class a flow gets, and why each earlier rule did not match",
	 "The flow in words, none of which need exist:\n"
	 "  --cgroup PATH  --exe PATH|NAME  --user USER  --group GROUP\n"
	 "  --family ipv4|ipv6  --protocol PROTOCOL  --type TYPE  --direction inbound|outbound\n"
	 "  --local ADDRESS  --local-port PORT  --remote ADDRESS  --remote-port PORT\n"
	 "  --inbound-dscp DSCP|none  --origin local|forwarded (default: local)\n"
	 "What is not said is not known, but for what follows from the rest (the family from\n"
	 "an address, the type from tcp and udp): rules that read it stay undecided.\n"
	 "The policy in force answers, through the kernel's classifier; or else:\n"
	 "  --policy FILE  this one, by the same code without a kernel\n"
	 "Of live sockets instead, each by what the kernel knows of it:\n"
	 "  --pid PID      those that the process holds; protocol, addresses and ports choose\n"
	 "  --live         those of the protocol, addresses and ports given\n\n"
	 "Example: hostqos explain --user www-data --protocol tcp --remote 192.0.2.1 "
	 "--remote-port 443\n",
	 "cgroup exe user group family protocol type direction local remote local-port "
	 "remote-port inbound-dscp origin policy pid live"},
	{"monitor", "[--class NAME] [--rule NAME] [--pid PID] [--limit N]", 0, 0, cmd_monitor,
	 "stream decisions and violations as they happen",
	 "Sockets that come into a class or move to another, single packets that are classified by\n"
	 "themselves, refusals, packets out of profile, reloads, faults; each with its reason. At\n"
	 "most N (1000) events of a kind a second, those of a bucket of each class: what is over\n"
	 "that or finds no room is counted, and the counts are told. Filters are the kernel's;\n"
	 "`--pid` is the process that made the socket. Under -j one object a line. Ends with its\n"
	 "reader, and when hostqos is detached. An instance has one monitor at a time.\n\n"
	 "Example: hostqos monitor --class voice\n",
	 "class rule pid limit"},
	{"run", "--class NAME -- COMMAND [ARGUMENT...]", 1, -1, cmd_run,
	 "run a command in a class's cgroup",
	 "The class must have a `cgroup` in the policy in force. Exits as the command does.\n\n"
	 "Example: hostqos run --class voice -- ./softphone -v\n",
	 "class"},
	{"adopt", "", 0, 0, cmd_adopt,
	 "take sockets to the cgroups of the processes that hold them",
	 "For processes that were moved to another cgroup, and for services whose sockets the\n"
	 "service manager opened. `hostqos watch` does it by itself.\n\n"
	 "Example: hostqos adopt\n",
	 NULL},
	{"watch", "", 0, 0, cmd_watch, "keep the policy in force fitted to the machine",
	 "Stays in the foreground, for a service manager to keep. Attaches interfaces that appear,\n"
	 "and looks executables and users up again when packages and accounts change. Works on\n"
	 "whatever policy is in force, and waits where none is. Under -j one object a line.\n\n"
	 "Example: hostqos watch\n",
	 NULL},
	{"detach", "", 0, 0, cmd_detach, "remove all that apply made, leaving no trace",
	 "Live sockets get their own marks back. Needs nothing but the instance's name, and\n"
	 "works on what a killed command left half done.\n\n"
	 "Example: hostqos detach\n",
	 NULL},
};

#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static void print_usage(FILE *out)
{
	size_t i;

	fputs("usage: hostqos [OPTIONS] VERB [ARGUMENTS]\n\n", out);
	for (i = 0; i < NVERBS; i++)
		fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
	fputs("\n"
	      "  --instance NAME  one of several independent installations (default: default)\n"
	      "  -j, --json       results as JSON on standard output\n"
	      "  --version\n"
	      "  --help           also after a verb\n\n"
	      "Exit status: 0 done, 1 the operation failed or the policy is wrong, 2 usage.\n",
	      out);
}

/* A result that could not be written whole is no result. */
static int check_output(const struct verb *verb, int status)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	/* Of an earlier write's failure nobody knows the reason any more. */
	fprintf(stderr, "hostqos%s%s: cannot write the result%s%s\n", verb ? " " : "",
		verb ? verb->name : "", errno ? ": " : "", errno ? strerror(errno) : "");
	return status == EXIT_DONE ? EXIT_FAILED : status;
}

static int print_help(const struct verb *verb)
{
	if (!verb)
		print_usage(stdout);
	else
		printf("usage: hostqos %s%s%s\n\n%c%s.\n%s", verb->name,
		       *verb->arguments ? " " : "", verb->arguments, toupper(verb->summary[0]),
		       verb->summary + 1, verb->help);
	return check_output(verb, EXIT_DONE);
}

static const struct verb *find_verb(const char *name)
{
	struct suggestion suggestion = {.word = name};
	size_t i;

	if (!strcmp(name, "help"))
		suggest_offer(&suggestion, "--help");
	for (i = 0; i < NVERBS; i++) {
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
		suggest_offer(&suggestion, verbs[i].name);
	}
	fprintf(stderr, "hostqos: unknown verb '%s'%s\n", name, suggest_text(&suggestion));
	return NULL;
}

/* An instance is a directory of bpffs, which forbids dots. */
static bool valid_instance(const char *name)
{
	const char *p;

	for (p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
			return false;
	return p > name && p - name < 64;
}

static int dispatch(const struct verb *verb, const struct options *options, int argc, char **argv)
{
	if (argc < verb->min_arguments ||
	    (verb->max_arguments >= 0 && argc > verb->max_arguments) ||
	    (verb->run == cmd_run && !options->class)) {
		fprintf(stderr, "usage: hostqos %s%s%s\n", verb->name, *verb->arguments ? " " : "",
			verb->arguments);
		return EXIT_USAGE;
	}
	log_begin(verb->name, options->json);
	return check_output(verb, verb->run(options, argc, argv));
}

/* Options of one verb or another; those of a flow are OPTION_FLOW + enum policy_key. */
enum {
	OPTION_CLASS = 256,
	OPTION_FOR,
	OPTION_POLICY,
	OPTION_PID,
	OPTION_LIVE,
	OPTION_RULE,
	OPTION_LIMIT,
	OPTION_SHADOW, /* and enum shadow_action */
	OPTION_FLOW = OPTION_SHADOW + SHADOW_DISCARD + 1,
};

static const struct option long_options[] = {
	{"instance", required_argument, NULL, 'i'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{"class", required_argument, NULL, OPTION_CLASS},
	{"for", required_argument, NULL, OPTION_FOR},
	{"policy", required_argument, NULL, OPTION_POLICY},
	{"pid", required_argument, NULL, OPTION_PID},
	{"live", no_argument, NULL, OPTION_LIVE},
	{"show", no_argument, NULL, OPTION_SHADOW + SHADOW_SHOW},
	{"promote", no_argument, NULL, OPTION_SHADOW + SHADOW_PROMOTE},
	{"discard", no_argument, NULL, OPTION_SHADOW + SHADOW_DISCARD},
	{"rule", required_argument, NULL, OPTION_RULE},
	{"limit", required_argument, NULL, OPTION_LIMIT},
	{"cgroup", required_argument, NULL, OPTION_FLOW + POLICY_CGROUP},
	{"exe", required_argument, NULL, OPTION_FLOW + POLICY_EXE},
	{"user", required_argument, NULL, OPTION_FLOW + POLICY_USER},
	{"group", required_argument, NULL, OPTION_FLOW + POLICY_GROUP},
	{"family", required_argument, NULL, OPTION_FLOW + POLICY_FAMILY},
	{"protocol", required_argument, NULL, OPTION_FLOW + POLICY_PROTOCOL},
	{"type", required_argument, NULL, OPTION_FLOW + POLICY_TYPE},
	{"direction", required_argument, NULL, OPTION_FLOW + POLICY_DIRECTION},
	{"local", required_argument, NULL, OPTION_FLOW + POLICY_LOCAL},
	{"remote", required_argument, NULL, OPTION_FLOW + POLICY_REMOTE},
	{"local-port", required_argument, NULL, OPTION_FLOW + POLICY_LOCAL_PORT},
	{"remote-port", required_argument, NULL, OPTION_FLOW + POLICY_REMOTE_PORT},
	{"inbound-dscp", required_argument, NULL, OPTION_FLOW + POLICY_INBOUND_DSCP},
	{"origin", required_argument, NULL, OPTION_FLOW + POLICY_ORIGIN},
	{},
};

#define NOPTIONS (sizeof(long_options) / sizeof(long_options[0]))

static int take_number(const char *option, const char *text, __u32 *number)
{
	char *rest;
	unsigned long value = strtoul(text, &rest, 10);

	if (!isdigit((unsigned char)*text) || *rest || !value || value > INT_MAX) {
		fprintf(stderr, "hostqos: --%s %s: not a number from 1\n", option, text);
		return EXIT_USAGE;
	}
	*number = value;
	return 0;
}

/* Keep what an option of a verb's own says. 0 or EXIT_USAGE. */
static int take_option(struct options *options, int option, const char *argument)
{
	switch (option) {
	case OPTION_CLASS:
		options->class = argument;
		break;
	case OPTION_FOR:
		options->duration = argument;
		break;
	case OPTION_POLICY:
		options->policy = argument;
		break;
	case OPTION_PID:
		return take_number("pid", argument, &options->pid);
	case OPTION_RULE:
		options->rule = argument;
		break;
	case OPTION_LIMIT:
		return take_number("limit", argument, &options->limit);
	case OPTION_LIVE:
		options->live = true;
		break;
	case OPTION_SHADOW + SHADOW_SHOW:
	case OPTION_SHADOW + SHADOW_PROMOTE:
	case OPTION_SHADOW + SHADOW_DISCARD:
		options->shadow = option - OPTION_SHADOW;
		options->shadow_actions++;
		break;
	default:
		options->flow[option - OPTION_FLOW] = argument;
	}
	return 0;
}

static bool has_word(const char *words, const char *word)
{
	size_t length = strlen(word);
	const char *p;

	for (p = words; p && (p = strstr(p, word)); p += length)
		if ((p == words || p[-1] == ' ') && (p[length] == ' ' || !p[length]))
			return true;
	return false;
}

/* Every option that was given must be the verb's. */
static int check_options(const struct verb *verb, const bool given[NOPTIONS])
{
	size_t i;

	for (i = 0; i < NOPTIONS; i++) {
		if (!given[i] || has_word(verb->options, long_options[i].name))
			continue;
		fprintf(stderr, "hostqos: '%s' has no option --%s\n", verb->name,
			long_options[i].name);
		return EXIT_USAGE;
	}
	return 0;
}

/* Or what is opened next, a map or a lock, would get the output of one that is closed. */
static void fill_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDONLY);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct options options = {.instance = "default"};
	const struct verb *verb = NULL;
	bool help = false, given[NOPTIONS] = {};
	int option, index;

	fill_standard_descriptors();
	while ((option = getopt_long(argc, argv, "jh", long_options, &index)) != -1) {
		switch (option) {
		case 'i':
			options.instance = optarg;
			break;
		case 'j':
			options.json = true;
			break;
		case 'h':
			help = true;
			break;
		case 'V':
			puts("hostqos " VERSION);
			return check_output(NULL, EXIT_DONE);
		case '?':
			return EXIT_USAGE;
		default:
			if (take_option(&options, option, optarg))
				return EXIT_USAGE;
			given[index] = true;
		}
	}
	if (optind < argc) {
		verb = find_verb(argv[optind++]);
		if (!verb)
			return EXIT_USAGE;
	}
	if (help)
		return print_help(verb);
	if (!verb) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (!valid_instance(options.instance)) {
		fprintf(stderr,
			"hostqos: '%s' is no name of an instance: letters, digits, - and _, at "
			"most 63\n",
			options.instance);
		return EXIT_USAGE;
	}
	if (check_options(verb, given))
		return EXIT_USAGE;
	return dispatch(verb, &options, argc - optind, argv + optind);
}
