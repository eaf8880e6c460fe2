/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing to Consul, through the agent at the configured address (/v1/agent): an instance belongs
 * to that agent and its datacenter. Before: writer.c. A TTL check says that it lives; Consul
 * removes one by itself some time after nobody says so. It must never touch what is not named.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "register/body.h"
#include "register/writer.h"

static int start(struct writer *w, char ret_text[static 200])
{
	static const char unix_scheme[] = "unix://";
	const char *address = w->config->address ? w->config->address : w->kind->address;
	size_t n = strlen(address);
	const char *wrong;

	if (!strncmp(address, unix_scheme, strlen(unix_scheme))) {
		w->unix_socket = strdup(address + strlen(unix_scheme));
		return w->unix_socket ? writer_add_base(w, "http://consul", 13, "") : -ENOMEM;
	}
	wrong = writer_complain(address);
	if (wrong) {
		(void)snprintf(ret_text, 200, "%s", wrong);
		return -EINVAL;
	}
	while (n && address[n - 1] == '/')
		n--;
	return writer_add_base(w, address, n, "");
}

/* Consul Enterprise has namespaces. */
static void append_namespace(struct text_buffer *b, const struct writer *w, char sign)
{
	if (!w->config->remote_namespace || !*w->config->remote_namespace)
		return;
	text_append_format(b, "%cns=", sign);
	writer_escape(b, w->config->remote_namespace);
}

static int request(struct writer_op *op, struct writer_request *ret)
{
	const struct writer *w = op->writer;
	struct text_buffer b = {};
	char filter[400];

	ret->method = "PUT";
	switch (op->verb) {
	case WRITER_PUT:
		ret->body = body_consul(op->instance, &ret->length);
		if (!ret->body)
			return -ENOMEM;
		text_append(&b, "/v1/agent/service/register?replace-existing-checks=true");
		append_namespace(&b, w, '&');
		break;
	case WRITER_KEEP:
		text_append(&b, "/v1/agent/check/pass/service%3A");
		writer_escape(&b, op->id);
		append_namespace(&b, w, '?');
		break;
	case WRITER_DROP:
		text_append(&b, "/v1/agent/service/deregister/");
		writer_escape(&b, op->id);
		append_namespace(&b, w, '?');
		break;
	case WRITER_LIST:
		ret->method = "GET";
		(void)snprintf(filter, sizeof(filter), "Meta[\"%s\"] == \"%.253s\"",
			       INSTANCE_NODE_KEY, w->node);
		text_append(&b, "/v1/agent/services?filter=");
		writer_escape(&b, filter);
		append_namespace(&b, w, '&');
		break;
	}
	ret->path = text_take(&b);
	return ret->path ? 0 : -ENOMEM;
}

/* 404 of today, 500 of old ones. */
static bool is_unknown(const struct fetch_result *result)
{
	return result->status == 404 ||
	       (result->status == 500 && strcasestr(result->body, "unknown "));
}

static void list(struct writer_op *op, const struct fetch_result *result, struct writer_answer *ret)
{
	char error[JSON_ERROR] = "more than is taken";

	if (owned_decode_consul(result->body, result->length, op->writer->node, &ret->owned,
				error) >= 0)
		return;
	ret->outcome = WRITER_FAILED;
	ret->error = REGISTRY_GARBAGE;
	(void)snprintf(ret->text, sizeof(ret->text), "listing: %.160s", error);
}

static bool answer(struct writer_op *op, const struct fetch_result *result,
		   struct writer_answer *ret)
{
	writer_classify(op, result, ret);
	if (op->verb == WRITER_LIST && ret->outcome == WRITER_DONE) {
		list(op, result, ret);
	} else if (op->verb == WRITER_KEEP && is_unknown(result)) {
		*ret = (struct writer_answer){.outcome = WRITER_GONE};
	} else if (op->verb == WRITER_DROP && is_unknown(result)) {
		*ret = (struct writer_answer){};
	} else if (ret->error == REGISTRY_FORBIDDEN) {
		writer_hint(ret, op->verb == WRITER_LIST
					 ? "the token needs service:read"
					 : "the token needs service:write for that name");
	}
	return true;
}

static int authorize(struct writer *w, char **ret)
{
	char *secret;
	int r;

	*ret = NULL;
	if (!w->config->token_file)
		return 0;
	r = registry_read_secret(w->config->token_file, &secret);
	if (r < 0)
		return r;
	*ret = registry_join("X-Consul-Token", ": ", secret);
	registry_forget(secret);
	return *ret ? 0 : -ENOMEM;
}

const struct writer_kind writer_consul = {
	.type = "consul",
	.is_bound = true, /* the agent speaks to the servers with the token of the registration */
	.address = "http://127.0.0.1:8500",
	.start = start,
	.request = request,
	.answer = answer,
	.authorize = authorize,
};
