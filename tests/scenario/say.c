/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See say.h. The client believes changes alone; a change that deletes what it has not, or tells
 * what it has already, fails the test.
 */
#include "say.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/address.h"
#include "registry/draft.h"

#define WEIGHT 100

static const char *const tags[] = {"a", "b", "c"};

void say_init(struct say *s)
{
	const struct merge_settings settings = {.hold_percent = 50, .hold_window_ms = 5000};

	*s = (struct say){.now_ms = 1000000};
	assert_int_equal(merge_new(&settings, &s->m), 0);
}

void say_done(struct say *s)
{
	(void)object_free_list(s->has, s->n_has);
	(void)merge_free(s->m);
}

/* --- words -------------------------------------------------------------------------------- */

static void parse_endpoint(struct draft_service *d, char *word)
{
	char *star = strchr(word, '*'), *bracket = *word == '[' ? strchr(word, ']') : NULL, *colon;
	struct draft_endpoint e = {.weight = WEIGHT};
	uint16_t port = 0;

	if (star) {
		*star = '\0';
		e.weight = (uint16_t)strtoul(star + 1, NULL, 10);
	}
	colon = strchr(bracket ? bracket : word, ':');
	if (bracket) {
		*bracket = '\0';
		word++;
	}
	if (colon) {
		*colon = '\0';
		port = (uint16_t)strtoul(colon + 1, NULL, 10);
	}
	assert_int_equal(address_parse(word, &e.addr), 0);
	e.ports = &port;
	e.zone = "z";
	e.node = word;
	assert_int_equal(draft_add_endpoint(d, &e), 0);
}

static struct object parse_service(char *line, const char *tag)
{
	_cleanup_(draft_freep) struct draft_service *d = NULL;
	struct object o = {.kind = OBJECT_SERVICE};
	char *rest, *word = strtok_r(line, " ", &rest), *colon, *vip;
	struct sn_addr addr;

	colon = strchr(word, ':');
	*colon = '\0';
	vip = strchr(colon + 1, '=');
	assert_int_equal(draft_new(&d), 0);
	assert_int_equal(draft_init(d, "default", word, tag), 0);
	if (vip) {
		assert_int_equal(address_parse(vip + 1, &addr), 0);
		assert_int_equal(draft_add_address(d, &addr), 0);
	}
	assert_int_equal(
		draft_add_port(d, NULL, (uint16_t)strtoul(colon + 1, NULL, 10), SN_PROTO_TCP), 0);
	while ((word = strtok_r(NULL, " ", &rest)))
		parse_endpoint(d, word);
	assert_int_equal(draft_finish(d, &o.service), 0);
	return o;
}

static struct object parse_policy(char *line, const char *tag)
{
	struct object o = {.kind = OBJECT_POLICY};
	char *number = strchr(line, ' ');
	struct policy p = {.namespace = (char *)"default", .name = line, .source = (char *)tag};

	policy_defaults(&p);
	if (number) {
		*number = '\0';
		p.rules.consecutive = (uint32_t)strtoul(number + 1, NULL, 10);
		p.given = 1ull << POLICY_CONSECUTIVE;
	}
	assert_int_equal(policy_new(&p, &o.policy), 0);
	return o;
}

size_t say_parse(const char *text, const char *tag, struct object **ret)
{
	_cleanup_free_ char *copy = strdup(text);
	struct object *objects = calloc(strlen(text) + 1, sizeof(*objects));
	char *line = copy, *next;
	size_t n = 0;

	assert_non_null(copy);
	assert_non_null(objects);
	for (; line && *line; line = next) {
		next = strstr(line, "; ");
		if (next) {
			*next = '\0';
			next += 2;
		}
		objects[n++] = strncmp(line, "policy ", 7) ? parse_service(line, tag)
							   : parse_policy(line + 7, tag);
	}
	*ret = objects;
	return n;
}

int say_snapshot(struct say *s, uint64_t after_ms, unsigned int source, const char *text)
{
	struct object *objects;
	size_t n = say_parse(text, tags[source], &objects);

	s->now_ms += after_ms;
	return merge_snapshot(s->m, source, tags[source], (struct merge_objects){objects, n},
			      s->now_ms);
}

