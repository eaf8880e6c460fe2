/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See writer.h. Before: registrar.c. After: net/fetch.c. Must never log or keep a credential, and
 * never wait: an operation is as many exchanges as its kind asks for, each bounded in time.
 */
#include "register/writer.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/block.h"
#include "model/limits.h"

#define TIMEOUT_MS 5000u
#define LIST_MS 20000u
#define ANSWER_MAX (256u << 10)
#define RETRY_AFTER_MAX_MS 60000u
#define STEPS_MAX 8 /* exchanges of one operation */

static const struct writer_kind *const kinds[] = {
	&writer_consul,
	&writer_eureka,
	&writer_etcd,
};

const struct writer_kind *writer_kind_find(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i]->type, type))
			return kinds[i];
	return NULL;
}

static const char *verb_name(enum writer_verb v)
{
	static const char *const names[] = {"registering", "keeping", "removing", "listing"};

	return names[v];
}

/* --- for the kinds ---------------------------------------------------------------------------- */

void writer_escape(struct text_buffer *b, const char *text)
{
	for (; *text; text++) {
		if (isalnum((unsigned char)*text) || strchr("-._~", *text))
			text_append_bytes(b, text, 1);
		else
			text_append_format(b, "%%%02X", (unsigned char)*text);
	}
}

int writer_add_base(struct writer *w, const char *address, size_t n, const char *path)
{
	char *base;

	if (asprintf(&base, "%.*s%s", (int)n, address, path) < 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < w->n_bases; i++)
		if (!strcmp(w->bases[i], base)) {
			free(base);
			return 0;
		}
	w->bases[w->n_bases++] = base;
	return 0;
}

const char *writer_complain(const char *address)
{
	const char *host = strstr(address, "://");

	if (!host || (strncmp(address, "http://", 7) != 0 && strncmp(address, "https://", 8) != 0))
		return "address must begin with http:// or https://";
	host += 3;
	if (memchr(host, '@', strcspn(host, "/")))
		return "credentials do not belong into an address, but into files";
	return !*host || strpbrk(host, "?# ") ? "address must be http://HOST:PORT, or https" : NULL;
}

void writer_hint(struct writer_answer *a, const char *hint)
{
	size_t n = strlen(a->text);

	(void)snprintf(a->text + n, sizeof(a->text) - n, "; %s", hint);
}

static enum writer_outcome outcome_of(enum registry_error e)
{
	switch (e) {
	case REGISTRY_OK:
		return WRITER_DONE;
	case REGISTRY_FORBIDDEN:
	case REGISTRY_MISSING:
	case REGISTRY_GARBAGE: /* 400, 409, 422 ... */
		return WRITER_REFUSED;
	default:
		return WRITER_FAILED;
	}
}

/* The beginning of what a server says, on one line. */
static void quote(const struct fetch_result *result, char *to, size_t size)
{
	size_t n = strcspn(result->body, "\r\n");

	(void)snprintf(to, size, "%.*s", (int)(n < 120 ? n : 120), result->body);
	text_make_printable(to);
}

void writer_classify(const struct writer_op *op, const struct fetch_result *result,
		     struct writer_answer *ret)
{
	char said[121];

	ret->error = registry_error_of(result);
	ret->outcome = result->error ? WRITER_FAILED : outcome_of(ret->error);
	ret->retry_after_ms = registry_retry_after(result);
	if (ret->retry_after_ms > RETRY_AFTER_MAX_MS)
		ret->retry_after_ms = RETRY_AFTER_MAX_MS;
	ret->text[0] = '\0';
	if (ret->outcome == WRITER_DONE)
		return;
	quote(result, said, sizeof(said));
	if (result->error)
		(void)snprintf(ret->text, sizeof(ret->text), "%s: %.150s", verb_name(op->verb),
			       result->error_text);
	else
		(void)snprintf(ret->text, sizeof(ret->text), "%s: status %u%s%s",
			       verb_name(op->verb), result->status, *said ? ": " : "", said);
}

/* --- one exchange after the other --------------------------------------------------------------
 */

static int begin(struct writer_op *op, char *ret_text);

static void finish(struct writer_op *op, struct writer_answer *answer)
{
	op->on_done(op, answer);
}

