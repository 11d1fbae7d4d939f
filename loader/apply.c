/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * apply: everything is prepared and attached beside what is in force; then one
 * word flips; then the rest is made to follow. Up to the flip every step can be
 * undone, and a killed command leaves the old policy in force; after it only
 * the new one is.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "apply.h"
#include "cgroups.h"
#include "changes.h"
#include "exe.h"
#include "force.h"
#include "log.h"
#include "object.h"
#include "shadow.h"
#include "sockets.h"

/* Never 0: that is the tc_index of a packet that nobody marked. */
static __u16 random_mark(void)
{
	__u16 mark = 0;

	while (!mark)
		if (getrandom(&mark, sizeof(mark), 0) != sizeof(mark))
			mark = getpid();
	return mark;
}

static int write_install(const struct apply *a)
{
	__u32 zero = 0;

	if (bpf_map_update_elem(a->in.map[MAP_INSTALL], &zero, &a->install, BPF_ANY))
		return log_error(-errno, "cannot write the map 'install'");
	return 0;
}

/* Load this binary's programs, with whatever maps are pinned already. */
static int load(struct apply *a)
{
	unsigned int parts = OBJECT_HOOKS;
	int err;

	if (a->skel)
		return 0;
	if (a->source.policy && policy_mirrors_upstream(a->source.policy))
		parts |= OBJECT_UPSTREAM;
	if (!a->install.metered_mark)
		a->install.metered_mark = random_mark();
	if (!a->install.netns)
		a->install.netns = own_netns();
	err = object_load(&a->skel, &a->in, parts, a->install.metered_mark);
	if (err)
		return err;
	instance_close_maps(&a->in);
	err = instance_open(&a->in);
	if (err == -ENOENT)
		return log_error(err, "the maps of the BPF object were not pinned");
	return err ? err : write_install(a);
}

/*
 * The policy in force, if any. An installation that lost some of its maps is
 * made whole; what cannot be read of its policy counts as unknown.
 */
static int read_installation(struct apply *a, bool damaged)
{
	int err = instance_generation(&a->in, &a->generation);

	if (err)
		return log_error(err, "cannot read the generation in force");
	a->fresh = !a->generation;
	if (a->fresh)
		return 0;
	err = in_force_read(&a->in, &a->old);
	if (err)
		return damaged && err != -EPROTO ? 0 : err;
	source_parse_again(&a->old_source, &a->old);
	return 0;
}

static int check_netns(const struct apply *a)
{
	if (a->install.netns == own_netns())
		return 0;
	log_error(0,
		  "instance '%s' governs another network namespace; detach it, or choose another "
		  "--instance",
		  a->in.name);
	return -EXDEV;
}

static bool same_object(const struct apply *a)
{
	char hash[sizeof(a->install.object)] = "";

	object_hash(hash);
	return !strcmp(hash, a->install.object);
}

/* Does what is installed fit this binary and this network namespace? */
static int open_installation(struct apply *a)
{
	bool damaged;
	int err = links_recover(&a->in, false);

	a->fresh = a->in.made;
	if (!err)
		err = instance_open(&a->in);
	damaged = err == -ENOENT;
	if (a->in.map[MAP_INSTALL] >= 0 && instance_install(&a->in, &a->install))
		return log_error(-EIO, "cannot read the map 'install'");
	if (damaged)
		err = load(a);
	if (!err)
		err = trial_settle(&a->in);
	if (!err)
		err = read_installation(a, damaged);
	if (err)
		return err;
	if (!a->fresh && check_netns(a))
		return -EXDEV;
	a->want.upgrade = damaged || !same_object(a);
	return a->want.upgrade ? load(a) : 0;
}

/* The program that tells executables' inodes: running already, or loaded now. */
static int prepare_exe(struct apply *a)
{
	int err = 0, program = -1;

	if (!a->skel)
		program = a->exe_program = link_program(&a->in, "exe_files");
	if (program < 0)
		err = load(a);
	if (err)
		return err;
	if (a->skel)
		program = object_program(object_of(a->skel), "exe_files");
	exe_use_program(program);
	return program < 0 ? program : 0;
}

static int find_targets(struct apply *a)
{
	const struct policy *policy = a->source.policy;
	int fd = cgroup_open(&a->in, policy->attach_cgroup);

	if (fd == -ENOENT) {
		diag_error(&a->source.diag, policy->attach_cgroup_at,
			   "there is no cgroup '%s' below %s", policy->attach_cgroup,
			   a->in.cgroup2);
		return fd;
	}
	if (fd < 0)
		return log_error(fd, "cannot open the cgroup '%s'", policy->attach_cgroup);
	a->want.cgroup_fd = fd;
	a->want.features =
		a->source.image ? a->source.image->header.features : a->old.header.features;
	return cgroup_id(fd, &a->want.cgroup);
}

