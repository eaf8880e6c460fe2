/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See push.h. Before: the merge. After: sinewd's control socket. Must never remove in sinewd what
 * only we do not know yet: a whole snapshot is sent once every registry has spoken.
 */
#include "agent/push.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/gone.h"
#include "agent/refused.h"
#include "agent/room.h"
#include "base/log.h"
#include "base/text.h"

#define URL "http://sinewd/v1/sources/" PUSH_SOURCE
#define TIMEOUT_MS 30000u
#define WAIT_MIN_MS 50u
#define WAIT_MAX_MS 2000u  /* sinewd is on this host: nobody is overrun by that */
#define LOOK_MS 2000u      /* without news: is it still the sinewd that we told? */
#define REPRIEVE_MS 60000u /* what was refused is tried again */
#define REPRIEVE_N 256     /* of so many: that costs a request for each few of them */
#define ROOM_MS 5000u      /* between two tries of what did not fit: each tells everything */

enum tell {
	TELL_CHANGE, /* what changed */
	TELL_AGAIN,  /* all there is, and what went: what we do not know of stays */
	TELL_WHOLE,  /* all there is, and nothing else stays */
};

struct push {
	uv_loop_t *loop;
	struct fetcher *fetcher;
	struct merge *merge;
	struct push_config config;
	struct push_status status;
	uv_timer_t timer;
	struct fetch *fetch; /* under way */
	struct merge_change sent;
	size_t n_sent; /* of its upserts: the others are refused */
	enum tell tell;
	struct refused refused;
	struct gone gone; /* since the whole was told last */
	char etag[80];
	bool started, may_put; /* see push_start() */
	bool all;              /* the next request tells all, not what changed */
	bool forgot;           /* some of gone: said once */
	bool keeps;            /* sinewd does not let go of one that is to go; it is refused */
	bool kicked, urgent;   /* news while a request is under way, or while none may be sent */
	uint64_t wait_ms;      /* the last wait after a failure; 0: all is well */
	bool room_freed;       /* since then something went away */
	uint64_t room_ms;      /* loop time when sinewd had no room last */
	size_t told_room;      /* objects it had none for */
	uint64_t refused_ms;   /* loop time of the first that is in refused */
	uint64_t quiet_ms;     /* loop time from which on news that are not urgent go out at once */
};

static void turn(struct push *p);

static void on_timer(uv_timer_t *timer)
{
	turn(timer->data);
}

static void arm(struct push *p, uint64_t ms)
{
	(void)uv_timer_start(&p->timer, on_timer, ms, 0);
}

/* --- what is sent ------------------------------------------------------------------------------
 */

/* Refused objects stay at the end, behind what is sent; a changed one is tried again, unless there
 * is no room: that does not come by its own change. */
static size_t sort_out(struct push *p, bool retry)
{
	size_t n = p->sent.n_upserts, kept = 0;
	char name[136];

	for (size_t i = 0; i < p->sent.n_deletes; i++) {
		const struct object_name *d = &p->sent.deletes[i];

		(void)snprintf(name, sizeof(name), "%s/%s", d->namespace, d->name);
		refused_forget(&p->refused, d->kind, name);
	}
	for (size_t i = 0; i < n; i++) {
		struct object o = p->sent.upserts[i];

		if (retry && !refused_is_for_room(&p->refused, &o))
			refused_forget(&p->refused, o.kind, refused_name(&o, name));
		if (refused_has(&p->refused, &o))
			continue;
		p->sent.upserts[i] = p->sent.upserts[kept];
		p->sent.upserts[kept++] = o;
	}
	return kept;
}

/* What goes now may have to be told again, if sinewd cannot be told the whole; what comes (the
 * first n) is gone no longer. */
static void note_gone(struct push *p, size_t n)
{
	bool full = false;

	for (size_t i = 0; i < n; i++)
		gone_remove(&p->gone, &p->sent.upserts[i]);
	for (size_t i = 0; i < p->sent.n_deletes; i++) {
		/* Without memory it is told this once. */
		(void)gone_add(&p->gone, &p->sent.deletes[i], &full);
		if (full && !p->may_put && !p->forgot)
			log_warn("more than %d objects went while a registry has never spoken: of "
				 "the first it is not made sure that sinewd has removed them",
				 LIMIT_GONE);
		p->forgot |= full && !p->may_put;
	}
}

struct deletes {
	yyjson_mut_doc *doc;
	yyjson_mut_val *list;
	const struct refused *refused;
};

