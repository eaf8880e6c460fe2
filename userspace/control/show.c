/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listings and single objects. Before: route.c. After: a stream renders item by item over
 * references taken now, so that an answer shows one state however slowly it is read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "control/answer.h"
#include "control/handler.h"
#include "control/listing.h"
#include "control/view.h"

#define LIMIT_PAGE 10000u
#define LIMIT_FLOWS 10000u

/* --- filters ------------------------------------------------------------------------------ */

struct filter {
	const struct query *query;
	const char *namespace, *name, *source;
	const char *after; /* "namespace/name" of the last item of the page before */
	uint64_t limit;
	bool brief;
};

static bool label_fits(const struct label *labels, size_t n, const char *want)
{
	size_t key = strcspn(want, "=");

	for (size_t i = 0; i < n; i++)
		if (strlen(labels[i].key) == key && memcmp(labels[i].key, want, key) == 0 &&
		    (!want[key] || strcmp(labels[i].value, want + key + 1) == 0))
			return true;
	return false;
}

static bool labels_fit(const struct filter *f, const struct label *labels, size_t n)
{
	for (size_t i = 0; i < f->query->n; i++)
		if (strcmp(f->query->args[i].name, "label") == 0 &&
		    !label_fits(labels, n, f->query->args[i].value))
			return false;
	return true;
}

static bool service_fits(const struct filter *f, const struct service *s)
{
	return labels_fit(f, s->labels, s->n_labels) &&
	       (!f->namespace || strcmp(f->namespace, s->namespace) == 0) &&
	       (!f->name || strcmp(f->name, s->name) == 0) &&
	       (!f->source || strcmp(f->source, s->source) == 0);
}

static bool policy_fits(const struct filter *f, const struct policy *p)
{
	return (!f->namespace || strcmp(f->namespace, p->namespace) == 0) &&
	       (!f->source || strcmp(f->source, p->source) == 0);
}

static bool registration_fits(const struct filter *f, const struct registration *r)
{
	return labels_fit(f, r->labels, r->n_labels) &&
	       (!f->namespace || strcmp(f->namespace, r->namespace) == 0) &&
	       (!f->source || strcmp(f->source, r->source) == 0);
}

/* Order of "namespace/name" after the token; the store sorts by namespace, then name. */
static bool is_after(const char *after, const char *namespace, const char *name)
{
	size_t n = strcspn(after, "/");
	int order = strncmp(namespace, after, n);

	if (order == 0 && namespace[n])
		order = 1;
	return order > 0 || (order == 0 && after[n] && strcmp(name, after + n + 1) > 0);
}

/* Answers what it cannot read: the caller looks at q->answered. */
static int filter_read(struct request *q, struct filter *ret)
{
	struct filter f = {.query = &q->query,
			   .namespace = query_get(&q->query, "namespace"),
			   .name = query_get(&q->query, "service"),
			   .source = query_get(&q->query, "source"),
			   .after = query_get(&q->query, "continue"),
			   .limit = UINT64_MAX};
	struct problems problems = {};
	struct query_range range = {1, LIMIT_PAGE};
	int r = query_number(&q->query, "limit", range, &problems, &f.limit);

	if (r >= 0)
		r = query_bool(&q->query, "brief", &problems, &f.brief);
	if (r >= 0 && f.after && !strchr(f.after, '/')) {
		problem_add(&problems, "", "continue is not a token that this API gave out");
		r = -EINVAL;
	}
	if (r < 0)
		r = answer_problem(q, 400, "%s", problems.n ? problems.items[0].message : "?");
	problems_done(&problems);
	*ret = f;
	return r;
}

static void etag_set(struct request *q, uint64_t etag)
{
	(void)snprintf(q->etag, sizeof(q->etag), "\"%016llx\"", (unsigned long long)etag);
}

/* The client has it already (RFC 9110 §13.1.2): its tag is in the list of If-None-Match. */
static bool is_unmodified(const struct request *q)
{
	const char *tags =
		MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "If-None-Match");

	return tags && strstr(tags, q->etag);
}

/* --- lists -------------------------------------------------------------------------------- */

static int service_render(struct listing *l, yyjson_mut_doc *doc, size_t i)
{
	yyjson_mut_doc_set_root(doc, view_service_status(l->stream.control, doc, l->services[i]));
	return 0;
}

static int policy_render(struct listing *l, yyjson_mut_doc *doc, size_t i)
{
	yyjson_mut_doc_set_root(doc, view_policy_status(l->stream.control, doc, l->policies[i]));
	return 0;
}

