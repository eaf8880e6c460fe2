/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eureka as a registry: everything once, then what changed, by polls (eureka_plan.c says when and
 * which). Before it: net/fetch.c. Between: eureka_decode, eureka_apps, eureka_book. Beside it:
 * eureka_look.c asks for single instances that went. It never takes
 * a hash code that differs, or a delta without content, for an error, and keeps what it has through
 * each answer that is not a whole one. Which instances live is not known here: a server in
 * self-preservation names dead ones for hours, and those are ejected where connects fail.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "model/limits.h"
#include "registry/eureka_state.h"

#define INTERVAL_MS 30000u
#define INTERVAL_LEAST_MS 100u
#define DELTA_MS 20000u
#define FULL_MS 60000u
#define SILENCE_MS 10000u
static void on_timer(uv_timer_t *timer);
static void on_done(void *arg, const struct fetch_result *result);

/* CLOCK_BOOTTIME: a server forgets changes while we sleep. */
static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- where --------------------------------------------------------------------------------------
 */

static bool ends_with(const char *text, size_t n, const char *end)
{
	size_t m = strlen(end);

	return n >= m && !memcmp(text + n - m, end, m);
}

/* The first n bytes of `root`, then `path`, unless that is a base already. */
static int add_base(struct eureka *e, const char *root, size_t n, const char *path)
{
	char *base;

	if (asprintf(&base, "%.*s%s", (int)n, root, path) < 0)
		return -ENOMEM;
	if (e->n_bases && !strcmp(e->bases[0], base))
		free(base);
	else
		e->bases[e->n_bases++] = base;
	return 0;
}

/* Netflix's own server answers below /eureka/v2, that of Spring Cloud below /eureka, and either may
 * have another path before that. */
static int make_bases(struct eureka *e, const char *address)
{
	static const char *const ends[] = {"/eureka/v2", "/eureka"};
	size_t n = strlen(address);
	int r;

	while (n && address[n - 1] == '/')
		n--;
	if (ends_with(address, n, "/apps"))
		n -= strlen("/apps");
	r = add_base(e, address, n, "");
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (ends_with(address, n, ends[i])) {
			n -= strlen(ends[i]);
			break;
		}
	}
	for (size_t i = ARRAY_SIZE(ends); r >= 0 && i > 0; i--)
		r = add_base(e, address, n, ends[i - 1]);
	return r;
}

/* --- requests -----------------------------------------------------------------------------------
 */

static void retry(struct eureka *e, uint64_t at_least_ms)
{
	(void)uv_timer_start(&e->timer, on_timer, registry_backoff(e->r, at_least_ms), 0);
}

int eureka_authorize(const struct registry_config *config, char **ret)
{
	const char *file = config->username ? config->password_file : config->token_file;
	char *secret;
	int r;

	*ret = NULL;
	if (!file)
		return 0;
	r = registry_read_secret(file, &secret);
	if (r < 0)
		return r;
	*ret = registry_authorization(config->username, secret);
	registry_forget(secret);
	return *ret ? 0 : -ENOMEM;
}

static int ask(struct eureka *e, const char *authorization)
{
	const char *const headers[] = {"Accept: application/json", authorization, NULL};
	_cleanup_free_ char *url = NULL;
	struct fetch_request request = {
		.headers = headers,
		.tls = e->r->config->tls,
		.timeout_ms = e->is_full ? FULL_MS : DELTA_MS,
		.silence_ms = SILENCE_MS,
		.max_body = LIMIT_ANSWER,
		.on_done = on_done,
		.arg = e,
	};

	if (asprintf(&url, "%s/apps%s", e->bases[e->base], e->is_full ? "" : "/delta") < 0) {
		url = NULL;
		return -ENOMEM;
	}
	request.url = url;
	return fetch_begin(e->r->fetcher, &request, &e->fetch);
}

static void begin(struct eureka *e)
{
	const struct registry_config *config = e->r->config;
	char *authorization;
	int r = eureka_authorize(config, &authorization);

	e->is_full = eureka_plan_is_full(&e->plan, now_ms());
	if (r < 0 && r != -ENOMEM) {
		registry_say_error(e->r, REGISTRY_UNAUTHORIZED,
				   "the agent's user must be able to read the file", "%s: %s",
				   config->username ? config->password_file : config->token_file,
				   strerror(-r));
	} else if (r >= 0) {
		r = ask(e, authorization);
		if (r == -EINVAL)
			registry_say_error(e->r, REGISTRY_GARBAGE,
					   "it begins with http:// or https://",
					   "%s is no address of a server", e->bases[e->base]);
		registry_forget(authorization);
	}
	if (r < 0)
		retry(e, 1000);
}

static void on_timer(uv_timer_t *timer)
{
	begin(timer->data);
}

static void wait(struct eureka *e, uint64_t ms)
{
	(void)uv_timer_start(&e->timer, on_timer, ms, 0);
}

/* --- answers ------------------------------------------------------------------------------------
 */

