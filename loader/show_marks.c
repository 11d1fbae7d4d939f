/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The application's own marks as `show flows` tells them.
 */
#include <netinet/in.h>
#include <string.h>

#include <hostqos/app_dscp.h>

#include "print.h"
#include "show.h"

/* A DSCP or a priority. */
struct mark {
	bool asks;
	__u32 asked;
	__u32 granted;
};

/* What a class makes of an option: its own value or HQ_KEEP, and the values that it honours. */
struct wanted {
	__u8 value;
	__u64 honored;
};

/* `now` is the socket's; where that is what hostqos set, `was` is the application's. */
static struct mark mark_of(const struct hq_saved *saved, __u32 bit, __u32 now, __u32 was, __u32 set,
			   struct wanted wanted)
{
	bool ours = (saved->bits & bit) && now == set;
	struct mark m = {.asked = ours ? was : now};

	m.asks = hq_asks(saved, bit, m.asked);
	if (ours)
		m.granted = now;
	else if (wanted.value == HQ_KEEP || (m.asks && hq_honors(wanted.honored, m.asked)))
		m.granted = m.asked;
	else
		m.granted = wanted.value;
	return m;
}

static const struct hq_class *class_of(const struct in_force *f, const struct hq_socket *s)
{
	static const struct hq_class nothing = {
		.dscp = HQ_KEEP, .syn_ack = HQ_KEEP, .priority = HQ_KEEP};
	const struct hq_decision *d = &s->flow.decision;

	return d->generation && d->class < HQ_MAX_CLASSES && f->classes[d->class].defined
		       ? &f->classes[d->class]
		       : &nothing;
}

static struct mark dscp_mark(const struct in_force *f, const struct hq_socket *s, bool ipv6)
{
	const struct hq_saved *saved = &s->flow.saved;
	const struct hq_class *class = class_of(f, s);
	struct wanted wanted = {
		.value = s->flow.bits & HQ_FLOW_LISTENER ? class->syn_ack : class->dscp,
		.honored = class->honored,
	};

	return ipv6 ? mark_of(saved, HQ_SAVED_TCLASS, hq_dscp(s->tclass), hq_dscp(saved->tclass),
			      hq_dscp(saved->set_tclass), wanted)
		    : mark_of(saved, HQ_SAVED_TOS, hq_dscp(s->tos), hq_dscp(saved->tos),
			      hq_dscp(saved->set_tos), wanted);
}

static struct mark priority_mark(const struct in_force *f, const struct hq_socket *s)
{
	const struct hq_saved *saved = &s->flow.saved;
	const struct hq_class *class = class_of(f, s);
	struct wanted wanted = {.value = class->priority, .honored = hq_honored_priorities(class)};

	return mark_of(saved, HQ_SAVED_PRIORITY, s->priority, saved->priority, saved->set_priority,
		       wanted);
}

static void add_dscp(struct json_object *asked, struct json_object *granted, const char *option,
		     struct mark m)
{
	json_add(asked, option, m.asks ? dscp_json(m.asked) : NULL);
	json_add(granted, option, dscp_json(m.granted));
}

void marks_json(struct json_object *o, const struct in_force *f, const struct hq_socket *s)
{
	struct json_object *asked = json_object_new_object();
	struct json_object *granted = json_object_new_object();
	struct mark priority = priority_mark(f, s);

	add_dscp(asked, granted, "tos", dscp_mark(f, s, false));
	if (s->flow.family == AF_INET6)
		add_dscp(asked, granted, "tclass", dscp_mark(f, s, true));
	json_add(asked, "priority", priority.asks ? json_object_new_int64(priority.asked) : NULL);
	json_add_count(granted, "priority", priority.granted);
	json_add(o, "asked", asked);
	json_add(o, "granted", granted);
}

/* An IPv6 socket with an IPv4 peer sends IPv4. */
static bool talks_ipv6(const struct hq_socket *s)
{
	return s->flow.family == AF_INET6 &&
	       !IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)s->remote);
}

__u8 granted_dscp(const struct in_force *f, const struct hq_socket *s)
{
	return dscp_mark(f, s, talks_ipv6(s)).granted;
}

void marks_cells(struct text_table *table, const struct in_force *f, const struct hq_socket *s)
{
	struct mark m = dscp_mark(f, s, talks_ipv6(s));
	char name[PRINT_SCALAR];

	text_table_cell(table, "%s", m.asks ? print_dscp(name, m.asked) : "-");
	text_table_cell(table, "%s", print_dscp(name, m.granted));
}