/* What its names lead to, and nothing that traffic or a registry's endpoints change. */
static struct service brief_of(const struct service *s)
{
	struct service brief = {.namespace = s->namespace,
				.name = s->name,
				.policy = (char *)"default",
				.n_addresses = s->n_addresses,
				.allocated = s->allocated,
				.ports = s->ports,
				.n_ports = s->n_ports};

	memcpy(brief.address, s->address, sizeof(brief.address));
	return brief;
}

static int brief_render(struct listing *l, yyjson_mut_doc *doc, size_t i)
{
	const struct service brief = brief_of(l->services[i]);

	yyjson_mut_doc_set_root(doc, codec_encode_service(doc, &brief));
	return 0;
}

static uint64_t brief_hash(const struct service *s, uint64_t seed)
{
	seed = text_hash(s->namespace, strlen(s->namespace) + 1, seed);
	seed = text_hash(s->name, strlen(s->name) + 1, seed);
	seed = text_hash(s->address, s->n_addresses * sizeof(*s->address), seed + s->allocated);
	for (size_t i = 0; i < s->n_ports; i++) {
		const struct service_port *p = &s->ports[i];

		seed = text_hash(p->name, strlen(p->name) + 1, seed + p->proto);
		seed = text_hash(&p->port, sizeof(p->port), seed);
	}
	return seed;
}

static uint64_t listing_hash(const struct listing *l)
{
	uint64_t hash = l->n;

	for (size_t i = 0; i < l->n; i++)
		hash = brief_hash(l->services[i], hash);
	return hash;
}

/* Whoever has this very list is told so alone: asking often costs nothing. */
static int brief_answer(struct request *q, struct listing *l)
{
	etag_set(q, listing_hash(l));
	l->render = brief_render;
	if (!is_unmodified(q))
		return answer_stream(q, 200, TYPE_JSON, &l->stream);
	stream_free(&l->stream);
	return answer_empty(q, 304);
}

static void services_take(struct request *q, const struct filter *f, struct listing *l)
{
	size_t n, i;
	struct service *const *all = store_services(q->control->ops.store(q->control->ops.arg), &n);

	for (i = 0; i < n && l->n < f->limit; i++)
		if ((!f->after || is_after(f->after, all[i]->namespace, all[i]->name)) &&
		    service_fits(f, all[i]))
			l->services[l->n++] = service_ref(all[i]);
	if (i < n && l->n)
		listing_continue(l, l->services[l->n - 1]->namespace, l->services[l->n - 1]->name);
}

int show_services(struct request *q)
{
	struct filter f;
	struct listing *l;
	size_t n;
	int r;

	(void)store_services(q->control->ops.store(q->control->ops.arg), &n);
	r = filter_read(q, &f);
	if (r < 0 || q->answered)
		return r;
	r = listing_new("ServiceList", service_render, n, &l);
	if (r < 0)
		return r;
	services_take(q, &f, l);
	return f.brief ? brief_answer(q, l) : answer_stream(q, 200, TYPE_JSON, &l->stream);
}

int show_policies(struct request *q)
{
	struct filter f;
	struct listing *l;
	size_t n, i;
	struct policy *const *all = store_policies(q->control->ops.store(q->control->ops.arg), &n);
	int r;

	r = filter_read(q, &f);
	if (r < 0 || q->answered)
		return r;
	r = listing_new("TrafficPolicyList", policy_render, n, &l);
	if (r < 0)
		return r;
	l->of = OBJECT_POLICY;
	for (i = 0; i < n && l->n < f.limit; i++)
		if ((!f.after || is_after(f.after, all[i]->namespace, all[i]->name)) &&
		    policy_fits(&f, all[i]))
			l->policies[l->n++] = policy_ref(all[i]);
	if (i < n && l->n)
		listing_continue(l, l->policies[l->n - 1]->namespace, l->policies[l->n - 1]->name);
	return answer_stream(q, 200, TYPE_JSON, &l->stream);
}

static int registration_render(struct listing *l, yyjson_mut_doc *doc, size_t i)
{
	yyjson_mut_doc_set_root(doc, view_registration(doc, l->registrations[i]));
	return 0;
}

/* Of what is listed: who polls learns that nothing changed without reading it. */
static uint64_t registrations_tag(const struct listing *l)
{
	uint64_t tag = l->n;

	for (size_t i = 0; i < l->n; i++) {
		const char *source = l->registrations[i]->source;

		tag = text_hash(&l->registrations[i]->etag, sizeof(uint64_t), tag);
		tag = text_hash(source, strlen(source), tag);
	}
	return tag;
}

