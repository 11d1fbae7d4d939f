// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "text.h"
#include "tree.h"

/* A list or map that is being read. */
struct open_node {
	struct tree_node *node;
	struct tree_node **tail;
	bool value_next; /* map: the next node is a value */
};

struct tree_parser {
	yaml_parser_t yaml;
	const char *text, *end;
	struct arena *nodes, *texts;
	struct diag *diag;
	size_t count;
	struct tree_node *root;
	struct open_node open[TREE_MAX_DEPTH];
	size_t depth;
};

static struct diag_at place(yaml_mark_t mark)
{
	return (struct diag_at){mark.line + 1, mark.column + 1};
}

bool tree_is_null(const struct tree_node *node)
{
	return node->kind == TREE_SCALAR && node->plain &&
	       (!*node->text || !strcmp(node->text, "~") || !strcmp(node->text, "null"));
}

const struct tree_node *tree_get(const struct tree_node *map, const char *key)
{
	const struct tree_node *node;

	if (map->kind != TREE_MAP)
		return NULL;
	for (node = map->first; node; node = node->next->next)
		if (node->kind == TREE_SCALAR && !strcmp(node->text, key))
			return node->next;
	return NULL;
}

/* libyaml would say only at which byte; and it takes UTF-16. */
static int check_text(const char *text, size_t length, struct diag *diag)
{
	struct diag_at at = {1, 1};
	const char *end = text + length;
	size_t bytes;
	uint32_t code;

	for (; text < end; text += bytes) {
		bytes = text_character(text, end - text, &code);
		if (!bytes) {
			diag_error(diag, at, "not text: byte 0x%02x is not UTF-8",
				   (unsigned char)*text);
			return -1;
		}
		if (!text_is_printable(code)) {
			diag_error(diag, at, "not text: control character U+%04X", code);
			return -1;
		}
		if (text_line_break(text, end - text)) {
			bytes = text_line_break(text, end - text);
			at.line++;
			at.column = 0;
		}
		at.column++;
	}
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	const struct tree_node *x = *(struct tree_node *const *)a;
	const struct tree_node *y = *(struct tree_node *const *)b;
	int order = strcmp(x->text, y->text);

	if (order)
		return order;
	if (x->at.line != y->at.line)
		return x->at.line < y->at.line ? -1 : 1;
	return x->at.column < y->at.column ? -1 : 1;
}

static void check_duplicate_keys(struct tree_parser *p, const struct tree_node *map)
{
	struct tree_node **keys = mem_alloc(map->count, sizeof(*keys));
	struct tree_node *node;
	size_t count = 0, i;

	for (node = map->first; node; node = node->next->next)
		if (node->kind == TREE_SCALAR)
			keys[count++] = node;
	qsort(keys, count, sizeof(*keys), compare_keys);
	for (i = 1; i < count; i++) {
		if (strcmp(keys[i]->text, keys[i - 1]->text))
			continue;
		diag_error(p->diag, keys[i]->at, "duplicate key '%.64s'; it stands at line %u too",
			   keys[i]->text, keys[i - 1]->at.line);
		keys[i]->kind = TREE_BAD;
	}
	free(keys);
}

/* Hang a node into what is open. */
static void attach(struct tree_parser *p, struct tree_node *node)
{
	struct open_node *in;

	if (!p->depth) {
		p->root = node;
		return;
	}
	in = &p->open[p->depth - 1];
	*in->tail = node;
	in->tail = &node->next;
	if (in->node->kind != TREE_MAP) {
		in->node->count++;
		return;
	}
	in->value_next = !in->value_next;
	if (!in->value_next)
		return;
	in->node->count++;
	if (node->kind & (TREE_LIST | TREE_MAP))
		diag_error(p->diag, node->at, "a key must be plain text, not a list or a block");
}

static struct tree_node *add(struct tree_parser *p, enum tree_kind kind, const yaml_event_t *event)
{
	struct tree_node *node;

	if (++p->count > TREE_MAX_NODES) {
		diag_error(p->diag, place(event->start_mark),
			   "too large: more than %d keys and values", TREE_MAX_NODES);
		return NULL;
	}
	node = arena_alloc(p->nodes, sizeof(*node));
	node->kind = kind;
	node->at = place(event->start_mark);
	attach(p, node);
	return node;
}

static int open_node(struct tree_parser *p, enum tree_kind kind, const yaml_event_t *event)
{
	struct tree_node *node;

	if (p->depth == TREE_MAX_DEPTH) {
		diag_error(p->diag, place(event->start_mark), "nested deeper than %d levels",
			   TREE_MAX_DEPTH);
		return -1;
	}
	node = add(p, kind, event);
	if (!node)
		return -1;
	p->open[p->depth++] = (struct open_node){.node = node, .tail = &node->first};
	return 0;
}

static int add_scalar(struct tree_parser *p, const yaml_event_t *event, bool good)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;
	struct tree_node *node = add(p, good ? TREE_SCALAR : TREE_BAD, event);

	if (!node)
		return -1;
	if (!text_is_one_line(text, length)) {
		diag_error(p->diag, node->at, "a line break or control character in a value");
		node->kind = TREE_BAD;
		return 0;
	}
	node->text = arena_strndup(p->texts, text, length);
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	return 0;
}

