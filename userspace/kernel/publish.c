/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See publish.h. After model/store has planned; writes every map that user space owns. A reader in
 * the kernel sees a service as it was or as it will be: room is written first, then one word.
 *
 * Killed at any point, the next instance finds each service whole (adopt.c) and the rest is redone
 * from the declared state. Must never write an extent that is published, nor a backend's address
 * while its index is in use.
 */
#include "kernel/publish.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/entry.h"
#include "sinew.skel.h"

uint64_t publish_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Publishing stores: everything written before is visible to whoever sees the new word. */
static void store_word(__u32 *word, __u32 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* --- writing ------------------------------------------------------------------------------------
 */

static void write_new_backend(struct publish *p, const struct draft *d,
			      const struct draft_member *m)
{
	struct sn_backend *b = window_at(&p->k->backends, m->backend);
	uint16_t incarnation = b->incarnation + 1;
	struct sn_health *health;

	store_word(&b->state, SN_BACKEND_GONE);
	b->incarnation = incarnation;
	health = window_at(&p->k->health, m->backend);
	memset(health, 0, sizeof(*health));
	health->since_ns = publish_now_ns();
	memset(window_at(&p->k->latency, m->backend), 0, sizeof(struct sn_latency));
	b->addr = m->want.addr;
	b->port_be = m->want.port_be;
	b->weight = m->want.weight;
	b->zone = m->want.zone;
	b->service = d->entry->index;
	store_word(&b->state, m->want.state);
}

static void write_backends(struct publish *p, const struct draft *d)
{
	for (uint32_t i = 0; i < d->n; i++) {
		const struct draft_member *m = &d->members[i];
		struct sn_backend *b = window_at(&p->k->backends, m->backend);

		if (m->is_new) {
			write_new_backend(p, d, m);
			continue;
		}
		b->weight = m->want.weight;
		b->zone = m->want.zone;
		if (b->state == SN_BACKEND_ACTIVE && m->want.state != SN_BACKEND_ACTIVE)
			p->draining_moves++;
		store_word(&b->state, m->want.state);
	}
}

static void write_new_service(struct publish *p, const struct draft *d)
{
	struct sn_service *s = window_at(&p->k->services, d->entry->index);

	s->frontend = d->entry->key;
	s->policy = SN_NONE;
	s->incarnation++;
	memset(window_at(&p->k->svc_stats, d->entry->index), 0, sizeof(struct sn_svc_stats));
	memset(window_at(&p->k->svc_state, d->entry->index), 0, sizeof(struct sn_svc_state));
}

/* The switch: the extent is complete before the word that leads to it changes. */
static void write_set(struct publish *p, struct draft *d, uint64_t now)
{
	struct sn_service *s = window_at(&p->k->services, d->entry->index);
	uint32_t old = s->set;
	const struct sn_set *old_set;

	((struct sn_set *)d->slots)->serial = ++p->k->meta->serial;
	memcpy(window_at(&p->k->slots, d->first), d->slots, d->n_slots * sizeof(*d->slots));
	store_word(&s->set, d->first);
	if (!old || d->is_new)
		return;
	old_set = window_at(&p->k->slots, old);
	index_give(&p->slots, old, set_elements(old_set), now);
}

/* Of rules that are another index now, the old ones may be read for a while yet. */
static void write_rules(struct publish *p, struct draft *d, uint64_t now)
{
	struct sn_service *s = window_at(&p->k->services, d->entry->index);
	uint32_t old = s->policy;

	rules_write(p, d->rules);
	if (old != d->rules)
		store_word(&s->policy, d->rules);
	rules_give(p, old, now);
	d->rules = 0; /* the service's now */
}

static void retire_backend(struct publish *p, struct entry *e, uint32_t backend, uint64_t now)
{
	struct sn_backend *b = window_at(&p->k->backends, backend);
	uint32_t *former = realloc(e->former, (e->n_former + 1) * sizeof(*former));

	store_word(&b->state, SN_BACKEND_GONE);
	p->draining_moves++;
	p->terminates = p->terminates || rules_terminate(p, e);
	index_give(&p->backends, backend, 1, now);
	if (!former)
		return; /* its counters leave the sums a little early */
	e->former = former;
	e->former[e->n_former++] = backend;
}

static int compare_index(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Members that the draft no longer has. */
static void retire_absent(struct publish *p, struct draft *d, uint64_t now)
{
	_cleanup_free_ uint32_t *kept = malloc((d->n + 1) * sizeof(*kept));
	struct entry *e = d->entry;
	uint32_t n = 0;

	if (!kept)
		return; /* they stay as members nobody picks until the next change */
	for (uint32_t i = 0; i < d->n; i++)
		if (!d->members[i].is_new)
			kept[n++] = d->members[i].backend;
	qsort(kept, n, sizeof(*kept), compare_index);
	for (uint32_t i = 0; i < e->n_members; i++)
		if (!bsearch(&e->members[i].backend, kept, n, sizeof(*kept), compare_index))
			retire_backend(p, e, e->members[i].backend, now);
}

static void keep_via(struct entry *e, struct draft *d)
{
	for (uint32_t i = 0; i < e->n_via; i++)
		service_unref(e->via[i]);
	free(e->via);
	e->via = TAKE_PTR(d->via);
	e->n_via = d->n_via;
	d->n_via = 0;
}

static void keep_members(struct draft *d)
{
	struct entry *e = d->entry;
	struct member *members = realloc(e->members, (d->n ? d->n : 1) * sizeof(*members));

	service_unref(e->owner);
	e->owner = service_ref(d->service);
	e->port = d->port;
	keep_via(e, d);
	if (!members && e->n_members < d->n)
		return;
	e->members = members ? members : e->members;
	e->n_members = d->n;
	for (uint32_t i = 0; i < d->n; i++)
		e->members[i] = (struct member){.backend = d->members[i].backend,
						.endpoint = d->members[i].endpoint,
						.via = d->members[i].via,
						.level = d->members[i].level};
}

static void write_draft(struct publish *p, struct draft *d, uint64_t now)
{
	if (d->is_new)
		write_new_service(p, d);
	write_rules(p, d, now);
	write_backends(p, d);
	publish_recount_draft(p, d);
	if (d->needs_set)
		write_set(p, d, now);
	retire_absent(p, d, now);
	keep_members(d);
	publish_recount(p, d->entry);
}

/* --- frontends ----------------------------------------------------------------------------------
 */

/* What a new frontend led to is no longer led to; a program may have seen it, so it rests. */
static void withdraw_new(struct publish *p, const struct draft *d, uint64_t now)
{
	struct sn_service *s = window_at(&p->k->services, d->entry->index);

	(void)bpf_map_delete_elem(p->frontends_fd, &d->entry->key);
	store_word(&s->set, SN_NONE);
	for (uint32_t i = 0; i < d->n; i++) {
		struct sn_backend *b = window_at(&p->k->backends, d->members[i].backend);

		store_word(&b->state, SN_BACKEND_GONE);
		index_give(&p->backends, d->members[i].backend, 1, now);
	}
	index_give(&p->slots, d->first, d->n_slots, now);
	rules_give(p, s->policy, now);
	s->policy = SN_NONE;
	index_give(&p->services, d->entry->index, 1, now);
}

/* New keys appear when all they lead to is in place; one system call for all of them. */
static int add_frontends(struct publish *p, struct drafts *drafts)
{
	_cleanup_free_ struct sn_frontend *keys = calloc(drafts->n + 1, sizeof(*keys));
	_cleanup_free_ uint32_t *values = calloc(drafts->n + 1, sizeof(*values));
	__u32 n = 0;

	if (!keys || !values)
		return -ENOMEM;
	for (size_t i = 0; i < drafts->n; i++)
		if (drafts->items[i].is_new) {
			keys[n] = drafts->items[i].entry->key;
			values[n++] = drafts->items[i].entry->index;
		}
	p->wanting = "sn_frontends";
	if (n && bpf_map_update_batch(p->frontends_fd, keys, values, &n, NULL) < 0)
		return errno == E2BIG ? -ENOSPC : -errno; /* that is how a full hash says it */
	return 0;
}

/* All new frontends or none: what can still fail comes before anything old is changed. */
static int write_new(struct publish *p, struct drafts *drafts, uint64_t now)
{
	int r;

	for (size_t i = 0; i < drafts->n; i++)
		if (drafts->items[i].is_new)
			write_draft(p, &drafts->items[i], now);
	r = add_frontends(p, drafts);
	for (size_t i = 0; i < drafts->n; i++) {
		struct draft *d = &drafts->items[i];

		if (r < 0 && d->is_new)
			withdraw_new(p, d, now);
		else if (r < 0)
			publish_untake_room(p, d);
		else if (d->is_new)
			entry_insert(p, d->entry); /* the table owns it now */
	}
	return r;
}

/* The key goes first: from then on nobody new comes here. */
static void remove_entry(struct publish *p, struct entry *e, uint64_t now)
{
	struct sn_service *s = window_at(&p->k->services, e->index);
	const struct sn_set *set = s->set ? window_at(&p->k->slots, s->set) : NULL;

	(void)bpf_map_delete_elem(p->frontends_fd, &e->key);
	if (set)
		index_give(&p->slots, s->set, set_elements(set), now);
	store_word(&s->set, SN_NONE);
	for (uint32_t i = 0; i < e->n_members; i++)
		retire_backend(p, e, e->members[i].backend, now);
	rules_give(p, s->policy, now);
	index_give(&p->services, e->index, 1, now);
	p->by_index[e->index] = NULL;
	HASH_DEL(p->entries, e);
	entry_free(e);
}

struct remove_arg {
	struct publish *p;
	const struct service *gone; /* the old object whose leavings go */
	uint64_t now;
};

/* Frontends of the old objects that no new object of the plan has claimed. */
static int remove_left(void *arg, const struct sn_frontend *key, uint32_t port)
{
	struct remove_arg *a = arg;
	struct entry *e = entry_find(a->p, key);

	if (e && e->owner == a->gone)
		remove_entry(a->p, e, a->now);
	return 0;
}

static int apply_drafts(struct publish *p, struct drafts *drafts)
{
	uint64_t now = publish_now_ns();
	int r;

	r = publish_take_room(p, drafts);
	if (r >= 0)
		r = write_new(p, drafts, now);
	if (r < 0)
		return r;
	for (size_t i = 0; i < drafts->n; i++) {
		if (!drafts->items[i].is_new)
			write_draft(p, &drafts->items[i], now);
		drafts->items[i].is_new = false;
	}
	return 0;
}

struct touch_arg {
	struct publish *p;
	struct drafts *drafts;
};

static int draft_touched(void *arg, struct service *s)
{
	struct touch_arg *a = arg;

	return draft_service(a->p, s, a->drafts);
}

static int draft_plan(struct publish *p, const struct plan *plan, struct drafts *drafts)
{
	struct touch_arg arg = {p, drafts};
	int r;

	for (size_t i = 0; i < plan->n_services; i++) {
		if (!plan->services[i].new)
			continue;
		r = draft_service(p, plan->services[i].new, drafts);
		if (r < 0)
			return r;
	}
	return declared_each_touched(drafts->declared, draft_touched, &arg);
}

int publish_apply(struct publish *p, const struct store *store, const struct plan *plan,
		  size_t *ret_removed)
{
	const struct declared declared = {.store = store, .plan = plan};
	_cleanup_(drafts_done) struct drafts drafts = {.declared = &declared};
	struct remove_arg arg = {.p = p, .now = publish_now_ns()};
	int r;

	p->draining_moves = 0;
	p->terminates = false;
	r = draft_plan(p, plan, &drafts);
	if (r >= 0)
		r = apply_drafts(p, &drafts);
	if (r < 0)
		return r;
	/* An entry that a draft reached has a new owner by now; what the old object still owns
	 * goes. */
	for (size_t i = 0; i < plan->n_services; i++) {
		arg.gone = plan->services[i].old;
		if (arg.gone)
			(void)entry_each_key(arg.gone, remove_left, &arg);
	}
	*ret_removed = p->draining_moves;
	return 0;
}

int publish_adopt(struct publish *p, const struct store *store, bool keep, size_t *ret_removed)
{
	const struct declared declared = {.store = store};
	_cleanup_(drafts_done) struct drafts drafts = {.declared = &declared};
	struct service *const *services;
	struct entry *e, *next;
	size_t n;
	int r;

	p->draining_moves = 0;
	p->terminates = false;
	services = store_services(store, &n);
	for (size_t i = 0; i < n; i++) {
		r = draft_service(p, services[i], &drafts);
		if (r < 0)
			return r;
	}
	r = apply_drafts(p, &drafts);
	if (r < 0)
		return r;
	HASH_ITER (hh, p->entries, e, next)
		if (!e->owner && !keep)
			remove_entry(p, e, publish_now_ns());
	*ret_removed = p->draining_moves;
	return 0;
}

bool publish_terminates(const struct publish *p)
{
	return p->terminates;
}

const char *publish_full(const struct publish *p)
{
	return p->wanting;
}

void publish_rebind(struct publish *p, struct kernel *k)
{
	p->k = k;
	p->frontends_fd = bpf_map__fd(k->skel->maps.sn_frontends);
	p->windows_fd = bpf_map__fd(k->skel->maps.sn_windows);
}

int publish_new(struct kernel *k, struct publish **ret)
{
	_cleanup_(publish_freep) struct publish *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	publish_rebind(p, k);
	p->by_index = calloc(k->services.entries, sizeof(struct entry *));
	if (!p->by_index)
		return -ENOMEM;
	r = index_pool_init(&p->services, k->services.entries);
	if (r >= 0)
		r = index_pool_init(&p->backends, k->backends.entries);
	if (r >= 0)
		r = index_pool_init(&p->slots, k->slots.entries);
	if (r >= 0)
		r = rules_init(p);
	if (r >= 0)
		r = adopt_read(p);
	if (r >= 0)
		r = rules_adopt(p);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

struct publish *publish_free(struct publish *p)
{
	struct entry *e, *next;

	if (!p)
		return NULL;
	HASH_ITER (hh, p->entries, e, next) {
		HASH_DEL(p->entries, e);
		entry_free(e);
	}
	service_unref(p->canary);
	index_pool_done(&p->services);
	index_pool_done(&p->backends);
	index_pool_done(&p->slots);
	rules_done(p);
	free(p->by_index);
	free(p);
	return NULL;
}
