/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every map of hostqos. Each is __weak: all object files that include this
 * header are linked into one with a single copy of each (bpftool gen object).
 */
#ifndef HOSTQOS_BPF_MAPS_H
#define HOSTQOS_BPF_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include <hostqos/abi.h>

#define MAP SEC(".maps") __weak

/*
 * The policy's tables. What is declared within `values` is the shape of the
 * inner maps; the loader fills arrays through mmap(2), many times faster than
 * by system calls. A table of one size in all policies keeps it there, since the
 * verifier inlines lookups in such arrays; of the others the size is the
 * policy's affair, hence BPF_F_INNER_MAP.
 */
#define POLICY_TABLE(name, inner)                                                                  \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                          \
		__uint(max_entries, HQ_SLOTS);                                                     \
		__type(key, __u32);                                                                \
		__array(values, struct inner);                                                     \
	} policy_##name MAP

#define INNER_ARRAY(name, value_type, elements, flags)                                             \
	struct inner_##name {                                                                      \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(map_flags, (flags) | BPF_F_MMAPABLE);                                       \
		__uint(max_entries, elements);                                                     \
		__type(key, __u32);                                                                \
		__type(value, value_type);                                                         \
	};                                                                                         \
	POLICY_TABLE(name, inner_##name)

INNER_ARRAY(header, struct hq_header, 1, 0);
INNER_ARRAY(classes, struct hq_class, HQ_MAX_CLASSES, 0);
INNER_ARRAY(ports, __u32, HQ_PORT_CELLS, 0);
INNER_ARRAY(enums, __u32, HQ_ENUM_CELLS, 0);
INNER_ARRAY(rules, struct hq_rule, 1, BPF_F_INNER_MAP);
INNER_ARRAY(vectors, struct hq_vector, 1, BPF_F_INNER_MAP);
INNER_ARRAY(paths, __u32, 1, BPF_F_INNER_MAP);
INNER_ARRAY(text, struct hq_text, 1, BPF_F_INNER_MAP);
INNER_ARRAY(names, struct hq_named, 1, BPF_F_INNER_MAP);

struct inner_exact {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct hq_exact_key);
	__type(value, __u32);
};
POLICY_TABLE(exact, inner_exact);

struct inner_prefixes {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct hq_prefix_key);
	__type(value, __u32);
};
POLICY_TABLE(prefixes, inner_prefixes);

/*
 * Never called. clang 14 leaves the value type of an inner map a forward
 * declaration in BTF where no code of the file uses the struct, and such a map
 * cannot be linked.
 */
static __attribute__((used)) __u64 inner_value_types(void)
{
	return bpf_core_type_id_local(struct hq_header) + bpf_core_type_id_local(struct hq_rule) +
	       bpf_core_type_id_local(struct hq_class) + bpf_core_type_id_local(struct hq_vector) +
	       bpf_core_type_id_local(struct hq_text) + bpf_core_type_id_local(struct hq_named) +
	       bpf_core_type_id_local(struct hq_exact_key) +
	       bpf_core_type_id_local(struct hq_prefix_key);
}

/* The flip: slot hq_slot(generation) of every table above is in force. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hq_active);
} active MAP;

/* An accepted socket starts with its listener's identity: BPF_F_CLONE. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct hq_flow);
} flows MAP;

/* The row of a cgroup, remembered at its first sight under a generation. */
struct cgroup_rows_key {
	__u64 cgroup;
	__u64 generation;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct cgroup_rows_key);
	__type(value, __u32);
} cgroup_rows MAP;

/* Mapped by the loader, which changes a bucket by compare-and-swap as the programs do. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HQ_MAX_CLASSES);
	__type(key, __u32);
	__type(value, struct hq_bucket);
} buckets MAP;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HQ_MAX_CLASSES);
	__type(key, __u32);
	__type(value, struct hq_class_counters);
} class_counters MAP;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HQ_MAX_RULES);
	__type(key, __u32);
	__type(value, struct hq_rule_counters);
} rule_counters MAP;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HQ_NFAULTS);
	__type(key, __u32);
	__type(value, __u64);
} faults MAP;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HQ_NESCAPES);
	__type(key, __u32);
	__type(value, struct hq_escape_counters);
} escapes MAP;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hq_monitor);
} monitor MAP;

/* The rest no program reads: the loader's own notes, kept where the links are. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct hq_interface);
} interfaces MAP;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct hq_made_cgroup);
} made_cgroups MAP;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hq_install);
} install MAP;

#endif
