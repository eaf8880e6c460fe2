/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing to Eureka, as its own clients do: POST, heartbeats, DELETE. Before: writer.c. A server
 * that does not know an instance any more says 404 to its heartbeat, and gets it again. It must
 * never change an instance's overridden status: that is a person's word.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "register/body.h"
#include "register/writer.h"

static bool ends_with(const char *text, size_t n, const char *end)
{
	size_t m = strlen(end);

	return n >= m && !memcmp(text + n - m, end, m);
}

/* Spring Cloud's server answers below /eureka, Netflix's own below /eureka/v2; the configured place
 * comes first. */
static int add_bases(struct writer *w, const char *address)
{
	static const char *const ends[] = {"/eureka/v2", "/eureka"};
	size_t n = strlen(address);
	int r;

	while (n && address[n - 1] == '/')
		n--;
	if (ends_with(address, n, "/apps"))
		n -= strlen("/apps");
	r = writer_add_base(w, address, n, "");
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (ends_with(address, n, ends[i])) {
			n -= strlen(ends[i]);
			break;
		}
	if (r >= 0)
		r = writer_add_base(w, address, n, "/eureka");
	return r < 0 ? r : writer_add_base(w, address, n, "/eureka/v2");
}

static int start(struct writer *w, char ret_text[static 200])
{
	const char *address = w->config->address ? w->config->address : w->kind->address;
	const char *wrong = writer_complain(address);

	if (!wrong && !w->config->username != !w->config->password_file)
		wrong = "username and passwordFile go together";
	if (wrong) {
		(void)snprintf(ret_text, 200, "%s", wrong);
		return -EINVAL;
	}
	return add_bases(w, address);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* "/apps/PAYMENTS" */
static void append_app(struct text_buffer *b, const char *service)
{
	size_t from;

	text_append(b, "/apps/");
	from = b->n;
	writer_escape(b, service);
	for (size_t i = from; !b->no_memory && i < b->n; i++)
		b->data[i] = (char)toupper((unsigned char)b->data[i]);
}

static int request(struct writer_op *op, struct writer_request *ret)
{
	struct text_buffer b = {};

	if (op->verb == WRITER_LIST) {
		ret->method = "GET";
		text_append(&b, "/apps");
	} else if (op->verb == WRITER_PUT) {
		ret->method = "POST";
		ret->body = body_eureka(op->instance, now_ms(), &ret->length);
		if (!ret->body)
			return -ENOMEM;
		append_app(&b, op->instance->service);
	} else {
		ret->method = op->verb == WRITER_KEEP ? "PUT" : "DELETE";
		append_app(&b, op->service);
		text_append(&b, "/");
		writer_escape(&b, op->id);
	}
	ret->path = text_take(&b);
	return ret->path ? 0 : -ENOMEM;
}

static void list(struct writer_op *op, const struct fetch_result *result, struct writer_answer *ret)
{
	char error[JSON_ERROR] = "more than is taken";

	if (owned_decode_eureka(result->body, result->length, op->writer->node, &ret->owned,
				error) >= 0)
		return;
	ret->outcome = WRITER_FAILED;
	ret->error = REGISTRY_GARBAGE;
	(void)snprintf(ret->text, sizeof(ret->text), "listing: %.160s", error);
}

/* A list or a registration that meets nothing: the server may answer elsewhere. Of several that
 * come from the same place one goes on, and the others follow it. */
static bool try_next_base(struct writer_op *op)
{
	struct writer *w = op->writer;

	if (op->step + 1 >= w->n_bases)
		return false;
	op->step++;
	if (op->base == w->base)
		w->base = (w->base + 1) % w->n_bases;
	return true;
}

static bool answer(struct writer_op *op, const struct fetch_result *result,
		   struct writer_answer *ret)
{
	writer_classify(op, result, ret);
	if (result->status == 404) {
		if (op->verb == WRITER_KEEP)
			*ret = (struct writer_answer){.outcome = WRITER_GONE};
		else if (op->verb == WRITER_DROP)
			*ret = (struct writer_answer){};
		else if (try_next_base(op))
			return false;
		else
			writer_hint(ret, "address must lead to what stands before /apps");
	} else if (op->verb == WRITER_LIST && ret->outcome == WRITER_DONE) {
		list(op, result, ret);
	} else if (ret->error == REGISTRY_UNAUTHORIZED || ret->error == REGISTRY_FORBIDDEN) {
		writer_hint(ret, op->writer->config->username ? "check username and passwordFile"
				 : op->writer->config->token_file
					 ? "check the token of tokenFile"
					 : "give username and passwordFile, or tokenFile");
	}
	return true;
}

static int authorize(struct writer *w, char **ret)
{
	const char *file = w->config->username ? w->config->password_file : w->config->token_file;
	char *secret;
	int r;

	*ret = NULL;
	if (!file)
		return 0;
	r = registry_read_secret(file, &secret);
	if (r < 0)
		return r;
	*ret = registry_authorization(w->config->username, secret);
	registry_forget(secret);
	return *ret ? 0 : -ENOMEM;
}

const struct writer_kind writer_eureka = {
	.type = "eureka",
	.address = "http://127.0.0.1:8761/eureka",
	.start = start,
	.request = request,
	.answer = answer,
	.authorize = authorize,
};
