/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See route.h. Before: server.c has the headers. After: the handlers of show.c, write.c and the
 * others. Whatever can be refused is refused here, before a byte of the body is read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/accept.h"
#include "control/answer.h"
#include "control/handler.h"
#include "control/name.h"
#include "control/route.h"
#include "model/codec.h"
#include "model/limits.h"

#define Q_LIST "namespace label* source limit continue"
#define Q_SERVICES Q_LIST " brief"
#define Q_WRITE "dryRun verbose"
#define Q_WRITE_DELTA "dryRun verbose ignoreNotFound"
#define Q_WRITE_ONE "dryRun verbose source"
#define SERVICE "/v1/services/{namespace}/{name}"
#define ENDPOINT SERVICE "/endpoints/{endpoint}"
#define POLICY "/v1/policies/{namespace}/{name}"
#define REGISTRATION "/v1/registrations/{namespace}/{name}"
#define SOURCE "/v1/sources/{name}"

static const struct route table[] = {
	{"GET", "/healthz", 0, "", status_health},
	{"GET", "/metrics", ROUTE_METRICS, "", metrics_get},
	{"GET", "/v1/backends", 0, "namespace service", show_backends},
	{"GET", "/v1/config", 0, "", status_config},
	{"GET", "/v1/doctor", 0, "", status_doctor},
	{"GET", "/v1/events", ROUTE_LINES, "namespace service recent connects", event_get},
	{"GET", "/v1/explain", 0, "destination protocol cgroup mark", explain_get},
	{"GET", "/v1/flows", 0, "namespace service limit", show_flows},
	{"GET", "/v1/listeners", ROUTE_LINES, "watch", listener_get},
	{"GET", "/v1/openapi.json", 0, "", openapi_get},
	{"GET", "/v1/pods", 0, "", podlist_get},
	{"PUT", "/v1/pods", ROUTE_ADMIN | ROUTE_BODY, "", podlist_put},
	{"DELETE", "/v1/pods", ROUTE_ADMIN, "", podlist_delete},
	{"GET", "/v1/policies", 0, Q_LIST, show_policies},
	{"GET", POLICY, 0, "", show_policy},
	{"PUT", POLICY, ROUTE_ADMIN | ROUTE_BODY, Q_WRITE_ONE, write_policy},
	{"DELETE", POLICY, ROUTE_ADMIN, Q_WRITE_ONE, write_policy_delete},
	{"GET", "/v1/registrations", 0, Q_LIST, show_registrations},
	{"GET", REGISTRATION, 0, "", show_registration},
	{"PUT", REGISTRATION, ROUTE_ADMIN | ROUTE_BODY, Q_WRITE_ONE, write_registration},
	{"DELETE", REGISTRATION, ROUTE_ADMIN, Q_WRITE_ONE, write_registration_delete},
	{"GET", "/v1/services", 0, Q_SERVICES, show_services},
	{"GET", SERVICE, 0, "", show_service},
	{"PUT", SERVICE, ROUTE_ADMIN | ROUTE_BODY, Q_WRITE_ONE, write_service},
	{"DELETE", SERVICE, ROUTE_ADMIN, Q_WRITE_ONE, write_service_delete},
	{"POST", ENDPOINT "/drain", ROUTE_ADMIN, "for reason", backend_drain},
	{"POST", ENDPOINT "/eject", ROUTE_ADMIN, "for reason", backend_eject},
	{"POST", ENDPOINT "/restore", ROUTE_ADMIN, "", backend_restore},
	{"GET", "/v1/sources", 0, "", status_sources},
	{"GET", SOURCE, 0, "", show_source},
	{"PUT", SOURCE, ROUTE_ADMIN | ROUTE_BODY, Q_WRITE, write_source},
	{"PATCH", SOURCE, ROUTE_ADMIN | ROUTE_BODY, Q_WRITE_DELTA, write_source_delta},
	{"DELETE", SOURCE, ROUTE_ADMIN, Q_WRITE, write_source_delete},
	{"GET", "/v1/status", 0, "", status_get},
	{"POST", "/v1/uninstall", ROUTE_ADMIN, "", status_uninstall},
	{"GET", "/v1/workloads", 0, "", status_workloads},
};

