/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See registrar.h. Before: agent/registrations.c. After: a queue for each registry. It decides
 * nothing of its own; a registry that is slow must never be felt by another.
 */
#include "register/registrar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/limits.h"
#include "register/queue.h"
#include "registry/registry_config.h"

#define REMOVE_MS 3000u /* then what is left of it ends with its leases */

/* One registry. It is written to (open), or waits until a former one in its place is left. */
struct slot {
	struct registrar *registrar;
	struct registry_config *config; /* a reference */
	struct queue queue;
	bool open; /* it can be written */
	bool left; /* and has nothing more of ours */
	bool waits;
	char text[200]; /* why it is not open; "": its kind is only read, or it waits */
	/* Of one that was replaced. */
	struct slot *next_going, *then; /* who waits for it */
	uv_timer_t late;
	unsigned int closing; /* handles */
};

struct registrar {
	uv_loop_t *loop;
	struct fetcher *fetcher;
	const char *node;
	struct registrar_host host;
	struct queue_host queue_host;
	struct slot *slots[LIMIT_REGISTRIES]; /* NULL: none */
	struct slot *going;
	size_t n_closing; /* slots whose handles are */
	bool leaving, told_left, closed;
};

static struct slot *slot_of(struct queue *q)
{
	return container_of(q, struct slot, queue);
}

/* --- what queues say -------------------------------------------------------------------------- */

static struct registrar_item item_of(const struct slot *s, const struct record *e)
{
	return (struct registrar_item){.registry = s->config->name,
				       .id = e->id,
				       .service = e->service,
				       .wanted = e->wanted,
				       .state = e->state,
				       .since_ms = e->since_ms,
				       .text = e->text};
}

static void on_changed(void *arg, struct queue *q, const struct record *e, bool gone)
{
	struct registrar *r = arg;
	struct registrar_item item = item_of(slot_of(q), e);

	if (r->host.changed)
		r->host.changed(r->host.arg, &item, gone);
}

static void on_failing(void *arg, struct queue *q, const char *text)
{
	struct registrar *r = arg;

	if (r->host.failing)
		r->host.failing(r->host.arg, slot_of(q)->config->name, text);
}

static void look_left(struct registrar *r)
{
	if (!r->leaving || r->told_left || r->going)
		return;
	for (size_t i = 0; i < LIMIT_REGISTRIES; i++)
		if (r->slots[i] && r->slots[i]->open && !r->slots[i]->left)
			return;
	r->told_left = true;
	if (r->host.left)
		r->host.left(r->host.arg);
}

/* --- registries come and go ------------------------------------------------------------------- */

static void look_closed(struct registrar *r)
{
	if (r->closed && !r->n_closing)
		free(r);
}

static void slot_free(struct slot *s)
{
	registry_config_unref(s->config);
	free(s);
}

static void handle_closed(struct slot *s)
{
	struct registrar *r = s->registrar;

	if (--s->closing)
		return;
	slot_free(s);
	r->n_closing--;
	look_closed(r);
}

static void on_queue_closed(void *arg)
{
	handle_closed(arg);
}

static void on_late_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

/* Ends what is under way; the memory goes with the last handle. */
static void slot_close(struct slot *s, bool is_going)
{
	if (!s->open) {
		slot_free(s);
		return;
	}
	s->registrar->n_closing++;
	s->closing = 1u + is_going;
	queue_close(&s->queue, on_queue_closed, s);
	if (is_going)
		uv_close((uv_handle_t *)&s->late, on_late_closed);
}

static int slot_open(struct slot *s)
{
	struct registrar *r = s->registrar;
	int error;

	s->waits = false;
	if (!writer_kind_find(s->config->type))
		return 0;
	error = writer_open(&s->queue.writer, s->config, r->fetcher, r->node, s->text);
	if (error < 0)
		return error == -ENOMEM ? error : 0;
	s->open = true;
	queue_init(&s->queue, &r->queue_host);
	return 0;
}

/* Nothing of ours is left in the former one, or nobody waits for that any longer. */
static void slot_gone(struct slot *s)
{
	struct registrar *r = s->registrar;
	struct slot **at = &r->going, *then = s->then;

	while (*at != s)
		at = &(*at)->next_going;
	*at = s->next_going;
	slot_close(s, true);
	if (then && !r->leaving && slot_open(then) < 0)
		(void)snprintf(then->text, sizeof(then->text), "no memory");
	if (then && then->open && r->host.opened)
		r->host.opened(r->host.arg);
	look_left(r);
}

static void on_late(uv_timer_t *timer)
{
	slot_gone(timer->data);
}

static void on_left(void *arg, struct queue *q)
{
	struct slot *s = slot_of(q);

	s->left = true;
	/* Within a turn of the queue: it is closed after that. */
	for (struct slot *one = s->registrar->going; one; one = one->next_going)
		if (one == s)
			(void)uv_timer_start(&s->late, on_late, 0, 0);
	look_left(arg);
}

static void slot_leave(struct slot *s, struct slot *then)
{
	struct registrar *r = s->registrar;

	s->then = then;
	s->next_going = r->going;
	r->going = s;
	(void)uv_timer_init(r->loop, &s->late); /* cannot fail */
	s->late.data = s;
	(void)uv_timer_start(&s->late, on_late, REMOVE_MS, 0);
	queue_leave(&s->queue);
}

