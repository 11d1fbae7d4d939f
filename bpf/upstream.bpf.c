// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DSCP across a proxy: for which inbound connection does a thread connect?
 * For the one that it serves: that it took data from or, if it connects before
 * that, that it accepted. A thread that serves one connection at a time leaves
 * no doubt. An event loop takes in several, and then connects for them, as a
 * rule in their order: for the one that has waited longest, which it has
 * neither connected for nor answered yet. Which of accepting and taking data
 * it connects after is learnt from what it did before.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "flow.h"
#include "upstream.h"

/* A thread's id comes back, but not with its time of birth. */
struct thread {
	__u64 start_time;
	__u64 pid;
};

/* An inbound connection as it was when it was taken in. */
struct inbound {
	__u64 cookie;	 /* of its socket; 0: none */
	__u64 tcp_sock;	 /* address; what is there may be another's by now */
	__u64 write_seq; /* tcp_sock's: it grows with each answer */
	struct served served;
};

/* Those that may wait: from `head` to before `tail`, of all that there ever were. */
#define QUEUE_LENGTH 16

struct queue {
	__u32 head, tail;
	struct inbound entries[QUEUE_LENGTH]; /* by number modulo the length */
};

struct serving {
	struct queue accepted;
	struct queue received;
	struct inbound last;
	__u64 connects_first; /* before it takes data */
};

/* `threads`: whom each serves. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct thread);
	__type(value, struct serving);
} threads MAP;

/* `connected_for`: inbound connections that were, by their sockets' cookies. */
struct connected {
	__u64 write_seq; /* then */
	__u64 first;	 /* 1: before data was taken */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct connected);
} connected_for MAP;

/* A new thread's, too large for the stack. */
static const struct serving serves_nobody;

static __always_inline struct thread current_thread(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return (struct thread){.start_time = task->start_time, .pid = task->pid};
}

/* Only the thread itself reads and writes it. */
static __always_inline struct serving *serving_now(int make)
{
	struct thread thread = current_thread();
	struct serving *serving = bpf_map_lookup_elem(&threads, &thread);

	if (serving || !make)
		return serving;
	bpf_map_update_elem(&threads, &thread, &serves_nobody, BPF_NOEXIST);
	return bpf_map_lookup_elem(&threads, &thread);
}

static __always_inline struct inbound *entry(struct queue *q, __u32 n)
{
	return &q->entries[n % QUEUE_LENGTH];
}

/* As the latest; the oldest goes where there is no room. */
static __always_inline void add(struct queue *q, const struct inbound *in)
{
	if (q->tail != q->head && entry(q, q->tail - 1)->cookie == in->cookie)
		q->tail--;
	else if (q->tail - q->head == QUEUE_LENGTH)
		q->head++;
	*entry(q, q->tail++) = *in;
}

/* Neither connected for, nor answered, nor closed since. */
static __always_inline int waits(const struct inbound *in)
{
	struct connected *connected = bpf_map_lookup_elem(&connected_for, &in->cookie);
	struct tcp_sock *tp = (struct tcp_sock *)in->tcp_sock;
	struct sock *sk = (struct sock *)tp;
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	return (!connected || connected->write_seq != in->write_seq) &&
	       (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT) &&
	       BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) == in->cookie &&
	       BPF_CORE_READ(tp, write_seq) == in->write_seq;
}

/* Drop those that do not wait any more, down to the first that does: it, or NULL. */
static __always_inline struct inbound *first_waiting(struct queue *q)
{
	int i;

	for (i = 0; i < QUEUE_LENGTH && q->head != q->tail; i++, q->head++)
		if (waits(entry(q, q->head)))
			return entry(q, q->head);
	return NULL;
}

static __always_inline int is_accepted(const struct hq_flow *flow)
{
	return flow->protocol == IPPROTO_TCP && (flow->bits & HQ_FLOW_CONNECTED) &&
	       (flow->bits & HQ_FLOW_INBOUND);
}

static __always_inline void inbound_init(struct inbound *in, struct tcp_sock *tp, __u64 cookie,
					 const struct hq_flow *flow)
{
	__builtin_memset(in, 0, sizeof(*in));
	in->cookie = cookie;
	in->tcp_sock = (__u64)tp;
	in->write_seq = BPF_CORE_READ(tp, write_seq);
	in->served.dscp = flow->inbound_dscp;
	kernel_address((struct sock *)tp, in->served.peer, 1);
}

/*
 * Data taken from a connection (tcp_recvmsg(), splice). What the kernel's own
 * users take in softirq is not the current thread's: nobody owns the lock.
 * More of what a connection was opened for already is nothing new.
 */
SEC("tp_btf/tcp_rcv_space_adjust")
int thread_received(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct hq_flow *flow = flow_of(sk);
	struct connected *connected;
	struct serving *serving;
	struct inbound in;

	if (!flow || !is_accepted(flow) || !sk->sk_lock.owned)
		return 0;
	serving = serving_now(1);
	if (!serving)
		return 0;
	inbound_init(&in, (struct tcp_sock *)sk, bpf_get_socket_cookie(sk), flow);
	serving->last = in;
	connected = bpf_map_lookup_elem(&connected_for, &in.cookie);
	serving->connects_first = connected && connected->first;
	if (!serving->connects_first)
		add(&serving->received, &in);
	return 0;
}

/* accept() that asks for the peer's address (inet_getname()). */
static __always_inline int on_accepted(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct hq_flow *flow = sk ? flow_of(sk) : NULL;
	struct serving *serving;
	struct tcp_sock *tp;
	struct inbound in;

	if (!flow || !is_accepted(flow))
		return 1;
	tp = bpf_skc_to_tcp_sock(sk);
	serving = tp ? serving_now(1) : NULL;
	if (!serving)
		return 1;
	inbound_init(&in, tp, bpf_get_socket_cookie(ctx), flow);
	serving->last = in;
	add(&serving->accepted, &in);
	return 1;
}

/* Whom the current thread connects for, or NULL. */
static __always_inline struct inbound *connects_for(void)
{
	struct serving *serving = serving_now(0);
	struct inbound *accepted, *received, *in;
	struct connected connected;

	if (!serving)
		return NULL;
	accepted = first_waiting(&serving->accepted);
	received = first_waiting(&serving->received);
	in = serving->connects_first || !received ? accepted : received;
	if (!in)
		in = received ?: &serving->last;
	connected.write_seq = in->write_seq;
	connected.first = in == accepted;
	bpf_map_update_elem(&connected_for, &in->cookie, &connected, BPF_ANY);
	return in;
}

/* Before the socket's class is found: for whom it is connected goes with it. */
static __always_inline int on_connecting(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct served *served;
	struct inbound *in;

	if (!sk || !flow_of(sk))
		return 1;
	in = connects_for();
	if (!in) {
		bpf_sk_storage_delete(&upstreams, sk);
		return 1;
	}
	served = bpf_sk_storage_get(&upstreams, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (served)
		*served = in->served;
	else
		fault(HQ_FAULT_STORAGE);
	return 1;
}

SEC("cgroup/getpeername4")
int thread_accepted4(struct bpf_sock_addr *ctx)
{
	return on_accepted(ctx);
}

SEC("cgroup/getpeername6")
int thread_accepted6(struct bpf_sock_addr *ctx)
{
	return on_accepted(ctx);
}

SEC("cgroup/connect4")
int thread_connects4(struct bpf_sock_addr *ctx)
{
	return on_connecting(ctx);
}

SEC("cgroup/connect6")
int thread_connects6(struct bpf_sock_addr *ctx)
{
	return on_connecting(ctx);
}

char LICENSE[] SEC("license") = "GPL";
