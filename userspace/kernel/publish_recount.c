/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See publish.h: the numbers of members that are ejected or held. The programs keep the first of
 * them by themselves; a set that changes takes members with it, and whoever was counted with them
 * must not stay counted. After publish.c and hold.c; must never eject or restore.
 */
#include "kernel/entry.h"

static struct sn_health *health_of(const struct publish *p, const struct member *m)
{
	return window_at(&p->k->health, m->backend);
}

static bool is_active(const struct publish *p, const struct member *m)
{
	const struct sn_backend *b = window_at(&p->k->backends, m->backend);

	return b->state == SN_BACKEND_ACTIVE;
}

struct counted {
	uint32_t ejected, held;
};

static struct counted count_members(const struct publish *p, const struct entry *e, uint64_t now_ns)
{
	struct counted n = {};

	for (uint32_t i = 0; i < e->n_members; i++) {
		const struct sn_health *h = health_of(p, &e->members[i]);

		if (!is_active(p, &e->members[i]))
			continue;
		n.ejected += __atomic_load_n(&h->ejected_until_ns, __ATOMIC_RELAXED) != 0;
		n.held += h->held && now_ns < h->held_until_ns;
	}
	return n;
}

/* By compare-and-swap: a program that ejects or restores meanwhile has the say, and the next look
 * finds what is wrong then. */
static void correct(struct sn_svc_state *state, uint32_t seen, uint32_t counted)
{
	(void)__atomic_compare_exchange_n(&state->ejected, &seen, counted, false, __ATOMIC_RELEASE,
					  __ATOMIC_RELAXED);
}

void publish_recount(struct publish *p, struct entry *e)
{
	struct sn_svc_state *state = window_at(&p->k->svc_state, e->index);
	uint32_t seen = __atomic_load_n(&state->ejected, __ATOMIC_RELAXED);
	struct counted n = count_members(p, e, publish_now_ns());

	if (n.ejected != seen)
		correct(state, seen, n.ejected);
	__atomic_store_n(&state->held, n.held, __ATOMIC_RELEASE);
	e->miscount = 0;
}

void publish_recount_draft(struct publish *p, const struct draft *d)
{
	struct sn_svc_state *state = window_at(&p->k->svc_state, d->entry->index);
	uint32_t seen = __atomic_load_n(&state->ejected, __ATOMIC_RELAXED), n = 0;

	for (uint32_t i = 0; i < d->n; i++) {
		const struct draft_member *m = &d->members[i];
		const struct sn_health *h = window_at(&p->k->health, m->backend);

		n += !m->is_new && m->want.state == SN_BACKEND_ACTIVE && h->ejected_until_ns;
	}
	if (n < seen)
		correct(state, seen, n);
}

/* An ejection in progress has raised the number and not yet the backend's time, so a difference
 * counts only when the next look finds the same one. */
static void look_at(struct publish *p, struct entry *e, uint64_t now_ns)
{
	struct sn_svc_state *state = window_at(&p->k->svc_state, e->index);
	uint32_t seen = __atomic_load_n(&state->ejected, __ATOMIC_RELAXED);
	struct counted n = count_members(p, e, now_ns);
	int32_t miscount = (int32_t)(seen - n.ejected);

	if (miscount && miscount == e->miscount) {
		correct(state, seen, n.ejected);
		miscount = 0;
	}
	e->miscount = miscount;
	__atomic_store_n(&state->held, n.held, __ATOMIC_RELEASE);
}

void publish_tick(struct publish *p)
{
	uint64_t now_ns = publish_now_ns();
	struct entry *e, *next;

	HASH_ITER (hh, p->entries, e, next) {
		const struct sn_svc_state *state = window_at(&p->k->svc_state, e->index);

		/* Nobody is ejected before the first failure. */
		if (state->failed_ns || state->ejected || state->held || e->miscount)
			look_at(p, e, now_ns);
	}
}