void say_upsert(struct say *s, uint64_t after_ms, unsigned int source, const char *text)
{
	struct object *objects;

	assert_int_equal(say_parse(text, tags[source], &objects), 1);
	s->now_ms += after_ms;
	assert_int_equal(merge_upsert(s->m, source, tags[source], objects, s->now_ms), 0);
	free(objects);
}

void say_remove(struct say *s, uint64_t after_ms, unsigned int source, const char *name)
{
	struct object_name o = {OBJECT_SERVICE, "default", name};

	if (!strncmp(name, "policy ", 7))
		o = (struct object_name){OBJECT_POLICY, "default", name + 7};
	s->now_ms += after_ms;
	assert_int_equal(merge_remove(s->m, source, &o, s->now_ms), 0);
}

/* --- the client --------------------------------------------------------------------------- */

static const char *name_of(const struct object *o)
{
	return o->kind == OBJECT_SERVICE ? o->service->name : o->policy->name;
}

static struct object *find(struct say *s, enum object_kind kind, const char *name)
{
	for (size_t i = 0; i < s->n_has; i++)
		if (s->has[i].kind == kind && !strcmp(name_of(&s->has[i]), name))
			return &s->has[i];
	return NULL;
}

static void take_upsert(struct say *s, const struct object *o)
{
	struct object *mine = find(s, o->kind, name_of(o));
	struct object copy = {o->kind, service_ref(o->service), policy_ref(o->policy)};

	if (!mine) {
		s->has = reallocarray(s->has, s->n_has + 1, sizeof(*s->has));
		assert_non_null(s->has);
		s->has[s->n_has++] = copy;
		return;
	}
	if (o->kind == OBJECT_SERVICE)
		assert_false(service_is_equal(o->service, mine->service));
	else
		assert_false(policy_is_equal(o->policy, mine->policy));
	object_done(mine);
	*mine = copy;
}

static void take(struct say *s)
{
	struct merge_change c;

	assert_int_equal(merge_take(s->m, s->now_ms, &c), 0);
	for (size_t i = 0; i < c.n_upserts; i++)
		take_upsert(s, &c.upserts[i]);
	for (size_t i = 0; i < c.n_deletes; i++) {
		struct object *mine = find(s, c.deletes[i].kind, c.deletes[i].name);

		assert_non_null(mine);
		object_done(mine);
		*mine = s->has[--s->n_has];
	}
	s->urgent = c.urgent;
	s->told = c.n_upserts + c.n_deletes;
	merge_change_done(&c);
}

/* --- its view ----------------------------------------------------------------------------- */

static void append_service(struct text_buffer *b, const struct service *x)
{
	char text[ADDRESS_TEXT];

	text_append_format(b, "%s:%u", x->name, x->ports[0].port);
	for (size_t i = 0; i < x->n_addresses; i++)
		text_append_format(b, "=%s", address_format(&x->address[i], text));
	for (size_t i = 0; i < x->n_endpoints; i++) {
		const struct endpoint *e = &x->endpoints[i];

		assert_true(e->source > 0 && e->source <= x->n_sources);
		assert_true(e->zone <= x->n_zones && e->node <= x->n_nodes);
		text_append_format(b, " %s", address_format(&e->addr, text));
		if (service_target(x, i, 0))
			text_append_format(b, ":%u", service_target(x, i, 0));
		if (e->weight != WEIGHT)
			text_append_format(b, "*%u", e->weight);
		text_append_format(b, "@%s%s", x->sources[e->source - 1],
				   e->flags & ENDPOINT_SUSPECT ? "?" : "");
	}
}

static int by_name(const void *x, const void *y)
{
	const struct object *a = x, *b = y;

	return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcmp(name_of(a), name_of(b));
}

const char *say_view(struct say *s)
{
	static char *view;
	struct text_buffer b = {};

	take(s);
	if (s->n_has)
		qsort(s->has, s->n_has, sizeof(*s->has), by_name);
	text_append(&b, "");
	for (size_t i = 0; i < s->n_has; i++) {
		const struct object *o = &s->has[i];

		text_append(&b, i ? "; " : "");
		if (o->kind == OBJECT_SERVICE)
			append_service(&b, o->service);
		else
			text_append_format(&b, "policy %s %u", o->policy->name,
					   o->policy->rules.consecutive);
	}
	free(view);
	view = text_take(&b);
	return view;
}
