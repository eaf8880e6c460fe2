/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers that rested long enough are free again, and what only they needed of the maps is
 * unmapped. A backend's counters stay in its service's sums. After publish.c has retired them,
 * before it gives their numbers out again.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel/entry.h"
#include "kernel/read.h"

static bool forget_former(struct entry *e, uint32_t backend)
{
	for (uint32_t i = 0; i < e->n_former; i++)
		if (e->former[i] == backend) {
			e->former[i] = e->former[--e->n_former];
			return true;
		}
	return false;
}

static void keep_counters(struct publish *p, uint32_t backend)
{
	const struct sn_backend *b = window_at(&p->k->backends, backend);
	struct entry *e = b->service < p->k->services.entries ? p->by_index[b->service] : NULL;
	struct traffic t = {};

	if (!e || !forget_former(e, backend))
		return;
	if (!e->past)
		e->past = calloc(1, sizeof(*e->past));
	if (!e->past)
		return;
	read_backend(p->k, backend, &t);
	t.active = 0;
	traffic_add(e->past, &t);
}

static void recycle_backends(struct publish *p, uint64_t now_ns)
{
	uint32_t first, count, seen = p->backends.rest_count;

	while (seen-- && index_rested(&p->backends, now_ns, &first, &count)) {
		const struct sn_health *health = window_at(&p->k->health, first);

		/* Connections live on: their end would be booked on a stranger. */
		if (health->active && p->backends.retired < p->backends.max / 2) {
			index_rest_again(&p->backends, first, count, now_ns);
			continue;
		}
		keep_counters(p, first);
		index_free(&p->backends, first, count);
	}
}

void recycle_rested(struct publish *p, uint64_t now_ns)
{
	recycle_backends(p, now_ns);
	index_free_rested(&p->services, now_ns);
	index_free_rested(&p->slots, now_ns);
	index_free_rested(&p->rules.pool, now_ns);
}

void recycle_windows(struct publish *p)
{
	uint32_t backend = index_highest(&p->backends), service = index_highest(&p->services);

	window_trim(&p->k->backends, backend);
	window_trim(&p->k->health, backend);
	window_trim(&p->k->latency, backend);
	window_trim(&p->k->services, service);
	window_trim(&p->k->svc_stats, service);
	window_trim(&p->k->svc_state, service);
	window_trim(&p->k->slots, index_highest(&p->slots));
}
