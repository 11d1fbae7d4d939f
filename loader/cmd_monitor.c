/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * monitor: decisions and violations as they happen. Events come through a ring
 * buffer that the programs write while `monitor` in the map of that name says
 * that somebody watches; it is put off second by second, so that a command that
 * was killed is soon forgotten. What could not be told is counted, and said.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "clock.h"
#include "counters.h"
#include "log.h"
#include "monitor_events.h"
#include "suggest.h"
#include "verbs.h"

#define KEEP_WATCHING (5 * SECOND_NS) /* beyond the last renewal */
#define TICK_MS	      200
#define LIMIT	      1000		   /* events of a kind in a second */
#define NO_CLASS      (HQ_MAX_CLASSES + 1) /* what the filter has where its class is gone */

struct monitor {
	struct instance in;
	struct teller teller;
	struct hq_monitor wanted;
	struct hq_monitor_window told[HQ_MONITOR_WINDOWS]; /* of these, what is said already */
	__u64 faults[HQ_NFAULTS];
	const char *class;	    /* of the filter; NULL: all */
	__u64 looked;		    /* when its id was last looked up */
	int state, windows, events; /* maps */
	int claim;
	struct ring_buffer *ring;
	bool fresh; /* what the ring holds yet is of another's time */
};

static volatile sig_atomic_t over;

static void end(int signal)
{
	(void)signal;
	over = 1;
}

static int open_map(const struct instance *in, const char *name)
{
	char path[PATH_MAX];
	int fd, err = map_pin_path(path, in, name);

	if (err)
		return err;
	fd = bpf_obj_get(path);
	return fd < 0 ? log_error(-errno, "cannot open %s", path) : fd;
}

/* The ring buffer has one reader. */
static int claim(struct monitor *m)
{
	int err = instance_claim(&m->in, m->in.maps, "monitors", &m->claim);

	return err == -ENOENT ? log_error(err, "cannot open %s", m->in.maps) : err;
}

/* As struct hq_monitor has it. */
static __u32 find_class(const struct in_force *f, const char *name, struct suggestion *suggestion)
{
	__u32 i;

	for (i = 0; i < HQ_MAX_CLASSES; i++) {
		if (!f->classes[i].defined)
			continue;
		suggest_offer(suggestion, f->classes[i].name);
		if (!strcmp(f->classes[i].name, name))
			return i + 1;
	}
	return NO_CLASS;
}

static int class_filter(struct monitor *m, const char *name)
{
	struct suggestion suggestion = {.word = name};

	m->class = name;
	m->looked = monotonic_ns();
	m->wanted.class = find_class(&m->teller.f, name, &suggestion);
	if (m->wanted.class != NO_CLASS)
		return 0;
	log_error(0, "no class '%s' in the policy in force%s", name, suggest_text(&suggestion));
	return -ENOENT;
}

static int rule_filter(struct monitor *m, const char *name)
{
	const struct in_force *f = &m->teller.f;
	struct suggestion suggestion = {.word = name};
	__u32 i;

	for (i = 0; i < f->header.rules; i++) {
		suggest_offer(&suggestion, f->rules[i].name);
		if (strcmp(f->rules[i].name, name))
			continue;
		m->wanted.rule = f->rules[i].key;
		return 0;
	}
	log_error(0, "no rule '%s' in the policy in force%s", name, suggest_text(&suggestion));
	return -ENOENT;
}

static int take_filters(struct monitor *m, const struct options *options)
{
	int err = 0;

	m->wanted.limit = options->limit ?: LIMIT;
	m->wanted.pid = options->pid;
	if (options->class)
		err = class_filter(m, options->class);
	if (!err && options->rule)
		err = rule_filter(m, options->rule);
	return err;
}

static int take_event(void *context, void *data, size_t size)
{
	struct monitor *m = context;

	(void)size;
	if (!m->fresh)
		tell_event(&m->teller, data);
	return 0;
}

static int read_windows(const struct monitor *m, struct hq_monitor_window *windows)
{
	__u32 keys[HQ_MONITOR_WINDOWS], cursor, count = HQ_MONITOR_WINDOWS;

	if (bpf_map_lookup_batch(m->windows, NULL, &cursor, keys, windows, &count, NULL) &&
	    errno != ENOENT)
		return log_error(-errno, "cannot read the map 'monitor_windows'");
	return 0;
}

/* What was suppressed and lost since it was last said. */
static int tell_windows(struct monitor *m)
{
	struct hq_monitor_window now[HQ_MONITOR_WINDOWS];
	int err = read_windows(m, now);
	__u32 i;

	for (i = 0; !err && i < HQ_MONITOR_WINDOWS; i++) {
		if (now[i].suppressed != m->told[i].suppressed)
			tell_missing(&m->teller, "suppressed", i,
				     now[i].suppressed - m->told[i].suppressed);
		if (now[i].lost != m->told[i].lost)
			tell_missing(&m->teller, "lost", i, now[i].lost - m->told[i].lost);
	}
	if (!err)
		memcpy(m->told, now, sizeof(now));
	return err;
}

