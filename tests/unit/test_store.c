/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model/store: random changes by several sources, planned, committed, refused or thrown away,
 * against a list of what should be there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "declared.h"

#define NAMES 12
#define SOURCES 3
#define SITES 6 /* addresses that services want */

static unsigned int draw(unsigned int below)
{
	static uint64_t random_state = 123;

	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(random_state >> 33) % below;
}

/* One object of the reference. Ports 1..3 as bits; site 0: an address of the pool. */
struct thing {
	bool is_there;
	unsigned int source, site, ports;
};

struct reference {
	struct thing things[NAMES];
	uint64_t generation[SOURCES];
};

static const char *const sources[SOURCES] = {"manifest", "consul/a", "consul/b"};

static bool is_free(const struct reference *r, unsigned int name, const struct thing *t)
{
	for (unsigned int i = 0; i < NAMES; i++)
		if (i != name && t->site && r->things[i].is_there && r->things[i].site == t->site &&
		    r->things[i].ports & t->ports)
			return false;
	return true;
}

struct edit {
	bool named[NAMES], removes[NAMES];
	struct thing to[NAMES];
	bool whole;
	unsigned int source;
};

static void draw_edit(struct edit *e)
{
	*e = (struct edit){.whole = !draw(6), .source = draw(SOURCES)};
	for (unsigned int k = 1 + draw(2); k-- > 0;) {
		unsigned int i = draw(NAMES);

		e->named[i] = true;
		e->removes[i] = !draw(3);
		e->to[i] = (struct thing){true, e->source, draw(SITES), 1 + draw(7)};
	}
}

/* What the store should answer, and the reference as it should be then. */
static int expect(const struct edit *e, struct reference *r)
{
	struct reference next = *r;
	bool changes = false, loses = false, foreign = false;

	for (unsigned int i = 0; i < NAMES; i++) {
		const struct thing *old = &r->things[i];

		if (!e->named[i] && e->whole && old->is_there && old->source == e->source)
			next.things[i].is_there = false;
		if (!e->named[i])
			continue;
		foreign = foreign || (old->is_there && old->source != e->source);
		loses = loses || (e->removes[i] && !old->is_there);
		next.things[i] = e->to[i];
		next.things[i].is_there = !e->removes[i];
	}
	if (foreign || loses)
		return -EPERM; /* one or the other */
	for (unsigned int i = 0; i < NAMES; i++) {
		if (next.things[i].is_there && !is_free(&next, i, &next.things[i]))
			return -EINVAL;
		changes = changes || next.things[i].is_there != r->things[i].is_there ||
			  (next.things[i].is_there &&
			   memcmp(&next.things[i], &r->things[i], sizeof(struct thing)) != 0);
	}
	next.generation[e->source] += changes;
	*r = next;
	return 0;
}

static char *words_of(const struct edit *e)
{
	struct text_buffer b = {};

	text_append(&b, e->whole ? "whole" : "");
	for (unsigned int i = 0; i < NAMES; i++) {
		if (!e->named[i])
			continue;
		text_append(&b, b.n ? ", " : "");
		if (e->removes[i]) {
			text_append_format(&b, "-n%u", i);
			continue;
		}
		text_append_format(&b, "+n%u ", i);
		if (e->to[i].site)
			text_append_format(&b, "10.96.0.%u ", e->to[i].site);
		else
			text_append(&b, "- ");
		for (unsigned int p = 0; p < 3; p++)
			if (e->to[i].ports & 1u << p)
				text_append_format(&b, "%s%u", b.data[b.n - 1] == ' ' ? "" : "+",
						   p + 1);
	}
	return text_take(&b);
}

