// SPDX-License-Identifier: GPL-2.0-only
/*
 * classify(): each dimension's value to the row of the rules that it
 * satisfies, the rows' AND, its first bit.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "kernel.h"
#include "classify.h"
#include "path.h"

/* The tables of one generation, for match.h. */
struct hq_tables {
	void *vectors;
};

static __always_inline const struct hq_vector *hq_vector_at(const struct hq_tables *t, __u32 index)
{
	return bpf_map_lookup_elem(t->vectors, &index);
}

#include <hostqos/match.h>

#define RULE_FAULT (HQ_RULE_NONE + 1)

#define MAX_PATH  4096
#define MAX_DEPTH 64

/* Reads a cgroup's path through the automaton, a byte at a time. */
struct path_walk {
	const struct hq_header *header;
	void *paths;
	struct cgroup *cgroup;
	const char *name; /* what is left of the component being read */
	__u32 level;	  /* of that component; 0 is the root, which has no name */
	__u32 last_level;
	__u32 state;
	__s32 error;
};

static __always_inline int path_feed(struct path_walk *w, __u8 byte)
{
	return path_step(w->header, w->paths, &w->state, byte);
}

/* Go down one level: "/" and the name of the ancestor there. */
static __always_inline int path_descend(struct path_walk *w)
{
	struct kernfs_node *kn;
	struct cgroup *ancestor;
	void *slot;

	w->level++;
	slot = (void *)w->cgroup + bpf_core_field_offset(struct cgroup, ancestors) +
	       w->level * sizeof(ancestor);
	if (bpf_probe_read_kernel(&ancestor, sizeof(ancestor), slot))
		return -1;
	kn = BPF_CORE_READ(ancestor, kn);
	w->name = BPF_CORE_READ(kn, name);
	return path_feed(w, '/');
}

static long path_byte(__u32 index, void *context)
{
	struct path_walk *w = context;
	char byte;

	(void)index;
	if (w->level > w->last_level)
		return 1;
	w->error = -1;
	if (bpf_probe_read_kernel(&byte, 1, w->name))
		return 1;
	w->name++;
	if (!byte) {
		if (w->level == w->last_level) {
			w->error = 0;
			return 1;
		}
		return path_descend(w) ? 1 : 0;
	}
	return path_feed(w, byte) ? 1 : 0;
}

/* The row of a cgroup's path. 0, or -1 where it cannot be read. */
static __always_inline int path_row(const struct hq_header *header, __u32 generation,
				    __u64 cgroup_ptr, __u32 *row)
{
	__u32 slot = policy_slot(generation);
	struct cgroup *cgroup = (struct cgroup *)cgroup_ptr;
	struct path_walk w = {.header = header, .cgroup = cgroup};

	w.paths = bpf_map_lookup_elem(&policy_paths, &slot);
	if (!w.paths)
		return -1;
	w.last_level = BPF_CORE_READ(cgroup, level);
	if (w.last_level) {
		if (w.last_level > MAX_DEPTH || path_descend(&w))
			return -1;
		bpf_loop(MAX_PATH, path_byte, &w, 0);
		if (w.error)
			return -1;
	}
	return path_end(header, w.paths, w.state, row);
}

/*
 * Is there still the cgroup of this id? Where a socket was taken to another
 * home, nothing holds that for it; ids do not come back.
 */
static __always_inline int is_cgroup(__u64 cgroup_ptr, __u64 id)
{
	struct cgroup *cgroup = (struct cgroup *)cgroup_ptr;

	return BPF_CORE_READ(cgroup, kn, id) == id;
}

/* As path_row(), remembered by cgroup and generation. */
__noinline __u32 cgroup_row(struct hq_flow *flow, __u32 generation)
{
	struct cgroup_rows_key key = {.generation = generation};
	const struct hq_header *header;
	__u32 *known, row;
	__u64 cgroup_ptr;

	header = policy_header_of(generation);
	if (!flow || !header)
		return HQ_ROW_ALL;
	/* A flow that is only described: explain.bpf.c has read its path already. */
	if (!flow->id.cgroup_ptr)
		return flow->id.cgroup;
	key.cgroup = flow->id.cgroup;
	known = bpf_map_lookup_elem(&cgroup_rows, &key);
	if (known)
		return *known;
	cgroup_ptr = flow->id.cgroup_ptr;
	if (!is_cgroup(cgroup_ptr, key.cgroup) || path_row(header, generation, cgroup_ptr, &row) ||
	    !is_cgroup(cgroup_ptr, key.cgroup)) {
		fault(HQ_FAULT_PATH);
		return header->any_row[HQ_DIM_CGROUP];
	}
	bpf_map_update_elem(&cgroup_rows, &key, &row, BPF_ANY);
	return row;
}

