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

#include "register/queue.h"

struct slot {
	struct registrar *registrar;
	struct queue queue;
	bool open;      /* it can be written */
	bool left;      /* and has nothing more of ours */
	char text[200]; /* why it is not open; "": its kind is only read */
};

struct registrar {
	struct registrar_config config;
	struct registrar_host host;
	struct queue_host queue_host;
	struct slot *slots; /* config.n */
	size_t n_closing;
	bool leaving, told_left;
};

static struct slot *slot_of(struct queue *q)
{
	return container_of(q, struct slot, queue);
}

/* --- what queues say -------------------------------------------------------------------------- */

static struct registrar_item item_of(const struct registrar *r, const struct slot *s,
				     const struct record *e)
{
	return (struct registrar_item){.registry = (unsigned int)(s - r->slots),
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
	struct registrar_item item = item_of(r, slot_of(q), e);

	if (r->host.changed)
		r->host.changed(r->host.arg, &item, gone);
}

static void on_failing(void *arg, struct queue *q, const char *text)
{
	struct registrar *r = arg;

	if (r->host.failing)
		r->host.failing(r->host.arg, (unsigned int)(slot_of(q) - r->slots), text);
}

static void look_left(struct registrar *r)
{
	for (size_t i = 0; i < r->config.n; i++)
		if (r->slots[i].open && !r->slots[i].left)
			return;
	if (r->told_left)
		return;
	r->told_left = true;
	if (r->host.left)
		r->host.left(r->host.arg);
}

static void on_left(void *arg, struct queue *q)
{
	slot_of(q)->left = true;
	look_left(arg);
}

/* --- life ------------------------------------------------------------------------------------- */

static int open_slot(struct registrar *r, struct fetcher *fetcher, size_t i)
{
	const struct registry_config *config = &r->config.registries[i];
	struct slot *s = &r->slots[i];
	int error;

	s->registrar = r;
	if (!writer_kind_find(config->type))
		return 0;
	error = writer_open(&s->queue.writer, config, fetcher, r->config.node, s->text);
	if (error < 0)
		return error == -ENOMEM ? error : 0;
	s->open = true;
	return 0;
}

int registrar_new(uv_loop_t *loop, struct fetcher *fetcher, const struct registrar_config *config,
		  const struct registrar_host *host, struct registrar **ret)
{
	struct registrar *r = calloc(1, sizeof(*r));
	int error = r ? 0 : -ENOMEM;

	if (r)
		r->slots = calloc(config->n ? config->n : 1, sizeof(*r->slots));
	if (r && !r->slots)
		error = -ENOMEM;
	if (error >= 0) {
		r->config = *config;
		r->host = *host;
		r->queue_host = (struct queue_host){loop, r, on_changed, on_failing, on_left};
	}
	for (size_t i = 0; error >= 0 && i < config->n; i++)
		error = open_slot(r, fetcher, i);
	if (error < 0) {
		for (size_t i = 0; r && r->slots && i < config->n; i++)
			writer_close(&r->slots[i].queue.writer);
		free(r ? r->slots : NULL);
		free(r);
		return error;
	}
	for (size_t i = 0; i < config->n; i++)
		if (r->slots[i].open)
			queue_init(&r->slots[i].queue, &r->queue_host);
	*ret = r;
	return 0;
}

static void finish(struct registrar *r)
{
	free(r->slots);
	free(r);
}

static void on_closed(void *arg)
{
	struct registrar *r = arg;

	if (!--r->n_closing)
		finish(r);
}

void registrar_close(struct registrar *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->config.n; i++)
		r->n_closing += r->slots[i].open;
	if (!r->n_closing) {
		finish(r);
		return;
	}
	for (size_t i = 0; i < r->config.n; i++)
		if (r->slots[i].open)
			queue_close(&r->slots[i].queue, on_closed, r);
}

/* --- what is wanted --------------------------------------------------------------------------- */

int registrar_find(const struct registrar *r, const char *name)
{
	for (size_t i = 0; i < r->config.n; i++)
		if (!strcmp(r->config.registries[i].name, name))
			return r->slots[i].open ? (int)i : -EROFS;
	return -ENOENT;
}

int registrar_want(struct registrar *r, const struct match *m, bool whole)
{
	struct instance **of = malloc((m->n ? m->n : 1) * sizeof(struct instance *));
	int error = 0;

	if (!of)
		return -ENOMEM;
	for (size_t i = 0; !r->leaving && i < r->config.n; i++) {
		size_t n = 0;
		int e;

		if (!r->slots[i].open)
			continue;
		for (size_t k = 0; k < m->n; k++)
			if (m->items[k].registry == i)
				of[n++] = m->items[k].instance;
		e = queue_want(&r->slots[i].queue, of, n, whole);
		error = e < 0 ? e : error;
	}
	free(of);
	return error;
}

void registrar_leave(struct registrar *r)
{
	r->leaving = true;
	for (size_t i = 0; i < r->config.n; i++)
		if (r->slots[i].open)
			queue_leave(&r->slots[i].queue);
	look_left(r);
}

/* --- what there is ---------------------------------------------------------------------------- */

void registrar_visit(const struct registrar *r,
		     void (*visit)(void *arg, const struct registrar_item *item), void *arg)
{
	for (size_t i = 0; i < r->config.n; i++)
		for (size_t k = 0; k < r->slots[i].queue.n; k++) {
			struct registrar_item item =
				item_of(r, &r->slots[i], r->slots[i].queue.entries[k]);

			visit(arg, &item);
		}
}

void registrar_count(const struct registrar *r, unsigned int registry,
		     size_t ret[static _RECORD_STATE_MAX])
{
	const struct queue *q = &r->slots[registry].queue;

	memset(ret, 0, _RECORD_STATE_MAX * sizeof(*ret));
	for (size_t k = 0; k < q->n; k++)
		ret[q->entries[k]->state]++;
}

const char *registrar_failure(const struct registrar *r, unsigned int registry)
{
	const struct slot *s = &r->slots[registry];

	return s->open ? s->queue.text : s->text;
}

const char *registrar_list_failure(const struct registrar *r, unsigned int registry)
{
	return r->slots[registry].queue.list_text;
}