static int compile(struct apply *a, policy_exe_fn exe)
{
	int err = prepare_exe(a);

	return err ? err : source_compile(&a->source, &a->old, exe);
}

/* Where it applies: interfaces and cgroup. */
static int find_place(struct apply *a)
{
	int err = interfaces_choose(&a->chosen, a->source.policy, &a->source.diag);

	return err ? log_error(err, "cannot list the interfaces") : find_targets(a);
}

/*
 * The kernel may go back from a trial by itself, but attaches nothing then: what
 * the former policy needs stays attached.
 */
static int want_interfaces_of(struct apply *a, const struct policy *former)
{
	struct interfaces chosen;
	struct diag ignored = {};
	int err = interfaces_choose(&chosen, former, &ignored);

	if (!err) {
		err = interfaces_add(&a->chosen, &chosen);
		interfaces_free(&chosen);
	}
	diag_free(&ignored);
	return err ? log_error(err, "cannot list the interfaces") : 0;
}

/* What a trial could not go back from is refused. */
static int place_trial(struct apply *a)
{
	const struct policy *former = a->old_source.policy;

	a->want.features |= a->old.header.features;
	if (!former)
		return 0;
	if (strcmp(a->source.policy->attach_cgroup, former->attach_cgroup)) {
		log_error(0,
			  "what is tried must govern the cgroup that is governed now, '%s', as "
			  "the kernel could not go back to it; write `attach: { cgroup: %s }`, or "
			  "use `hostqos apply`",
			  former->attach_cgroup, former->attach_cgroup);
		return -EINVAL;
	}
	return want_interfaces_of(a, former);
}

/* Attach what is not attached; nothing of it acts on the new policy yet. */
static int attach(struct apply *a)
{
	int err = links_survey(&a->links, &a->in, &a->want);

	if (!err)
		err = egress_survey(&a->egress, &a->links, &a->in, &a->chosen);
	if (!err && links_incomplete(&a->links, &a->in))
		err = load(a);
	if (!err)
		err = cgroups_make(&a->in, a->source.policy);
	if (!err && (a->skel || links_incomplete(&a->links, NULL)))
		err = egress_attach(&a->egress, &a->links, &a->in,
				    a->skel ? object_of(a->skel) : NULL, &a->want);
	return err;
}

/* Before the flip: as if nothing had been tried. Descriptors may be what there was too little of.
 */
static void undo(struct apply *a)
{
	if (a->skel)
		object_unload(a->skel);
	a->skel = NULL;
	links_undo(&a->links, &a->in);
	egress_undo(&a->egress, &a->in);
	if (a->fresh)
		force_remove(&a->in);
	else if (a->old_source.policy)
		cgroups_remove(&a->in, a->old_source.policy);
}

static int commit_links(struct apply *a)
{
	int err = links_commit(&a->links, &a->in);

	return err || !a->skel ? err : programs_keep(&a->in, object_of(a->skel));
}

/* Live sockets follow, those that are governed no more by the old hooks that give marks back. */
static int adopt_sockets(struct apply *a)
{
	int err = adopt(&a->adoption, &a->in, &a->old, a->source.image);

	return err ? err : links_commit_marking(&a->links, &a->in);
}

/* That which was taken while a policy was on trial. */
static void withdraw_spare(const struct instance *in)
{
	int fd = table_in_slot(in, TABLE_HEADER, HQ_SLOT_SPARE);

	if (fd < 0)
		return;
	close(fd);
	tables_withdraw(in, HQ_SLOT_SPARE);
}

/* After the flip: let the rest follow, and live sockets too. */
static int follow(struct apply *a, const struct tables *tables)
{
	int err = commit_links(a);

	if (err)
		return err;
	err = tables_grace(&a->in);
	if (err)
		return log_error(err, "cannot wait for running programs");
	if (!(a->want.features & HQ_FEATURE_UPSTREAM))
		err = instance_forget_upstream(&a->in);
	if (!err)
		err = egress_commit(&a->in, &a->chosen);
	if (!err)
		err = tables_pin(&a->in, tables);
	a->install.netns = own_netns();
	a->install.cgroup = a->want.cgroup;
	a->install.cgroup_level = cgroup_level(a->source.policy->attach_cgroup);
	snprintf(a->install.cgroup_path, sizeof(a->install.cgroup_path), "%s",
		 a->source.policy->attach_cgroup);
	object_hash(a->install.object);
	if (!err)
		err = write_install(a);
	if (!err)
		err = adopt_sockets(a);
	a->install.followed = a->generation;
	if (!err)
		err = write_install(a);
	/* Nothing goes back to it any more. */
	if (!err && !a->trial && hq_slot(a->generation) != HQ_SLOT_SPARE)
		withdraw_spare(&a->in);
	return err;
}

