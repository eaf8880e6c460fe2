/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing to etcd, through its JSON gateway: a lease of its own for each instance, so that one
 * request removes it, and silence does, too. Before: writer.c. It must never write a key without a
 * lease.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/limits.h"
#include "register/body.h"
#include "register/writer.h"
#include "registry/etcd_decode.h"

#define PREFIX "services/"
#define LIST_MAX 50000 /* keys that a list looks at */
#define LOGINS_MAX 4   /* exchanges of one operation, after which it logs in no more */

enum step { STEP_FIRST, STEP_LOGIN, STEP_GRANT, STEP_WORK };

static int start(struct writer *w, char ret_text[static 200])
{
	const char *address = w->config->address ? w->config->address : w->kind->address;
	const char *wrong = writer_complain(address);
	size_t n = strlen(address);

	if (!wrong && !w->config->username != !w->config->password_file)
		wrong = "username and passwordFile go together";
	if (!wrong && w->config->username && w->config->token_file)
		wrong = "either username and passwordFile, or tokenFile";
	if (wrong) {
		(void)snprintf(ret_text, 200, "%s", wrong);
		return -EINVAL;
	}
	while (n && address[n - 1] == '/')
		n--;
	return writer_add_base(w, address, n, "");
}

/* With a "/" at its end, unless it is empty. */
static int make_prefix(const struct writer *w, char **ret)
{
	const char *prefix = w->config->prefix ? w->config->prefix : PREFIX;
	size_t n = strlen(prefix);

	if (asprintf(ret, "%s%s", prefix, n && prefix[n - 1] != '/' ? "/" : "") >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

static int request_login(const struct writer *w, struct writer_request *ret)
{
	char *secret;
	int r = registry_read_secret(w->config->password_file, &secret);

	if (r < 0)
		return r;
	ret->is_secret = true;
	ret->body = body_etcd_login(w->config->username, secret, &ret->length);
	registry_forget(secret);
	return 0;
}

static int request_work(struct writer_op *op, const char **ret_path, struct writer_request *ret)
{
	_cleanup_free_ char *prefix = NULL;
	int r = make_prefix(op->writer, &prefix);

	if (r < 0)
		return r;
	switch (op->verb) {
	case WRITER_PUT:
		*ret_path = "/v3/kv/put";
		ret->body = body_etcd_put(op->instance, prefix, op->lease, &ret->length);
		break;
	case WRITER_KEEP:
		*ret_path = "/v3/lease/keepalive";
		ret->body = body_etcd_lease(op->lease, &ret->length);
		break;
	case WRITER_DROP:
		if (!op->lease)
			return -EALREADY; /* no key was ever written */
		*ret_path = "/v3/lease/revoke";
		ret->body = body_etcd_lease(op->lease, &ret->length);
		break;
	case WRITER_LIST:
		*ret_path = "/v3/kv/range";
		ret->body = body_etcd_range(prefix, LIST_MAX, &ret->length);
		break;
	}
	return 0;
}

static enum step first_of(const struct writer_op *op)
{
	const struct writer *w = op->writer;

	if (w->config->username && !w->token && !w->is_open)
		return STEP_LOGIN;
	return op->verb == WRITER_PUT && !op->lease ? STEP_GRANT : STEP_WORK;
}

static int request(struct writer_op *op, struct writer_request *ret)
{
	const struct writer *w = op->writer;
	const char *path = NULL;
	int r = 0;

	ret->method = "POST";
	if (op->step == STEP_FIRST)
		op->step = first_of(op);
	if (op->step == STEP_LOGIN) {
		path = "/v3/auth/authenticate";
		r = request_login(w, ret);
	} else if (op->step == STEP_GRANT) {
		path = "/v3/lease/grant";
		ret->body = body_etcd_grant(op->instance->ttl_ms, &ret->length);
	} else {
		r = request_work(op, &path, ret);
	}
	if (r < 0)
		return r;
	ret->path = strdup(path);
	return ret->path && ret->body ? 0 : -ENOMEM;
}

/* --- answers ---------------------------------------------------------------------------------- */

static yyjson_doc *parse(const struct fetch_result *result)
{
	char error[JSON_ERROR];
	yyjson_doc *doc = NULL;

	if (json_parse(result->body, result->length, LIMIT_DEPTH, &doc, error) < 0)
		return NULL;
	return doc;
}

static bool garbage(const struct writer_op *op, struct writer_answer *ret)
{
	*ret = (struct writer_answer){.outcome = WRITER_FAILED, .error = REGISTRY_GARBAGE};
	(void)snprintf(ret->text, sizeof(ret->text),
		       "the answer to step %u is not etcd's; is there another server?", op->step);
	return true;
}

static bool on_login(struct writer_op *op, const struct fetch_result *result,
		     struct writer_answer *ret)
{
	struct writer *w = op->writer;
	char error[JSON_ERROR], *token;

	if (result->status == 400 && strstr(result->body, "authentication is not enabled")) {
		w->is_open = true;
		op->step = first_of(op);
		return false;
	}
	if (ret->outcome != WRITER_DONE) {
		/* Wrong for one, wrong for all. */
		ret->outcome = WRITER_FAILED;
		ret->error = REGISTRY_UNAUTHORIZED;
		writer_hint(ret, strstr(result->body, "CommonName of client")
					 ? "certFile must have none where there are users"
					 : "check username and passwordFile");
		return true;
	}
	w->token = registry_forget(w->token);
	if (etcd_decode_token(result->body, result->length, &token, error) < 0)
		return garbage(op, ret);
	w->token = token;
	op->step = first_of(op);
	return false;
}

static bool on_grant(struct writer_op *op, const struct fetch_result *result,
		     struct writer_answer *ret)
{
	yyjson_doc *doc;

	if (ret->outcome != WRITER_DONE)
		return true;
	doc = parse(result);
	op->lease = json_uint(yyjson_obj_get(yyjson_doc_get_root(doc), "ID"));
	yyjson_doc_free(doc);
	if (!op->lease)
		return garbage(op, ret);
	op->step = STEP_WORK;
	return false;
}

/* A lease that has ended is answered with 200, and a TTL of 0 or none. */
static void on_keep(struct writer_op *op, const struct fetch_result *result,
		    struct writer_answer *ret)
{
	yyjson_doc *doc;
	yyjson_val *said;

	if (ret->outcome == WRITER_DONE) {
		doc = parse(result);
		said = yyjson_obj_get(yyjson_doc_get_root(doc), "result");
		if (!yyjson_is_obj(said))
			(void)garbage(op, ret);
		else if (!json_uint(yyjson_obj_get(said, "TTL")))
			ret->outcome = WRITER_GONE;
		yyjson_doc_free(doc);
	} else if (result->status == 404) {
		*ret = (struct writer_answer){.outcome = WRITER_GONE};
	}
	if (ret->outcome == WRITER_GONE)
		op->lease = 0;
}

static void on_list(struct writer_op *op, const struct fetch_result *result,
		    struct writer_answer *ret)
{
	char error[JSON_ERROR] = "more than is taken";

	if (ret->outcome != WRITER_DONE ||
	    owned_decode_etcd(result->body, result->length, op->writer->node, &ret->owned, error) >=
		    0)
		return;
	ret->outcome = WRITER_FAILED;
	ret->error = REGISTRY_GARBAGE;
	(void)snprintf(ret->text, sizeof(ret->text), "listing: %.160s", error);
}

static bool on_work(struct writer_op *op, const struct fetch_result *result,
		    struct writer_answer *ret)
{
	/* The lease has ended meanwhile; STEPS_MAX bounds how often. */
	if (op->verb == WRITER_PUT && result->status == 404) {
		op->lease = 0;
		op->step = STEP_GRANT;
		return false;
	}
	if (op->verb == WRITER_KEEP)
		on_keep(op, result, ret);
	else if (op->verb == WRITER_LIST)
		on_list(op, result, ret);
	else if (op->verb == WRITER_DROP && result->status == 404)
		*ret = (struct writer_answer){};
	if (op->verb == WRITER_DROP && ret->outcome == WRITER_DONE)
		op->lease = 0;
	return true;
}

/* Whether it does not know us. A token lives five minutes without use, or until etcd starts anew;
 * one that is signed, until anything is changed about users. */
static bool is_stranger(struct writer *w, const struct fetch_result *result)
{
	bool nobody = result->status == 400 && strstr(result->body, "user name is empty");

	w->is_open &= !nobody; /* it has users now */
	return nobody || result->status == 401 ||
	       (result->status == 400 && strstr(result->body, "revision of auth store is old"));
}

static void hint(const struct writer_op *op, struct writer_answer *ret)
{
	const struct registry_config *config = op->writer->config;
	char text[100];

	(void)snprintf(text, sizeof(text), "the user needs READWRITE on keys below \"%.40s\"",
		       config->prefix ? config->prefix : PREFIX);
	if (ret->error == REGISTRY_FORBIDDEN)
		writer_hint(ret, text);
	else if (ret->error == REGISTRY_UNAUTHORIZED)
		writer_hint(ret, config->username     ? "it takes back what it granted"
				 : config->token_file ? "check the token of tokenFile"
						      : "give username and passwordFile");
}

static bool answer(struct writer_op *op, const struct fetch_result *result,
		   struct writer_answer *ret)
{
	struct writer *w = op->writer;

	writer_classify(op, result, ret);
	if (op->step == STEP_LOGIN)
		return on_login(op, result, ret);
	if (is_stranger(w, result)) {
		w->token = registry_forget(w->token);
		op->step = STEP_FIRST;
		ret->outcome = WRITER_FAILED;
		ret->error = REGISTRY_UNAUTHORIZED;
		if (w->config->username && op->tries < LOGINS_MAX)
			return false;
	}
	hint(op, ret);
	return op->step == STEP_GRANT ? on_grant(op, result, ret) : on_work(op, result, ret);
}

/* No word before it. */
static int authorize(struct writer *w, char **ret)
{
	char *secret = NULL;
	int r = 0;

	*ret = NULL;
	if (!w->token && !w->config->token_file)
		return 0;
	if (!w->token)
		r = registry_read_secret(w->config->token_file, &secret);
	if (r < 0)
		return r;
	*ret = registry_join("Authorization", ": ", secret ? secret : w->token);
	registry_forget(secret);
	return *ret ? 0 : -ENOMEM;
}

const struct writer_kind writer_etcd = {
	.type = "etcd",
	.address = "http://127.0.0.1:2379",
	.start = start,
	.request = request,
	.answer = answer,
	.authorize = authorize,
};