static void fail(struct writer_op *op, int error, const char *text)
{
	struct writer_answer a = {.outcome = WRITER_FAILED,
				  .error = *text ? REGISTRY_UNAUTHORIZED : REGISTRY_FAILED};

	(void)snprintf(a.text, sizeof(a.text), "%s", *text ? text : strerror(-error));
	if (error == -ELOOP)
		(void)snprintf(a.text, sizeof(a.text), "%s: no end to it after %d exchanges",
			       verb_name(op->verb), STEPS_MAX);
	finish(op, &a);
}

/* Whoever rotates credentials ends the old ones some time after. */
static void note_credentials(struct writer_op *op, struct writer_answer *answer)
{
	if (!op->writer->kind->is_bound || answer->outcome != WRITER_DONE)
		return;
	if (op->verb == WRITER_PUT)
		op->put_with = op->used;
	else if (op->verb == WRITER_KEEP && op->put_with && op->put_with != op->used)
		answer->outcome = WRITER_STALE;
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct writer_op *op = arg;
	struct writer_answer a = {};
	char text[200] = "";
	int r;

	op->fetch = NULL;
	if (result->error) {
		writer_classify(op, result, &a);
		finish(op, &a);
		return;
	}
	if (op->writer->kind->answer(op, result, &a)) {
		note_credentials(op, &a);
		finish(op, &a);
		return;
	}
	r = ++op->tries < STEPS_MAX ? begin(op, text) : -ELOOP;
	if (r == -EALREADY)
		finish(op, &a); /* zeroed: it is done */
	else if (r < 0)
		fail(op, r, text);
}

static int exchange(struct writer_op *op, const struct writer_request *q, const char *authorization)
{
	const struct writer *w = op->writer;
	const char *headers[] = {"Accept: application/json", NULL, NULL, NULL};
	_cleanup_free_ char *url = NULL;
	struct fetch_request request = {
		.method = q->method,
		.unix_socket = w->unix_socket,
		.headers = headers,
		.body = q->body,
		.length = q->length,
		.is_secret = q->is_secret,
		.tls = w->config->tls,
		.timeout_ms = op->verb == WRITER_LIST ? LIST_MS : TIMEOUT_MS,
		.max_body = op->verb == WRITER_LIST ? LIMIT_ANSWER : ANSWER_MAX,
		.on_done = on_done,
		.arg = op,
	};
	size_t n = 1;

	if (q->body)
		headers[n++] = "Content-Type: application/json";
	headers[n] = authorization;
	if (asprintf(&url, "%s%s", w->bases[w->base], q->path) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	request.url = url;
	op->base = w->base;
	return fetch_begin(w->fetcher, &request, &op->fetch);
}

static void say_unreadable(const struct registry_config *config, int r, char *ret_text)
{
	(void)snprintf(ret_text, 200, "%.140s: %s",
		       config->username ? config->password_file : config->token_file, strerror(-r));
	text_make_printable(ret_text); /* a long path was cut */
}

static int begin(struct writer_op *op, char *ret_text)
{
	struct writer *w = op->writer;
	struct writer_request q = {};
	char *authorization = NULL;
	int r = w->kind->request(op, &q);

	if (r >= 0)
		r = w->kind->authorize(w, &authorization);
	op->used = block_hash_text(1, authorization ? authorization : "");
	if (r >= 0)
		r = exchange(op, &q, authorization);
	else if (r != -EALREADY && r != -ENOMEM)
		say_unreadable(w->config, r, ret_text);
	registry_forget(authorization);
	free(q.path);
	if (q.is_secret)
		registry_forget(q.body);
	else
		free(q.body);
	return r;
}

int writer_begin(struct writer *w, struct writer_op *op, char ret_text[static 200])
{
	op->writer = w;
	op->fetch = NULL;
	op->step = op->tries = 0;
	*ret_text = '\0';
	return begin(op, ret_text);
}

void writer_cancel(struct writer_op *op)
{
	op->fetch = fetch_cancel(op->fetch);
}

/* --- life ------------------------------------------------------------------------------------- */

int writer_open(struct writer *w, const struct registry_config *config, struct fetcher *fetcher,
		const char *node, char ret_text[static 200])
{
	const struct writer_kind *kind = writer_kind_find(config->type);
	int r;

	*ret_text = '\0';
	*w = (struct writer){.kind = kind, .config = config, .fetcher = fetcher, .node = node};
	r = kind->start(w, ret_text);
	if (r < 0)
		writer_close(w);
	return r;
}

void writer_close(struct writer *w)
{
	for (unsigned int i = 0; i < w->n_bases; i++)
		free(w->bases[i]);
	free(w->unix_socket);
	registry_forget(w->token);
	*w = (struct writer){};
}
