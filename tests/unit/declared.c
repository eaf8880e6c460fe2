/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See declared.h.
 */
#include "declared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "harness/model.h"

#define WORDS_MAX 64

void declared_init_pool(struct declared *d, const char *pool4)
{
	struct prefix allowed[2];
	struct store_config config = {.allowed = allowed, .n_allowed = 2};

	*d = (struct declared){};
	assert_int_equal(prefix_parse(pool4, &config.pool4), 0);
	assert_int_equal(prefix_parse("fd73:696e:6577::/64", &config.pool6), 0);
	assert_int_equal(prefix_parse("10.0.0.0/8", &allowed[0]), 0);
	assert_int_equal(prefix_parse("fc00::/7", &allowed[1]), 0);
	assert_int_equal(store_new(&config, &d->store), 0);
}

void declared_init(struct declared *d)
{
	declared_init_pool(d, "127.128.0.0/9");
}

void declared_done(struct declared *d)
{
	plan_done(&d->plan);
	problems_done(&d->problems);
	d->store = store_free(d->store);
}

/* --- words -------------------------------------------------------------------------------- */

struct words {
	struct change change;
	struct object upserts[WORDS_MAX];
	struct object_name deletes[WORDS_MAX];
	char text[8192];
};

/* "shop/pay" is taken apart in place. */
static struct object_name name_of(enum object_kind kind, char *text)
{
	char *slash = strchr(text, '/');

	if (!slash)
		return (struct object_name){kind, "default", text};
	*slash = '\0';
	return (struct object_name){kind, text, slash + 1};
}

static void append_ports(struct text_buffer *b, char *word)
{
	char *state = NULL;
	unsigned int n = 0;

	text_append(b, "'ports':[");
	for (char *p = strtok_r(word, "+", &state); p; p = strtok_r(NULL, "+", &state), n++)
		text_append_format(b, "%s{'name':'p%u','port':%d%s}", n ? "," : "", n,
				   (int)strtol(p, NULL, 10),
				   strchr(p, 'u') ? ",'protocol':'UDP'" : "");
	text_append(b, "],'endpoints':[");
}

static void append_endpoint(struct text_buffer *b, const char *word)
{
	const char *separator = b->data[b->n - 1] == '[' ? "" : ",";
	struct sn_addr addr;
	uint16_t port = 0;
	char text[ADDRESS_TEXT];

	assert_int_equal(address_parse_port(word, &addr, &port), 0);
	text_append_format(b, "%s{'address':'%s'", separator, address_format(&addr, text));
	if (port)
		text_append_format(b, ",'port':%u", port);
	text_append(b, "}");
}

static char *service_json(char *word)
{
	char *state = NULL, *rest;
	struct object_name name = name_of(OBJECT_SERVICE, strtok_r(word, " ", &state));
	const char *address = strtok_r(NULL, " ", &state), *policy = "default";
	struct text_buffer b = {};

	text_append_format(&b,
			   "{'apiVersion':'sinew/v1','kind':'Service','metadata':{'name':'%s',"
			   "'namespace':'%s'},'spec':{",
			   name.name, name.namespace);
	if (*address != '-')
		text_append_format(&b, "'address':'%s',%s", address + (*address == '?'),
				   *address == '?' ? "'allocated':true," : "");
	append_ports(&b, strtok_r(NULL, " ", &state));
	while ((rest = strtok_r(NULL, " ", &state))) {
		if (*rest == '@')
			policy = rest + 1;
		else
			append_endpoint(&b, rest);
	}
	text_append_format(&b, "],'policy':'%s'}}", policy);
	return text_take(&b);
}

static char *policy_json(char *word)
{
	char *state = NULL;
	struct object_name name = name_of(OBJECT_POLICY, strtok_r(word, " ", &state));
	const char *to = strtok_r(NULL, " ", &state), *separator = "'fallback':['";
	struct text_buffer b = {};

	text_append_format(&b,
			   "{'apiVersion':'sinew/v1','kind':'TrafficPolicy','metadata':"
			   "{'name':'%s','namespace':'%s'},'spec':{",
			   name.name, name.namespace);
	for (const char *one = to; one; one = strtok_r(NULL, " ", &state), separator = "','")
		text_append_format(&b, "%s%s", separator, one);
	text_append(&b, to ? "']}}" : "}}");
	return text_take(&b);
}

static void add_word(struct words *w, char *word)
{
	struct change *c = &w->change;
	bool is_policy = word[1] == '%';
	char *rest = word + 1 + is_policy;

	assert_true(c->n_upserts < WORDS_MAX && c->n_deletes < WORDS_MAX);
	if (!strcmp(word, "whole")) {
		c->whole = true;
	} else if (!strcmp(word, "ignoring")) {
		c->ignore_missing = true;
	} else if (*word == '-') {
		w->deletes[c->n_deletes++] =
			name_of(is_policy ? OBJECT_POLICY : OBJECT_SERVICE, rest);
	} else {
		_cleanup_free_ char *json = is_policy ? policy_json(rest) : service_json(rest);

		assert_int_equal(*word, '+');
		w->upserts[c->n_upserts++] = model_object(json, c->source);
	}
}

static int plan(struct declared *d, const char *source, const char *text, const uint64_t *if_match)
{
	struct words *w = calloc(1, sizeof(*w));
	char *state = NULL;
	int r;

	assert_non_null(w);
	w->change = (struct change){.source = source, .upserts = w->upserts, .deletes = w->deletes};
	w->change.has_if_match = if_match;
	w->change.if_match = if_match ? *if_match : 0;
	assert_true(strlen(text) < sizeof(w->text));
	(void)snprintf(w->text, sizeof(w->text), "%s", text);
	for (char *word = strtok_r(w->text, ",", &state); word; word = strtok_r(NULL, ",", &state))
		add_word(w, word + strspn(word, " "));
	problems_done(&d->problems);
	plan_done(&d->plan);
	r = store_plan(d->store, &w->change, &d->problems, &d->plan);
	assert_int_equal(problems_any(&d->problems), r < 0 && r != -ENOMEM);
	for (size_t i = 0; i < w->change.n_upserts; i++)
		object_done(&w->upserts[i]);
	free(w);
	return r;
}

int declared_plan(struct declared *d, const char *source, const char *words)
{
	return plan(d, source, words, NULL);
}

int declared_change(struct declared *d, const char *source, const char *words)
{
	int r = plan(d, source, words, NULL);

	if (r >= 0)
		store_commit(d->store, &d->plan);
	return r;
}

int declared_change_if(struct declared *d, const char *source, const char *words, uint64_t if_match)
{
	int r = plan(d, source, words, &if_match);

	if (r >= 0)
		store_commit(d->store, &d->plan);
	return r;
}

bool declared_says(const struct declared *d, const char *part)
{
	return model_has_problem(&d->problems, "", part);
}

const char *declared_address(const struct declared *d, const char *name)
{
	const struct service *s = store_find_service(d->store, "default", name);
	static char text[2 * ADDRESS_TEXT + 2];
	char one[ADDRESS_TEXT];
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; s && i < s->n_addresses; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "",
				      address_format(&s->address[i], one));
	return text;
}
