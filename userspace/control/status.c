/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the daemon fares: status, health, doctor, settings, sources, workloads, and the end of it
 * all. Before: route.c. After: answer.c. Sums over all services are made in steps, as a stream.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/answer.h"
#include "control/handler.h"
#include "control/view.h"
#include "model/limits.h"

#define LIMIT_NAMED 10 /* services in panic that are named; all are counted */

/* --- status ------------------------------------------------------------------------------- */

struct survey {
	struct stream stream;
	struct service **services; /* references */
	size_t n, next, n_policies;
	size_t without_backend, degraded, endpoints, usable, draining, ejected, held;
	size_t panics;
	struct service *panicking[LIMIT_NAMED]; /* the first of them; borrowed from services */
	struct traffic sum;
};

static void survey_free(struct stream *s)
{
	struct survey *v = container_of(s, struct survey, stream);

	for (size_t i = 0; i < v->n; i++)
		service_unref(v->services[i]);
	free(v->services);
	free(v);
}

static void survey_add(struct survey *v, struct service *s)
{
	const struct control *c = v->stream.control;
	size_t usable = c->ops.service_usable(c->ops.arg, s), draining = 0;
	struct service_state state = {};
	struct traffic t = {};

	for (size_t i = 0; i < s->n_endpoints; i++)
		draining += s->endpoints[i].weight == 0;
	(void)c->ops.service_state(c->ops.arg, s, &state);
	v->ejected += state.ejected;
	v->held += state.held;
	if (state.panic_ns && v->panics++ < LIMIT_NAMED)
		v->panicking[v->panics - 1] = s;
	v->endpoints += s->n_endpoints;
	v->usable += usable;
	v->draining += draining;
	v->without_backend += usable == 0;
	v->degraded +=
		usable + draining < s->n_endpoints || usable == 0 || state.ejected || state.held;
	if (c->ops.service_traffic(c->ops.arg, s, &t) >= 0)
		traffic_add(&v->sum, &t);
}

static void facts_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *o)
{
	struct control_program_facts f = {};
	yyjson_mut_val *programs;

	c->ops.status(c->ops.arg, &f);
	view_add_text(doc, o, "version", f.version);
	if (f.revision)
		view_add_text(doc, o, "revision", f.revision);
	(void)yyjson_mut_obj_add_uint(doc, o, "abi", f.abi);
	(void)yyjson_mut_obj_add_int(doc, o, "pid", f.pid);
	view_add_time(doc, o, "startedAt", f.started_ms);
	view_add_time(doc, o, "attachedAt", f.attached_ms);
	view_add_text(doc, o, "kernel", f.kernel);
	view_add_text(doc, o, "cgroup", f.cgroup);
	(void)yyjson_mut_obj_add_bool(doc, o, "cgroupOk", f.cgroup_ok);
	(void)yyjson_mut_obj_add_uint(doc, o, "cgroupRepairs", f.cgroup_repairs);
	view_add_text(doc, o, "bpffs", f.bpffs);
	programs = yyjson_mut_obj_add_obj(doc, o, "programs");
	(void)yyjson_mut_obj_add_uint(doc, programs, "attached", f.programs_attached);
	(void)yyjson_mut_obj_add_uint(doc, programs, "wanted", f.programs_wanted);
	view_add_seconds(doc, o, "heartbeatAgeSeconds", f.heartbeat_age_ms * 1000000u);
	(void)yyjson_mut_obj_add_uint(doc, o, "stateWriteFailures", f.state_write_failures);
	view_add_seconds(doc, o, "loopMaxSeconds", f.loop_max_us * 1000u);
}

static void panics_add(const struct survey *v, yyjson_mut_doc *doc, yyjson_mut_val *o)
{
	char name[2 * LIMIT_NAME + 2];
	yyjson_mut_val *list;

	(void)yyjson_mut_obj_add_uint(doc, o, "panic", v->panics);
	list = yyjson_mut_obj_add_arr(doc, o, "inPanic");
	for (size_t i = 0; i < v->panics && i < LIMIT_NAMED; i++) {
		(void)snprintf(name, sizeof(name), "%s/%s", v->panicking[i]->namespace,
			       v->panicking[i]->name);
		(void)yyjson_mut_arr_add_strcpy(doc, list, name);
	}
}