/* Who waits for it waits no more, or another does. */
static bool pass_on(struct slot *waiting, struct slot *to)
{
	for (struct slot *s = waiting->registrar->going; s; s = s->next_going)
		if (s->then == waiting) {
			s->then = to;
			return true;
		}
	return false;
}

static struct slot *slot_new(struct registrar *r, struct registry_config *config)
{
	struct slot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->registrar = r;
	s->config = registry_config_ref(config);
	return s;
}

int registrar_set(struct registrar *r, unsigned int registry, struct registry_config *config)
{
	struct slot *old = r->slots[registry], *s = config ? slot_new(r, config) : NULL;
	bool stays = old && s && registry_config_is_same_place(old->config, config);
	int error = config && !s ? -ENOMEM : 0;

	r->slots[registry] = s;
	if (old && old->waits) {
		bool waits = pass_on(old, s);

		if (s)
			s->waits = waits;
		slot_free(old);
	} else if (old && old->open && !stays) {
		if (s)
			s->waits = true;
		slot_leave(old, s);
	} else if (old) {
		slot_close(old, false);
	}
	if (s && !s->waits)
		error = slot_open(s);
	return error;
}

const char *registrar_name(const struct registrar *r, unsigned int registry)
{
	return r->slots[registry] ? r->slots[registry]->config->name : NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

int registrar_new(uv_loop_t *loop, struct fetcher *fetcher, const char *node,
		  const struct registrar_host *host, struct registrar **ret)
{
	struct registrar *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->fetcher = fetcher;
	r->node = node;
	r->host = *host;
	r->queue_host = (struct queue_host){loop, r, on_changed, on_failing, on_left};
	*ret = r;
	return 0;
}

void registrar_close(struct registrar *r)
{
	if (!r)
		return;
	r->closed = true;
	while (r->going) {
		struct slot *s = r->going;

		r->going = s->next_going;
		slot_close(s, true);
	}
	for (size_t i = 0; i < LIMIT_REGISTRIES; i++)
		if (r->slots[i])
			slot_close(r->slots[i], false);
	look_closed(r);
}

/* --- what is wanted --------------------------------------------------------------------------- */

int registrar_find(const struct registrar *r, const char *name)
{
	for (int i = 0; i < LIMIT_REGISTRIES; i++) {
		const struct slot *s = r->slots[i];

		if (s && !strcmp(s->config->name, name))
			return s->open || (s->waits && writer_kind_find(s->config->type)) ? i
											  : -EROFS;
	}
	return -ENOENT;
}

int registrar_want(struct registrar *r, const struct match *m, bool whole)
{
	struct instance **of = malloc((m->n ? m->n : 1) * sizeof(struct instance *));
	int error = 0;

	if (!of)
		return -ENOMEM;
	for (size_t i = 0; !r->leaving && i < LIMIT_REGISTRIES; i++) {
		size_t n = 0;
		int e;

		if (!r->slots[i] || !r->slots[i]->open)
			continue;
		for (size_t k = 0; k < m->n; k++)
			if (m->items[k].registry == i)
				of[n++] = m->items[k].instance;
		e = queue_want(&r->slots[i]->queue, of, n, whole);
		error = e < 0 ? e : error;
	}
	free(of);
	return error;
}

void registrar_leave(struct registrar *r)
{
	r->leaving = true;
	for (size_t i = 0; i < LIMIT_REGISTRIES; i++)
		if (r->slots[i] && r->slots[i]->open)
			queue_leave(&r->slots[i]->queue);
	look_left(r);
}

/* --- what there is ---------------------------------------------------------------------------- */

static void visit_slot(const struct slot *s,
		       void (*visit)(void *arg, const struct registrar_item *item), void *arg)
{
	for (size_t k = 0; k < s->queue.n; k++) {
		struct registrar_item item = item_of(s, s->queue.entries[k]);

		visit(arg, &item);
	}
}

void registrar_visit(const struct registrar *r,
		     void (*visit)(void *arg, const struct registrar_item *item), void *arg)
{
	for (size_t i = 0; i < LIMIT_REGISTRIES; i++)
		if (r->slots[i])
			visit_slot(r->slots[i], visit, arg);
	for (const struct slot *s = r->going; s; s = s->next_going)
		visit_slot(s, visit, arg);
}

void registrar_count(const struct registrar *r, unsigned int registry,
		     size_t ret[static _RECORD_STATE_MAX])
{
	const struct slot *s = r->slots[registry];

	memset(ret, 0, _RECORD_STATE_MAX * sizeof(*ret));
	for (size_t k = 0; s && k < s->queue.n; k++)
		ret[s->queue.entries[k]->state]++;
}

const char *registrar_failure(const struct registrar *r, unsigned int registry)
{
	const struct slot *s = r->slots[registry];

	return !s ? "" : s->open ? s->queue.text : s->text;
}

const char *registrar_list_failure(const struct registrar *r, unsigned int registry)
{
	const struct slot *s = r->slots[registry];

	return s && s->open ? s->queue.list_text : "";
}
