/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "Where would a connect() to this go, and why?" Before: route.c. After: the daemon asks the
 * kernel's own selection code; this file only words the answer. Changes nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/answer.h"
#include "control/explain.h"
#include "control/handler.h"
#include "control/view.h"
#include "model/limits.h"

/* "80", or "" for the only port. Returns the index of the service's port, or -errno. */
static int port_find(const struct service *s, const char *text, uint8_t proto)
{
	uint64_t port = 0;
	int found = -ENOENT;

	if (*text && number_parse(text, &port) < 0)
		port = UINT64_MAX; /* perhaps a port's name */
	for (size_t i = 0; i < s->n_ports; i++) {
		bool fits = !*text || s->ports[i].port == port || s->ports[i].port == SN_PORT_ANY ||
			    strcmp(s->ports[i].name, text) == 0;

		if (fits && s->ports[i].proto == proto && found < 0)
			found = (int)i;
	}
	return found;
}

/* "shop/payments:80": the service's first address. */
static int destination_by_name(const struct store *store, const char *text, struct question *k)
{
	char namespace[LIMIT_NAME + 1] = "", name[LIMIT_NAME + 1] = "";
	const char *slash = strchr(text, '/'), *colon = strchr(slash, ':');
	const char *end = colon ? colon : text + strlen(text);
	uint64_t asked = 0;
	int port;

	if (slash - text > LIMIT_NAME || end - slash - 1 > LIMIT_NAME)
		return -ENOENT;
	memcpy(namespace, text, (size_t)(slash - text));
	memcpy(name, slash + 1, (size_t)(end - slash - 1));
	k->service = store_find_service(store, namespace, name);
	if (!k->service || !k->service->n_addresses)
		return -ENOENT;
	port = port_find(k->service, colon ? colon + 1 : "", k->e.dest.proto);
	if (port < 0)
		return port;
	k->port = (size_t)port;
	k->e.dest.addr = k->service->address[0];
	(void)number_parse(colon ? colon + 1 : "", &asked);
	if (k->service->ports[port].port != SN_PORT_ANY)
		asked = k->service->ports[port].port;
	k->e.dest.port_be = htons((uint16_t)asked);
	return 0;
}

static int destination_read(const struct store *store, const char *text, struct question *k)
{
	uint16_t port;
	int r;

	if (strchr(text, '/'))
		return destination_by_name(store, text, k);
	r = address_parse_port(text, &k->e.dest.addr, &port);
	if (r < 0 || !port)
		return -EINVAL;
	k->e.dest.port_be = htons(port);
	k->service = store_find_frontend(store, &k->e.dest, &k->port);
	return 0;
}

static int question_read(struct request *q, struct question *k)
{
	const struct store *store = q->control->ops.store(q->control->ops.arg);
	const char *destination = query_get(&q->query, "destination");
	const char *protocol = query_get(&q->query, "protocol");
	struct problems problems = {};
	uint64_t mark = 0;
	int r;

	k->e.dest.proto =
		protocol && strcasecmp(protocol, "udp") == 0 ? SN_PROTO_UDP : SN_PROTO_TCP;
	if (protocol && strcasecmp(protocol, "udp") != 0 && strcasecmp(protocol, "tcp") != 0)
		return answer_problem(q, 400, "protocol is tcp or udp, not \"%.40s\"", protocol);
	if (query_number(&q->query, "mark", (struct query_range){0, UINT32_MAX}, &problems, &mark) <
		    0 ||
	    query_number(&q->query, "cgroup", (struct query_range){0, UINT64_MAX}, &problems,
			 (uint64_t *)&k->e.cgroup_id) < 0) {
		r = answer_problem(q, 400, "%s", problems.n ? problems.items[0].message : "?");
		problems_done(&problems);
		return r;
	}
	k->e.mark = (uint32_t)mark;
	if (!destination)
		return answer_problem(
			q, 400, "destination is missing: ADDRESS:PORT or NAMESPACE/NAME:PORT");
	r = destination_read(store, destination, k);
	if (r == -ENOENT)
		return answer_problem(q, 404, "there is no service %.130s over %s", destination,
				      view_proto(k->e.dest.proto));
	if (r < 0)
		return answer_problem(q, 400,
				      "\"%.80s\" is neither ADDRESS:PORT nor NAMESPACE/NAME:PORT",
				      destination);
	return 0;
}

void explain_line(struct question *k, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)yyjson_mut_arr_add_strcpy(k->doc, k->lines, text);
}