static void add_delete(void *arg, const struct object_name *name)
{
	const struct deletes *d = arg;
	yyjson_mut_val *item;

	if (refused_has_name(d->refused, name))
		return;
	item = yyjson_mut_arr_add_obj(d->doc, d->list);
	(void)yyjson_mut_obj_add_str(d->doc, item, "kind", object_kind_name(name->kind));
	(void)yyjson_mut_obj_add_str(d->doc, item, "namespace", name->namespace);
	(void)yyjson_mut_obj_add_str(d->doc, item, "name", name->name);
}

/* With everything, all that went: that is more than what went now. */
static void add_deletes(const struct push *p, yyjson_mut_doc *doc, yyjson_mut_val *list, bool all)
{
	struct deletes d = {doc, list, &p->refused};

	if (all)
		gone_visit(&p->gone, add_delete, &d);
	for (size_t i = 0; !all && i < p->sent.n_deletes; i++)
		add_delete(&d, &p->sent.deletes[i]);
}

static char *encode(const struct push *p, enum tell tell, size_t n, size_t *ret_length)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL, *items;
	char *text = NULL;

	if (!root) {
		yyjson_mut_doc_free(doc);
		return NULL;
	}
	yyjson_mut_doc_set_root(doc, root);
	if (tell == TELL_WHOLE) {
		(void)yyjson_mut_obj_add_str(doc, root, "apiVersion", CODEC_API_VERSION);
		(void)yyjson_mut_obj_add_str(doc, root, "kind", "List");
	}
	items = yyjson_mut_obj_add_arr(doc, root, tell == TELL_WHOLE ? "items" : "upsert");
	for (size_t i = 0; i < n; i++)
		(void)yyjson_mut_arr_append(items, codec_encode_object(doc, &p->sent.upserts[i]));
	if (tell != TELL_WHOLE)
		add_deletes(p, doc, yyjson_mut_obj_add_arr(doc, root, "delete"),
			    tell == TELL_AGAIN);
	if (items && yyjson_mut_arr_size(items) == n)
		text = yyjson_mut_write(doc, 0, ret_length);
	yyjson_mut_doc_free(doc);
	return text;
}

/* --- what came of it ---------------------------------------------------------------------------
 */

static void settle(struct push *p)
{
	merge_change_done(&p->sent);
	p->sent = (struct merge_change){};
}

static void fail(struct push *p, const char *text)
{
	char before[sizeof(p->status.error)];
	bool news;

	memcpy(before, p->status.error, sizeof(before));
	(void)snprintf(p->status.error, sizeof(p->status.error), "%s", text);
	text_make_printable(p->status.error);
	news = strcmp(p->status.error, before) != 0;
	p->status.failures++;
	p->status.synced = false;
	p->all = true; /* what was taken from the merge is to be told again */
	p->wait_ms = p->wait_ms ? 2 * p->wait_ms : WAIT_MIN_MS;
	if (p->wait_ms > WAIT_MAX_MS)
		p->wait_ms = WAIT_MAX_MS;
	if (news)
		log_warn("sinewd: %s; trying again", text);
	arm(p, p->wait_ms);
}

static void fail_exchange(struct push *p, const struct fetch_result *result)
{
	char text[200];

	(void)snprintf(text, sizeof(text), "%.80s: %.100s", p->config.socket,
		       result->error == -EACCES
			       ? "permission denied: the agent must be in group sinew"
			       : result->error_text);
	fail(p, text);
}

/* What did not fit may fit now. */
static bool is_room_due(const struct push *p)
{
	return p->room_freed && p->refused.n_room && uv_now(p->loop) - p->room_ms >= ROOM_MS;
}

static void succeed(struct push *p, const struct fetch_result *result)
{
	const char *etag = fetch_header(result->fetch, "ETag");

	(void)snprintf(p->etag, sizeof(p->etag), "%s", etag ?: "");
	if (*p->status.error)
		log_notice("sinewd: it has all that the registries say");
	*p->status.error = '\0';
	p->status.synced = p->may_put;
	p->wait_ms = 0;
	if (!p->refused.n_room)
		p->told_room = 0;
	if (p->tell == TELL_WHOLE)
		gone_clear(&p->gone);
	arm(p, is_room_due(p) ? 0 : LOOK_MS);
	if (!p->kicked)
		return;
	p->kicked = false;
	push_kick(p, p->urgent);
}

/* The latest are left out: what has been there for long goes on. A change tells too little for
 * that, and one after another must not make everything be told all the time. */
