/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See publish.h: holds by hand, and the numbers of members that are ejected or held. The programs
 * keep the first of them by themselves; a set that changes takes members with it, and whoever was
 * counted with them must not stay counted. Must never change what the programs decide: ejection.
 */
#include <errno.h>

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

/* --- holds ------------------------------------------------------------------------------------ */

/* Who reads `held` first must not find the time of a former hold. */
static void hold_member(const struct publish *p, const struct member *m, enum sn_hold hold,
			uint64_t until_ns)
{
	struct sn_health *h = health_of(p, m);

	__atomic_store_n(&h->held, SN_HOLD_NONE, __ATOMIC_RELEASE);
	__atomic_store_n(&h->held_until_ns, hold ? until_ns : 0, __ATOMIC_RELEASE);
	__atomic_store_n(&h->held, hold, __ATOMIC_RELEASE);
}

struct hold_arg {
	struct publish *p;
	const struct publish_member *which;
	enum sn_hold hold;
	uint64_t until_ns;
	bool found;
};

static int hold_entry(void *arg, const struct sn_frontend *key, uint32_t port)
{
	struct hold_arg *a = arg;
	struct entry *e = entry_find(a->p, key);

	if (!e || (a->which->port >= 0 && (uint32_t)a->which->port != port))
		return 0;
	for (uint32_t i = 0; i < e->n_members; i++)
		if (e->members[i].endpoint == a->which->endpoint) {
			hold_member(a->p, &e->members[i], a->hold, a->until_ns);
			a->found = true;
		}
	publish_recount(a->p, e);
	return 0;
}

int publish_hold(struct publish *p, const struct service *s, const struct publish_member *which,
		 enum sn_hold hold, uint64_t until_ns)
{
	struct hold_arg arg = {.p = p, .which = which, .hold = hold, .until_ns = until_ns};

	(void)entry_each_key(s, hold_entry, &arg);
	return arg.found ? 0 : -ENOENT;
}