static void say_left_out(struct eureka *e)
{
	if (e->book.left_out != e->left_out && e->book.left_out)
		registry_say_skipped(e->r, "%s", e->book.left_text);
	e->left_out = e->book.left_out;
}

/* Without memory it is as if nothing had ever been said. */
static void give_up(struct eureka *e, const char *why)
{
	registry_say_error(e->r, REGISTRY_GARBAGE, "", "%s", why);
	e->plan.known = false;
	retry(e, 1000);
}

static int say_all(struct eureka *e)
{
	struct object *objects;
	size_t n;
	int r = eureka_book_all(&e->book, &e->apps, &objects, &n);

	if (r >= 0)
		registry_say_snapshot(e->r, objects, n);
	return r;
}

static int say_one(struct eureka *e, const char *app)
{
	const struct registry_config *config = e->r->config;
	char name[LIMIT_NAME + 1];
	struct object object;
	int r = eureka_book_app(&e->book, &e->apps, app, &object, name);

	if (r == EUREKA_UPSERT)
		registry_say_upsert(e->r, &object);
	else if (r == EUREKA_REMOVE)
		registry_say_remove(e->r, OBJECT_SERVICE,
				    config->namespace ? config->namespace : "default", name);
	return r;
}

/* Which applications an answer is about; a list for free_names(). */
static char **names_of(const struct eureka_answer *answer)
{
	char **names = calloc(answer->n + 1, sizeof(*names));
	size_t n = 0;

	for (size_t i = 0; names && i < answer->n; i++) {
		const char *app = answer->instances[i].app;

		if (n && !strcmp(names[n - 1], app))
			continue;
		names[n] = strdup(app);
		if (!names[n++])
			break; /* the end of the list: the next whole answer brings the rest */
	}
	return names;
}

static void free_names(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

static int say_changes(struct eureka *e, char **names)
{
	int r = names ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && names[i]; i++)
		r = say_one(e, names[i]);
	return r;
}

static bool is_same(const struct eureka *e, const char *hashcode)
{
	struct text_buffer b = {};
	bool same;

	eureka_apps_hash(&e->apps, &b);
	same = hashcode && !b.no_memory && !strcmp(b.data, hashcode);
	text_done(&b);
	return same;
}

/* A whole answer; takes it. */
static void on_answer(struct eureka *e, struct eureka_answer *answer)
{
	char **names = e->is_full ? NULL : names_of(answer);
	char *hashcode = TAKE_PTR(answer->hashcode);
	size_t skipped = answer->skipped;
	int r;

	e->lost.now_ms = uv_now(e->r->loop);
	r = eureka_apps_apply(&e->apps, answer, !e->is_full, &e->lost);
	if (r >= 0)
		r = e->is_full ? say_all(e) : say_changes(e, names);
	if (r >= 0 && skipped)
		registry_say_skipped(e->r, "%zu instances without an id, application or status",
				     skipped);
	say_left_out(e);
	if (r == -E2BIG)
		give_up(e, "the server has more instances than are taken");
	else if (r < 0)
		give_up(e, "out of memory for the answer");
	else if (e->is_full)
		wait(e, eureka_plan_full(&e->plan, now_ms()));
	else
		wait(e, eureka_plan_delta(&e->plan, now_ms(), is_same(e, hashcode)));
	free(hashcode);
	free_names(names);
}

/* A delta without anything in it, not even the hash code: some servers' way to have none. */
static bool is_nothing(const char *body)
{
	const char *const nothing[] = {"", "{}", "null"};
	size_t n;

	body += strspn(body, " \t\r\n");
	n = strcspn(body, " \t\r\n");
	if (body[n + strspn(body + n, " \t\r\n")])
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(nothing); i++)
		if (n == strlen(nothing[i]) && !memcmp(body, nothing[i], n))
			return true;
	return false;
}

/* The next of the places where it may be; false: it is at none of them. */
static bool try_next_base(struct eureka *e)
{
	if (e->settled)
		return false;
	e->base = (e->base + 1) % e->n_bases;
	return e->base != 0;
}

static void on_garbage(struct eureka *e, int r, const char *why)
{
	if (r == -EBADMSG && try_next_base(e)) {
		begin(e);
		return;
	}
	registry_say_error(e->r, REGISTRY_GARBAGE, "is this a Eureka server?", "%s/apps%s: %s",
			   e->bases[e->base], e->is_full ? "" : "/delta",
			   r == -E2BIG    ? "more instances than are taken"
			   : r == -ENOMEM ? "out of memory for the answer"
					  : why);
	retry(e, 0);
}

static void on_body(struct eureka *e, const struct fetch_result *result)
{
	char why[JSON_ERROR] = "";
	struct eureka_answer answer;
	bool nothing = !e->is_full && is_nothing(result->body);
	int r = nothing ? 0 : eureka_decode(result->body, result->length, &answer, why);

	if (r < 0) {
		on_garbage(e, r, why);
		return;
	}
	e->settled = true;
	registry_say_contact(e->r, result->elapsed_us);
	if (nothing)
		wait(e, eureka_plan_delta(&e->plan, now_ms(), false));
	else
		on_answer(e, &answer);
}