static void service_explain(struct question *k)
{
	const struct service *s = k->service;
	char text[ADDRESS_TEXT];
	yyjson_mut_val *o;

	address_format_port(&k->e.dest.addr, ntohs(k->e.dest.port_be), text);
	if (!s) {
		explain_line(k, "%s, %s, is not an address of any service", text,
			     view_proto(k->e.dest.proto));
		return;
	}
	o = yyjson_mut_obj_add_obj(k->doc, k->root, "service");
	view_add_text(k->doc, o, "namespace", s->namespace);
	view_add_text(k->doc, o, "name", s->name);
	view_add_text(k->doc, o, "source", s->source);
	(void)yyjson_mut_obj_add_uint(k->doc, o, "port", s->ports[k->port].port);
	explain_line(k, "%s/%s is %s, %s, from source %s, policy %s (%s)", s->namespace, s->name,
		     text, view_proto(k->e.dest.proto), s->source, s->policy,
		     policy_algorithm_name(k->at.rules->algorithm));
}

static void policy_explain(struct question *k)
{
	yyjson_mut_val *o;

	if (!k->service)
		return;
	o = yyjson_mut_obj_add_obj(k->doc, k->root, "policy");
	view_add_text(k->doc, o, "name", k->service->policy);
	view_add_text(k->doc, o, "algorithm", policy_algorithm_name(k->at.rules->algorithm));
}

static void picked_explain(struct question *k)
{
	const struct service *s = k->picked;
	yyjson_mut_val *o;
	char text[ADDRESS_TEXT];
	uint16_t port;

	if (!s) {
		explain_line(k, "would pick backend %u, which was replaced meanwhile; ask again",
			     k->e.backend);
		return;
	}
	port = service_target(s, k->picked_endpoint, k->picked_port);
	if (!port)
		port = ntohs(k->e.dest.port_be);
	address_format_port(&s->endpoints[k->picked_endpoint].addr, port, text);
	o = yyjson_mut_obj_add_obj(k->doc, k->root, "picked");
	view_add_address(k->doc, o, "address", &s->endpoints[k->picked_endpoint].addr);
	(void)yyjson_mut_obj_add_uint(k->doc, o, "port", port);
	explain_line(k, "would pick %s", text);
}

static void decision_explain(struct question *k)
{
	bool translated = k->e.reason == SN_R_CONNECTED, none = k->e.reason >= SN_R_MAX;
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(k->doc, k->root, "decision");
	bool refused = k->e.reason == SN_R_NO_BACKEND || k->e.reason == SN_R_LIMITED ||
		       k->e.reason == SN_R_RETRY_BUDGET;
	const char *outcome = translated ? "translated" : refused ? "refused" : "untouched";

	(void)yyjson_mut_obj_add_str(k->doc, o, "outcome", outcome);
	if (translated) {
		(void)yyjson_mut_obj_add_uint(k->doc, o, "level", k->e.level);
		(void)yyjson_mut_obj_add_bool(k->doc, o, "panic", k->e.panic != 0);
	}
	(void)yyjson_mut_obj_add_str(k->doc, o, "reason",
				     none ? "not_a_service" : view_reason(k->e.reason));
	if (translated)
		picked_explain(k);
	else if (none)
		explain_line(k, "the kernel knows no service there: the connect is left as it is");
	else
		explain_line(k, "%s: %s", outcome, view_reason_help(k->e.reason));
}

static int question_answer(struct request *q, struct question *k)
{
	const struct control *c = q->control;
	yyjson_mut_val *o;
	int r;

	k->doc = yyjson_mut_doc_new(NULL);
	if (!k->doc)
		return -ENOMEM;
	k->root = view_root(k->doc, "Explanation");
	yyjson_mut_doc_set_root(k->doc, k->root);
	o = yyjson_mut_obj_add_obj(k->doc, k->root, "destination");
	view_add_address(k->doc, o, "address", &k->e.dest.addr);
	(void)yyjson_mut_obj_add_uint(k->doc, o, "port", ntohs(k->e.dest.port_be));
	(void)yyjson_mut_obj_add_str(k->doc, o, "protocol", view_proto(k->e.dest.proto));
	k->lines = yyjson_mut_arr(k->doc);
	service_explain(k);
	policy_explain(k);
	candidate_explain(c, k);
	decision_explain(k);
	(void)yyjson_mut_obj_add_val(k->doc, k->root, "lines", k->lines);
	r = answer_json(q, 200, k->doc);
	yyjson_mut_doc_free(k->doc);
	return r;
}

int explain_get(struct request *q)
{
	const struct control *c = q->control;
	struct question k = {};
	int r;

	r = question_read(q, &k);
	if (r < 0 || q->answered)
		return r;
	r = c->ops.explain(c->ops.arg, &k.e);
	if (r < 0)
		return answer_problem(q, 503, "the kernel could not be asked: %s", strerror(-r));
	k.at = (struct condition_at){k.service ? view_rules(c, k.service) : policy_default_rules(),
				     condition_now_ns()};
	if (k.e.reason == SN_R_CONNECTED)
		k.picked = c->ops.backend_owner(c->ops.arg, k.e.backend, (uint16_t)k.e.incarnation,
						&k.picked_endpoint, &k.picked_port);
	return question_answer(q, &k);
}