static void totals_add(const struct survey *v, yyjson_mut_doc *doc, yyjson_mut_val *o)
{
	yyjson_mut_val *p = yyjson_mut_obj_add_obj(doc, o, "services"), *map;

	(void)yyjson_mut_obj_add_uint(doc, p, "total", v->n);
	(void)yyjson_mut_obj_add_uint(doc, p, "degraded", v->degraded);
	(void)yyjson_mut_obj_add_uint(doc, p, "withoutBackend", v->without_backend);
	panics_add(v, doc, p);
	p = yyjson_mut_obj_add_obj(doc, o, "endpoints");
	(void)yyjson_mut_obj_add_uint(doc, p, "total", v->endpoints);
	(void)yyjson_mut_obj_add_uint(doc, p, "usable", v->usable);
	(void)yyjson_mut_obj_add_uint(doc, p, "draining", v->draining);
	(void)yyjson_mut_obj_add_uint(doc, p, "ejected", v->ejected);
	(void)yyjson_mut_obj_add_uint(doc, p, "held", v->held);
	(void)yyjson_mut_obj_add_uint(doc, o, "policies", v->n_policies);
	p = yyjson_mut_obj_add_obj(doc, o, "traffic");
	(void)yyjson_mut_obj_add_uint(doc, p, "attempts", v->sum.attempts);
	(void)yyjson_mut_obj_add_uint(doc, p, "active", v->sum.active);
	(void)yyjson_mut_obj_add_uint(doc, p, "ejections", v->sum.ejections);
	(void)yyjson_mut_obj_add_uint(doc, p, "failedOver", v->sum.failed_over);
	map = yyjson_mut_obj_add_obj(doc, p, "outcomes");
	for (unsigned int i = 0; i < SN_R_BACKEND_MAX; i++)
		(void)yyjson_mut_obj_add_uint(doc, map, view_reason(i), v->sum.outcome[i]);
	map = yyjson_mut_obj_add_obj(doc, p, "refused");
	for (unsigned int i = 0; i < SN_R_SERVICE_COUNT; i++)
		(void)yyjson_mut_obj_add_uint(doc, map, view_reason(SN_R_BACKEND_MAX + i),
					      v->sum.refused_here[i]);
}

static void node_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *o)
{
	yyjson_mut_val *node = yyjson_mut_obj_add_obj(doc, o, "node"), *list, *item;
	const struct map_fill *maps;
	const struct program_run *runs;
	size_t n;

	for (unsigned int i = SN_R_SERVICE_MAX; i < SN_R_MAX; i++)
		(void)yyjson_mut_obj_add_uint(doc, node, view_reason(i),
					      c->ops.node_count(c->ops.arg, i));
	list = yyjson_mut_obj_add_arr(doc, o, "maps");
	n = c->ops.map_fills(c->ops.arg, &maps);
	for (size_t i = 0; i < n; i++) {
		item = yyjson_mut_arr_add_obj(doc, list);
		view_add_text(doc, item, "name", maps[i].name);
		(void)yyjson_mut_obj_add_uint(doc, item, "used", maps[i].used);
		(void)yyjson_mut_obj_add_uint(doc, item, "max", maps[i].max);
	}
	list = yyjson_mut_obj_add_arr(doc, o, "programRuns");
	n = c->ops.program_runs(c->ops.arg, &runs);
	for (size_t i = 0; i < n; i++) {
		item = yyjson_mut_arr_add_obj(doc, list);
		view_add_text(doc, item, "name", runs[i].name);
		(void)yyjson_mut_obj_add_bool(doc, item, "attached", runs[i].attached);
		(void)yyjson_mut_obj_add_uint(doc, item, "runs", runs[i].runs);
		view_add_seconds(doc, item, "runSeconds", runs[i].run_ns);
	}
}