int show_registrations(struct request *q)
{
	struct filter f;
	struct listing *l;
	size_t n, i;
	struct registration *const *all =
		store_registrations(q->control->ops.store(q->control->ops.arg), &n);
	int r;

	r = filter_read(q, &f);
	if (r < 0 || q->answered)
		return r;
	r = listing_new("RegistrationList", registration_render, n, &l);
	if (r < 0)
		return r;
	l->of = OBJECT_REGISTRATION;
	for (i = 0; i < n && l->n < f.limit; i++)
		if ((!f.after || is_after(f.after, all[i]->namespace, all[i]->name)) &&
		    registration_fits(&f, all[i]))
			l->registrations[l->n++] = registration_ref(all[i]);
	if (i < n && l->n)
		listing_continue(l, l->registrations[l->n - 1]->namespace,
				 l->registrations[l->n - 1]->name);
	etag_set(q, registrations_tag(l));
	if (is_unmodified(q)) {
		stream_free(&l->stream);
		return answer_empty(q, 304);
	}
	return answer_stream(q, 200, TYPE_JSON, &l->stream);
}

/* One item for each endpoint and port of one service. */
static int backends_render(struct listing *l, yyjson_mut_doc *doc, size_t i)
{
	yyjson_mut_val *list = yyjson_mut_arr(doc);
	struct view_place at = {l->services[i], l->part, 0};

	for (; at.endpoint < at.service->n_endpoints && at.endpoint < l->part + 16; at.endpoint++)
		for (at.port = 0; at.port < at.service->n_ports; at.port++)
			(void)yyjson_mut_arr_append(list, view_backend(l->stream.control, doc, at));
	yyjson_mut_doc_set_root(doc, list);
	l->part = at.endpoint < at.service->n_endpoints ? at.endpoint : 0;
	return 0;
}

int show_backends(struct request *q)
{
	struct filter f;
	struct listing *l;
	size_t n;
	struct service *const *all = store_services(q->control->ops.store(q->control->ops.arg), &n);
	int r;

	r = filter_read(q, &f);
	if (r < 0 || q->answered)
		return r;
	r = listing_new("BackendList", backends_render, n, &l);
	if (r < 0)
		return r;
	l->is_flat = true;
	for (size_t i = 0; i < n; i++)
		if (service_fits(&f, all[i]))
			l->services[l->n++] = service_ref(all[i]);
	return answer_stream(q, 200, TYPE_JSON, &l->stream);
}

/* --- single objects ----------------------------------------------------------------------- */

static int object_answer(struct request *q, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	int r;

	if (!root)
		return -ENOMEM;
	yyjson_mut_doc_set_root(doc, root);
	r = answer_json(q, 200, doc);
	return r;
}

int show_service(struct request *q)
{
	struct control *c = q->control;
	const struct service *s =
		store_find_service(c->ops.store(c->ops.arg), q->params[0], q->params[1]);
	yyjson_mut_doc *doc;
	int r;

	if (!s)
		return answer_problem(q, 404, "there is no service %s/%s", q->params[0],
				      q->params[1]);
	etag_set(q, s->etag);
	doc = yyjson_mut_doc_new(NULL);
	r = object_answer(q, doc, view_service_status(c, doc, s));
	yyjson_mut_doc_free(doc);
	return r;
}

int show_registration(struct request *q)
{
	struct control *c = q->control;
	const struct registration *registration =
		store_find_registration(c->ops.store(c->ops.arg), q->params[0], q->params[1]);
	yyjson_mut_doc *doc;
	int r;

	if (!registration)
		return answer_problem(q, 404, "there is no registration %s/%s", q->params[0],
				      q->params[1]);
	etag_set(q, registration->etag);
	doc = yyjson_mut_doc_new(NULL);
	r = object_answer(q, doc, view_registration(doc, registration));
	yyjson_mut_doc_free(doc);
	return r;
}

static void users_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct store *store,
		      const struct policy *p)
{
	size_t n, users = 0;
	struct service *const *all = store_services(store, &n);

	for (size_t i = 0; i < n; i++)
		users += !strcmp(all[i]->policy, p->name) &&
			 !strcmp(all[i]->namespace, p->namespace);
	(void)yyjson_mut_obj_add_uint(doc, yyjson_mut_obj_get(object, "status"), "services", users);
}

int show_policy(struct request *q)
{
	struct control *c = q->control;
	const struct policy *p =
		store_find_policy(c->ops.store(c->ops.arg), q->params[0], q->params[1]);
	yyjson_mut_val *object;
	yyjson_mut_doc *doc;
	int r;

	if (!p)
		return answer_problem(q, 404, "there is no policy %s/%s", q->params[0],
				      q->params[1]);
	etag_set(q, p->etag);
	doc = yyjson_mut_doc_new(NULL);
	object = view_policy_status(c, doc, p);
	users_add(doc, object, c->ops.store(c->ops.arg), p);
	r = object_answer(q, doc, object);
	yyjson_mut_doc_free(doc);
	return r;
}