/* What a first policy on trial goes back to. */
static int put_nothing_in_force(struct apply *a)
{
	struct source nothing;
	struct tables tables;
	int err = source_parse(&nothing, "nothing", EMPTY_POLICY, strlen(EMPTY_POLICY));

	if (!err)
		err = source_compile(&nothing, NULL, exe_resolve);
	if (!err)
		err = force_flip(&a->in, &nothing, &a->old, NULL, &tables, &a->generation);
	if (!err)
		tables_close(&tables);
	source_free(&nothing);
	return err;
}

static int flip(struct apply *a, struct tables *tables)
{
	struct hq_trial old;
	int err = trial_look(&a->in, &old, &a->ended_trial);

	if (!err && a->trial && a->fresh) {
		a->trial->record.detaches = 1;
		err = put_nothing_in_force(a);
	}
	return err ? err
		   : force_flip(&a->in, &a->source, &a->old, a->trial, tables, &a->generation);
}

static int replace(struct apply *a)
{
	struct tables tables;
	int err = attach(a);

	/* The first time nothing is known of any socket, and no iterator is pinned. */
	if (!err && !a->fresh)
		err = adopt_prepare(&a->adoption, &a->in);
	if (!err)
		err = flip(a, &tables);
	if (err)
		return err;
	a->flipped = true;
	a->changes = changes_between(a->old_source.policy, a->source.policy);
	err = follow(a, &tables);
	tables_close(&tables);
	if (err)
		log_error(
			0,
			"the new policy is in force, but not all that goes with it was done; apply "
			"it again");
	return err;
}

int apply_begin(struct apply *a, const char *instance, const char *file)
{
	int err = source_read(&a->source, file);

	if (!err)
		err = require_privileges();
	if (!err)
		err = instance_init(&a->in, instance, true);
	return err ?: instance_lock(&a->in);
}

int apply_policy(struct apply *a)
{
	int err = open_installation(a);

	if (!err)
		err = compile(a, exe_resolve);
	if (!err)
		err = find_place(a);
	if (!err && a->trial)
		err = place_trial(a);
	if (!err)
		err = replace(a);
	/* It was compared with what is not in force any more. */
	if (!err)
		err = shadow_discard(&a->in);
	if (err && !a->flipped)
		undo(a);
	return err;
}

int apply_reopen(struct apply *a)
{
	int err = links_recover(&a->in, false);

	if (!err)
		err = instance_open(&a->in);
	if (!err)
		err = instance_install(&a->in, &a->install);
	if (!err)
		err = read_installation(a, false);
	if (!err && a->fresh)
		err = -ENOENT;
	if (!err)
		err = check_netns(a);
	if (err)
		return err;
	if (!same_object(a)) {
		log_error(0,
			  "instance '%s' was installed by another build of hostqos; apply its "
			  "policy with this one",
			  a->in.name);
		return -EPROTO;
	}
	return source_parse_again(&a->source, &a->old);
}

/* Attach what is missing, let go what is not chosen any more: no other policy, no flip. */
static int reattach(struct apply *a)
{
	int err = attach(a);

	if (!err)
		err = commit_links(a);
	if (!err)
		err = links_commit_marking(&a->links, &a->in);
	return err ? err : egress_commit(&a->in, &a->chosen);
}

/* The policy in force is on trial: what it goes back to, if to any. */
static int stay_on_trial(struct apply *a, const struct hq_trial *trial)
{
	struct in_force former = {};
	struct source source = {};
	int err = trial->detaches ? 0 : in_force_read_of(&a->in, trial->back, &former);

	a->want.features |= former.header.features;
	if (!err && former.generation && !source_parse_again(&source, &former))
		err = want_interfaces_of(a, source.policy);
	source_free(&source);
	in_force_free(&former);
	return err;
}

int apply_again(struct apply *a, policy_exe_fn exe)
{
	bool changed = false, on_trial = false;
	struct hq_trial trial;
	int err = find_place(a);

	if (!err)
		err = trial_look(&a->in, &trial, &on_trial);
	/* Other tables would take the slot of those that a trial goes back to. */
	if (!err && on_trial) {
		exe = NULL;
		err = stay_on_trial(a, &trial);
	}
	if (!err && exe) {
		err = compile(a, exe);
		/* A cgroup that was made anew has sockets to be adopted. */
		changed = !err && (a->source.image->header.resolved != a->old.header.resolved ||
				   a->want.cgroup != a->install.cgroup);
	}
	if (!err)
		err = changed ? replace(a) : reattach(a);
	if (err && !a->flipped)
		undo(a);
	return err;
}

void apply_release(struct apply *a)
{
	json_object_put(a->changes);
	adoption_free(&a->adoption);
	links_close(&a->links);
	egress_free(&a->egress);
	interfaces_free(&a->chosen);
	if (a->want.cgroup_fd >= 0)
		close(a->want.cgroup_fd);
	if (a->exe_program >= 0)
		close(a->exe_program);
	if (a->skel)
		object_unload(a->skel);
	in_force_free(&a->old);
	source_free(&a->old_source);
	source_free(&a->source);
	instance_close(&a->in);
}
