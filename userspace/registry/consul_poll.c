/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See consul_poll.h. Before: consul.c and consul_follow.c say what and when. After: net/fetch.h. It
 * must never hand on an answer of a server that is cut off from the others, or that left out what
 * the token may not read: what is missing there is not gone.
 *
 * An agent answers blocking queries for instances out of a copy that it streams from a server
 * ("X-Consul-Query-Backend: streaming"). Such an answer says neither whether its server knows a
 * leader nor that something was left out (seen with 1.16), so whoever takes it must not believe
 * what is missing in it before an answer that did not block misses it, too.
 */
#include "registry/consul_poll.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

#define ANSWER_MS 30000u /* for the answer, once the server may give it */
#define BEHIND_MS 10000u /* a server that is further behind is not asked for now */
#define SHOWN 120        /* bytes of a server's own words in a text for people */

/* Why an answer is none. */
struct why {
	enum registry_error error;
	char text[CONSUL_TEXT];
	char hint[200];
};

/* --- questions -------------------------------------------------------------------------------- */

static void append_escaped(struct text_buffer *b, const char *text)
{
	for (; *text; text++) {
		if (strchr("-._~", *text) || (*text >= '0' && *text <= '9') ||
		    ((*text | 32) >= 'a' && (*text | 32) <= 'z'))
			text_append_bytes(b, text, 1);
		else
			text_append_format(b, "%%%02X", (unsigned char)*text);
	}
}

char *consul_poll_target(const char *prefix, const char *text, const char *suffix)
{
	struct text_buffer b = {};

	text_append(&b, prefix);
	append_escaped(&b, text);
	text_append(&b, suffix);
	return text_take(&b);
}

/* By default any server may answer ("stale"), so that no leader has to be asked each time. */
static char *make_url(const struct consul_poll *p)
{
	const struct registry_config *c = p->link->r->config;
	struct text_buffer b = {};

	text_append(&b, p->link->base);
	text_append(&b, p->target);
	text_append(&b, strchr(p->target, '?') ? "&" : "?");
	text_append(&b, p->leader ? "leader" : "stale");
	if (p->asked_ms)
		text_append_format(&b, "&index=%llu&wait=%llums", (unsigned long long)p->pace.index,
				   (unsigned long long)p->asked_ms);
	if (c->datacenter && *c->datacenter) {
		text_append(&b, "&dc=");
		append_escaped(&b, c->datacenter);
	}
	if (c->remote_namespace && *c->remote_namespace) {
		text_append(&b, "&ns=");
		append_escaped(&b, c->remote_namespace);
	}
	return text_take(&b);
}

/* "X-Consul-Token: ..."; *ret NULL: there is none, so we are the anonymous. */
static int make_token(const struct consul_poll *p, char **ret)
{
	const char *path = p->link->r->config->token_file;
	char *token;
	int r;

	*ret = NULL;
	if (!path || !*path)
		return 0;
	r = registry_read_secret(path, &token);
	if (r < 0)
		return r;
	*ret = registry_join("X-Consul-Token", ": ", token);
	registry_forget(token);
	return *ret ? 0 : -ENOMEM;
}

static void on_done(void *arg, const struct fetch_result *result);

static int begin(struct consul_poll *p, const char *url, const char *token)
{
	const char *const headers[] = {"Accept: application/json", token, NULL};
	struct fetch_request request = {
		.url = url,
		.unix_socket = p->link->path,
		.headers = headers,
		.tls = p->link->r->config->tls,
		/* A server adds up to a sixteenth to the wait. */
		.timeout_ms = p->asked_ms + p->asked_ms / 16 + ANSWER_MS,
		.on_done = on_done,
		.arg = p,
	};

	return fetch_begin(p->link->r->fetcher, &request, &p->fetch);
}

static void fail(struct consul_poll *p, const struct why *why, uint64_t retry_after_ms)
{
	if (!p->failing)
		p->link->n_failing++;
	p->failing = p->link->has_failed = true;
	consul_pace_reset(&p->pace);
	registry_say_error(p->link->r, why->error, why->hint, "%s", why->text);
	p->ops->on_failed(p, registry_backoff_of(&p->wait_ms, retry_after_ms));
}

/* There was no question at all. */
static void fail_to_begin(struct consul_poll *p, int error)
{
	const struct registry_config *c = p->link->r->config;
	struct why why = {.error = REGISTRY_GARBAGE};

	p->status = 0;
	if (error == -ENOMEM) {
		(void)snprintf(why.text, sizeof(why.text), "out of memory");
	} else if (error == -EINVAL && !(c->token_file && *c->token_file)) {
		(void)snprintf(why.text, sizeof(why.text), "%.100s is no address of a server",
			       p->link->base);
		(void)snprintf(why.hint, sizeof(why.hint),
			       "address is http://HOST:PORT, https://HOST:PORT or unix:///PATH");
	} else {
		why.error = REGISTRY_UNAUTHORIZED;
		(void)snprintf(why.text, sizeof(why.text), "%.100s: %s", c->token_file,
			       strerror(-error));
		(void)snprintf(why.hint, sizeof(why.hint),
			       "the agent's user must be able to read tokenFile");
	}
	fail(p, &why, 0);
}