const struct route *route_table(size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(table);
	return table;
}

bool route_takes_body(const struct route *route)
{
	return route && route->flags & ROUTE_BODY;
}

struct slice {
	const char *text;
	size_t length;
};

/* Whether `path` fits the template; parameters are slices of `path`, still encoded. */
static bool path_fits(const char *template, const char *path, struct slice params[PARAMS])
{
	size_t n = 0;

	while (*template == '/' && *path == '/') {
		size_t want = strcspn(++template, "/"), have = strcspn(++path, "/");

		if (*template == '{' && have && n < PARAMS)
			params[n++] = (struct slice){path, have};
		else if (*template == '{' || want != have || memcmp(template, path, want) != 0)
			return false;
		template += want;
		path += have;
	}
	return !*template && !*path;
}

static int params_decode(struct request *q, const struct slice params[PARAMS])
{
	for (size_t i = 0; i < PARAMS && params[i].text; i++) {
		q->params[i] = strndup(params[i].text, params[i].length);
		if (!q->params[i])
			return -ENOMEM;
		if (query_unescape(q->params[i], false) < 0)
			return -EINVAL;
	}
	return 0;
}

static bool method_is(const struct route *route, const char *method)
{
	return strcmp(route->method, method) == 0 ||
	       (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static void allow_add(struct request *q, const char *method)
{
	size_t used = strlen(q->allow);

	(void)snprintf(q->allow + used, sizeof(q->allow) - used, "%s%s", used ? ", " : "", method);
}

static void allow_fill(struct request *q)
{
	struct slice params[PARAMS] = {};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (!path_fits(table[i].path, q->path, params))
			continue;
		allow_add(q, table[i].method);
		if (strcmp(table[i].method, "GET") == 0)
			allow_add(q, "HEAD");
	}
	if (q->allow[0])
		allow_add(q, "OPTIONS");
}

static int route_find(struct request *q, const char *method)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct slice params[PARAMS] = {};

		if (!method_is(&table[i], method) || !path_fits(table[i].path, q->path, params))
			continue;
		q->route = &table[i];
		return params_decode(q, params);
	}
	return -ENOENT;
}

static const char *header_get(const struct request *q, const char *name)
{
	return MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, name);
}

/* application/json, with or without parameters. */
static bool type_is_json(const char *type)
{
	size_t n = strlen("application/json");

	return type && strncasecmp(type, "application/json", n) == 0 &&
	       (!type[n] || strchr("; \t", type[n]));
}

