/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Thousands of random changes, with kills and time between them, against a reference: after each
 * the clients see exactly what is declared; a refused one changed nothing; and nothing that a
 * program may still hold is written again before its rest is over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "world.h"

#define SERVICES 8
#define ENDPOINTS 6
#define ROUNDS 1500
#define GRACE 1000000000ull

static uint64_t random_state;

static unsigned int draw(unsigned int below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(random_state >> 33) % below;
}

/* The reference: what was declared, in the simplest form. */
struct wanted {
	bool is_there;
	unsigned int ports; /* bits: 80, 81, 82 */
	unsigned int
		weight[ENDPOINTS]; /* of 10.1.0.<e>; 0: not there, 1: draining, else weight - 1 */
	unsigned int order;
};

static void draw_wanted(struct wanted *w)
{
	w->is_there = draw(5) > 0;
	w->ports = 1 + draw(7);
	w->order = draw(ENDPOINTS);
	for (unsigned int e = 0; e < ENDPOINTS; e++)
		w->weight[e] = draw(3) ? 0 : 1 + draw(2) * draw(9);
}

static char *line_of(unsigned int i, const struct wanted *w)
{
	struct text_buffer b = {};
	const char *separator = "";

	text_append_format(&b, "s%u 10.96.0.%u ", i, i);
	for (unsigned int p = 0; p < 3; p++)
		if (w->ports & 1u << p) {
			text_append_format(&b, "%s%u>8080", separator, 80 + p);
			separator = ",";
		}
	for (unsigned int k = 0; k < ENDPOINTS; k++) {
		unsigned int e = (k + w->order) % ENDPOINTS;

		if (w->weight[e])
			text_append_format(&b, " 10.1.0.%u*%u", e, w->weight[e] - 1);
	}
	return text_take(&b);
}

static void append_wanted(struct text_buffer *b, unsigned int i, const struct wanted *w)
{
	unsigned int total = 0;

	for (unsigned int e = 0; e < ENDPOINTS; e++)
		total += w->weight[e] ? w->weight[e] - 1 : 0;
	for (unsigned int p = 0; p < 3; p++) {
		if (!w->is_there || !(w->ports & 1u << p))
			continue;
		text_append_format(b, "10.96.0.%u:%u/TCP ->%s", i, 80 + p, total ? "" : " nobody");
		for (unsigned int e = 0; e < ENDPOINTS; e++)
			if (w->weight[e] > 1)
				text_append_format(b, " 10.1.0.%u:8080 %.2f%%", e,
						   world_percent(w->weight[e] - 1, total));
		text_append(b, "\n");
	}
}

static char *wanted_text(const struct wanted *all)
{
	struct text_buffer b = {};

	for (unsigned int i = 0; i < SERVICES; i++)
		append_wanted(&b, i, &all[i]);
	return text_take(&b);
}

/* --- who holds what, and since when it rests ---------------------------------------------- */

#define SLOTS 160
#define BACKENDS 48

struct holder {
	uint32_t owner;   /* service and extent, or incarnation + 1 of a backend; 0: nobody */
	uint64_t left_ns; /* when it was last given back; 0: never */
};

struct ledger {
	struct holder slots[SLOTS], backends[BACKENDS];
};

static void ledger_book(struct holder *h, uint32_t owner, const char *what, uint32_t index)
{
	if (h->owner == owner)
		return;
	if (owner && h->left_ns && fake.now_ns - h->left_ns < GRACE)
		fail_msg("%s %u is given out %llu ns after it was left", what, index,
			 (unsigned long long)(fake.now_ns - h->left_ns));
	if (h->owner && owner)
		fail_msg("%s %u went from %u to %u without a rest", what, index, h->owner, owner);
	if (!owner)
		h->left_ns = fake.now_ns;
	h->owner = owner;
}

/* Extents that frontends lead to: each element is in one set at most. */
static void book_slots(struct ledger *l)
{
	uint32_t owners[SLOTS] = {0};

	for (uint32_t i = 0; i < fake.n_frontends; i++) {
		uint32_t set = fake_service(fake.frontends[i].value)->set;
		uint32_t count = ((const struct sn_set *)fake_slot(set))->count[0];

		for (uint32_t k = set; k < set + SN_SET_HEADER + count; k++) {
			assert_int_equal(owners[k], 0);
			/* Another extent of the same service must have rested, too. */
			owners[k] = fake.frontends[i].value << 16 | set;
		}
	}
	for (uint32_t k = 1; k < SLOTS; k++)
		ledger_book(&l->slots[k], owners[k], "slot", k);
}

static void book_backends(struct ledger *l)
{
	for (uint32_t k = 1; k < BACKENDS; k++) {
		const struct sn_backend *b = fake_backend(k);
		uint32_t owner = b->state == SN_BACKEND_GONE ? 0 : b->incarnation + 1u;

		ledger_book(&l->backends[k], owner, "backend", k);
	}
}

/* --- the walk ----------------------------------------------------------------------------- */

struct walk {
	struct world w;
	struct wanted all[SERVICES];
	struct ledger ledger;
	unsigned int refused, applied, kills;
};

static void change_one(struct walk *k)
{
	unsigned int i = draw(SERVICES);
	struct wanted wish = k->all[i];
	_cleanup_free_ char *line = NULL;
	char name[8];
	int r;

	draw_wanted(&wish);
	line = line_of(i, &wish);
	(void)snprintf(name, sizeof(name), "s%u", i);
	if (!wish.is_there && !k->all[i].is_there)
		return;
	r = wish.is_there ? world_put(&k->w, line) : world_drop(&k->w, name);
	if (r < 0)
		assert_true(r == -EBUSY || r == -ENOSPC);
	else
		k->all[i] = wish;
	k->refused += r < 0;
	k->applied += r >= 0;
}

static void check_walk(struct walk *k, unsigned int round)
{
	_cleanup_free_ char *wanted = wanted_text(k->all), *text = world_text();

	if (strcmp(wanted, text) != 0)
		fail_msg("round %u: clients see\n%s instead of\n%s", round, text, wanted);
	book_slots(&k->ledger);
	book_backends(&k->ledger);
}

static void restart(struct walk *k)
{
	world_kill(&k->w);
	assert_int_equal(world_start(&k->w, false), 0);
	assert_int_equal(k->w.removed, 0);
	/* What rested is forgotten with the daemon: a new one takes longer to come than a rest. */
	fake.now_ns += GRACE;
	k->kills++;
}

static void walk(uint64_t seed)
{
	static const struct fake_size size = {20, 20, SLOTS, BACKENDS};
	struct walk k = {};

	random_state = seed;
	world_init(&k.w, &size);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		if (!draw(20))
			restart(&k);
		fake.now_ns += (uint64_t)draw(400) * 1000000;
		change_one(&k);
		check_walk(&k, round);
	}
	print_message("# %u applied, %u refused, %u kills\n", k.applied, k.refused, k.kills);
	/* Each kind happened often enough to mean something. */
	assert_in_range(k.applied, ROUNDS / 4, ROUNDS);
	assert_in_range(k.refused, 20, ROUNDS);
	assert_in_range(k.kills, 20, ROUNDS);
	world_done(&k.w);
}

static void test_random_changes_first_walk(void **state)
{
	walk(1);
}

static void test_random_changes_second_walk(void **state)
{
	walk(20260203);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_changes_first_walk),
		cmocka_unit_test(test_random_changes_second_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