static void sources_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *list)
{
	size_t n;
	const struct source *sources = store_sources(c->ops.store(c->ops.arg), &n);

	for (size_t i = 0; i < n; i++) {
		yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, list);

		view_add_text(doc, item, "name", sources[i].name);
		(void)yyjson_mut_obj_add_uint(doc, item, "generation", sources[i].generation);
		(void)yyjson_mut_obj_add_uint(doc, item, "services", sources[i].n_services);
		(void)yyjson_mut_obj_add_uint(doc, item, "policies", sources[i].n_policies);
		(void)yyjson_mut_obj_add_uint(doc, item, "registrations",
					      sources[i].n_registrations);
		view_add_time(doc, item, "changedAt", sources[i].changed_ms);
	}
}

static void control_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *o)
{
	yyjson_mut_val *p = yyjson_mut_obj_add_obj(doc, o, "control");

	(void)yyjson_mut_obj_add_uint(doc, p, "clients",
				      c->doors[0].n_clients + c->doors[1].n_clients);
	(void)yyjson_mut_obj_add_uint(doc, p, "subscribers", c->n_subscribers);
	(void)yyjson_mut_obj_add_uint(doc, p, "slowReaders", c->counters.slow_readers);
	(void)yyjson_mut_obj_add_uint(doc, p, "slowSenders", c->counters.slow_senders);
	(void)yyjson_mut_obj_add_uint(doc, p, "refusedClients", c->counters.refused_clients);
	(void)yyjson_mut_obj_add_uint(doc, p, "malformedRequests", c->counters.malformed);
}

struct item_list {
	yyjson_mut_doc *doc;
	yyjson_mut_val *list;
};

static void interface_visit(void *arg, const struct control_interface *i)
{
	struct item_list *l = arg;
	yyjson_mut_val *item = yyjson_mut_arr_add_obj(l->doc, l->list);

	view_add_text(l->doc, item, "name", i->name);
	(void)yyjson_mut_obj_add_uint(l->doc, item, "index", i->index);
	view_add_text(l->doc, item, "attached", i->attached);
	if (i->reason)
		view_add_text(l->doc, item, "reason", i->reason);
}

static void interfaces_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *list)
{
	c->ops.interfaces(c->ops.arg, interface_visit, &(struct item_list){doc, list});
}

static int survey_write(struct survey *v)
{
	const struct control *c = v->stream.control;
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	_cleanup_free_ char *text = NULL;
	yyjson_mut_val *root;
	size_t length;

	if (!doc)
		return -ENOMEM;
	root = view_root(doc, "Status");
	yyjson_mut_doc_set_root(doc, root);
	facts_add(c, doc, root);
	totals_add(v, doc, root);
	node_add(c, doc, root);
	sources_add(c, doc, yyjson_mut_obj_add_arr(doc, root, "sources"));
	interfaces_add(c, doc, yyjson_mut_obj_add_arr(doc, root, "interfaces"));
	control_add(c, doc, root);
	text = yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, &length);
	yyjson_mut_doc_free(doc);
	if (!text)
		return -ENOMEM;
	bytes_append(&v->stream.out, text, length);
	bytes_text(&v->stream.out, "\n");
	return 1;
}

static int survey_step(struct stream *s)
{
	struct survey *v = container_of(s, struct survey, stream);

	if (v->next == v->n)
		return survey_write(v);
	survey_add(v, v->services[v->next++]);
	return 0;
}

int status_get(struct request *q)
{
	const struct store *store = q->control->ops.store(q->control->ops.arg);
	struct survey *v = calloc(1, sizeof(*v));
	struct service *const *all;
	size_t n;

	if (!v)
		return -ENOMEM;
	v->stream.step = survey_step;
	v->stream.free = survey_free;
	all = store_services(store, &n);
	(void)store_policies(store, &v->n_policies);
	v->services = calloc(n + 1, sizeof(*v->services));
	if (!v->services) {
		stream_free(&v->stream);
		return -ENOMEM;
	}
	for (; v->n < n; v->n++)
		v->services[v->n] = service_ref(all[v->n]);
	return answer_stream(q, 200, TYPE_JSON, &v->stream);
}

