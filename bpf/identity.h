/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who made a socket: cgroup, user, group, executable.
 */
#ifndef HOSTQOS_BPF_IDENTITY_H
#define HOSTQOS_BPF_IDENTITY_H

#include <hostqos/name.h>

#include "flow.h"

#define NAME_MAX 255

#define NAME_CHUNK 32

struct name_walk {
	const unsigned char *name;
	__u64 hash;
};

/* Hash the next NAME_CHUNK - 1 bytes of the name. */
static long name_chunk(__u32 index, void *context)
{
	struct name_walk *w = context;
	unsigned char chunk[NAME_CHUNK];
	long length;
	int i;

	(void)index;
	length = bpf_probe_read_kernel_str(chunk, sizeof(chunk), w->name);
	for (i = 0; i < NAME_CHUNK - 1 && i + 1 < length; i++)
		w->hash = hq_name_hash_add(w->hash, chunk[i]);
	w->name += NAME_CHUNK - 1;
	return length != NAME_CHUNK;
}

static __always_inline __u64 kernel_name_hash(const unsigned char *name)
{
	struct name_walk w = {.name = name, .hash = HQ_NAME_HASH_INIT};

	bpf_loop(NAME_MAX / (NAME_CHUNK - 1) + 1, name_chunk, &w, 0);
	return w.hash;
}

/* The cgroup is the socket's own: it stays when the process is moved. */
static __always_inline void identity_set_cgroup(struct hq_identity *id, struct cgroup *cgroup)
{
	id->cgroup = BPF_CORE_READ(cgroup, kn, id);
	id->cgroup_ptr = (__u64)cgroup;
	id->known |= HQ_BIT(HQ_DIM_CGROUP);
}

/*
 * A kernel thread has no executable; its file and name match no list. (A task
 * is followed by plain loads, which the verifier lets fault safely: a tenth of
 * the cost of as many bpf_probe_read_kernel().)
 */
static __always_inline void identity_set_exe(struct hq_identity *id, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	struct file *exe = mm ? mm->exe_file : NULL;

	id->known |= HQ_BIT(HQ_DIM_EXE_FILE) | HQ_BIT(HQ_DIM_EXE_NAME);
	if (!exe)
		return;
	id->exe_inode = exe->f_inode->i_ino;
	id->exe_device = exe->f_inode->i_sb->s_dev;
	id->exe_name = kernel_name_hash(exe->f_path.dentry->d_name.name);
}

static __always_inline void identity_set_user(struct hq_identity *id, __u32 uid)
{
	id->uid = uid;
	id->known |= HQ_BIT(HQ_DIM_USER);
}

static __always_inline void identity_set_group(struct hq_identity *id, __u32 gid)
{
	id->gid = gid;
	id->known |= HQ_BIT(HQ_DIM_GROUP);
}

static __always_inline void identity_capture(struct hq_identity *id, struct task_struct *task,
					     struct cgroup *cgroup)
{
	identity_set_cgroup(id, cgroup);
	identity_set_exe(id, task);
	identity_set_user(id, task->cred->uid.val);
	identity_set_group(id, task->cred->gid.val);
}

#endif
