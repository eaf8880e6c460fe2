/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See world.h: the daemon's side. world_view.c is the programs'.
 */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/codec.h"

#define SOURCE "manifest"

void world_init(struct world *w, const struct fake_size *size)
{
	struct prefix allowed[2];
	struct store_config config = {.allowed = allowed, .n_allowed = 2};

	*w = (struct world){};
	assert_int_equal(prefix_parse("127.128.0.0/9", &config.pool4), 0);
	assert_int_equal(prefix_parse("fd73:696e:6577::/64", &config.pool6), 0);
	assert_int_equal(prefix_parse("10.0.0.0/8", &allowed[0]), 0);
	assert_int_equal(prefix_parse("fc00::/7", &allowed[1]), 0);
	assert_int_equal(store_new(&config, &w->store), 0);
	fake_init(size);
	assert_int_equal(world_start(w, false), 0);
}

void world_kill(struct world *w)
{
	w->publish = publish_free(w->publish);
	fake_close(&w->kernel);
}

int world_start(struct world *w, bool keep)
{
	int r;

	fake_open(&w->kernel);
	r = publish_new(&w->kernel, &w->publish);
	if (r < 0)
		return r;
	return publish_adopt(w->publish, w->store, keep, &w->removed);
}

void world_done(struct world *w)
{
	world_kill(w);
	problems_done(&w->problems);
	store_free(w->store);
	fake_done();
	*w = (struct world){};
}

/* --- a service's line --------------------------------------------------------------------- */

static void append_addresses(struct text_buffer *b, char *word)
{
	char *state = NULL;
	const char *separator = "";

	if (!strcmp(word, "-"))
		return;
	text_append(b, "\"addresses\":[");
	for (char *a = strtok_r(word, ",", &state); a; a = strtok_r(NULL, ",", &state)) {
		text_append_format(b, "%s\"%s\"", separator, a);
		separator = ",";
	}
	text_append(b, "],");
}

static void append_ports(struct text_buffer *b, char *word)
{
	bool several = strchr(word, ',');
	char *state = NULL;
	unsigned int n = 0;

	text_append(b, "\"ports\":[");
	for (char *p = strtok_r(word, ",", &state); p; p = strtok_r(NULL, ",", &state), n++) {
		const char *target = strchr(p, '>');

		text_append_format(b, "%s{\"port\":%d", n ? "," : "", (int)strtol(p, NULL, 10));
		if (several)
			text_append_format(b, ",\"name\":\"p%u\"", n);
		if (strstr(p, "/UDP"))
			text_append(b, ",\"protocol\":\"UDP\"");
		if (target)
			text_append_format(b, ",\"targetPort\":%s", target + 1);
		text_append(b, "}");
	}
	text_append(b, "]");
}

/* "8080", or {"p0": 8080, "p1": 9090} of "8080/9090". */
static void append_targets(struct text_buffer *b, char *word)
{
	char *state = NULL;
	unsigned int n = 0;

	if (!strchr(word, '/')) {
		text_append_format(b, ",\"port\":%s", word);
		return;
	}
	text_append(b, ",\"ports\":{");
	for (char *p = strtok_r(word, "/", &state); p; p = strtok_r(NULL, "/", &state), n++)
		text_append_format(b, "%s\"p%u\":%s", n ? "," : "", n, p);
	text_append(b, "}");
}

/* "!7@consul/dc1", and "?" at the very end: who named it, and whether that is still believed. */
static void append_origin(struct text_buffer *b, char *instance, bool is_suspect)
{
	char *source = instance ? strchr(instance, '@') : NULL;

	if (source)
		*source++ = '\0';
	if (instance)
		text_append_format(b, ",\"instance\":\"%016lx\"", strtoul(instance, NULL, 16));
	if (source)
		text_append_format(b, ",\"source\":\"%s\"", source);
	if (is_suspect)
		text_append(b, ",\"suspect\":true");
}

