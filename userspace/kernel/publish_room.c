/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room for a change: indexes and extents for all that is new in it, or for nothing of it. Between
 * draft.c and publish.c, which writes. Must change nothing that the kernel sees: a change that does
 * not fit has not been.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "kernel/entry.h"
#include "sinew.skel.h"

static int need_backend(struct publish *p, uint32_t index)
{
	int r = window_need(&p->k->backends, index);

	if (r >= 0)
		r = window_need(&p->k->health, index);
	if (r >= 0)
		r = window_need(&p->k->latency, index);
	return r;
}

static int need_service(struct publish *p, uint32_t index)
{
	int r = window_need(&p->k->services, index);

	if (r >= 0)
		r = window_need(&p->k->svc_stats, index);
	return r < 0 ? r : window_need(&p->k->svc_state, index);
}

static int take_backends(struct publish *p, struct draft *d, uint64_t now)
{
	int r;

	p->wanting = "sn_backends";
	for (uint32_t i = 0; i < d->n; i++) {
		if (d->members[i].backend)
			continue;
		r = index_take(&p->backends, 1, now, &d->members[i].backend);
		if (r < 0)
			return r;
		r = need_backend(p, d->members[i].backend);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_room(struct publish *p, struct draft *d, uint64_t now)
{
	int r = 0;

	p->wanting = "sn_services";
	if (d->is_new) {
		r = index_take(&p->services, 1, now, &d->entry->index);
		if (r >= 0)
			r = need_service(p, d->entry->index);
	}
	if (r >= 0)
		r = take_backends(p, d, now);
	if (r >= 0)
		r = rules_take(p, draft_rules(d), now, &d->rules);
	if (r >= 0)
		r = draft_build_set(p, d);
	if (r < 0 || !d->needs_set)
		return r;
	p->wanting = "sn_slots";
	r = index_take(&p->slots, d->n_slots, now, &d->first);
	return r < 0 ? r : window_need(&p->k->slots, d->first + d->n_slots - 1);
}

/* Nothing of a refused change was shown to the kernel, so its room is free at once. */
void publish_untake_room(struct publish *p, struct draft *d)
{
	if (d->first)
		index_untake(&p->slots, d->first, d->n_slots);
	rules_untake(p, d->rules);
	for (uint32_t i = 0; i < d->n; i++)
		if (d->members[i].is_new && d->members[i].backend)
			index_untake(&p->backends, d->members[i].backend, 1);
	if (d->is_new && d->entry->index)
		index_untake(&p->services, d->entry->index, 1);
}

/* The table of frontends would say so itself, but only when the rest is written. */
static bool has_frontends(const struct publish *p, const struct drafts *drafts)
{
	size_t n = HASH_COUNT(p->entries);

	for (size_t i = 0; i < drafts->n; i++)
		n += drafts->items[i].is_new;
	return n <= bpf_map__max_entries(p->k->skel->maps.sn_frontends);
}

/* What the last holder of an index had in its window is nobody's; one system call for all. The
 * indexes have rested, so nobody counts there meanwhile. */
static int clear_windows(struct publish *p, const struct drafts *drafts)
{
	_cleanup_free_ struct sn_window *nothing = NULL;
	_cleanup_free_ uint32_t *keys = NULL;
	size_t most = 0;
	__u32 n = 0;

	for (size_t i = 0; i < drafts->n; i++)
		most += drafts->items[i].n;
	keys = calloc(most + 1, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	for (size_t i = 0; i < drafts->n; i++)
		for (uint32_t k = 0; k < drafts->items[i].n; k++)
			if (drafts->items[i].members[k].is_new)
				keys[n++] = drafts->items[i].members[k].backend;
	nothing = calloc(n + 1, sizeof(*nothing));
	if (!nothing)
		return -ENOMEM;
	if (n && bpf_map_update_batch(p->windows_fd, keys, nothing, &n, NULL) < 0)
		return -errno;
	return 0;
}

int publish_take_room(struct publish *p, struct drafts *drafts)
{
	uint64_t now = publish_now_ns();
	int r = 0;

	p->wanting = "sn_frontends";
	if (!has_frontends(p, drafts))
		return -ENOSPC;
	recycle_rested(p, now);
	for (size_t i = 0; i < drafts->n && r >= 0; i++)
		r = take_room(p, &drafts->items[i], now);
	if (r >= 0)
		r = clear_windows(p, drafts);
	for (size_t i = 0; i < drafts->n && r < 0; i++)
		publish_untake_room(p, &drafts->items[i]);
	if (r >= 0)
		recycle_windows(p);
	return r;
}