/* --- a source's whole snapshot ------------------------------------------------------------------
 */

static int snapshot_render(struct listing *l, yyjson_mut_doc *doc, size_t i)
{
	size_t services = l->n - l->n_more;

	yyjson_mut_doc_set_root(doc, i < services ? view_service(doc, l->services[i])
						  : view_object(doc, &l->more[i - services]));
	return 0;
}

/* Policies and registrations. */
static int snapshot_more(struct listing *l, const struct store *store, const char *source)
{
	size_t n_policies, n_registrations;
	struct policy *const *policies = store_policies(store, &n_policies);
	struct registration *const *registrations = store_registrations(store, &n_registrations);

	l->more = calloc(n_policies + n_registrations + 1, sizeof(*l->more));
	if (!l->more)
		return -ENOMEM;
	for (size_t i = 0; i < n_policies; i++)
		if (strcmp(policies[i]->source, source) == 0)
			l->more[l->n_more++] = (struct object){.kind = OBJECT_POLICY,
							       .policy = policy_ref(policies[i])};
	for (size_t i = 0; i < n_registrations; i++)
		if (strcmp(registrations[i]->source, source) == 0)
			l->more[l->n_more++] =
				(struct object){.kind = OBJECT_REGISTRATION,
						.registration = registration_ref(registrations[i])};
	return 0;
}

static int snapshot_fill(struct listing *l, const struct store *store, const char *source)
{
	size_t n;
	struct service *const *services = store_services(store, &n);
	int r;

	for (size_t i = 0; i < n; i++)
		if (strcmp(services[i]->source, source) == 0)
			l->services[l->n++] = service_ref(services[i]);
	r = snapshot_more(l, store, source);
	l->n += l->n_more;
	return r;
}

int show_source(struct request *q)
{
	struct control *c = q->control;
	const struct store *store = c->ops.store(c->ops.arg);
	uint64_t generation = store_generation(store, q->params[0]);
	struct listing *l;
	size_t n;
	int r;

	if (!generation)
		return answer_problem(q, 404, "there is no source %s", q->params[0]);
	(void)store_services(store, &n);
	r = listing_new("List", snapshot_render, n, &l);
	if (r < 0)
		return r;
	r = snapshot_fill(l, store, q->params[0]);
	if (r < 0) {
		stream_free(&l->stream);
		return r;
	}
	l->generation = generation;
	(void)snprintf(q->etag, sizeof(q->etag), "\"%llu\"", (unsigned long long)generation);
	return answer_stream(q, 200, TYPE_JSON, &l->stream);
}

/* --- flows -------------------------------------------------------------------------------- */

struct flow_filter {
	const struct control *control;
	const char *namespace, *service;
	yyjson_mut_doc *doc;
	yyjson_mut_val *items;
	uint64_t left;
};

static int flow_visit(void *arg, const struct sn_flow *flow)
{
	struct flow_filter *f = arg;
	size_t endpoint, port = 0;
	const struct service *s = f->control->ops.backend_owner(
		f->control->ops.arg, flow->backend, flow->incarnation, &endpoint, &port);

	s = view_asked(f->control, flow, s, port);
	if (f->namespace && (!s || strcmp(s->namespace, f->namespace) != 0))
		return 0;
	if (f->service && (!s || strcmp(s->name, f->service) != 0))
		return 0;
	(void)yyjson_mut_arr_append(f->items, view_flow(f->control, f->doc, flow));
	return --f->left ? 0 : -ECANCELED;
}

int show_flows(struct request *q)
{
	struct control *c = q->control;
	struct flow_filter f = {
		c,   query_get(&q->query, "namespace"), query_get(&q->query, "service"), NULL, NULL,
		1000};
	struct problems problems = {};
	struct query_range range = {1, LIMIT_FLOWS};
	yyjson_mut_val *root;
	int r = query_number(&q->query, "limit", range, &problems, &f.left);

	if (r < 0)
		r = answer_problem(q, 400, "%s", problems.n ? problems.items[0].message : "?");
	problems_done(&problems);
	if (q->answered)
		return r;
	f.doc = yyjson_mut_doc_new(NULL);
	if (!f.doc)
		return -ENOMEM;
	root = view_root(f.doc, "FlowList");
	f.items = yyjson_mut_obj_add_arr(f.doc, root, "items");
	(void)c->ops.flows(c->ops.arg, f.namespace || f.service ? SIZE_MAX : f.left, flow_visit,
			   &f);
	yyjson_mut_doc_set_root(f.doc, root);
	r = answer_json(q, 200, f.doc);
	yyjson_mut_doc_free(f.doc);
	return r;
}
