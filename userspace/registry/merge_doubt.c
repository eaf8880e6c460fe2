/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is to be thought of a whole registry: whether it has lost its data, and about which services
 * it is to be asked once more. Before: merge.c took its words, and forecasts snapshots. After: the
 * agent asks. Must never change what is believed.
 */
#include <stdio.h>
#include <string.h>

#include "registry/merge_state.h"

/* Those let go lately count as long as there are others, which may have gone the same way. */
size_t merge_count_left(const struct merge_source *s, size_t emptied, uint64_t now_ms)
{
	return emptied ? guard_count(&s->left, GUARD_SETTLE_MS, now_ms) : 0;
}

/* The word of one that gets its data back is worth no more than that of one that was away. */
void merge_note_dark(struct merge *m, struct merge_source *s, size_t full, size_t emptied,
		     uint64_t now_ms)
{
	size_t left = merge_count_left(s, emptied, now_ms);
	bool lost = guard_is_dark(&m->settings, s->lost, full, emptied);

	if (s->lost && !lost)
		s->back_ms = now_ms ? now_ms : 1;
	s->lost = lost;
	s->dark = guard_is_dark(&m->settings, s->dark, full + left, emptied + left);
}

void merge_note_blank(struct merge_source *s, bool blank, uint64_t now_ms)
{
	if (s->blank && !blank && s->emptied)
		s->back_ms = now_ms ? now_ms : 1;
	s->blank = blank;
}

void merge_look_around(struct merge *m, struct merge_source *s, uint64_t now_ms)
{
	merge_note_dark(m, s, s->full, s->emptied, now_ms);
}

/* What another word of it would do, as merge_word.c has it. */
bool merge_may_confirm(const struct merge_source *s, uint64_t now_ms)
{
	return s->held && !s->blank && !s->dark && !s->away && guard_is_back(s->back_ms, now_ms);
}

/* When another question about it is due; 0: none is. */
static uint64_t ask_ms(const struct merge_part *p, uint64_t now_ms)
{
	uint64_t due;

	if (!p || !p->now.n_held)
		return 0;
	due = guard_ask_ms(p->now.held_ms, p->asked, p->asked_ms);
	return due <= now_ms ? due : 0;
}

void merge_doubt(struct merge *m, unsigned int source, uint64_t now_ms, struct merge_doubt *ret)
{
	struct merge_source *s = &m->sources[source];
	uint64_t first = UINT64_MAX;

	*ret = (struct merge_doubt){};
	if (!s->held)
		return;
	merge_look_around(m, s, now_ms);
	if (!merge_may_confirm(s, now_ms))
		return;
	for (const struct merge_node *node = m->nodes; node; node = node->hh.next) {
		const struct merge_part *p = merge_find_part(node, source);
		uint64_t due = ask_ms(p, now_ms);

		ret->n += due != 0;
		if (!due || due >= first)
			continue;
		first = due;
		(void)snprintf(ret->namespace, sizeof(ret->namespace), "%s",
			       p->now.believed->namespace);
		(void)snprintf(ret->name, sizeof(ret->name), "%s", p->now.believed->name);
	}
}

static bool is_named(const struct merge_part *p, const char *namespace, const char *name)
{
	const struct service *s = p->now.believed;

	return !strcmp(s->namespace, namespace) && !strcmp(s->name, name);
}

void merge_asked(struct merge *m, unsigned int source, const char *namespace, const char *name,
		 uint64_t now_ms)
{
	for (struct merge_node *node = m->nodes; node; node = node->hh.next) {
		struct merge_part *p = merge_find_part(node, source);

		if (!p || !p->now.n_held || (name && !is_named(p, namespace, name)))
			continue;
		p->asked++;
		p->asked_ms = now_ms;
	}
}