/* One lookup in each table; where a table lacks the value, nobody named it. (Not inline, the
 * first two: stack is scarce.) */
static __noinline __u32 exact_row(const struct hq_header *h, void *table, __u32 dim, __u64 a,
				  __u64 b)
{
	struct hq_exact_key key = {.dim = dim, .a = a, .b = b};
	__u32 *row = bpf_map_lookup_elem(table, &key);

	return row ? *row : h->other_row[dim];
}

static __noinline __u32 prefix_row(const struct hq_header *h, void *table, __u32 dim,
				   const __u8 address[16])
{
	struct hq_prefix_key key = {.length = HQ_PREFIX_SIDE_BITS + 128, .side = dim};
	__u32 *row;

	__builtin_memcpy(key.address, address, 16);
	row = bpf_map_lookup_elem(table, &key);
	return row ? *row : h->other_row[dim];
}

static __always_inline __u32 cell_row(const struct hq_header *h, void *table, __u32 dim, __u32 cell)
{
	__u32 *row = bpf_map_lookup_elem(table, &cell);

	return row ? *row : h->other_row[dim];
}

static __always_inline int is_multicast(const __u8 address[16])
{
	return is_mapped(address) ? (address[12] & 0xf0) == 0xe0 : address[0] == 0xff;
}

static __always_inline __u32 enum_cell(__u32 dim, __u32 value)
{
	return (dim - HQ_DIM_FAMILY) * HQ_ENUM_VALUES + value;
}

static __always_inline __u32 port_cell(__u32 dim, __u32 port)
{
	return (dim - HQ_DIM_LOCAL_PORT) * HQ_PORT_VALUES + port;
}

/* Dimensions of the identity. `need`: used by the policy and known. */
static __always_inline int identity_rows(const struct hq_header *h, struct hq_flow *flow,
					 __u32 generation, __u32 need, struct hq_rows *rows)
{
	__u32 slot = policy_slot(generation);
	void *exact = bpf_map_lookup_elem(&policy_exact, &slot);

	if (!exact)
		return -1;
	if (need & HQ_BIT(HQ_DIM_CGROUP))
		rows->row[HQ_DIM_CGROUP] = cgroup_row(flow, generation);
	if (need & HQ_BIT(HQ_DIM_EXE_FILE))
		rows->row[HQ_DIM_EXE_FILE] = exact_row(h, exact, HQ_DIM_EXE_FILE,
						       flow->id.exe_inode, flow->id.exe_device);
	if (need & HQ_BIT(HQ_DIM_EXE_NAME))
		rows->row[HQ_DIM_EXE_NAME] =
			exact_row(h, exact, HQ_DIM_EXE_NAME, flow->id.exe_name, 0);
	if (need & HQ_BIT(HQ_DIM_USER))
		rows->row[HQ_DIM_USER] = exact_row(h, exact, HQ_DIM_USER, flow->id.uid, 0);
	if (need & HQ_BIT(HQ_DIM_GROUP))
		rows->row[HQ_DIM_GROUP] = exact_row(h, exact, HQ_DIM_GROUP, flow->id.gid, 0);
	return 0;
}

static __always_inline int enum_rows(const struct hq_header *h, const struct hq_flow *flow,
				     const struct flow_key *key, __u32 slot, __u32 need,
				     struct hq_rows *rows)
{
	void *enums = bpf_map_lookup_elem(&policy_enums, &slot);

	if (!enums)
		return -1;
#define ENUM_ROW(dim, value)                                                                       \
	do {                                                                                       \
		if (need & HQ_BIT(dim))                                                            \
			rows->row[dim] = cell_row(h, enums, dim, enum_cell(dim, value));           \
	} while (0)
	ENUM_ROW(HQ_DIM_FAMILY, key->family);
	ENUM_ROW(HQ_DIM_PROTOCOL, flow->protocol);
	ENUM_ROW(HQ_DIM_TYPE, flow->type);
	ENUM_ROW(HQ_DIM_DIRECTION, key->direction);
	ENUM_ROW(HQ_DIM_INBOUND_DSCP, key->inbound_dscp);
	ENUM_ROW(HQ_DIM_MULTICAST, is_multicast(key->remote));
	ENUM_ROW(HQ_DIM_ORIGIN, key->origin);
#undef ENUM_ROW
	return 0;
}