static void check_thing(const struct declared *d, const struct thing *t, unsigned int i)
{
	struct sn_frontend f = {.proto = SN_PROTO_TCP};
	struct service *s;
	char name[8];
	size_t port = 9;

	(void)snprintf(name, sizeof(name), "n%u", i);
	s = store_find_service(d->store, "default", name);
	assert_int_equal(!!s, t->is_there);
	if (!s)
		return;
	assert_string_equal(s->source, sources[t->source]);
	assert_int_equal(s->n_ports, __builtin_popcount(t->ports));
	assert_int_equal(s->allocated, !t->site);
	assert_int_equal(s->n_addresses, 1);
	if (t->site)
		assert_int_equal(ntohl(s->address[0].word_be[3]), 0x0a600000 + t->site);
	f.addr = s->address[0];
	for (size_t p = 0; p < s->n_ports; p++) {
		f.port_be = htons(s->ports[p].port);
		assert_ptr_equal(store_find_frontend(d->store, &f, &port), s);
		assert_int_equal(port, p);
	}
	f.port_be = htons(9);
	assert_null(store_find_frontend(d->store, &f, &port));
}

static void check_all(const struct declared *d, const struct reference *r)
{
	size_t n, n_sources, wanted = 0, counted = 0;
	struct service *const *all = store_services(d->store, &n);
	const struct source *list = store_sources(d->store, &n_sources);

	for (unsigned int i = 0; i < NAMES; i++) {
		check_thing(d, &r->things[i], i);
		wanted += r->things[i].is_there;
	}
	assert_int_equal(n, wanted);
	for (size_t i = 1; i < n; i++)
		assert_true(strcmp(all[i - 1]->name, all[i]->name) < 0);
	for (size_t i = 0; i < n_sources; i++)
		counted += list[i].n_services;
	assert_int_equal(counted, n);
	for (unsigned int i = 0; i < SOURCES; i++)
		assert_int_equal(store_generation(d->store, sources[i]), r->generation[i]);
}

static void test_random_changes_against_reference(void **state)
{
	struct reference r = {};
	struct declared d;
	unsigned int good = 0, refused = 0;

	declared_init(&d);
	for (unsigned int round = 0; round < 6000; round++) {
		_cleanup_free_ char *words = NULL;
		struct reference next = r;
		struct edit e;
		bool dry = !draw(8);
		int wanted, got;

		draw_edit(&e);
		words = words_of(&e);
		wanted = expect(&e, &next);
		got = dry ? declared_plan(&d, sources[e.source], words)
			  : declared_change(&d, sources[e.source], words);
		if (wanted == -EPERM ? got != -EEXIST && got != -ENOENT : got != wanted)
			fail_msg("round %u: \"%s\" came to %d, not %d", round, words, got, wanted);
		if (!dry && wanted >= 0)
			r = next;
		good += wanted >= 0;
		refused += wanted < 0;
		check_all(&d, &r);
	}
	assert_true(good > 700 && refused > 700);
	declared_done(&d);
}

static void test_changed_ms(void **state)
{
	struct declared d;
	const struct source *list;
	size_t n;

	declared_init(&d);
	assert_int_equal(declared_plan(&d, "s", "+a 10.96.0.1 80, +%p"), 0);
	d.plan.changed_ms = 1234;
	store_commit(d.store, &d.plan);
	list = store_sources(d.store, &n);
	assert_int_equal(n, 1);
	assert_string_equal(list[0].name, "s");
	assert_int_equal(list[0].changed_ms, 1234);
	assert_int_equal(list[0].n_services, 1);
	assert_int_equal(list[0].n_policies, 1);
	declared_done(&d);
}

/* What somebody holds a reference to lives on when the store has let go. */
static void test_references_outlive_the_commit(void **state)
{
	struct declared d;
	struct service *held;

	declared_init(&d);
	assert_int_equal(declared_change(&d, "s", "+a 10.96.0.1 80"), 0);
	held = service_ref(store_find_service(d.store, "default", "a"));
	assert_int_equal(declared_change(&d, "s", "-a"), 0);
	declared_done(&d);
	assert_string_equal(held->name, "a");
	(void)service_unref(held);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_changes_against_reference),
		cmocka_unit_test(test_changed_ms),
		cmocka_unit_test(test_references_outlive_the_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
