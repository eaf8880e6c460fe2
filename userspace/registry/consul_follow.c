/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The services of a Consul, each followed by long or by short polls; see consul_state.h. What goes
 * is said twice, once as soon as an answer misses it and again when another answer a second later
 * misses it, too: one answer is not believed when much is gone (guard.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/limits.h"
#include "registry/consul_state.h"

#define BLOCK_MS 60000u
#define CONFIRM_MS 1050u /* over GUARD_CONFIRM_MS */
#define SWEEP_MS 10000u
#define SWEEP_NEWS_MS 1000u /* at least between two sweeps, however much is new */
#define SWEEP_EACH_MS 5u    /* and for each service of a sweep */
#define FEWER_MS 1000u
#define MORE_MS 15000u /* after the last refusal; twice as long each time that was too soon */
#define MORE_MOST_MS 3600000u

static uint64_t now_ms(const struct consul *c)
{
	return uv_now(c->r->loop);
}

static struct consul_follower *follower_of(struct consul_poll *p)
{
	return (struct consul_follower *)p;
}

static struct consul_title title_of(const struct consul_follower *f)
{
	return (struct consul_title){OBJECT_SERVICE, consul_namespace(f->c), f->label};
}

/* --- places ----------------------------------------------------------------------------------- */

static void leave(struct consul_follower *f)
{
	struct consul *c = f->c;

	switch (f->place) {
	case CONSUL_RESTS:
		TAILQ_REMOVE(&c->rest, f, link);
		break;
	case CONSUL_QUEUED:
		TAILQ_REMOVE(&c->queue, f, link);
		break;
	case CONSUL_SHORTLY:
		c->n_short--;
		break;
	case CONSUL_LONGLY:
		c->n_long--;
		break;
	case CONSUL_WAITS:
		break;
	}
	f->place = CONSUL_WAITS;
}

static void put(struct consul_follower *f, enum consul_place place)
{
	struct consul *c = f->c;

	leave(f);
	f->place = place;
	if (place == CONSUL_RESTS)
		TAILQ_INSERT_TAIL(&c->rest, f, link);
	else if (place == CONSUL_QUEUED)
		TAILQ_INSERT_TAIL(&c->queue, f, link);
	else if (place == CONSUL_SHORTLY)
		c->n_short++;
	else if (place == CONSUL_LONGLY)
		c->n_long++;
}

/* The next one to be asked shortly; NULL: none. */
static struct consul_follower *next_of(const struct consul *c)
{
	struct consul_follower *f = TAILQ_FIRST(&c->queue);

	if (!f && c->n_long + c->n_short < c->long_most)
		f = TAILQ_FIRST(&c->rest);
	return f;
}

/* One at a time while answers are none: thousands that wait each for itself are a storm. */
static void pull(struct consul *c)
{
	struct consul_follower *f;

	while (!c->stopping && c->n_short < (c->link.has_failed ? 1 : CONSUL_SHORT) &&
	       (f = next_of(c))) {
		uint64_t wait = consul_pace_take(&f->poll.pace, now_ms(c));

		put(f, CONSUL_SHORTLY);
		if (wait)
			consul_poll_later(&f->poll, wait);
		else
			consul_poll_ask(&f->poll, 0);
	}
}

/* --- long polls ------------------------------------------------------------------------------- */

/* How long the next query may block: until it is to confirm what went, or for long. */
static uint64_t block_of(const struct consul_follower *f)
{
	uint64_t now = now_ms(f->c), most = f->c->is_exact ? consul_heartbeat_ms(f->c) : BLOCK_MS;

	if (!f->confirm_ms)
		return most;
	return f->confirm_ms > now ? f->confirm_ms - now : 1;
}

static void ask_long(struct consul_follower *f)
{
	uint64_t wait = consul_pace_take(&f->poll.pace, now_ms(f->c));

	if (wait)
		consul_poll_later(&f->poll, wait);
	else
		consul_poll_ask(&f->poll, block_of(f));
}

static void rest(struct consul_follower *f)
{
	uint64_t now = now_ms(f->c);

	put(f, CONSUL_RESTS);
	if (f->confirm_ms)
		consul_poll_later(&f->poll, f->confirm_ms > now ? f->confirm_ms - now : 1);
}

static bool others_rest(const struct consul *c)
{
	return !TAILQ_EMPTY(&c->rest) || !TAILQ_EMPTY(&c->queue);
}

/* What refused so many connections may have been told to allow more, or have lost other clients. */
static void raise_again(struct consul *c)
{
	if (c->long_most >= c->long_limit || c->n_long < c->long_most || !others_rest(c) ||
	    now_ms(c) - c->fewer_ms < c->more_ms)
		return;
	c->long_most = 2 * c->long_most < c->long_limit ? 2 * c->long_most : c->long_limit;
	c->fewer_ms = now_ms(c);
	c->is_more = true;
}

static void on_taken(struct consul_poll *p)
{
	struct consul_follower *f = follower_of(p);
	struct consul *c = f->c;

	raise_again(c);
	consul_on_change(c);
	if (f->is_unsure) {
		consul_poll_ask(p, 0);
		return;
	}
	if (f->place == CONSUL_LONGLY) {
		bool waited = p->asked_ms > CONFIRM_MS && p->pace.idle;

		/* Its slot is for another one now. */
		if ((waited && others_rest(c)) || c->n_long > c->long_most)
			rest(f);
		else
			ask_long(f);
	} else if (c->n_long < c->long_most) {
		put(f, CONSUL_LONGLY);
		ask_long(f);
	} else {
		rest(f);
	}
	pull(c);
}

static void on_due(struct consul_poll *p)
{
	struct consul_follower *f = follower_of(p);

	switch (f->place) {
	case CONSUL_LONGLY:
		consul_poll_ask(p, block_of(f));
		break;
	case CONSUL_SHORTLY:
		consul_poll_ask(p, 0);
		break;
	case CONSUL_RESTS:
	case CONSUL_WAITS:
		put(f, CONSUL_QUEUED);
		pull(f->c);
		break;
	case CONSUL_QUEUED:
		break;
	}
}

/* So many connections are too many: at most once a second, since many fail at once. */
static void lower(struct consul *c)
{
	uint64_t now = now_ms(c);

	if (!c->more_ms)
		c->more_ms = MORE_MS;
	if (c->long_most <= CONSUL_LONG_LEAST || now - c->fewer_ms < FEWER_MS)
		return;
	if (c->is_more && c->more_ms < MORE_MOST_MS)
		c->more_ms *= 2;
	c->is_more = false;
	c->fewer_ms = now;
	c->long_most = (c->long_most < c->n_long ? c->long_most : c->n_long) * 3 / 4;
	if (c->long_most < CONSUL_LONG_LEAST)
		c->long_most = CONSUL_LONG_LEAST;
	for (size_t i = c->n; i && c->n_long > c->long_most; i--) {
		struct consul_follower *f = c->followers[i - 1];

		if (f->place != CONSUL_LONGLY)
			continue;
		f->poll.fetch = fetch_cancel(f->poll.fetch);
		(void)uv_timer_stop(&f->poll.timer);
		rest(f);
	}
}

static void on_failed(struct consul_poll *p, uint64_t wait_ms)
{
	struct consul_follower *f = follower_of(p);
	struct consul *c = f->c;

	if (p->status == 429)
		lower(c);
	/* A short poll's place is not for one that waits. */
	if (f->place != CONSUL_LONGLY || c->n_long > c->long_most)
		put(f, CONSUL_WAITS);
	consul_poll_later(p, wait_ms);
	consul_on_change(c);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Both have their endpoints in the same order. */
static bool has_lost(const struct service *before, const struct service *now)
{
	size_t j = 0;

	for (size_t i = 0; i < before->n_endpoints; i++, j++) {
		const struct endpoint *e = &before->endpoints[i];

		while (j < now->n_endpoints &&
		       (memcmp(&now->endpoints[j].addr, &e->addr, sizeof(e->addr)) != 0 ||
			now->targets[j] != before->targets[i]))
			j++;
		if (j == now->n_endpoints)
			return true;
	}
	return false;
}

static int compare_hashes(const void *x, const void *y)
{
	const uint64_t *a = x, *b = y;

	return (*a > *b) - (*a < *b);
}

/* Whether an instance of before is not there at all, in whatever state. 1, 0, -ENOMEM. */
static int has_vanished(const struct service *before, const struct consul_health *h)
{
	_cleanup_free_ uint64_t *hashes = calloc(h->n + 1, sizeof(*hashes));
	char id[2 * LIMIT_INSTANCE_ID + 2];

	if (!hashes)
		return -ENOMEM;
	for (size_t i = 0; i < h->n; i++) {
		(void)snprintf(id, sizeof(id), "%s/%s", h->instances[i].node, h->instances[i].id);
		hashes[i] = draft_instance(id);
	}
	qsort(hashes, h->n, sizeof(*hashes), compare_hashes);
	for (size_t i = 0; i < before->n_endpoints; i++)
		if (!bsearch(&before->endpoints[i].instance, hashes, h->n, sizeof(*hashes),
			     compare_hashes))
			return 1;
	return 0;
}

static bool is_time_to_confirm(const struct consul_follower *f)
{
	return f->confirm_ms && now_ms(f->c) >= f->confirm_ms;
}

/* Writes it into the book, and says it. Returns 1 for news. */
static int keep(struct consul_follower *f, struct service *s)
{
	struct consul *c = f->c;
	const struct consul_title title = title_of(f);
	const struct object *old = consul_book_find(c->book, CONSUL_BY_CATALOG, &title);
	bool is_new = old ? !s || !service_is_equal(old->service, s) : !!s;
	bool lost = old && (!s || has_lost(old->service, s)), again = is_time_to_confirm(f);
	struct object o = {.kind = OBJECT_SERVICE, .service = s};
	struct consul_entry entry;
	int r = consul_book_set(c->book, CONSUL_BY_CATALOG, &title, s ? &o : NULL, &entry);

	if (r < 0)
		return r;
	if (again)
		f->confirm_ms = 0;
	if (lost)
		f->confirm_ms = now_ms(c) + CONFIRM_MS;
	if (entry.changed || again)
		consul_say(c, &title, entry.now);
	return is_new;
}

/* Of a streamed answer: whether another one must say the same before it is believed. */
static int is_unsure(const struct consul_follower *f, const struct service *s,
		     const struct consul_health *h)
{
	const struct consul_title title = title_of(f);
	const struct object *old = consul_book_find(f->c->book, CONSUL_BY_CATALOG, &title);

	if (is_time_to_confirm(f))
		return 1;
	if (!old || (s && !has_lost(old->service, s)))
		return 0;
	return s ? has_vanished(old->service, h) : 1;
}

static int take_health(struct consul_follower *f, const struct consul_health *h)
{
	struct consul *c = f->c;
	const struct consul_naming naming = {.tag = c->r->tag,
					     .namespace = consul_namespace(c),
					     .name = f->label,
					     .zone = c->r->config->zone};
	struct service *s = NULL;
	size_t left_out = 0;
	int r = consul_service_make(c->draft, &naming, h, &s, &left_out);

	if (r >= 0 && f->poll.streamed)
		r = is_unsure(f, s, h);
	f->is_unsure = r > 0;
	if (r) {
		(void)service_unref(s);
		return r;
	}
	f->is_empty = !s;
	r = keep(f, s);
	if (r > 0 && left_out)
		registry_say_skipped(c->r,
				     "service %.60s: %zu entries, endpoints or labels left out",
				     f->name, left_out);
	return r;
}

static int on_answer(struct consul_poll *p, const struct fetch_result *result, bool missing,
		     char ret_text[static CONSUL_TEXT])
{
	struct consul_follower *f = follower_of(p);
	struct consul_health h;
	char error[JSON_ERROR] = "too large";
	int r = consul_decode_health(result->body, result->length, &h, error);

	if (r >= 0) {
		r = take_health(f, &h);
		consul_health_done(&h);
	} else {
		(void)snprintf(ret_text, CONSUL_TEXT, "service %.60s: %.80s", f->name, error);
	}
	if (r >= 0 && !f->answered) {
		f->answered = true;
		f->c->n_unanswered--;
	}
	return r;
}

static const struct consul_poll_ops ops = {
	.permission = "service_prefix \"\" { policy = \"read\" } and node_prefix \"\" { policy = "
		      "\"read\" }",
	.take = on_answer,
	.on_taken = on_taken,
	.on_failed = on_failed,
	.on_due = on_due,
};

/* --- life ------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	struct consul_follower *f = follower_of(handle->data);
	struct consul *c = f->c;

	free(f->name);
	free(f->what);
	free(f);
	consul_on_closed(c);
}

static int set_name(struct consul_follower *f, const char *name, char **ret_target)
{
	char *copy = strdup(name), *what = NULL,
	     *target = consul_poll_target("health/service/", name, "");

	if (!copy || !target || asprintf(&what, "service %.100s", name) < 0) {
		free(copy);
		free(target);
		return -ENOMEM;
	}
	free(f->name);
	free(f->what);
	f->name = copy;
	f->what = what;
	*ret_target = target;
	return 0;
}

struct consul_follower *consul_follow(struct consul *c, const char *label, const char *name)
{
	struct consul_follower *f = calloc(1, sizeof(*f));
	char *target;

	if (!f || set_name(f, name, &target) < 0) {
		free(f);
		return NULL;
	}
	consul_poll_init(&f->poll, &c->link, &ops, f->what, target);
	f->c = c;
	c->n_handles++;
	c->n_unanswered++;
	(void)snprintf(f->label, sizeof(f->label), "%s", label);
	f->place = CONSUL_WAITS;
	put(f, CONSUL_QUEUED);
	return f;
}

static void ask_now(struct consul_follower *f)
{
	if (f->place == CONSUL_LONGLY) {
		consul_poll_ask(&f->poll, 0);
	} else if (f->place == CONSUL_RESTS || f->place == CONSUL_WAITS) {
		put(f, CONSUL_QUEUED);
	}
}

int consul_follow_rename(struct consul_follower *f, const char *name)
{
	char *target;
	int r = set_name(f, name, &target);

	if (r < 0)
		return r;
	free(f->poll.target);
	f->poll.target = target;
	f->poll.what = f->what;
	consul_pace_reset(&f->poll.pace);
	if (f->place == CONSUL_SHORTLY)
		consul_poll_ask(&f->poll, 0);
	else
		ask_now(f);
	return 0;
}

void consul_follow_named(struct consul_follower *f, bool named)
{
	bool news = f->absent == named;

	f->absent = !named;
	/* A long poll returns by itself when the last instance goes. */
	if (news && f->place != CONSUL_LONGLY)
		ask_now(f);
}

bool consul_follow_is_over(const struct consul_follower *f)
{
	return f->absent && f->answered && f->is_empty && !f->confirm_ms;
}

void consul_follow_end(struct consul_follower *f)
{
	struct consul *c = f->c;

	leave(f);
	if (!f->answered)
		c->n_unanswered--;
	consul_poll_stop(&f->poll);
	uv_close((uv_handle_t *)&f->poll.timer, on_closed);
}

/* --- those at rest ---------------------------------------------------------------------------- */

static void sweep(struct consul *c)
{
	struct consul_follower *f;

	c->sweep_ms = now_ms(c);
	while ((f = TAILQ_FIRST(&c->rest)))
		put(f, CONSUL_QUEUED);
	pull(c);
}

static size_t count_rest(const struct consul *c)
{
	return c->n - (c->n_long < c->n ? c->n_long : c->n);
}

void consul_follow_on_sweep(uv_timer_t *timer)
{
	struct consul *c = timer->data;

	sweep(c);
	consul_on_change(c);
	consul_follow_sweep(c, false);
}

void consul_follow_sweep(struct consul *c, bool news)
{
	uint64_t period = news ? SWEEP_NEWS_MS : c->r->config->interval_ms ?: SWEEP_MS;
	uint64_t least = count_rest(c) * SWEEP_EACH_MS, now = now_ms(c);
	uint64_t due = c->sweep_ms + (period > least ? period : least);
	uint64_t wait = due > now ? due - now : 0;

	if (!uv_is_active((uv_handle_t *)&c->sweep) || uv_timer_get_due_in(&c->sweep) > wait)
		(void)uv_timer_start(&c->sweep, consul_follow_on_sweep, wait, 0);
	pull(c);
}

void consul_follow_restart(struct consul *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct consul_follower *f = c->followers[i];

		if (f->poll.failing)
			continue;
		consul_pace_reset(&f->poll.pace);
		/* What is still on its way may be older than the catalogue's answer. */
		if (f->place == CONSUL_LONGLY) {
			f->poll.fetch = fetch_cancel(f->poll.fetch);
			consul_poll_later(&f->poll, i % 64);
		} else if (f->place == CONSUL_SHORTLY && f->poll.fetch) {
			consul_poll_ask(&f->poll, 0);
		} else if (f->place == CONSUL_RESTS) {
			put(f, CONSUL_QUEUED);
		}
	}
}

void consul_follow_back(struct consul *c)
{
	for (size_t i = 0; i < c->n; i++) {
		struct consul_follower *f = c->followers[i];

		if (consul_poll_is_cut_off(&f->poll))
			consul_poll_later(&f->poll, i % 64);
	}
}