static int add_alias(struct tree_parser *p, const yaml_event_t *event)
{
	diag_error(p->diag, place(event->start_mark),
		   "alias '*%.64s': YAML aliases are not part of the policy language; "
		   "a value that begins with '*' must be quoted",
		   (const char *)event->data.alias.anchor);
	return add(p, TREE_BAD, event) ? 0 : -1;
}

/* An anchor is reported, and otherwise as if it were not there; a tag makes the value false. */
static bool check_properties(struct tree_parser *p, const yaml_event_t *event, const char *anchor,
			     const char *tag)
{
	if (anchor)
		diag_error(p->diag, place(event->start_mark),
			   "anchor '&%.64s': YAML anchors are not part of the policy language; "
			   "a value that begins with '&' must be quoted",
			   anchor);
	if (tag)
		diag_error(p->diag, place(event->start_mark),
			   "tag '%.64s': YAML tags are not part of the policy language; "
			   "a value that begins with '!' must be quoted",
			   tag);
	return !tag;
}

/* Returns 1 at the end, 0 to go on, -1 where there is no use in going on. */
static int take_event(struct tree_parser *p, const yaml_event_t *event)
{
	bool good;

	switch (event->type) {
	case YAML_SCALAR_EVENT:
		good = check_properties(p, event, (char *)event->data.scalar.anchor,
					(char *)event->data.scalar.tag);
		return add_scalar(p, event, good);
	case YAML_SEQUENCE_START_EVENT:
		check_properties(p, event, (char *)event->data.sequence_start.anchor,
				 (char *)event->data.sequence_start.tag);
		return open_node(p, TREE_LIST, event);
	case YAML_MAPPING_START_EVENT:
		check_properties(p, event, (char *)event->data.mapping_start.anchor,
				 (char *)event->data.mapping_start.tag);
		return open_node(p, TREE_MAP, event);
	case YAML_MAPPING_END_EVENT:
		check_duplicate_keys(p, p->open[p->depth - 1].node);
		p->depth--;
		return 0;
	case YAML_SEQUENCE_END_EVENT:
		p->depth--;
		return 0;
	case YAML_ALIAS_EVENT:
		return add_alias(p, event);
	case YAML_DOCUMENT_START_EVENT:
		if (!p->root)
			return 0;
		diag_error(p->diag, place(event->start_mark),
			   "a second YAML document begins here; a policy is one");
		return -1;
	case YAML_STREAM_END_EVENT:
		return 1;
	default:
		return 0;
	}
}

/* Is it about a "::", of which libyaml points at the first or the second? It counts characters. */
static bool at_double_colon(const struct tree_parser *p)
{
	const char *from = p->text, *at = from;
	size_t left = p->yaml.problem_mark.index;
	uint32_t code;

	for (; left && at < p->end; left--) {
		from = at;
		at += text_character(at, p->end - at, &code);
	}
	return memmem(from, p->end - from < 3 ? p->end - from : 3, "::", 2);
}

static const char *syntax_hint(const struct tree_parser *p, const char *context)
{
	if (strstr(context, "alias") || strstr(context, "anchor") || strstr(context, "tag"))
		return "; a value that begins with '*', '&' or '!' must be quoted";
	if (at_double_colon(p))
		return "; an IPv6 address that begins or ends with ':' must be quoted here";
	return "";
}

static void report_syntax(struct tree_parser *p)
{
	const yaml_parser_t *yaml = &p->yaml;
	const char *context = yaml->context ? yaml->context : "not YAML";
	unsigned int line = yaml->context_mark.line + 1;
	char begun[32] = "";

	if (yaml->context && line != yaml->problem_mark.line + 1)
		snprintf(begun, sizeof(begun), " that begins at line %u", line);
	diag_error(p->diag, place(yaml->problem_mark), "%s%s, %s%s", context, begun,
		   yaml->problem ? yaml->problem : "syntax error", syntax_hint(p, context));
}

static int parse_events(struct tree_parser *p)
{
	yaml_event_t event;
	int end;

	do {
		if (!yaml_parser_parse(&p->yaml, &event)) {
			report_syntax(p);
			return -1;
		}
		end = take_event(p, &event);
		yaml_event_delete(&event);
	} while (!end);
	return end;
}

struct tree_node *tree_parse(struct arena *nodes, struct arena *texts, const char *text,
			     size_t length, struct diag *diag)
{
	struct tree_parser p = {
		.nodes = nodes, .texts = texts, .diag = diag, .text = text, .end = text + length};
	int end;

	if (check_text(text, length, diag))
		return NULL;
	if (!yaml_parser_initialize(&p.yaml)) {
		diag_error(diag, (struct diag_at){0}, "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p.yaml, (const unsigned char *)text, length);
	end = parse_events(&p);
	yaml_parser_delete(&p.yaml);
	if (end < 0)
		return NULL;
	if (!p.root || tree_is_null(p.root)) {
		diag_error(diag, (struct diag_at){1, 1},
			   "the policy is empty; it must at least say 'hostqos: 1'");
		return NULL;
	}
	return p.root;
}
