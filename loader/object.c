/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
#include <errno.h>
#include <stdio.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <hostqos/abi.h>
#include <linux/if_ether.h>
#include <sha256.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hostqos.skel.h"
#include "log.h"
#include "object.h"

#define BTF "/sys/kernel/btf/vmlinux"

void object_hash(char hex[72])
{
	size_t size;
	const void *elf = hostqos_bpf__elf_bytes(&size);

	SHA256Data(elf, size, hex);
}

/* libbpf takes over compatible maps that are pinned there, and pins the others. */
static int set_pin_paths(struct hostqos_bpf *skel, const struct instance *in)
{
	char path[PATH_MAX];
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, skel->obj)
	{
		if (bpf_map__is_internal(map))
			continue;
		err = map_pin_path(path, in, bpf_map__name(map));
		if (!err)
			err = bpf_map__set_pin_path(map, path);
		if (err)
			return err;
	}
	return 0;
}

/* What is not a hook, beside all that is named after the shadow; all else is one, or a map that all
 * use. */
static const struct {
	const char *name;
	enum object_part part;
} others[] = {
	{"explain", OBJECT_EXPLAIN},
	{"trial_start", OBJECT_TRIAL},
	{"trial", OBJECT_TRIAL},
	{"trial_timer", OBJECT_TRIAL},
	{"process_moved", OBJECT_MOVES},
	{"process_executed", OBJECT_MOVES},
	{"moves", OBJECT_MOVES},
	{"thread_received", OBJECT_UPSTREAM},
	{"thread_accepted4", OBJECT_UPSTREAM},
	{"thread_accepted6", OBJECT_UPSTREAM},
	{"thread_connects4", OBJECT_UPSTREAM},
	{"thread_connects6", OBJECT_UPSTREAM},
	{"threads", OBJECT_UPSTREAM},
	{"connected_for", OBJECT_UPSTREAM},
};

static enum object_part part_of(const char *name)
{
	size_t i;

	if (!strncmp(name, "shadow", 6))
		return OBJECT_SHADOW;
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strcmp(others[i].name, name))
			return others[i].part;
	return OBJECT_HOOKS;
}

static void choose_parts(struct hostqos_bpf *skel, unsigned int parts)
{
	struct bpf_program *program;
	struct bpf_map *map;

	bpf_object__for_each_program(program, skel->obj)
		bpf_program__set_autoload(program, part_of(bpf_program__name(program)) & parts);
	bpf_object__for_each_map(map, skel->obj)
	{
		enum object_part its = part_of(bpf_map__name(map));

		if (its != OBJECT_HOOKS)
			bpf_map__set_autocreate(map, its & parts);
	}
}

/* CLOCK_MONOTONIC_COARSE is set by the tick. */
__u32 tick_length(void)
{
	struct timespec tick;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) || tick.tv_sec)
		return 0;
	return tick.tv_nsec;
}

int object_load(struct hostqos_bpf **out, const struct instance *in, unsigned int parts, __u16 mark)
{
	struct hostqos_bpf *skel;
	int err;

	/* libbpf would say it in many lines, and the kernel that there is no such process. */
	if (access(BTF, R_OK)) {
		log_error(0,
			  "the kernel shows no BTF as " BTF
			  ": it must be built with CONFIG_DEBUG_INFO_BTF=y, and sysfs be mounted "
			  "there");
		return -EOPNOTSUPP;
	}
	skel = hostqos_bpf__open();
	if (!skel)
		return log_error(-errno, "cannot open the BPF object");
	skel->rodata->metered_mark = mark;
	skel->rodata->tick_ns = tick_length();
	choose_parts(skel, parts);
	err = set_pin_paths(skel, in);
	if (!err)
		err = hostqos_bpf__load(skel);
	if (err) {
		log_libbpf_tail();
		hostqos_bpf__destroy(skel);
		return log_error(err, "the kernel refused the BPF programs");
	}
	*out = skel;
	return 0;
}

int object_ask(struct hostqos_bpf *skel, struct hq_question *question)
{
	char packet[ETH_ZLEN] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));

	skel->bss->question = *question;
	if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.explain), &opts))
		return log_error(-errno, "cannot run the program 'explain'");
	*question = skel->bss->question;
	return 0;
}

void object_unload(struct hostqos_bpf *skel)
{
	hostqos_bpf__destroy(skel);
}

struct bpf_object *object_of(struct hostqos_bpf *skel)
{
	return skel->obj;
}
