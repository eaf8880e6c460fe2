/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See queue.h. Before: registrar.c. After: a writer. An operation that failed costs no order: what
 * is wanted is looked at anew before each one begins.
 */
#include "register/queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "model/limits.h"

#define AT_ONCE 8u /* operations under way */
#define WAIT_FIRST_MS 100u
#define WAIT_MAX_MS 3000u /* far below a lease */
#define WAIT_LEAVING_MS 300u
#define RELIST_MS                                                                                  \
	5000u /* doubled each time: whoever may not list will hardly be allowed to soon            \
	       */
#define RELIST_MAX_MS 300000u

static void turn(struct queue *q);

static uint64_t now_ms(const struct queue *q)
{
	return uv_now(q->host->loop);
}

static uint64_t realtime_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- entries ---------------------------------------------------------------------------------- */

static size_t place_of(const struct queue *q, const char *id, bool *ret_found)
{
	size_t low = 0, high = q->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(q->entries[middle]->id, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = low < q->n && !strcmp(q->entries[low]->id, id);
	return low;
}

static int grow(struct queue *q)
{
	size_t capacity = q->capacity ? 2 * q->capacity : 32;
	struct record **grown;

	if (q->n < q->capacity)
		return 0;
	if (q->n >= 2 * LIMIT_INSTANCES) /* those to be, and as many that are to go */
		return -E2BIG;
	grown = reallocarray(q->entries, capacity, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	q->entries = grown;
	q->capacity = capacity;
	return 0;
}

static void on_op(struct writer_op *op, struct writer_answer *answer);

/* The one with this id, new or not. */
static int get(struct queue *q, const char *id, const char *service, struct record **ret)
{
	bool found;
	size_t at = place_of(q, id, &found);
	struct record *e;
	int r = found ? 0 : grow(q);

	if (r < 0)
		return r;
	if (!found) {
		r = record_new(id, service, &e);
		if (r < 0)
			return r;
		e->op.on_done = on_op;
		e->op.arg = q;
		memmove(q->entries + at + 1, q->entries + at,
			(q->n - at) * sizeof(struct record *));
		q->entries[at] = e;
		q->n++;
	}
	*ret = q->entries[at];
	return !found;
}

static void settle(struct queue *q, struct record *e)
{
	if (record_settle(e, realtime_ms()))
		q->host->changed(q->host->arg, q, e, false);
}

/* Those with nothing left to do. */
static void forget(struct queue *q)
{
	size_t n = 0;
	uint64_t unused;

	for (size_t i = 0; i < q->n; i++) {
		struct record *e = q->entries[i];

		if (e->under_way || record_next(e, &unused) >= 0) {
			q->entries[n++] = e;
			continue;
		}
		q->host->changed(q->host->arg, q, e, true);
		record_free(e);
	}
	q->n = n;
}

int queue_want(struct queue *q, struct instance *const *instances, size_t n, bool whole)
{
	size_t i = 0, k = 0;
	int error = 0;

	q->whole |= whole;
	/* What is not among them goes. */
	for (; whole && i < q->n; i++) {
		while (k < n && strcmp(instances[k]->id, q->entries[i]->id) < 0)
			k++;
		if (k < n && !strcmp(instances[k]->id, q->entries[i]->id))
			continue;
		if (record_want(q->entries[i], NULL))
			settle(q, q->entries[i]);
	}
	for (k = 0; k < n; k++) {
		struct record *e;
		int r = get(q, instances[k]->id, instances[k]->service, &e);

		if (r < 0) {
			error = r;
			continue;
		}
		if (record_want(e, instances[k]))
			settle(q, e);
	}
	turn(q);
	return error;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static uint64_t random_up_to(uint64_t max)
{
	uint64_t number;

	/* Only spreads load. */
	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number = (uint64_t)clock();
	return number % (max + 1);
}

static void hold_back(struct queue *q, const struct writer_answer *a)
{
	uint64_t most = q->leaving ? WAIT_LEAVING_MS : WAIT_MAX_MS, wait;

	q->failures++;
	q->wait_ms = q->wait_ms ? 2 * q->wait_ms : WAIT_FIRST_MS;
	if (q->wait_ms > most)
		q->wait_ms = most;
	wait = q->wait_ms / 2 + random_up_to(q->wait_ms / 2);
	if (!q->leaving && a->retry_after_ms > wait)
		wait = a->retry_after_ms;
	q->resume_ms = now_ms(q) + wait;
	if (q->n && strcmp(q->text, a->text) != 0)
		q->host->failing(q->host->arg, q, a->text);
	(void)snprintf(q->text, sizeof(q->text), "%s", a->text);
}

/* It answered, whatever it said. */
static void hear(struct queue *q)
{
	q->wait_ms = q->resume_ms = 0;
	if (!*q->text)
		return;
	q->text[0] = '\0';
	if (q->n)
		q->host->failing(q->host->arg, q, NULL);
}

/* --- what came of it -------------------------------------------------------------------------- */

static void on_op(struct writer_op *op, struct writer_answer *answer)
{
	struct record *e = container_of(op, struct record, op);
	struct queue *q = op->arg;

	q->under_way--;
	q->puts += op->verb == WRITER_PUT && answer->outcome == WRITER_DONE;
	q->drops += op->verb == WRITER_DROP && answer->outcome == WRITER_DONE;
	record_end(e, answer, now_ms(q));
	if (answer->outcome == WRITER_FAILED)
		hold_back(q, answer);
	else
		hear(q);
	settle(q, e);
	turn(q);
}

/* What is there and was not known: of an agent before us, or of a Registration that is no more. */
static void take_owned(struct queue *q, const struct owned_list *owned)
{
	for (size_t i = 0; i < owned->n; i++) {
		struct record *e;
		int r = get(q, owned->items[i].id, owned->items[i].service, &e);

		if (r < 0)
			return; /* their leases end */
		if (r > 0) {
			e->found = !q->whole;
			e->lease = owned->items[i].lease;
		}
		e->maybe = true;
		settle(q, e);
	}
}

/* A list may fail while all else goes well: it is long. */
static void wait_to_list(struct queue *q, bool failed)
{
	uint64_t least = failed ? WAIT_FIRST_MS : RELIST_MS,
		 most = failed ? WAIT_MAX_MS : RELIST_MAX_MS;

	q->relist_ms *= 2;
	if (q->relist_ms < least)
		q->relist_ms = least;
	if (q->relist_ms > most)
		q->relist_ms = most;
	q->list_ms = now_ms(q) + q->relist_ms;
}

static void on_list(struct writer_op *op, struct writer_answer *answer)
{
	struct queue *q = op->arg;

	q->under_way--;
	q->list_under_way = false;
	wait_to_list(q, answer->outcome == WRITER_FAILED);
	(void)snprintf(q->list_text, sizeof(q->list_text), "%s",
		       answer->outcome == WRITER_REFUSED ? answer->text : "");
	if (answer->outcome == WRITER_DONE) {
		q->listed = true;
		take_owned(q, &answer->owned);
		owned_list_done(&answer->owned);
	}
	if (answer->outcome == WRITER_FAILED)
		hold_back(q, answer);
	else
		hear(q);
	turn(q);
}

/* --- what begins ------------------------------------------------------------------------------ */

/* Why one could not even begin: as a rule the credentials cannot be read, which is so for all. */
static void explain(struct writer_answer *a, int r, const char *text)
{
	*a = (struct writer_answer){.outcome = WRITER_FAILED};
	(void)snprintf(a->text, sizeof(a->text), "%s", *text ? text : strerror(-r));
}

static void stumble(struct queue *q, struct record *e, int r, const char *text)
{
	struct writer_answer a = {.outcome = WRITER_DONE};

	if (r != -EALREADY)
		explain(&a, r, text);
	record_end(e, &a, now_ms(q));
	if (a.outcome == WRITER_FAILED)
		hold_back(q, &a);
	settle(q, e);
}

static void begin(struct queue *q, struct record *e, enum writer_verb verb)
{
	char text[200];
	int r;

	record_begin(e, verb);
	r = writer_begin(&q->writer, &e->op, text);
	if (r < 0)
		stumble(q, e, r, text);
	else
		q->under_way++;
}

static void begin_list(struct queue *q)
{
	struct writer_answer a;
	char text[200];
	int r;

	q->list_ms = now_ms(q) + RELIST_MS;
	q->list = (struct writer_op){.verb = WRITER_LIST, .on_done = on_list, .arg = q};
	r = writer_begin(&q->writer, &q->list, text);
	if (r < 0) {
		explain(&a, r, text);
		hold_back(q, &a);
		return;
	}
	q->list_under_way = true;
	q->under_way++;
}

/* Whether there is a place for one more; only one while the registry does not answer. */
static bool has_room(const struct queue *q)
{
	return q->under_way < (q->wait_ms ? 1 : AT_ONCE) && q->resume_ms <= now_ms(q);
}

/* Begins what is due of one verb, and learns when the next one is. */
static void begin_due(struct queue *q, enum writer_verb verb, uint64_t *next)
{
	for (size_t i = 0; i < q->n; i++) {
		struct record *e = q->entries[i];
		uint64_t at;

		if (e->under_way || record_next(e, &at) != (int)verb)
			continue;
		if (at <= now_ms(q) && has_room(q))
			begin(q, e, verb);
		if (!e->under_way && record_next(e, &at) >= 0 && at > now_ms(q) && at < *next)
			*next = at;
	}
}

static void on_timer(uv_timer_t *timer)
{
	turn(timer->data);
}

static void turn(struct queue *q)
{
	uint64_t now = now_ms(q), next = UINT64_MAX;

	if (q->on_closed)
		return;
	if (q->resume_ms > now) {
		next = q->resume_ms;
	} else {
		begin_due(q, WRITER_DROP, &next);
		begin_due(q, WRITER_PUT, &next);
		begin_due(q, WRITER_KEEP, &next); /* before a list, which may fail for ever */
		if (!q->listed && !q->list_under_way && !q->leaving && has_room(q)) {
			if (q->list_ms <= now)
				begin_list(q);
			if (q->list_ms > now)
				next = q->list_ms < next ? q->list_ms : next;
		}
		if (q->resume_ms > now && q->resume_ms < next) /* nothing could begin */
			next = q->resume_ms;
	}
	forget(q);
	if (next != UINT64_MAX)
		(void)uv_timer_start(&q->timer, on_timer, next > now ? next - now : 1, 0);
	else
		(void)uv_timer_stop(&q->timer);
	if (q->leaving && !q->n && q->host->left)
		q->host->left(q->host->arg, q);
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_first(uv_timer_t *timer)
{
	turn(timer->data);
}

void queue_init(struct queue *q, const struct queue_host *host)
{
	q->host = host;
	(void)uv_timer_init(host->loop, &q->timer); /* cannot fail */
	q->timer.data = q;
	(void)uv_timer_start(&q->timer, on_first, 0, 0);
}

void queue_leave(struct queue *q)
{
	q->leaving = true;
	q->wait_ms = q->resume_ms = 0;
	(void)queue_want(q, NULL, 0, true);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct queue *q = handle->data;

	q->on_closed(q->closed_arg);
}

void queue_close(struct queue *q, void (*on_closed)(void *arg), void *arg)
{
	q->on_closed = on_closed;
	q->closed_arg = arg;
	if (q->list_under_way)
		writer_cancel(&q->list);
	for (size_t i = 0; i < q->n; i++) {
		if (q->entries[i]->under_way)
			writer_cancel(&q->entries[i]->op);
		record_free(q->entries[i]);
	}
	free(q->entries);
	q->entries = NULL;
	q->n = q->capacity = 0;
	writer_close(&q->writer);
	uv_close((uv_handle_t *)&q->timer, on_timer_closed);
}