/* Also a body that nobody asked for is waited for and thrown away: not an endless one. */
static int body_check(struct request *q)
{
	const char *length = header_get(q, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t n = 0;

	if (route_takes_body(q->route) &&
	    !type_is_json(header_get(q, MHD_HTTP_HEADER_CONTENT_TYPE)))
		return answer_problem(q, 415, "the body must be application/json");
	if (length && (number_parse(length, &n) < 0 || n > LIMIT_BODY))
		return answer_problem(q, 413, "a body is at most %u MiB", LIMIT_BODY >> 20);
	return 0;
}

static int form_check(struct request *q)
{
	const char *accept = header_get(q, MHD_HTTP_HEADER_ACCEPT);

	if (q->route->flags & ROUTE_METRICS || accept_quality(accept, TYPE_JSON) > 0)
		return 0;
	if (q->route->flags & ROUTE_LINES && accept_quality(accept, TYPE_NDJSON) > 0)
		return 0;
	return answer_problem(q, 406, "this is answered as %s only",
			      q->route->flags & ROUTE_LINES ? TYPE_NDJSON : TYPE_JSON);
}

/* Arguments that name something must have the form of a name. */
static void names_check(const struct query *query, struct problems *problems)
{
	for (size_t i = 0; i < query->n; i++) {
		const struct query_arg *a = &query->args[i];
		bool object = strcmp(a->name, "namespace") == 0 || strcmp(a->name, "service") == 0;

		if (object && !name_is_label(a->value))
			problem_add(
				problems, "",
				"query parameter %s is a name (an RFC 1123 label), not \"%.60s\"",
				a->name, a->value);
		if (strcmp(a->name, "source") == 0 && !codec_is_source(a->value))
			problem_add(problems, "",
				    "query parameter source is a source, not \"%.60s\"", a->value);
		if (strcmp(a->name, "label") == 0 && !*a->value)
			problem_add(problems, "", "query parameter label is empty");
	}
}

static int query_check(struct request *q, const char *text)
{
	struct problems problems = {};
	int r = query_parse(text, q->route->query, &problems, &q->query);

	if (r >= 0)
		names_check(&q->query, &problems);
	if (problems_any(&problems))
		r = answer_problem(q, 400, "%s",
				   problems.n ? problems.items[0].message : "bad query");
	else if (r < 0)
		r = answer_error(q, r, NULL);
	problems_done(&problems);
	return r;
}

/* A condition that cannot be read must not count as one that holds. */
static int tags_check(struct request *q)
{
	static const char *const names[] = {MHD_HTTP_HEADER_IF_MATCH,
					    MHD_HTTP_HEADER_IF_NONE_MATCH};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *text = header_get(q, names[i]);

		if (q->route->flags & ROUTE_ADMIN && text && !name_is_tags(text))
			return answer_problem(
				q, 400, "%s is \"*\" or a list of entity tags in quotes", names[i]);
	}
	return 0;
}

static int refuse(struct request *q, int error, const char *method)
{
	if (error == -EINVAL)
		return answer_problem(q, 400, "the path holds a bad percent-encoding");
	if (error != -ENOENT)
		return answer_error(q, error, NULL);
	allow_fill(q);
	if (!q->allow[0])
		return answer_problem(q, 404,
				      "there is nothing at this path; see /v1/openapi.json");
	if (strcmp(method, "OPTIONS") == 0)
		return answer_empty(q, 204);
	return answer_problem(q, 405, "%.20s is not possible here; allowed: %s", method, q->allow);
}

/* With another coding nobody knows where the body ends (RFC 9112 §6.3). */
static bool coding_is_known(const struct request *q)
{
	const char *coding = header_get(q, MHD_HTTP_HEADER_TRANSFER_ENCODING);

	return !coding || strcasecmp(coding, "chunked") == 0;
}

int route_begin(struct request *q, const char *method)
{
	char *mark = strchr(q->path, '?');
	int r;

	if (mark)
		*mark++ = 0;
	q->head = strcmp(method, "HEAD") == 0;
	if (!coding_is_known(q))
		return answer_problem(q, 400, "the only transfer coding known here is chunked");
	r = route_find(q, method);
	if (r < 0)
		return refuse(q, r, method);
	if (q->route->flags & ROUTE_ADMIN && !q->caller.admin)
		return answer_problem(q, 403, "this socket only reads; use the control socket");
	r = query_check(q, mark ? mark : "");
	if (r >= 0 && !q->answered)
		r = form_check(q);
	if (r >= 0 && !q->answered)
		r = tags_check(q);
	if (r >= 0 && !q->answered)
		r = body_check(q);
	return r;
}

int route_end(struct request *q)
{
	int r;

	if (q->too_large)
		return answer_problem(q, 413, "a body is at most %u MiB", LIMIT_BODY >> 20);
	if (q->no_room)
		return answer_problem(q, 503, "too many large requests at once");
	if (q->body.failed)
		return answer_error(q, -ENOMEM, NULL);
	r = q->route->handle(q);
	return r < 0 && !q->answered ? answer_error(q, r, NULL) : r;
}
