/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few kernel structs that hostqos reads, each with just the fields it
 * reads; CO-RE finds their real offsets at load time. Written by hand instead
 * of a committed vmlinux.h of 700 KB.
 */
#ifndef HOSTQOS_BPF_KERNEL_H
#define HOSTQOS_BPF_KERNEL_H

#include <linux/types.h>
#include <stdbool.h>

#define AF_INET	 2
#define AF_INET6 10

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	const char *name;
	__u64 id;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[];
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

struct ns_common {
	__u32 inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr___kernel {
	__u8 u6_addr8[16];
};

typedef struct {
	__u64 counter;
} atomic64_t;

struct sock_common {
	__u16 skc_family;
	__u8 skc_state;
	__u16 skc_num;
	__be16 skc_dport;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	struct in6_addr___kernel skc_v6_daddr;
	struct in6_addr___kernel skc_v6_rcv_saddr;
	possible_net_t skc_net;
	atomic64_t skc_cookie;
};

typedef struct {
	int owned;
} socket_lock_t;

struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	__u16 sk_type;
	__u16 sk_protocol;
	__u8 sk_userlocks : 4;
	__u32 sk_priority;
	kuid_t sk_uid;
	struct sock_cgroup_data sk_cgrp_data;
};

struct sk_buff {
	struct sock *sk;
	unsigned long _nfct;
	__u16 inner_network_header;
};

struct nf_conntrack_tuple {
	struct {
		struct in6_addr___kernel u3; /* IPv4 in its first word */
		struct {
			__be16 all;
		} u;
	} src, dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
};

struct ipv6_pinfo {
	int mcast_oif;
	__u8 tclass;
};

struct inet_sock {
	struct ipv6_pinfo *pinet6;
	int mc_index;
	__u8 tos;
};

struct socket {
	struct sock *sk;
};

struct inet_connection_sock {
	void *icsk_ulp_data;
};

struct tcp_sock {
	__u64 tcp_wstamp_ns;
	struct inet_connection_sock inet_conn;
	__u32 mss_cache;
	bool is_mptcp;
	__u32 write_seq;
};

struct tcp_request_sock {
	__u8 syn_tos;
	bool is_mptcp;
};

struct mptcp_pm_data {
	bool server_side;
};

struct mptcp_sock {
	struct mptcp_pm_data pm;
	__u32 token;
};

struct mptcp_subflow_context {
	struct sock *conn;
	__u32 token;
};

struct mptcp_subflow_request_sock {
	struct mptcp_sock *msk;
	__u32 token;
};

struct super_block {
	__u32 s_dev;
};

struct inode {
	__u16 i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
};

struct mm_struct {
	struct file *exe_file;
};

struct cred {
	kuid_t uid;
	kgid_t gid;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct list_head {
	struct list_head *next;
};

struct signal_struct {
	struct list_head thread_head;
};

struct task_struct {
	int pid;
	int tgid;
	unsigned int flags;
	char comm[16];
	struct task_struct *real_parent;
	struct css_set *cgroups;
	__u64 start_time;
	struct mm_struct *mm;
	const struct cred *cred;
	struct signal_struct *signal;
	struct list_head thread_node;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct sock *sk;
	void *value;
};

#pragma clang attribute pop

#endif