static const char *hint_of(unsigned int status, enum registry_error error)
{
	switch (status) {
	case 401:
		return "give username and passwordFile of a user of the server";
	case 403:
		return "a server that started without peers denies for up to five minutes; else "
		       "this user may not read";
	case 404:
		return "address must lead to what stands before /apps";
	case 406:
		return "it wants a representation or compression that we do not offer: is there a "
		       "proxy between?";
	case 429:
	case 503:
		return "it limits how often it may be asked: interval could be longer";
	default:
		break;
	}
	if (status >= 300 && status < 400)
		return "redirects are not followed: give the address that it leads to";
	return error == REGISTRY_TLS ? "check caFile, certFile and keyFile" : "";
}

static void on_failure(struct eureka *e, const struct fetch_result *result,
		       enum registry_error error)
{
	const char *hint = hint_of(result->status, error);

	if (!e->is_full && (error == REGISTRY_FORBIDDEN || error == REGISTRY_MISSING)) {
		wait(e, eureka_plan_refused(&e->plan));
		return;
	}
	/* It moved, or never was here. */
	if (error == REGISTRY_MISSING && try_next_base(e)) {
		begin(e);
		return;
	}
	e->settled &= error != REGISTRY_MISSING;
	if (result->error)
		registry_say_error(e->r, error, hint, "%s/apps: %s", e->bases[e->base],
				   result->error_text);
	else
		registry_say_error(e->r, error, hint, "%u on %s/apps%s", result->status,
				   e->bases[e->base], e->is_full ? "" : "/delta");
	retry(e, registry_retry_after(result));
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct eureka *e = arg;
	enum registry_error error = registry_error_of(result);

	e->fetch = NULL;
	if (error == REGISTRY_OK)
		on_body(e, result);
	else
		on_failure(e, result, error);
}

/* --- life ---------------------------------------------------------------------------------------
 */

static void done(struct eureka *e)
{
	for (size_t i = 0; i < e->n_bases; i++)
		free(e->bases[i]);
	eureka_lost_done(&e->lost);
	eureka_apps_done(&e->apps);
	eureka_book_done(&e->book);
	free(e);
}

/* What is wrong with the config; NULL: nothing. */
static const char *complaint(const struct registry_config *config, const char *address)
{
	const char *host = strstr(address, "://");

	if (!host || (strncmp(address, "http://", 7) != 0 && strncmp(address, "https://", 8) != 0))
		return "address must be http://HOST:PORT/eureka, or the same with https";
	host += 3;
	if (memchr(host, '@', strcspn(host, "/")))
		return "credentials do not belong into an address: give username and passwordFile";
	if (!*host || strpbrk(host, "?# "))
		return "address must be http://HOST:PORT/eureka, or the same with https";
	if (!config->username != !config->password_file)
		return "username and passwordFile go together";
	if (config->username && (config->token_file || strchr(config->username, ':')))
		return "either username (without a colon) and passwordFile, or tokenFile";
	return NULL;
}

/* One that is well must never look stale. */
static uint64_t interval_of(const struct registry_config *config)
{
	uint64_t ms = config->interval_ms ? config->interval_ms : INTERVAL_MS;

	if (config->stale_ms && ms > config->stale_ms / 2)
		ms = config->stale_ms / 2;
	return ms > INTERVAL_LEAST_MS ? ms : INTERVAL_LEAST_MS;
}

static int start(struct registry *r)
{
	const char *address = r->config->address ? r->config->address : r->kind->address;
	const char *wrong = complaint(r->config, address);
	struct eureka *e;
	int k;

	if (wrong) {
		(void)snprintf(r->status.text, sizeof(r->status.text), "%s", wrong);
		return -EINVAL;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->r = r;
	e->lost.r = r;
	e->lost.seed = uv_hrtime();
	e->plan.interval_ms = interval_of(r->config);
	k = eureka_book_init(&e->book, r);
	if (k >= 0)
		k = make_bases(e, address);
	if (k < 0) {
		done(e);
		return k;
	}
	r->source = e;
	(void)uv_timer_init(r->loop, &e->timer);
	e->timer.data = e;
	begin(e);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct eureka *e = handle->data;
	struct registry *r = e->r;

	done(e);
	registry_stopped(r);
}

static void stop(struct registry *r)
{
	struct eureka *e = r->source;

	e->fetch = fetch_cancel(e->fetch);
	eureka_look_stop(e);
	uv_close((uv_handle_t *)&e->timer, on_closed);
}

const struct registry_kind registry_eureka = {
	.type = "eureka",
	.address = "http://127.0.0.1:8761/eureka",
	.start = start,
	.stop = stop,
	.look = eureka_look,
};