static bool make_room(struct push *p, struct room *room, const char *reason)
{
	uint64_t now = uv_now(p->loop), until = p->room_ms + ROOM_MS;
	size_t n = 0;

	if (p->tell == TELL_CHANGE) {
		p->quiet_ms = p->refused.n_room && !p->urgent && until > now ? until : now;
		arm(p, p->quiet_ms - now);
		return true;
	}
	for (size_t i = p->n_sent; i > 0; i--)
		if (room_leave_out(room, &p->sent.upserts[i - 1]))
			n += refused_add_room(&p->refused, &p->sent.upserts[i - 1], reason);
	if (p->refused.n_room != p->told_room)
		log_warn(
			"sinewd has no room for %zu objects: %s; they are left out until others go",
			p->refused.n_room, reason);
	p->told_room = p->refused.n_room;
	p->room_freed = false;
	p->room_ms = now;
	p->status.refused_total += n;
	p->status.refused = p->refused.n;
	if (p->refused.n == n)
		p->refused_ms = now;
	if (n)
		arm(p, 0);
	return n;
}

static bool is_sent(const struct push *p, const struct refused_item *item)
{
	for (size_t i = 0; i < p->n_sent; i++) {
		const struct object *o = &p->sent.upserts[i];
		size_t n = strlen(object_namespace(o));

		if (o->kind == item->kind && !strncmp(item->name, object_namespace(o), n) &&
		    item->name[n] == '/' && !strcmp(item->name + n + 1, object_name(o)))
			return true;
	}
	return false;
}

/* It named what it does not take: the rest goes at once. If that is not among what it was told, it
 * is something that was to go, and is in use (a policy, by a manifest): the whole cannot be told
 * without it as long as that is so. */
static void refuse(struct push *p, const struct fetch_result *result, bool put)
{
	yyjson_doc *doc = yyjson_read(result->body, result->length, 0);
	yyjson_val *problem = yyjson_doc_get_root(doc);
	const char *detail = yyjson_get_str(yyjson_obj_get(problem, "detail")) ?: "no reason given";
	size_t before = p->refused.n;
	struct room room;
	bool full = room_learn(&room, problem);
	size_t learned = refused_learn(&p->refused, problem, put ? "/items/" : "/upsert/",
				       p->sent.upserts, p->sent.n_upserts);
	char text[200];

	for (size_t i = before; i < p->refused.n; i++) {
		log_warn("sinewd does not take %s: %s; the rest goes without it",
			 p->refused.items[i].name, p->refused.items[i].reason);
		p->keeps |= !is_sent(p, &p->refused.items[i]);
	}
	p->status.refused_total += learned;
	p->status.refused = p->refused.n;
	if (before == 0 && learned)
		p->refused_ms = uv_now(p->loop);
	(void)snprintf(text, sizeof(text), "status %u: %.150s", result->status, detail);
	p->all = true;
	if (learned)
		arm(p, 0);
	else if (!full ||
		 !make_room(p, &room,
			    yyjson_get_str(yyjson_ptr_get(problem, "/errors/0/detail")) ?: detail))
		fail(p, text);
	yyjson_doc_free(doc);
}

static void on_done(void *arg, const struct fetch_result *result, bool put)
{
	struct push *p = arg;
	char text[64];

	p->fetch = NULL;
	if (result->error < 0) {
		fail_exchange(p, result);
	} else if (result->status >= 200 && result->status < 300) {
		succeed(p, result);
	} else if (result->status == 412) {
		log_notice("sinewd has other objects of ours than we told it: telling it all");
		*p->etag = '\0';
		p->all = true;
		arm(p, 0);
	} else if (result->status == 400 || result->status == 409 || result->status == 422) {
		refuse(p, result, put);
	} else {
		(void)snprintf(text, sizeof(text), "%s: status %u", p->config.socket,
			       result->status);
		fail(p, text);
	}
	settle(p);
}

static void on_put(void *arg, const struct fetch_result *result)
{
	on_done(arg, result, true);
}

static void on_patch(void *arg, const struct fetch_result *result)
{
	on_done(arg, result, false);
}

/* --- one request -------------------------------------------------------------------------------
 */

/* Whether it is gone already does not matter: see gone.h, and refused objects were never there. */
static const char *url_of(const struct push *p, enum tell tell)
{
	bool deletes = tell == TELL_AGAIN ? gone_count(&p->gone) : p->sent.n_deletes;

	return tell != TELL_WHOLE && deletes ? URL "?ignoreNotFound=true" : URL;
}

