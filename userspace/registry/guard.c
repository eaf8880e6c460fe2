/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See guard.h. Before: merge_word.c counts what a word takes away. Must never need more than
 * numbers, so that each line of the rule is one comparison here.
 */
#include "registry/guard.h"

#include <string.h>

static void drop_first(struct guard *g, unsigned int n)
{
	memmove(g->at_ms, g->at_ms + n, (g->used - n) * sizeof(*g->at_ms));
	memmove(g->n, g->n + n, (g->used - n) * sizeof(*g->n));
	g->used -= n;
}

/* How many are out of the window, by their places. */
static unsigned int count_old(const struct guard *g, uint64_t window_ms, uint64_t now_ms)
{
	unsigned int old = 0;

	while (old < g->used && g->at_ms[old] + window_ms <= now_ms)
		old++;
	return old;
}

size_t guard_count(const struct guard *g, uint64_t window_ms, uint64_t now_ms)
{
	size_t n = 0;

	for (unsigned int i = count_old(g, window_ms, now_ms); i < g->used; i++)
		n += g->n[i];
	return n;
}

/* Of so many in a row those two become one that are nearest to each other. */
static void make_room(struct guard *g)
{
	unsigned int at = 0;

	for (unsigned int i = 1; i + 1 < g->used; i++)
		if (g->at_ms[i + 1] - g->at_ms[i] < g->at_ms[at + 1] - g->at_ms[at])
			at = i;
	g->n[at] += g->n[at + 1];
	for (unsigned int i = at + 1; i + 1 < g->used; i++) {
		g->at_ms[i] = g->at_ms[i + 1];
		g->n[i] = g->n[i + 1];
	}
	g->used--;
}

void guard_note(struct guard *g, size_t n, uint64_t window_ms, uint64_t now_ms)
{
	drop_first(g, count_old(g, window_ms, now_ms));
	if (g->used == GUARD_PASSES)
		make_room(g);
	g->at_ms[g->used] = now_ms;
	g->n[g->used++] = (uint32_t)n;
}

bool guard_holds(struct guard *g, const struct guard_settings *settings,
		 const struct guard_loss *loss, uint64_t now_ms)
{
	size_t passed = guard_count(g, settings->hold_window_ms, now_ms);
	size_t away = loss->gone + loss->held + passed;

	if (!loss->gone)
		return false;
	if (!loss->left || away * 100 > settings->hold_percent * (loss->before + passed))
		return true;
	guard_note(g, loss->gone, settings->hold_window_ms, now_ms);
	return false;
}

bool guard_is_confirmed(uint64_t held_ms, uint64_t now_ms)
{
	return now_ms >= held_ms + GUARD_CONFIRM_MS;
}

uint64_t guard_ask_ms(uint64_t held_ms, unsigned int asked, uint64_t asked_ms)
{
	uint64_t wait = asked < 6 ? (uint64_t)GUARD_CONFIRM_MS << asked : GUARD_SETTLE_MS;
	uint64_t first = held_ms + GUARD_CONFIRM_MS;

	if (!asked)
		return first;
	wait = asked_ms + (wait < GUARD_SETTLE_MS ? wait : GUARD_SETTLE_MS);
	return wait > first ? wait : first;
}

bool guard_is_settled(uint64_t held_ms, uint64_t contact_ms)
{
	return contact_ms >= held_ms + GUARD_SETTLE_MS;
}

bool guard_is_back(uint64_t back_ms, uint64_t now_ms)
{
	return !back_ms || now_ms >= back_ms + GUARD_RETURN_MS;
}

bool guard_is_sane(size_t services, size_t emptied)
{
	return emptied <= 1 || emptied * 100 <= services * GUARD_SANE_PERCENT;
}

bool guard_is_dark(const struct guard_settings *settings, bool was_dark, size_t services,
		   size_t emptied)
{
	if (guard_is_sane(services, emptied))
		return false;
	return was_dark || emptied * 100 > services * settings->hold_percent;
}