void consul_poll_ask(struct consul_poll *p, uint64_t block_ms)
{
	_cleanup_free_ char *url = NULL;
	char *token;
	int r = make_token(p, &token);

	(void)uv_timer_stop(&p->timer);
	p->fetch = fetch_cancel(p->fetch);
	p->asked_ms = p->pace.index ? block_ms : 0;
	if (r >= 0) {
		url = make_url(p);
		r = url ? begin(p, url, token) : -ENOMEM;
	}
	registry_forget(token);
	if (r < 0)
		fail_to_begin(p, r);
}

static void on_timer(uv_timer_t *timer)
{
	struct consul_poll *p = timer->data;

	p->ops->on_due(p);
}

void consul_poll_later(struct consul_poll *p, uint64_t ms)
{
	(void)uv_timer_start(&p->timer, on_timer, ms, 0);
}

void consul_poll_init(struct consul_poll *p, struct consul_link *link,
		      const struct consul_poll_ops *ops, const char *what, char *target)
{
	*p = (struct consul_poll){.link = link, .ops = ops, .what = what, .target = target};
	(void)uv_timer_init(link->r->loop, &p->timer);
	p->timer.data = p;
}

bool consul_poll_is_cut_off(const struct consul_poll *p)
{
	return p->failing && !p->fetch && (!p->status || p->status >= 500);
}

void consul_poll_stop(struct consul_poll *p)
{
	if (p->failing)
		p->link->n_failing--;
	p->failing = false;
	p->fetch = fetch_cancel(p->fetch);
	(void)uv_timer_stop(&p->timer);
	free(p->target);
	p->target = NULL;
}

/* --- answers that are none -------------------------------------------------------------------- */

static void say_permission(const struct consul_poll *p, struct why *why)
{
	(void)snprintf(why->hint, sizeof(why->hint), "%s needs %s",
		       p->link->r->config->token_file
			       ? "the token of tokenFile"
			       : "without tokenFile we are the anonymous, who",
		       p->ops->permission);
}

/* 403 has several reasons, and each another remedy. */
static void explain_forbidden(const struct consul_poll *p, const struct fetch_result *result,
			      struct why *why)
{
	if (strstr(result->body, "ACL not found"))
		(void)snprintf(why->hint, sizeof(why->hint),
			       "the servers do not know the token of tokenFile, or it has expired: "
			       "make another one");
	else
		say_permission(p, why);
}

static void explain_status(const struct consul_poll *p, const struct fetch_result *result,
			   struct why *why)
{
	const char *to = NULL;

	if (result->status / 100 == 3)
		to = fetch_header(result->fetch, "Location") ?: "nowhere";
	if (to)
		(void)snprintf(why->text, sizeof(why->text),
			       "%u on %.40s: redirected to %.60s, "
			       "which is not followed",
			       result->status, p->what, to);
	else
		(void)snprintf(why->text, sizeof(why->text), "%u on %.40s: %.*s", result->status,
			       p->what, (int)(SHOWN - strlen("000 on ") - 40), result->body);
	if (to)
		(void)snprintf(why->hint, sizeof(why->hint),
			       "the token is for one host alone: set address to where it is");
	else if (why->error == REGISTRY_FORBIDDEN)
		explain_forbidden(p, result, why);
	else if (why->error == REGISTRY_MISSING)
		(void)snprintf(why->hint, sizeof(why->hint),
			       "is it a Consul that answers at %.100s?", p->link->base);
	else if (result->status == 429)
		(void)snprintf(why->hint, sizeof(why->hint),
			       "raise limits.http_max_conns_per_client of the Consul agent "
			       "(or its request limits)");
	else if (strstr(result->body, "No cluster leader"))
		(void)snprintf(why->hint, sizeof(why->hint),
			       "Consul's servers have no leader (consul operator raft list-peers); "
			       "what is known stays");
}

static void explain_error(const struct consul_poll *p, const struct fetch_result *result,
			  struct why *why)
{
	const struct fetch_tls *tls = &p->link->r->config->tls;

