/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel holds when a daemon starts: the truth that the declared state is compared with.
 * A killed daemon may have left a service half made, never half switched; what leads nowhere is
 * cleared here, and what nobody declares is removed by publish_adopt.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/entry.h"

#define ADOPT_BATCH 1024

static int adopt_set(struct publish *p, uint32_t index, const struct sn_service *s)
{
	const struct sn_set *set;
	int r;

	r = window_need(&p->k->slots, s->set);
	if (r < 0)
		return r;
	set = window_at(&p->k->slots, s->set);
	if (set->service != index)
		return -ENOENT;
	r = window_need(&p->k->slots, s->set + SN_SET_HEADER - 1);
	if (r < 0)
		return r;
	r = index_claim(&p->slots, s->set, set_elements(set));
	/* Its members are read when the next set is compared with it. */
	return r < 0 ? r : window_need(&p->k->slots, s->set + set_elements(set) - 1);
}

/* A key of sn_frontends and the service index it leads to. 0: it is an entry now. */
static int adopt_frontend(struct publish *p, const struct sn_frontend *key, uint32_t index)
{
	const struct sn_service *s;
	struct entry *e;
	int r;

	if (!index || index >= p->k->services.entries || p->by_index[index])
		return -ENOENT;
	s = window_at(&p->k->services, index);
	if (!s->set || memcmp(&s->frontend, key, sizeof(*key)) != 0)
		return -ENOENT;
	r = adopt_set(p, index, s);
	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->key = *key;
	e->index = index;
	entry_insert(p, e);
	return index_claim(&p->services, index, 1);
}

static int adopt_frontends(struct publish *p)
{
	_cleanup_free_ struct sn_frontend *keys = calloc(ADOPT_BATCH, sizeof(*keys));
	_cleanup_free_ uint32_t *values = calloc(ADOPT_BATCH, sizeof(*values));
	_cleanup_free_ struct sn_frontend *dead = NULL;
	__u32 in = 0, out = 0, n, n_dead = 0;
	struct sn_frontend *grown;
	int r = 0;
	bool first = true;

	if (!keys || !values)
		return -ENOMEM;
	while (r >= 0) {
		n = ADOPT_BATCH;
		r = bpf_map_lookup_batch(p->frontends_fd, first ? NULL : &in, &out, keys, values,
					 &n, NULL) < 0
			    ? -errno
			    : 0;
		if (r < 0 && r != -ENOENT)
			return r;
		grown = realloc(dead, (n_dead + n + 1) * sizeof(*dead));
		if (!grown)
			return -ENOMEM;
		dead = grown;
		for (__u32 i = 0; i < n; i++)
			if (adopt_frontend(p, &keys[i], values[i]) < 0)
				dead[n_dead++] = keys[i];
		in = out;
		first = false;
	}
	for (__u32 i = 0; i < n_dead; i++)
		(void)bpf_map_delete_elem(p->frontends_fd, &dead[i]);
	return 0;
}

/* Services without a frontend were being made or removed when the last daemon was killed. */
static void clear_lost_services(struct publish *p)
{
	for (uint32_t i = 1; i < p->k->services.entries; i++)
		if (!p->by_index[i])
			((struct sn_service *)window_at(&p->k->services, i))->set = SN_NONE;
}

static int add_member(struct entry *e, uint32_t backend)
{
	struct member *members = realloc(e->members, (e->n_members + 1) * sizeof(*members));

	if (!members)
		return -ENOMEM;
	e->members = members;
	e->members[e->n_members++] = (struct member){.backend = backend, .endpoint = UINT32_MAX};
	return 0;
}

/* Backends of known services keep their numbers, and with them everything counted about them. */
static int adopt_backends(struct publish *p, uint32_t *ret_last)
{
	uint32_t last = 1;
	struct entry *e;
	int r;

	for (uint32_t i = 1; i < p->k->backends.entries; i++) {
		const struct sn_backend *b = window_at(&p->k->backends, i);

		if (b->state == SN_BACKEND_GONE)
			continue;
		e = b->service < p->k->services.entries ? p->by_index[b->service] : NULL;
		if (!e) {
			((struct sn_backend *)window_at(&p->k->backends, i))->state =
				SN_BACKEND_GONE;
			continue;
		}
		r = index_claim(&p->backends, i, 1);
		if (r >= 0)
			r = add_member(e, i);
		if (r < 0)
			return r;
		last = i;
	}
	*ret_last = last;
	return 0;
}

static uint32_t last_service(const struct publish *p)
{
	uint32_t i = p->k->services.entries - 1;

	while (i > 1 && !p->by_index[i])
		i--;
	return i;
}

static int need_counters(struct publish *p, uint32_t last, uint32_t last_backend)
{
	int r = window_need(&p->k->health, last_backend);

	if (r >= 0)
		r = window_need(&p->k->latency, last_backend);
	if (r >= 0)
		r = window_need(&p->k->svc_stats, last);
	if (r >= 0)
		r = window_need(&p->k->svc_state, last);
	return r;
}

int adopt_read(struct publish *p)
{
	uint32_t last, last_backend;
	int r;

	r = window_need(&p->k->services, p->k->services.entries - 1);
	if (r >= 0)
		r = window_need(&p->k->backends, p->k->backends.entries - 1);
	if (r >= 0)
		r = adopt_frontends(p);
	if (r < 0)
		return r;
	clear_lost_services(p);
	r = adopt_backends(p, &last_backend);
	if (r < 0)
		return r;
	last = last_service(p);
	r = need_counters(p, last, last_backend);
	/* The whole arrays were needed for the search only. */
	window_trim(&p->k->services, last);
	window_trim(&p->k->backends, last_backend);
	return r;
}