static void look_at_faults(struct monitor *m, bool tell)
{
	__u32 i;
	__u64 n;

	for (i = 0; i < HQ_NFAULTS; i++) {
		if (counters_read(m->in.map[MAP_FAULTS], i, &n, sizeof(n)))
			continue;
		if (tell && n != m->faults[i])
			tell_fault(&m->teller, i, n - m->faults[i]);
		m->faults[i] = n;
	}
}

/* Watch on, or no more; whoever came too late to put it off says so. */
static int renew(struct monitor *m, bool watch)
{
	__u64 now = monotonic_ns();
	struct hq_monitor before;
	__u32 zero = 0;

	if (bpf_map_lookup_elem(m->state, &zero, &before))
		return log_error(-errno, "cannot read the map 'monitor'");
	if (m->wanted.until && before.until < now)
		tell_gap(&m->teller, now - m->wanted.until);
	m->wanted.until = watch ? now + KEEP_WATCHING : 0;
	if (bpf_map_update_elem(m->state, &zero, &m->wanted, BPF_ANY))
		return log_error(-errno, "cannot write the map 'monitor'");
	return 0;
}

/*
 * The filter is a number, and a class that went and comes back has another one:
 * until that is known, nobody was told of it.
 */
static int follow_class(struct monitor *m, __u64 now)
{
	struct suggestion unused = {.word = m->class ?: ""};
	__u64 since = m->looked;
	__u32 class;
	int err;

	m->looked = now;
	class = m->class ? find_class(&m->teller.f, m->class, &unused) : 0;
	if (class == m->wanted.class)
		return 0;
	m->wanted.class = class;
	err = renew(m, true);
	if (!err && class != NO_CLASS)
		tell_gap(&m->teller, monotonic_ns() - since);
	return err;
}

static int start(struct monitor *m, const struct options *options)
{
	int err = in_force_open(&m->teller.f, &m->in, options->instance);

	if (!err)
		err = claim(m);
	if (!err)
		err = take_filters(m, options);
	if (err)
		return err;
	m->state = open_map(&m->in, "monitor");
	m->windows = open_map(&m->in, "monitor_windows");
	m->events = open_map(&m->in, "events");
	if (m->state < 0 || m->windows < 0 || m->events < 0)
		return -ENOENT;
	m->ring = ring_buffer__new(m->events, take_event, m, NULL);
	if (!m->ring)
		return log_error(-errno, "cannot map the ring buffer");
	err = read_windows(m, m->told);
	look_at_faults(m, false);
	/* What a killed monitor left unread is no news. */
	m->fresh = true;
	ring_buffer__consume(m->ring);
	m->fresh = false;
	return err ? err : renew(m, true);
}

/* Nobody reads what is written: as good a reason to end as a signal. */
static bool is_unread(void)
{
	struct pollfd out = {.fd = STDOUT_FILENO};

	return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP));
}

static int tick(struct monitor *m)
{
	int n, err = renew(m, true);
	__u64 now;

	if (err)
		return err;
	n = ring_buffer__poll(m->ring, TICK_MS);
	if (n < 0 && n != -EINTR)
		return log_error(n, "cannot read the ring buffer");
	now = monotonic_ns();
	err = teller_follow(&m->teller);
	if (!err)
		err = follow_class(m, now);
	if (!err)
		err = tell_windows(m);
	look_at_faults(m, true);
	if (fflush(stdout) || ferror(stdout) || is_unread())
		over = 1;
	return err;
}

/* What came in until now is told, too: also by a program that was on its way. */
static int finish_watching(struct monitor *m)
{
	int err = renew(m, false);

	while (ring_buffer__poll(m->ring, TICK_MS) > 0)
		;
	if (!err)
		err = tell_windows(m);
	fflush(stdout);
	/* Its reader's end is not its failure. */
	if (is_unread()) {
		__fpurge(stdout);
		clearerr(stdout);
	}
	return err;
}

static int watch(struct monitor *m, const struct options *options)
{
	int err = start(m, options);

	if (err)
		return err;
	tell_start(&m->teller, m->in.name);
	fflush(stdout);
	while (!err && !over)
		err = tick(m);
	if (err == -ENODEV) { /* detached: there is nothing to put in order */
		fflush(stdout);
		return 0;
	}
	return err ? err : finish_watching(m);
}

int cmd_monitor(const struct options *options, int argc, char **argv)
{
	static struct monitor m = {.state = -1, .windows = -1, .events = -1, .claim = -1};
	struct sigaction action = {.sa_handler = end};
	int err;

	(void)argc, (void)argv;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	m.teller.json = options->json;
	m.teller.in = &m.in;
	err = watch(&m, options);
	ring_buffer__free(m.ring);
	teller_close(&m.teller);
	instance_close(&m.in);
	return finish(err, options->json);
}
