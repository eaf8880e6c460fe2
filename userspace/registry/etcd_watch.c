/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watch of etcd.h's prefix, and a beat beside it. A watch that is idle says nothing for ten
 * minutes, and one of a server that hangs, or was brought back from an old copy, says nothing for
 * ever; so each ten seconds the keys are counted, which costs the server little, and shows whether
 * it answers, whether it is the one that it was, and whether we have what it has. It must never
 * take a change by half, nor a revision for known whose change did not come.
 */
#include "registry/etcd_watch.h"

#include <errno.h>
#include <string.h>

#define BEAT_MS 10000u
#define BEAT_TIMEOUT_MS 5000u
#define ODD_BEATS 2 /* the first one may have been faster than the watch */
#define UNAVAILABLE 14u
#define OUT_OF_RANGE 11u
#define LIST_EVERY_MS 600000u

static void on_beat_timer(uv_timer_t *timer);
static void on_done(void *arg, const struct fetch_result *result);

/* --- lines --------------------------------------------------------------------------------------
 */

static int apply(struct etcd *e, const struct etcd_notice *n)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n->n; i++) {
		const struct etcd_kv *kv = &n->kvs[i];

		if (kv->revision > e->revision)
			e->revision = kv->revision;
		if (kv->deleted)
			etcd_table_delete(e->table, kv);
		else
			r = etcd_table_put(e->table, kv);
	}
	return r;
}

/* Of what came, what is known now. The header's revision may be ahead of changes that are still to
 * come, unless nothing else is in the notice (a progress notice). */
static void advance(struct etcd *e, const struct etcd_notice *n)
{
	uint64_t revision = n->n || n->created ? e->revision : n->header.revision;

	if (revision > e->header.revision)
		e->header.revision = revision;
	e->header.term = n->header.term;
}

static int on_notice(struct etcd *e, const struct etcd_notice *n)
{
	int r;

	if (n->compacted || (n->has_refusal && n->refusal.code == OUT_OF_RANGE)) {
		e->is_lost = true;
		return -ECANCELED;
	}
	if (n->has_refusal) {
		e->refusal = n->refusal;
		if (!e->refusal.code)
			e->refusal.code = UNAVAILABLE;
		return -ECANCELED;
	}
	if (!etcd_is_ours(&e->header, &n->header)) {
		e->is_lost = true;
		return -ECANCELED;
	}
	e->created |= n->created;
	e->is_mute &= !n->created;
	e->is_fresh = false;
	etcd_say_contact(e, 0);
	r = apply(e, n);
	if (r < 0 || n->is_part)
		return r;
	advance(e, n);
	/* What came by half before a watch was cut is in the table, and not to be said by a hello.
	 */
	if (n->n)
		etcd_say(e);
	return 0;
}

static int on_line(void *arg, const char *line, size_t length)
{
	struct etcd *e = arg;
	char why[JSON_ERROR];
	struct etcd_notice n;
	int r = etcd_decode_notice(line, length, &n, why);

	if (r >= 0) {
		r = on_notice(e, &n);
		etcd_notice_done(&n);
	}
	return r;
}

static int on_data(void *arg, const char *data, size_t length)
{
	struct etcd *e = arg;
	const struct text_lines lines = {ETCD_LINE, on_line, e};
	int r = text_take_lines(&e->line, &lines, data, length);

	e->is_bad |= r < 0 && r != -ECANCELED;
	return r;
}

/* --- a watch ------------------------------------------------------------------------------------
 */

static char *make_body(const struct etcd *e)
{
	struct text_buffer b = {};

	text_append_format(&b, "{\"create_request\":{%s,\"start_revision\":\"%llu\",", e->span,
			   (unsigned long long)e->header.revision + 1);
	text_append(&b, "\"progress_notify\":true,\"fragment\":true}}");
	return text_take(&b);
}

void etcd_watch_begin(struct etcd *e)
{
	struct fetch_request request = {
		.on_data = on_data,
		.on_done = on_done,
		.arg = e,
	};
	int r;

	text_done(&e->line);
	e->created = e->is_bad = e->is_lost = false;
	e->refusal = (struct etcd_refusal){};
	e->revision = e->header.revision;
	e->beats = 0;
	r = etcd_post(e, &request, "/v3/watch", make_body(e), &e->fetch);
	if (r < 0)
		etcd_retry(e, 1000);
	else
		(void)uv_timer_start(&e->beat, on_beat_timer, BEAT_MS, BEAT_MS);
}