/* --- small answers ------------------------------------------------------------------------ */

/* Answers with {"apiVersion", "kind", "items": [...]}; `fill` adds the items. */
static int items_answer(struct request *q, const char *kind,
			void (*fill)(const struct control *c, yyjson_mut_doc *doc,
				     yyjson_mut_val *list))
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root;
	int r;

	if (!doc)
		return -ENOMEM;
	root = view_root(doc, kind);
	yyjson_mut_doc_set_root(doc, root);
	fill(q->control, doc, yyjson_mut_obj_add_arr(doc, root, "items"));
	r = answer_json(q, 200, doc);
	yyjson_mut_doc_free(doc);
	return r;
}

int status_sources(struct request *q)
{
	return items_answer(q, "SourceList", sources_add);
}

static void doctor_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *list)
{
	static const char *const levels[] = {
		[CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_FAIL] = "fail"};
	const struct control_check *checks;
	size_t n = c->ops.doctor(c->ops.arg, &checks);

	for (size_t i = 0; i < n; i++) {
		yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, list);

		view_add_text(doc, item, "name", checks[i].name);
		(void)yyjson_mut_obj_add_str(doc, item, "level", levels[checks[i].level]);
		view_add_text(doc, item, "text", checks[i].text);
		if (checks[i].hint[0])
			view_add_text(doc, item, "hint", checks[i].hint);
	}
}

/* Comes back here when control_inspected() has let the request go on. */
int status_doctor(struct request *q)
{
	const struct control *c = q->control;

	if (!q->inspected && c->ops.inspect && c->ops.inspect(c->ops.arg) > 0) {
		q->inspected = true;
		server_suspend(q);
		return 0;
	}
	return items_answer(q, "CheckList", doctor_add);
}

static void setting_visit(void *arg, const char *key, const char *value, const char *origin)
{
	struct item_list *l = arg;
	yyjson_mut_val *item = yyjson_mut_arr_add_obj(l->doc, l->list);

	view_add_text(l->doc, item, "key", key);
	view_add_text(l->doc, item, "value", value);
	view_add_text(l->doc, item, "origin", origin);
}

static void settings_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *list)
{
	c->ops.config(c->ops.arg, setting_visit, &(struct item_list){doc, list});
}

int status_config(struct request *q)
{
	return items_answer(q, "SettingList", settings_add);
}

static void workload_visit(void *arg, const char *cgroup, uint64_t id)
{
	struct item_list *l = arg;
	yyjson_mut_val *item = yyjson_mut_arr_add_obj(l->doc, l->list);

	view_add_text(l->doc, item, "cgroup", cgroup);
	(void)yyjson_mut_obj_add_uint(l->doc, item, "id", id);
	(void)yyjson_mut_obj_add_bool(l->doc, item, "bypass", true);
}

static void workloads_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *list)
{
	c->ops.workloads(c->ops.arg, workload_visit, &(struct item_list){doc, list});
}

int status_workloads(struct request *q)
{
	return items_answer(q, "WorkloadList", workloads_add);
}

int status_health(struct request *q)
{
	static const char text[] = "{\"status\":\"ok\"}\n";

	return answer_static(q, TYPE_JSON, text, sizeof(text) - 1);
}

int status_uninstall(struct request *q)
{
	int r = q->control->ops.uninstall(q->control->ops.arg);
	static const char text[] = "{\"status\":\"uninstalling\"}\n";

	if (r < 0)
		return answer_problem(q, 503, "not everything could be removed: %s", strerror(-r));
	return answer_static(q, TYPE_JSON, text, sizeof(text) - 1);
}