static int begin(struct push *p, enum tell tell, size_t n)
{
	bool put = tell == TELL_WHOLE;
	char match[100];
	const char *headers[] = {"Content-Type: application/json", NULL, NULL};
	_cleanup_free_ char *body = NULL;
	struct fetch_request request = {.method = put ? "PUT" : "PATCH",
					.url = url_of(p, tell),
					.unix_socket = p->config.socket,
					.headers = headers,
					.timeout_ms = TIMEOUT_MS,
					.max_body = 1u << 20,
					.on_done = put ? on_put : on_patch,
					.arg = p};

	body = encode(p, tell, n, &request.length);
	if (!body)
		return -ENOMEM;
	request.body = body;
	if (!put && *p->etag) {
		(void)snprintf(match, sizeof(match), "If-Match: %s", p->etag);
		headers[1] = match;
	}
	p->status.puts += put;
	p->status.patches += !put;
	return fetch_begin(p->fetcher, &request, &p->fetch);
}

static void reprieve(struct push *p)
{
	uint64_t wait_ms = REPRIEVE_MS * (1 + (p->refused.n - p->refused.n_room) / REPRIEVE_N);

	if (is_room_due(p)) {
		refused_forget_room(&p->refused);
		p->all = true;
	}
	if (!p->refused.n || uv_now(p->loop) - p->refused_ms < wait_ms)
		return;
	refused_clear(&p->refused);
	p->keeps = false;
	p->all = true;
}

static void turn(struct push *p)
{
	enum tell tell;
	size_t n;
	int r;

	if (!p->started || p->fetch)
		return;
	reprieve(p);
	p->tell = tell = !p->all ? TELL_CHANGE : p->may_put && !p->keeps ? TELL_WHOLE : TELL_AGAIN;
	p->kicked = p->urgent = p->all = false;
	p->quiet_ms = uv_now(p->loop) + p->config.coalesce_ms;
	r = tell != TELL_CHANGE ? merge_take_all(p->merge, uv_now(p->loop), &p->sent)
				: merge_take(p->merge, uv_now(p->loop), &p->sent);
	if (r >= 0) {
		p->room_freed |= p->sent.urgent;
		p->n_sent = n = sort_out(p, tell == TELL_CHANGE);
		p->status.refused = p->refused.n;
		note_gone(p, n);
		r = begin(p, tell, n);
	}
	if (r < 0) {
		settle(p);
		fail(p, strerror(-r));
	}
}

int push_new(uv_loop_t *loop, struct fetcher *fetcher, struct merge *merge,
	     const struct push_config *config, struct push **ret)
{
	struct push *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->loop = loop;
	p->fetcher = fetcher;
	p->merge = merge;
	p->config = *config;
	p->all = true;
	r = uv_timer_init(loop, &p->timer);
	if (r < 0) {
		free(p);
		return r;
	}
	p->timer.data = p;
	*ret = p;
	return 0;
}

void push_start(struct push *p, bool whole)
{
	if (p->started && p->may_put >= whole)
		return;
	p->started = true;
	p->may_put |= whole;
	p->all = true;
	push_kick(p, true);
}

/* The first of many changes is not the one that waits: it goes at once, those that follow within
 * coalesce_ms go together at its end. */
void push_kick(struct push *p, bool urgent)
{
	uint64_t now = uv_now(p->loop);

	p->urgent |= urgent;
	if (!p->started || p->fetch || p->wait_ms) {
		p->kicked = true;
		return; /* when what is under way has ended, or the wait is over */
	}
	if (urgent)
		arm(p, 0);
	else if (!p->kicked)
		arm(p, p->quiet_ms > now ? p->quiet_ms - now : 0);
	p->kicked = true;
}

void push_look(struct push *p)
{
	if (p->started && !p->fetch && !p->wait_ms)
		arm(p, 0);
}

void push_set_coalesce(struct push *p, uint64_t ms)
{
	p->config.coalesce_ms = ms;
}

const struct push_status *push_status(const struct push *p)
{
	return &p->status;
}

void push_visit_refused(const struct push *p,
			void (*visit)(void *arg, enum object_kind kind, const char *name,
				      const char *reason),
			void *arg)
{
	for (size_t i = 0; i < p->refused.n; i++)
		visit(arg, p->refused.items[i].kind, p->refused.items[i].name,
		      p->refused.items[i].reason);
}

static void on_closed(uv_handle_t *handle)
{
	struct push *p = handle->data;

	refused_clear(&p->refused);
	gone_clear(&p->gone);
	free(p);
}

void push_close(struct push *p)
{
	if (!p)
		return;
	p->fetch = fetch_cancel(p->fetch);
	settle(p);
	uv_close((uv_handle_t *)&p->timer, on_closed);
}