static void append_endpoint(struct text_buffer *b, char *word, bool first)
{
	char *zone, *weight, *port, *node, *instance;
	size_t length = strlen(word);
	bool is_suspect = word[length - 1] == '?';

	if (is_suspect)
		word[length - 1] = '\0';
	instance = strchr(word, '!');
	if (instance)
		*instance++ = '\0';
	zone = strchr(word, '@');
	if (zone)
		*zone++ = '\0';
	node = zone ? strchr(zone, '/') : NULL;
	if (node)
		*node++ = '\0';
	weight = strchr(word, '*');
	if (weight)
		*weight++ = '\0';
	port = strchr(word, '=');
	if (port)
		*port++ = '\0';
	text_append_format(b, "%s{\"address\":\"%s\"", first ? "" : ",", word);
	if (port)
		append_targets(b, port);
	if (weight)
		text_append_format(b, ",\"weight\":%s", weight);
	if (zone && *zone)
		text_append_format(b, ",\"zone\":\"%s\"", zone);
	if (node)
		text_append_format(b, ",\"node\":\"%s\"", node);
	append_origin(b, instance, is_suspect);
	text_append(b, "}");
}

char *world_service_json(const char *line)
{
	_cleanup_free_ char *copy = strdup(line);
	char *state = NULL, *name, *address, *ports, *word;
	const char *policy = "default";
	struct text_buffer b = {};
	bool first = true;

	assert_non_null(copy);
	name = strtok_r(copy, " ", &state);
	address = strtok_r(NULL, " ", &state);
	ports = strtok_r(NULL, " ", &state);
	assert_non_null(ports);
	text_append_format(&b,
			   "{\"apiVersion\":\"sinew/v1\",\"kind\":\"Service\",\"metadata\":"
			   "{\"name\":\"%s\"},\"spec\":{",
			   name);
	append_addresses(&b, address);
	append_ports(&b, ports);
	text_append(&b, ",\"endpoints\":[");
	while ((word = strtok_r(NULL, " ", &state))) {
		if (*word == '@') {
			policy = word + 1;
			continue;
		}
		append_endpoint(&b, word, first);
		first = false;
	}
	text_append_format(&b, "],\"policy\":\"%s\"}}", policy);
	return text_take(&b);
}

/* --- changes ------------------------------------------------------------------------------ */

int world_apply(struct world *w, const struct change *change)
{
	struct plan plan = {};
	int r;

	problems_done(&w->problems);
	w->removed = 0;
	r = store_plan(w->store, change, &w->problems, &plan);
	if (r >= 0)
		r = publish_apply(w->publish, w->store, &plan, &w->removed);
	if (r >= 0)
		store_commit(w->store, &plan);
	plan_done(&plan);
	return r;
}

static int put_json(struct world *w, const char *json)
{
	yyjson_doc *doc = yyjson_read(json, strlen(json), 0);
	struct object o = {};
	struct change change = {.source = SOURCE, .upserts = &o, .n_upserts = 1};
	int r;

	assert_non_null(doc);
	problems_done(&w->problems);
	r = codec_decode_object(yyjson_doc_get_root(doc), "", SOURCE, &w->problems, &o);
	yyjson_doc_free(doc);
	if (r >= 0)
		r = world_apply(w, &change);
	object_done(&o);
	return r;
}

int world_put(struct world *w, const char *line)
{
	_cleanup_free_ char *json = world_service_json(line);

	return put_json(w, json);
}

char *world_policy_json(const char *name, const char *spec)
{
	struct text_buffer b = {};

	text_append_format(&b,
			   "{\"apiVersion\":\"sinew/v1\",\"kind\":\"TrafficPolicy\","
			   "\"metadata\":{\"name\":\"%s\"},\"spec\":%s}",
			   name, spec);
	return text_take(&b);
}

int world_policy(struct world *w, const char *name, const char *spec)
{
	_cleanup_free_ char *json = world_policy_json(name, spec);

	return put_json(w, json);
}

static int drop(struct world *w, enum object_kind kind, const char *name)
{
	struct object_name gone = {.kind = kind, .namespace = "default", .name = name};
	struct change change = {.source = SOURCE, .deletes = &gone, .n_deletes = 1};

	return world_apply(w, &change);
}

int world_drop(struct world *w, const char *name)
{
	return drop(w, OBJECT_SERVICE, name);
}

int world_drop_policy(struct world *w, const char *name)
{
	return drop(w, OBJECT_POLICY, name);
}
