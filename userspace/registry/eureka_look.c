/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A second look at what a Eureka server took away (registry.h). Before: eureka.c keeps the table,
 * eureka_lost.c what left it; eureka_round.c says whom to ask and what it means. A server answers
 * lists from a cache for half a minute, and what that repeats is no second word; for one instance
 * it answers from its registry. So the instances are asked for, one after the other, and if they
 * are gone there, too, the service is said again as the table has it. An answer is never taken in
 * itself. One that is UP all the same is waited for in the next whole answer; whatever else is
 * answered says nothing, and nothing is told of it: the polls find the same.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "model/limits.h"
#include "registry/eureka_state.h"

#define LOOK_MS 10000u
#define QUESTION_MS 3000u
#define ONE_MOST (1u << 20) /* bytes of one instance */

static void on_done(void *arg, const struct fetch_result *result);

void eureka_look_stop(struct eureka *e)
{
	e->look.fetch = fetch_cancel(e->look.fetch);
	eureka_round_done(&e->look.round);
}

/* --- questions ------------------------------------------------------------------------------- */

static void append_escaped(struct text_buffer *b, const char *text)
{
	text_append(b, "/");
	for (; *text; text++) {
		if (strchr("-._~", *text) || (*text >= '0' && *text <= '9') ||
		    ((*text | 32) >= 'a' && (*text | 32) <= 'z'))
			text_append_bytes(b, text, 1);
		else
			text_append_format(b, "%%%02X", (unsigned char)*text);
	}
}

/* These would be another path, escaped or not. */
static bool is_dots(const char *text)
{
	return !strcmp(text, ".") || !strcmp(text, "..");
}

static char *make_url(const struct eureka *e, const struct eureka_question *q)
{
	struct text_buffer b = {};

	text_append_format(&b, "%s/apps", e->bases[e->look.base]);
	append_escaped(&b, q->app);
	append_escaped(&b, q->id);
	return text_take(&b);
}

static int ask(struct eureka *e)
{
	const struct eureka_question *q = &e->look.round.questions[e->look.round.at];
	uint64_t now = uv_now(e->r->loop);
	char *authorization = NULL;
	_cleanup_free_ char *url = make_url(e, q);
	struct fetch_request request = {
		.url = url,
		.tls = e->r->config->tls,
		.timeout_ms = QUESTION_MS,
		.silence_ms = QUESTION_MS,
		.max_body = ONE_MOST,
		.on_done = on_done,
		.arg = e,
	};
	int r = url ? 0 : -ENOMEM;

	if (is_dots(q->app) || is_dots(q->id))
		return -EINVAL;
	if (now >= e->look.until_ms)
		return -ETIMEDOUT;
	if (r >= 0)
		r = eureka_authorize(e->r->config, &authorization);
	if (r >= 0) {
		const char *const headers[] = {"Accept: application/json", authorization, NULL};

		request.headers = headers;
		r = fetch_begin(e->r->fetcher, &request, &e->look.fetch);
	}
	registry_forget(authorization);
	return r;
}

/* --- answers --------------------------------------------------------------------------------- */

static void say_again(struct eureka *e, const char *name)
{
	const struct registry_config *config = e->r->config;
	struct object object;
	int r = eureka_book_again(&e->book, &e->apps, name, &object);

	if (r == EUREKA_UPSERT)
		registry_say_upsert(e->r, &object);
	else if (r == EUREKA_REMOVE)
		registry_say_remove(e->r, OBJECT_SERVICE,
				    config->namespace ? config->namespace : "default", name);
}

/* Unless more was lost meanwhile, of which nobody was asked, or something came back. */
static void on_gone(struct eureka *e)
{
	const struct eureka_round *round = &e->look.round;
	char name[LIMIT_NAME + 1];

	for (size_t i = 0; i < round->n_apps; i++) {
		struct eureka_lost_app *app = eureka_lost_find(&e->lost, round->apps[i]);

		if (!app || app->changed || round->refuted[i])
			continue;
		eureka_lost_forget(&e->lost, app);
		if (draft_name(round->apps[i], name) >= 0)
			say_again(e, name);
	}
}

static void on_verdict(struct eureka *e, enum eureka_verdict verdict)
{
	if (verdict == EUREKA_GONE)
		on_gone(e);
	eureka_round_done(&e->look.round);
}

/* It is there and UP, though no answer has it. */
static void on_refuted(struct eureka *e, const struct eureka_question *q)
{
	eureka_plan_doubt(&e->plan);
	registry_say_skipped(e->r,
			     "%.60s: %.60s is UP, though the server's list lacks it: "
			     "what went stays suspect",
			     q->app, q->id);
}

/* False: that is no answer to this question. */
static bool read_reply(const struct eureka_question *q, const struct fetch_result *result,
		       struct eureka_reply *ret)
{
	char why[JSON_ERROR];
	struct eureka_one one;
	bool same;

	*ret = (struct eureka_reply){};
	if (!result->error && result->status == 404)
		return true;
	if (result->error || result->status != 200 ||
	    eureka_decode_one(result->body, result->length, &one, why) < 0)
		return false;
	same = !strcasecmp(one.instance.app, q->app) && !strcmp(one.instance.id, q->id);
	*ret = (struct eureka_reply){.known = true,
				     .usable = eureka_instance_is_usable(&one.instance),
				     .memory_ms = one.memory_ms};
	eureka_instance_done(&one.instance);
	return same;
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct eureka *e = arg;
	struct eureka_round *round = &e->look.round;
	const struct eureka_question *q = &round->questions[round->at];
	bool is_lost = round->at < round->n_lost;
	enum eureka_verdict verdict = EUREKA_NOTHING;
	struct eureka_reply reply;

	e->look.fetch = NULL;
	if (!result->error)
		e->look.not_till_ms = uv_now(e->r->loop) + registry_retry_after(result);
	if (e->settled && e->plan.known && e->base == e->look.base &&
	    read_reply(q, result, &reply)) {
		if (is_lost && reply.usable)
			on_refuted(e, q);
		verdict = eureka_round_take(round, &reply);
	}
	if (verdict == EUREKA_MORE && ask(e) >= 0)
		return;
	on_verdict(e, verdict);
}

int eureka_look(struct registry *r, const char *namespace, const char *name)
{
	struct eureka *e = r->source;
	struct eureka_look *l = &e->look;
	uint64_t now = uv_now(r->loop);
	int k;

	if (l->fetch || !e->settled || !e->plan.known || now < l->not_till_ms)
		return -EAGAIN;
	e->lost.now_ms = now;
	k = eureka_round_begin(&l->round, &e->lost, &e->apps, name, l->turn++);
	if (k <= 0)
		return k < 0 ? -EAGAIN : 0;
	l->base = e->base;
	l->until_ms = now + LOOK_MS;
	k = ask(e);
	if (k < 0)
		eureka_round_done(&l->round);
	return k == -ENOMEM ? -EAGAIN : 0;
}