void etcd_watch_stop(struct etcd *e)
{
	e->fetch = fetch_cancel(e->fetch);
	e->beat_fetch = fetch_cancel(e->beat_fetch);
	e->look.fetch = fetch_cancel(e->look.fetch);
	(void)uv_timer_stop(&e->beat);
	text_done(&e->line);
}

/* It ended by what it said, or by what came. */
static void on_end(struct etcd *e)
{
	if (e->is_bad) {
		registry_say_error(e->r, REGISTRY_GARBAGE, "",
				   "watch %s: a line cannot be understood, or is too long",
				   e->prefix);
		etcd_forget_list(e);
	} else if (e->is_lost) {
		etcd_forget_list(e);
	} else if (e->refusal.code != UNAVAILABLE) {
		etcd_say_refusal(e, "watch", &e->refusal, NULL);
	} /* else the server goes; whether it comes back is soon seen */
	etcd_retry(e, 0);
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct etcd *e = arg;
	struct etcd_refusal why = {};
	bool is_own = e->is_bad || e->is_lost || e->refusal.code;

	e->fetch = NULL;
	etcd_watch_stop(e);
	if (is_own) {
		on_end(e);
		return;
	}
	if (registry_error_of(result) != REGISTRY_OK) {
		if (!result->error)
			etcd_decode_refusal(result->body, result->length, &why);
		etcd_say_refusal(e, "watch", &why, result);
	}
	etcd_retry(e, 0);
}

/* --- a beat -------------------------------------------------------------------------------------
 */

/* Begins anew: everything is listed. */
static void start_over(struct etcd *e)
{
	etcd_watch_stop(e);
	etcd_forget_list(e);
	etcd_retry(e, 0);
}

/* A watch that never was one: until there is, each try begins with a list. */
static void say_mute(struct etcd *e)
{
	registry_say_error(e->r, REGISTRY_TIMED_OUT,
			   "is there a proxy between that holds back answers without an end?",
			   "watch %s: it does not begin; changes are only seen now and then",
			   e->prefix);
	e->is_mute = true;
}

/* Whether the table lacks what the server counts, or has what it does not, and the watch does not
 * tell. */
static bool is_odd(struct etcd *e, uint64_t count)
{
	if (count == etcd_table_count(e->table) + e->offset) {
		e->odd = 0;
		return false;
	}
	e->odd = e->odd_revision == e->header.revision ? e->odd + 1 : 1;
	e->odd_revision = e->header.revision;
	return e->odd >= ODD_BEATS;
}

static void on_beat(void *arg, const struct fetch_result *result)
{
	struct etcd *e = arg;
	struct etcd_refusal why = {};
	char text[JSON_ERROR];
	struct etcd_range range;

	e->beat_fetch = NULL;
	if (registry_error_of(result) != REGISTRY_OK) {
		if (!result->error)
			etcd_decode_refusal(result->body, result->length, &why);
		etcd_say_refusal(e, "count", &why, result);
		if (e->r->config->username && !e->token && !e->is_open) { /* log in, and watch on */
			etcd_watch_stop(e);
			etcd_retry(e, 0);
		}
		return;
	}
	if (etcd_decode_range(result->body, result->length, &range, text) < 0) {
		registry_say_error(e->r, REGISTRY_GARBAGE, "", "count %s: %s", e->prefix, text);
		return;
	}
	etcd_say_contact(e, result->elapsed_us);
	e->wait_ms = 0;
	e->is_fresh = false;
	if (!etcd_is_ours(&e->counted, &range.header) || is_odd(e, range.count))
		start_over(e);
	etcd_range_done(&range);
}

static void on_beat_timer(uv_timer_t *timer)
{
	struct etcd *e = timer->data;
	struct fetch_request request = {
		.timeout_ms = BEAT_TIMEOUT_MS, .on_done = on_beat, .arg = e};
	uint64_t every = e->r->config->interval_ms ? e->r->config->interval_ms : LIST_EVERY_MS;
	struct text_buffer b = {};

	if (++e->beats > 1 && !e->created) {
		say_mute(e);
		start_over(e);
		return;
	}
	if (uv_now(e->r->loop) - e->listed_ms >= every) {
		start_over(e);
		return;
	}
	if (e->beat_fetch)
		return;
	e->counted = e->header; /* a change may come by the watch before the answer does */
	text_append_format(&b, "{%s,\"count_only\":true}", e->span);
	(void)etcd_post(e, &request, "/v3/kv/range", text_take(&b), &e->beat_fetch);
}