static __always_inline int address_rows(const struct hq_header *h, const struct flow_key *key,
					__u32 slot, __u32 need, struct hq_rows *rows)
{
	void *prefixes = bpf_map_lookup_elem(&policy_prefixes, &slot);
	void *ports = bpf_map_lookup_elem(&policy_ports, &slot);

	if (!prefixes || !ports)
		return -1;
	if (need & HQ_BIT(HQ_DIM_LOCAL))
		rows->row[HQ_DIM_LOCAL] = prefix_row(h, prefixes, HQ_DIM_LOCAL, key->local);
	if (need & HQ_BIT(HQ_DIM_REMOTE))
		rows->row[HQ_DIM_REMOTE] = prefix_row(h, prefixes, HQ_DIM_REMOTE, key->remote);
	if (need & HQ_BIT(HQ_DIM_LOCAL_PORT))
		rows->row[HQ_DIM_LOCAL_PORT] = cell_row(
			h, ports, HQ_DIM_LOCAL_PORT, port_cell(HQ_DIM_LOCAL_PORT, key->local_port));
	if (need & HQ_BIT(HQ_DIM_REMOTE_PORT))
		rows->row[HQ_DIM_REMOTE_PORT] =
			cell_row(h, ports, HQ_DIM_REMOTE_PORT,
				 port_cell(HQ_DIM_REMOTE_PORT, key->remote_port));
	return 0;
}

struct scan {
	struct hq_tables tables;
	const struct hq_header *header;
	const struct hq_rows *rows;
	struct hq_scan scan;
	int result; /* of the last step */
};

static long scan_step(__u32 step, void *context)
{
	struct scan *s = context;

	s->result = hq_scan_step(&s->tables, s->header, s->rows, &s->scan, step);
	return s->result != 0;
}

/*
 * The first rule over `dims`, HQ_RULE_NONE if there is none, or RULE_FAULT.
 * (A global function: the verifier checks it once, not for each scan.)
 */
__noinline __u32 scan_rules(struct hq_rows *rows, __u32 generation, __u32 dims)
{
	struct scan s = {.header = policy_header_of(generation), .rows = rows};
	__u32 slot = policy_slot(generation);

	s.tables.vectors = bpf_map_lookup_elem(&policy_vectors, &slot);
	if (!rows || !s.header || !s.tables.vectors)
		return RULE_FAULT;
	hq_scan_begin(&s.scan, dims);
	bpf_loop(hq_scan_steps(s.header), scan_step, &s, 0);
	return s.result < 0 ? RULE_FAULT : s.scan.rule;
}

/* Where a flow's first matching rule is: surely, and perhaps (see match.h). */
struct matched {
	__u32 sure;
	__u32 maybe;
};

static __always_inline int match_rows(const struct hq_header *h, struct hq_rows *rows,
				      __u32 generation, struct matched *m)
{
	m->sure = m->maybe = scan_rules(rows, generation, hq_sure_dims(h));
	if (m->sure != RULE_FAULT && h->used & rows->unknown)
		m->maybe = scan_rules(rows, generation, hq_maybe_dims(h, rows));
	return m->maybe == RULE_FAULT ? -1 : 0;
}

/* A flow's values to rows, the rows to a rule. */
static __always_inline int match_flow(const struct hq_header *h, struct hq_flow *flow,
				      const struct flow_key *key, __u32 generation,
				      struct matched *m)
{
	__u32 slot = policy_slot(generation), dim;
	struct hq_rows rows;
	__u32 known;

	known = flow->id.known | key->known | HQ_BIT(HQ_DIM_PROTOCOL) | HQ_BIT(HQ_DIM_TYPE) |
		HQ_BIT(HQ_DIM_ORIGIN);
	known &= ~key->unknown;
	rows.unknown = ~known;
	for (dim = 0; dim < HQ_NDIMS; dim++)
		rows.row[dim] = h->any_row[dim];
	known &= h->used;
	if (identity_rows(h, flow, generation, known, &rows) ||
	    enum_rows(h, flow, key, slot, known, &rows) || address_rows(h, key, slot, known, &rows))
		return -1;
	return match_rows(h, &rows, generation, m);
}

__noinline __u64 classify(struct hq_flow *flow, struct flow_key *key, __u32 generation)
{
	struct matched m = {.sure = HQ_RULE_NONE, .maybe = HQ_RULE_NONE};
	union {
		struct hq_decision decision;
		__u64 word;
	} u = {.decision = {.generation = generation, .rule = HQ_RULE_NONE}};
	const struct hq_header *h = policy_header_of(generation);
	const struct hq_rule *rule;

	if (!flow || !key)
		return u.word;
	if (!h || match_flow(h, flow, key, generation, &m)) {
		fault(HQ_FAULT_TABLE);
		return u.word;
	}
	u.decision.provisional = m.maybe < m.sure;
	if (m.sure == HQ_RULE_NONE)
		return u.word;
	rule = policy_rule_of(generation, m.sure);
	if (!rule) {
		fault(HQ_FAULT_TABLE);
		return u.word;
	}
	u.decision.rule = m.sure;
	u.decision.refuse = rule->refuse;
	u.decision.class = rule->refuse ? HQ_CLASS_DEFAULT : rule->class;
	return u.word;
}

char LICENSE[] SEC("license") = "GPL";