	(void)snprintf(why->text, sizeof(why->text), "%.40s: %.110s", p->what, result->error_text);
	if (why->error == REGISTRY_TLS)
		(void)snprintf(why->hint, sizeof(why->hint), "check caFile, certFile and keyFile");
	else if (why->error == REGISTRY_UNREACHABLE)
		(void)snprintf(
			why->hint, sizeof(why->hint), "does Consul listen at %.100s%s?",
			p->link->path ?: p->link->base,
			strncmp(p->link->base, "https:", 6) || tls->cert_file
				? ""
				: ", and not want a certificate of ours (certFile, keyFile)");
}

/* --- answers that may not be believed --------------------------------------------------------- */

static bool is_header(const struct fetch_result *result, const char *name, const char *value)
{
	const char *said = fetch_header(result->fetch, name);

	return said && !strcasecmp(said, value);
}

/* False: there is none, so it is no blocking query that was answered. */
static bool read_number(const struct fetch_result *result, const char *name, uint64_t *ret)
{
	const char *said = fetch_header(result->fetch, name);
	char *end;

	if (!said || *said < '0' || *said > '9')
		return false;
	errno = 0;
	*ret = strtoull(said, &end, 10);
	return !errno && !*end;
}

/* Sets why->error when it may not be believed. */
static void judge(const struct consul_poll *p, const struct fetch_result *result, uint64_t *index,
		  struct why *why)
{
	why->error = registry_error_of(result);
	if (why->error == REGISTRY_MISSING && p->ops->may_miss &&
	    read_number(result, "X-Consul-Index", index))
		why->error = REGISTRY_OK;
	if (result->error) {
		explain_error(p, result, why);
	} else if (why->error != REGISTRY_OK) {
		explain_status(p, result, why);
	} else if (!read_number(result, "X-Consul-Index", index)) {
		why->error = REGISTRY_GARBAGE;
		(void)snprintf(why->text, sizeof(why->text),
			       "%.60s: the answer has no X-Consul-Index: it is not Consul's",
			       p->what);
	} else if (!p->streamed && is_header(result, "X-Consul-KnownLeader", "false")) {
		why->error = REGISTRY_FAILED;
		(void)snprintf(why->text, sizeof(why->text),
			       "%.60s: the server knows no leader, so it may be cut off", p->what);
		(void)snprintf(why->hint, sizeof(why->hint), "what is known stays");
	} else if (is_header(result, "X-Consul-Results-Filtered-By-ACLs", "true")) {
		why->error = REGISTRY_FORBIDDEN;
		(void)snprintf(why->text, sizeof(why->text),
			       "%.60s: the answer leaves out what we may not read", p->what);
		say_permission(p, why);
	}
}

static enum registry_error error_of(int r)
{
	return r == -EACCES ? REGISTRY_FORBIDDEN : REGISTRY_GARBAGE;
}

static void take(struct consul_poll *p, const struct fetch_result *result, struct why *why,
		 uint64_t index)
{
	int r = p->ops->take(p, result, result->status == 404, why->text);

	if (r >= 0) {
		consul_pace_answer(&p->pace, index, r > 0);
		return;
	}
	why->error = error_of(r);
	if (r == -ENOMEM)
		(void)snprintf(why->text, sizeof(why->text), "%.60s: out of memory", p->what);
	if (r == -EACCES)
		say_permission(p, why);
}

/* --- what came of it -------------------------------------------------------------------------- */

static void well(struct consul_poll *p, const struct fetch_result *result)
{
	struct consul_link *l = p->link;
	bool back = p->failing && (!p->status || p->status >= 500);

	if (p->failing)
		l->n_failing--;
	p->failing = p->leader = l->has_failed = false;
	p->wait_ms = 0;
	if (l->n_failing)
		registry_say_heard(l->r);
	else
		registry_say_contact(l->r, p->asked_ms ? 0 : result->elapsed_us);
	if (back)
		l->on_back(l);
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct consul_poll *p = arg;
	struct why why = {};
	uint64_t index = 0, behind = 0;

	p->fetch = NULL;
	p->streamed = !result->error && p->asked_ms &&
		      is_header(result, "X-Consul-Query-Backend", "streaming");
	judge(p, result, &index, &why);
	if (why.error == REGISTRY_OK && !p->leader &&
	    read_number(result, "X-Consul-LastContact", &behind) && behind > BEHIND_MS) {
		p->leader = true;
		consul_pace_reset(&p->pace);
		p->ops->on_failed(p, consul_pace_take(&p->pace, uv_now(p->link->r->loop)));
		return;
	}
	if (why.error == REGISTRY_OK)
		take(p, result, &why, index);
	if (why.error == REGISTRY_OK) {
		well(p, result);
		p->ops->on_taken(p);
		return;
	}
	p->status = result->error ? 0 : result->status;
	p->leader = false;
	fail(p, &why, registry_retry_after(result));
}
