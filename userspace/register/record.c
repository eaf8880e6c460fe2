/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See record.h. Before: what is wanted, and what a writer answered. After: queue.c acts. A record
 * is only forgotten once the registry said that it is gone, and only kept while somebody wants it.
 */
#include "register/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_FOUND_MS 1000u /* its lease is not known: the shortest there may be is 3 s */
#define REFUSED_FIRST_MS 1000u
#define REFUSED_MAX_MS 60000u
#define FAILED_FIRST_MS 100u
#define FAILED_MAX_MS 3000u

const char *record_state_name(enum record_state s)
{
	static const char *const names[_RECORD_STATE_MAX] = {
		[RECORD_PENDING] = "pending", [RECORD_REGISTERED] = "registered",
		[RECORD_FAILING] = "failing", [RECORD_LEAVING] = "leaving",
		[RECORD_FOUND] = "found",
	};

	return names[s];
}

int record_new(const char *id, const char *service, struct record **ret)
{
	struct record *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->state = _RECORD_STATE_MAX;
	e->id = strdup(id);
	e->service = strdup(service);
	if (!e->id || !e->service) {
		record_free(e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}

struct record *record_free(struct record *e)
{
	if (!e)
		return NULL;
	instance_unref(e->wanted);
	instance_unref(e->sent);
	free(e->id);
	free(e->service);
	free(e);
	return NULL;
}

/* Its key moves to a lease with another TTL; the old one ends by itself. */
static void settle_lease(struct record *e)
{
	if (e->wanted && e->ttl_ms != e->wanted->ttl_ms)
		e->lease = 0;
}

bool record_want(struct record *e, struct instance *i)
{
	bool news = i ? !e->wanted || e->wanted->hash != i->hash : e->wanted || e->found;

	e->found = false;
	if (!news)
		return false;
	instance_unref(e->wanted);
	e->wanted = i ? instance_ref(i) : NULL;
	settle_lease(e);
	e->next_ms = e->wait_ms = 0;
	e->text[0] = '\0';
	return true;
}

static bool is_told(const struct record *e)
{
	return e->told == e->wanted->hash && !e->renew;
}

int record_next(const struct record *e, uint64_t *ret_ms)
{
	*ret_ms = e->next_ms;
	if (!e->wanted && !e->found)
		return e->maybe ? WRITER_DROP : -1;
	/* One whose update is refused lives on as it was. */
	if (e->found || is_told(e) || (e->told && e->next_ms > e->keep_ms)) {
		*ret_ms = e->told && e->wanted && !is_told(e) ? e->keep_ms
			  : e->keep_ms > e->next_ms           ? e->keep_ms
							      : e->next_ms;
		return WRITER_KEEP;
	}
	return WRITER_PUT;
}

void record_begin(struct record *e, enum writer_verb verb)
{
	e->under_way = true;
	e->op.verb = verb;
	e->op.id = e->id;
	e->op.service = e->service;
	e->op.lease = e->lease;
	e->op.instance = NULL;
	if (verb != WRITER_PUT)
		return;
	e->sent = instance_ref(e->wanted);
	e->op.instance = e->sent;
	e->maybe = true; /* whatever becomes of the answer */
}

static void take_text(struct record *e, const struct writer_answer *a)
{
	(void)snprintf(e->text, sizeof(e->text), "%s", a->text);
}

static void on_done(struct record *e, uint64_t now_ms)
{
	if (e->op.verb == WRITER_DROP) {
		e->maybe = false;
		e->told = e->lease = 0;
	}
	if (e->op.verb == WRITER_PUT) {
		e->told = e->sent->hash;
		e->renew = false;
	}
	e->keep_ms = now_ms + (e->ttl_ms ? e->ttl_ms / 3 : KEEP_FOUND_MS);
	/* A KEEP that went well says nothing about a PUT that was refused. */
	if (e->op.verb == WRITER_KEEP && e->wanted && !is_told(e))
		return;
	e->text[0] = '\0';
	e->next_ms = e->wait_ms = 0;
}

static void on_refused(struct record *e, const struct writer_answer *a, uint64_t now_ms)
{
	take_text(e, a);
	e->wait_ms = e->wait_ms ? 2 * e->wait_ms : REFUSED_FIRST_MS;
	if (e->wait_ms > REFUSED_MAX_MS)
		e->wait_ms = REFUSED_MAX_MS;
	e->next_ms = now_ms + (a->retry_after_ms > e->wait_ms ? a->retry_after_ms : e->wait_ms);
}

/* The queue waits, too; after it another one is to be tried first, so that what one of them makes a
 * server say is not the end for all. */
static void on_failed(struct record *e, const struct writer_answer *a, uint64_t now_ms)
{
	take_text(e, a);
	e->wait_ms = e->wait_ms ? 2 * e->wait_ms : FAILED_FIRST_MS;
	if (e->wait_ms > FAILED_MAX_MS)
		e->wait_ms = FAILED_MAX_MS;
	e->next_ms = now_ms + e->wait_ms;
	if (e->op.verb != WRITER_KEEP && e->told)
		e->told = RECORD_UNSURE;
}

void record_end(struct record *e, const struct writer_answer *a, uint64_t now_ms)
{
	e->under_way = false;
	e->lease = e->op.lease;
	if (e->sent)
		e->ttl_ms = e->sent->ttl_ms;
	switch (a->outcome) {
	case WRITER_DONE:
		on_done(e, now_ms);
		break;
	case WRITER_STALE:
		on_done(e, now_ms);
		e->renew = true;
		break;
	case WRITER_GONE:
		e->told = e->lease = e->next_ms = 0;
		e->maybe = e->found = false;
		break;
	case WRITER_REFUSED:
		on_refused(e, a, now_ms);
		break;
	case WRITER_FAILED:
		on_failed(e, a, now_ms);
		break;
	}
	e->sent = instance_unref(e->sent);
	settle_lease(e);
	/* Meanwhile the opposite is wanted: at once. */
	if ((e->op.verb == WRITER_DROP) == (e->wanted != NULL) && !e->found)
		e->next_ms = 0;
}

bool record_settle(struct record *e, uint64_t realtime_ms)
{
	enum record_state s = e->found                     ? RECORD_FOUND
			      : !e->wanted                 ? RECORD_LEAVING
			      : *e->text                   ? RECORD_FAILING
			      : e->told != e->wanted->hash ? RECORD_PENDING
							   : RECORD_REGISTERED;

	if (s == e->state)
		return false;
	e->state = s;
	e->since_ms = realtime_ms;
	return true;
}
