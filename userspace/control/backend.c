/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backends set aside by hand: eject, drain, restore. Before: route.c. After: the daemon tells the
 * kernel at once, and the answer waits until that is on disk, too. Asked twice, the second one
 * counts.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "control/answer.h"
#include "control/condition.h"
#include "control/handler.h"
#include "control/view.h"
#include "model/limits.h"

#define EJECT_MS (10u * 60 * 1000)             /* when nobody says how long */
#define LONGEST_MS (366ull * 24 * 3600 * 1000) /* a longer one means "until restored" */

/* What the path names. */
struct target {
	const struct service *service;
	size_t endpoint;
	uint16_t port; /* 0: every port of the endpoint */
};

static uint16_t port_of(const struct service *s, size_t endpoint, size_t port)
{
	uint16_t target = service_target(s, endpoint, port);

	return target ? target : s->ports[port].port;
}

static bool has_port(const struct target *t)
{
	for (size_t i = 0; i < t->service->n_ports; i++)
		if (!t->port || port_of(t->service, t->endpoint, i) == t->port)
			return true;
	return false;
}

static int endpoint_find(struct request *q, struct target *t)
{
	const struct service *s = t->service;
	struct sn_addr addr;

	if (address_parse_port(q->params[2], &addr, &t->port) < 0)
		return answer_problem(q, 400, "expected ADDRESS or ADDRESS:PORT, not \"%.60s\"",
				      q->params[2]);
	while (t->endpoint < s->n_endpoints &&
	       !address_is_equal(&s->endpoints[t->endpoint].addr, &addr))
		t->endpoint++;
	if (t->endpoint == s->n_endpoints || !has_port(t))
		return answer_problem(q, 404, "service %s/%s has no endpoint %s", s->namespace,
				      s->name, q->params[2]);
	return 0;
}

/* Answers what is not there: the caller looks at q->answered. */
static int target_find(struct request *q, struct target *ret)
{
	const struct control *c = q->control;
	struct target t = {.service = store_find_service(c->ops.store(c->ops.arg), q->params[0],
							 q->params[1])};
	int r;

	if (!t.service)
		return answer_problem(q, 404, "there is no service %s/%s", q->params[0],
				      q->params[1]);
	r = endpoint_find(q, &t);
	*ret = t;
	return r;
}

/* --- the answer --------------------------------------------------------------------------- */

static void target_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *o,
		       const struct target *t)
{
	struct backend_traffic b = {};

	view_add_text(doc, o, "namespace", t->service->namespace);
	view_add_text(doc, o, "service", t->service->name);
	view_add_address(doc, o, "address", &t->service->endpoints[t->endpoint].addr);
	if (t->port)
		(void)yyjson_mut_obj_add_uint(doc, o, "port", t->port);
	for (size_t i = 0; i < t->service->n_ports; i++)
		if ((!t->port || port_of(t->service, t->endpoint, i) == t->port) &&
		    c->ops.backend_traffic(c->ops.arg, t->service, t->endpoint, i, &b) >= 0)
			break;
	if (backend_is_held(&b, condition_now_ns()))
		condition_add_hold(doc, o, &b, condition_now_ns());
}

static int hold_answer(struct request *q, const struct target *t)
{
	yyjson_mut_doc *doc;
	yyjson_mut_val *root;
	int r;

	if (q->hold_result < 0)
		return answer_problem(
			q, q->hold_result == -ENOSPC ? 507 : 503,
			"the change is in effect, but could not be written to disk: %s",
			strerror(-q->hold_result));
	doc = yyjson_mut_doc_new(NULL);
	root = doc ? view_root(doc, "HoldResult") : NULL;
	if (!root) {
		yyjson_mut_doc_free(doc);
		return -ENOMEM;
	}
	yyjson_mut_doc_set_root(doc, root);
	target_add(q->control, doc, root, t);
	(void)yyjson_mut_obj_add_uint(doc, root, "backends", (uint64_t)q->holding);
	r = answer_json(q, 200, doc);
	yyjson_mut_doc_free(doc);
	return r;
}

/* --- the change --------------------------------------------------------------------------- */

static int duration_read(struct request *q, uint64_t *ret)
{
	const char *text = query_get(&q->query, "for");
	int r = text ? text_parse_duration(text, ret) : 0;

	if (r < 0 || *ret > LONGEST_MS)
		return answer_problem(
			q, 400,
			"query parameter for is a duration such as 10m, at most 366d, or 0 for "
			"\"until restored\", not \"%.60s\"",
			text);
	return 0;
}

/* It is written as JSON, and read by people. */
static bool is_reason(const char *text)
{
	size_t left = strlen(text), n = 0, length;

	for (; left; left -= length, text += length) {
		length = text_utf8_length(text, left);
		if (!length || ++n > LIMIT_HOLD_REASON)
			return false;
	}
	return true;
}

static int reason_read(struct request *q, const char **ret)
{
	const char *text = query_get(&q->query, "reason");

	if (text && !is_reason(text))
		return answer_problem(q, 400, "a reason is UTF-8, at most %d characters",
				      LIMIT_HOLD_REASON);
	*ret = text ? text : "";
	return 0;
}

static int hold_apply(struct request *q, const struct target *t, struct control_hold *order)
{
	struct control *c = q->control;
	int r;

	order->caller = &q->caller;
	order->service = t->service;
	order->endpoint = t->endpoint;
	order->port = t->port;
	r = c->ops.hold(c->ops.arg, order);
	if (r == -ENOENT)
		return answer_problem(q, 409, "endpoint %s of %s/%s is not in the kernel",
				      q->params[2], q->params[0], q->params[1]);
	if (r == -ENOSPC)
		return answer_problem(q, 507, "%d backends are held already", LIMIT_HOLDS);
	if (r < 0)
		return r;
	q->holding = r;
	server_suspend(q);
	return 0;
}

/* Comes back here when control_hold_written() has let the request go on. */
static int hold_change(struct request *q, enum sn_hold held, uint64_t for_ms)
{
	struct control_hold order = {.held = held, .for_ms = for_ms};
	struct target target = {};
	int r;

	r = target_find(q, &target);
	if (r < 0 || q->answered)
		return r;
	if (q->holding)
		return hold_answer(q, &target);
	r = duration_read(q, &order.for_ms);
	if (r >= 0 && !q->answered)
		r = reason_read(q, &order.reason);
	if (r < 0 || q->answered)
		return r;
	return hold_apply(q, &target, &order);
}

int backend_eject(struct request *q)
{
	return hold_change(q, SN_HOLD_EJECT, EJECT_MS);
}

int backend_drain(struct request *q)
{
	return hold_change(q, SN_HOLD_DRAIN, 0);
}

int backend_restore(struct request *q)
{
	return hold_change(q, SN_HOLD_NONE, 0);
}
