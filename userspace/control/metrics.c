/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /metrics: a table with a row per metric, rendered family by family over references of the
 * services taken at the start. Before: route.c. After: stream.c sends chunk by chunk. Never more
 * than series_budget series of one metric: services past it are summed under "other".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/accept.h"
#include "control/answer.h"
#include "control/exposition.h"
#include "control/handler.h"
#include "control/process.h"
#include "control/view.h"

#define TYPE_CLASSIC "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_OPEN "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Powers of two, in ns, that end a bucket: 4 us to 4.3 s. The kernel's buckets end at these, too.
 */
static const unsigned int bounds[] = {12, 13, 14, 15, 16, 17, 18, 20, 22, 24, 26, 28, 30, 32};

struct sum {
	struct traffic traffic;
	uint64_t active, usable, draining, pending;
};

struct scrape {
	struct stream stream;
	struct exposition text;
	struct service **services; /* references */
	size_t n;
	size_t metric, next; /* row of the table; service in it */
	struct sum other;
	uint64_t written;       /* series of a row whose services have different numbers of them */
	uint64_t folded;        /* services summed under "other" in this row */
	uint64_t folded_series; /* in all rows */
	struct control_program_facts facts;
	struct process_use use;
};

struct metric {
	struct metric_head head;
	/* One of: once for the node, or for each service, which makes `series` series. */
	void (*fill)(struct scrape *s, const struct metric *m);
	void (*fill_service)(struct scrape *s, const struct metric *m, struct metric_label *labels,
			     const struct sum *v);
	unsigned int series;
	bool per_backend; /* opt-in: for each backend */
};

/* --- per service -------------------------------------------------------------------------- */

static void fill_attempts(struct scrape *s, const struct metric *m, struct metric_label *labels,
			  const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, v->traffic.attempts);
}

static void fill_connects(struct scrape *s, const struct metric *m, struct metric_label *labels,
			  const struct sum *v)
{
	labels[2].name = "reason";
	for (unsigned int i = 0; i < SN_R_BACKEND_MAX; i++) {
		labels[2].value = view_reason(i);
		exposition_count(&s->text, &m->head, labels, v->traffic.outcome[i]);
	}
}

static void fill_refusals(struct scrape *s, const struct metric *m, struct metric_label *labels,
			  const struct sum *v)
{
	labels[2].name = "reason";
	for (unsigned int i = 0; i < SN_R_SERVICE_COUNT; i++) {
		labels[2].value = view_reason(SN_R_BACKEND_MAX + i);
		exposition_count(&s->text, &m->head, labels, v->traffic.refused_here[i]);
	}
}

static void fill_active(struct scrape *s, const struct metric *m, struct metric_label *labels,
			const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, v->active);
}

static void fill_endpoints(struct scrape *s, const struct metric *m, struct metric_label *labels,
			   const struct sum *v)
{
	const struct {
		const char *state;
		uint64_t n;
	} rows[] = {{"active", v->usable}, {"draining", v->draining}, {"pending", v->pending}};

	labels[2].name = "state";
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		labels[2].value = rows[i].state;
		exposition_count(&s->text, &m->head, labels, rows[i].n);
	}
}

static void fill_duration(struct scrape *s, const struct metric *m, struct metric_label *labels,
			  const struct sum *v)
{
	uint64_t count = 0;
	size_t bucket = 0;
	char le[32];

	labels[2] = (struct metric_label){"le", le};
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		/* Kernel bucket b ends at 2^(b + SN_LATENCY_SHIFT + 1). */
		for (; bucket + SN_LATENCY_SHIFT + 1 <= bounds[i]; bucket++)
			count += v->traffic.latency[bucket];
		(void)snprintf(le, sizeof(le), "%.10g", (double)(1ull << bounds[i]) / 1e9);
		exposition_part(&s->text, &m->head, "_bucket", labels, (double)count);
	}
	for (; bucket < SN_LATENCY_BUCKETS; bucket++)
		count += v->traffic.latency[bucket];
	(void)snprintf(le, sizeof(le), "+Inf");
	exposition_part(&s->text, &m->head, "_bucket", labels, (double)count);
	labels[2] = (struct metric_label){};
	exposition_part(&s->text, &m->head, "_sum", labels, (double)v->traffic.connect_ns / 1e9);
	exposition_part(&s->text, &m->head, "_count", labels, (double)count);
}

/* --- per backend, opt-in ------------------------------------------------------------------------
 */

static void outcomes_write(struct scrape *s, const struct metric *m, const struct traffic *t,
			   const char *const values[4])
{
	struct metric_label labels[] = {{"namespace", values[0]}, {"service", values[1]},
					{"port", values[2]},      {"backend", values[3]},
					{"reason", NULL},         {}};

	for (unsigned int i = 0; i < SN_R_BACKEND_MAX; i++) {
		labels[4].value = view_reason(i);
		exposition_count(&s->text, &m->head, labels, t->outcome[i]);
	}
}

static void backend_write(struct scrape *s, const struct metric *m, struct view_place at,
			  const struct traffic *t)
{
	const struct service_port *p = &at.service->ports[at.port];
	uint16_t target = service_target(at.service, at.endpoint, at.port);
	char address[ADDRESS_TEXT], port[16];

	(void)snprintf(port, sizeof(port), "%u/%s", p->port, view_proto(p->proto));
	address_format_port(&at.service->endpoints[at.endpoint].addr, target ? target : p->port,
			    address);
	outcomes_write(
		s, m, t,
		(const char *const[]){at.service->namespace, at.service->name, port, address});
}

/* All of a service's backends, or none of them. */
static void backends_step(struct scrape *s, const struct metric *m, const struct service *service)
{
	const struct control *c = s->stream.control;
	uint64_t series = (uint64_t)service->n_endpoints * service->n_ports * SN_R_BACKEND_MAX;
	bool fold = c->series_budget && s->written + series + SN_R_BACKEND_MAX > c->series_budget;
	struct view_place at = {service, 0, 0};

	for (; at.endpoint < service->n_endpoints; at.endpoint++) {
		for (at.port = 0; at.port < service->n_ports; at.port++) {
			struct backend_traffic b;

			if (c->ops.backend_traffic(c->ops.arg, service, at.endpoint, at.port, &b) <
			    0)
				continue;
			if (fold)
				traffic_add(&s->other.traffic, &b.traffic);
			else
				backend_write(s, m, at, &b.traffic);
		}
	}
	s->folded += fold && series;
	s->folded_series += fold ? series : 0;
	s->written += fold ? 0 : series;
}

/* --- the node ----------------------------------------------------------------------------- */

static void fill_build(struct scrape *s, const struct metric *m)
{
	char abi[16];
	struct metric_label labels[] = {{"version", s->facts.version ? s->facts.version : ""},
					{"revision", s->facts.revision ? s->facts.revision : ""},
					{"abi", abi},
					{"kernel", s->facts.kernel ? s->facts.kernel : ""},
					{}};

	(void)snprintf(abi, sizeof(abi), "%u", s->facts.abi);
	exposition_count(&s->text, &m->head, labels, 1);
}

static void fill_node(struct scrape *s, const struct metric *m)
{
	const struct control *c = s->stream.control;

	for (unsigned int i = SN_R_SERVICE_MAX; i < SN_R_MAX; i++) {
		struct metric_label labels[] = {{"reason", view_reason(i)}, {}};

		exposition_count(&s->text, &m->head, labels, c->ops.node_count(c->ops.arg, i));
	}
}

static void fill_map_entries(struct scrape *s, const struct metric *m)
{
	const struct map_fill *maps;
	size_t n = s->stream.control->ops.map_fills(s->stream.control->ops.arg, &maps);

	for (size_t i = 0; i < n; i++)
		exposition_count(&s->text, &m->head,
				 (struct metric_label[]){{"map", maps[i].name}, {}}, maps[i].used);
}

static void fill_map_max(struct scrape *s, const struct metric *m)
{
	const struct map_fill *maps;
	size_t n = s->stream.control->ops.map_fills(s->stream.control->ops.arg, &maps);

	for (size_t i = 0; i < n; i++)
		exposition_count(&s->text, &m->head,
				 (struct metric_label[]){{"map", maps[i].name}, {}}, maps[i].max);
}

static void fill_program_seconds(struct scrape *s, const struct metric *m)
{
	const struct program_run *runs;
	size_t n = s->stream.control->ops.program_runs(s->stream.control->ops.arg, &runs);

	for (size_t i = 0; i < n; i++)
		exposition_real(&s->text, &m->head,
				(struct metric_label[]){{"program", runs[i].name}, {}},
				(double)runs[i].run_ns / 1e9);
}

static void fill_program_runs(struct scrape *s, const struct metric *m)
{
	const struct program_run *runs;
	size_t n = s->stream.control->ops.program_runs(s->stream.control->ops.arg, &runs);

	for (size_t i = 0; i < n; i++)
		exposition_count(&s->text, &m->head,
				 (struct metric_label[]){{"program", runs[i].name}, {}},
				 runs[i].runs);
}

static void fill_programs(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, (struct metric_label[]){{"state", "attached"}, {}},
			 s->facts.programs_attached);
	exposition_count(&s->text, &m->head, (struct metric_label[]){{"state", "wanted"}, {}},
			 s->facts.programs_wanted);
}

static void fill_cgroup_ok(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->facts.cgroup_ok);
}

static void fill_cgroup_repairs(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->facts.cgroup_repairs);
}

static void fill_heartbeat(struct scrape *s, const struct metric *m)
{
	exposition_real(&s->text, &m->head, NULL, (double)s->facts.heartbeat_age_ms / 1e3);
}

static void fill_state_failures(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->facts.state_write_failures);
}

static void fill_loop(struct scrape *s, const struct metric *m)
{
	exposition_real(&s->text, &m->head, NULL, (double)s->facts.loop_max_us / 1e6);
}

static void fill_sources(struct scrape *s, const struct metric *m)
{
	const struct control *c = s->stream.control;
	size_t n;
	const struct source *sources = store_sources(c->ops.store(c->ops.arg), &n);

	for (size_t i = 0; i < n; i++)
		exposition_count(&s->text, &m->head,
				 (struct metric_label[]){{"source", sources[i].name}, {}},
				 sources[i].n_services);
}

static void fill_requests(struct scrape *s, const struct metric *m)
{
	static const char *const classes[] = {NULL, NULL, "2xx", "3xx", "4xx", "5xx"};

	for (size_t i = 2; i < ARRAY_SIZE(classes); i++)
		exposition_count(&s->text, &m->head,
				 (struct metric_label[]){{"code", classes[i]}, {}},
				 s->stream.control->counters.answers[i]);
}

static void fill_refused_clients(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->stream.control->counters.refused_clients);
}

static void fill_malformed(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->stream.control->counters.malformed);
}

static void fill_slow_readers(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->stream.control->counters.slow_readers);
}

static void fill_slow_senders(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->stream.control->counters.slow_senders);
}

static void fill_folded(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->folded_series);
}

static void fill_cpu(struct scrape *s, const struct metric *m)
{
	exposition_real(&s->text, &m->head, NULL, s->use.cpu_seconds);
}

static void fill_resident(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->use.resident_bytes);
}

static void fill_virtual(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->use.virtual_bytes);
}

static void fill_fds(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->use.open_fds);
}

static void fill_fds_max(struct scrape *s, const struct metric *m)
{
	exposition_count(&s->text, &m->head, NULL, s->use.max_fds);
}

static void fill_start(struct scrape *s, const struct metric *m)
{
	exposition_real(&s->text, &m->head, NULL, (double)s->facts.started_ms / 1e3);
}

/* --- the table ---------------------------------------------------------------------------- */

#define NODE(name, type, unit, help, fill)                                                         \
	{                                                                                          \
		{name, METRIC_##type, unit, help}, fill, NULL, 0, false                            \
	}
#define SERVICE(name, type, unit, help, fill, series)                                              \
	{                                                                                          \
		{name, METRIC_##type, unit, help}, NULL, fill, series, false                       \
	}

static const struct metric table[] = {
	NODE("sinew_build", INFO, "", "Version of the running daemon and kernel.", fill_build),
	SERVICE("sinew_connect_attempts", COUNTER, "", "Connects sent to a backend of the service.",
		fill_attempts, 1),
	SERVICE("sinew_connects", COUNTER, "", "How connects to the service's backends ended.",
		fill_connects, SN_R_BACKEND_MAX),
	SERVICE("sinew_service_refusals", COUNTER, "",
		"Connects to the service that were decided before a backend was chosen.",
		fill_refusals, SN_R_SERVICE_COUNT),
	SERVICE("sinew_connect_duration_seconds", HISTOGRAM, "seconds",
		"Time from the SYN to the established TCP connection.", fill_duration,
		ARRAY_SIZE(bounds) + 3),
	SERVICE("sinew_active_connections", GAUGE, "",
		"Sockets that hold a backend of the service.", fill_active, 1),
	SERVICE("sinew_service_endpoints", GAUGE, "", "Endpoints of the service by state.",
		fill_endpoints, 3),
	{{"sinew_backend_connects", METRIC_COUNTER, "",
	  "How connects to one backend ended (opt-in)."},
	 NULL,
	 NULL,
	 0,
	 true},
	NODE("sinew_source_services", GAUGE, "", "Services that a source has declared.",
	     fill_sources),
	NODE("sinew_node_events", COUNTER, "", "Conditions of the datapath's own machinery.",
	     fill_node),
	NODE("sinew_bpf_map_entries", GAUGE, "", "Entries in use of a kernel map.",
	     fill_map_entries),
	NODE("sinew_bpf_map_max_entries", GAUGE, "", "Entries that a kernel map has room for.",
	     fill_map_max),
	NODE("sinew_bpf_program_run_seconds", COUNTER, "seconds",
	     "Run time of a kernel program, while the kernel counts it.", fill_program_seconds),
	NODE("sinew_bpf_program_runs", COUNTER, "",
	     "Runs of a kernel program, while the kernel counts.", fill_program_runs),
	NODE("sinew_programs", GAUGE, "", "Kernel programs attached, and wanted.", fill_programs),
	NODE("sinew_cgroup_attached", GAUGE, "", "1 while the attached cgroup exists.",
	     fill_cgroup_ok),
	NODE("sinew_cgroup_repairs", COUNTER, "", "Times the programs were attached anew.",
	     fill_cgroup_repairs),
	NODE("sinew_heartbeat_age_seconds", GAUGE, "seconds",
	     "Time since the daemon's last heartbeat.", fill_heartbeat),
	NODE("sinew_state_write_failures", COUNTER, "", "Failed writes of state files.",
	     fill_state_failures),
	NODE("sinew_loop_max_seconds", GAUGE, "seconds", "Longest turn of the event loop.",
	     fill_loop),
	NODE("sinew_control_requests", COUNTER, "",
	     "Answers of the control API by class of status.", fill_requests),
	NODE("sinew_control_malformed_requests", COUNTER, "", "Requests that were not HTTP.",
	     fill_malformed),
	NODE("sinew_control_refused_clients", COUNTER, "", "Connections refused over the limit.",
	     fill_refused_clients),
	NODE("sinew_control_slow_readers", COUNTER, "", "Clients cut because they did not read.",
	     fill_slow_readers),
	NODE("sinew_control_slow_senders", COUNTER, "", "Clients cut because they sent no request.",
	     fill_slow_senders),
	NODE("sinew_series_folded", GAUGE, "",
	     "Series summed under \"other\" to keep the series budget.", fill_folded),
	NODE("process_cpu_seconds", COUNTER, "seconds", "User and system CPU time spent.",
	     fill_cpu),
	NODE("process_resident_memory_bytes", GAUGE, "bytes", "Resident memory size.",
	     fill_resident),
	NODE("process_virtual_memory_bytes", GAUGE, "bytes", "Virtual memory size.", fill_virtual),
	NODE("process_open_fds", GAUGE, "", "Open file descriptors.", fill_fds),
	NODE("process_max_fds", GAUGE, "", "Limit of open file descriptors.", fill_fds_max),
	NODE("process_start_time_seconds", GAUGE, "seconds", "Start time since the Unix epoch.",
	     fill_start),
};

/* --- rendering ---------------------------------------------------------------------------- */

static void scrape_free(struct stream *stream)
{
	struct scrape *s = container_of(stream, struct scrape, stream);

	for (size_t i = 0; i < s->n; i++)
		service_unref(s->services[i]);
	free(s->services);
	free(s);
}

static void service_read(const struct control *c, const struct metric *m, const struct service *s,
			 struct sum *ret)
{
	struct sum v = {};

	if (m->fill_service != fill_endpoints) {
		if (c->ops.service_traffic(c->ops.arg, s, &v.traffic) < 0)
			v.traffic = (struct traffic){};
		v.active = v.traffic.active;
		*ret = v;
		return;
	}
	v.usable = c->ops.service_usable(c->ops.arg, s);
	for (size_t i = 0; i < s->n_endpoints; i++)
		v.draining += s->endpoints[i].weight == 0;
	if (v.usable + v.draining < s->n_endpoints)
		v.pending = s->n_endpoints - v.usable - v.draining;
	*ret = v;
}

static void sum_add(struct sum *sum, const struct sum *v)
{
	traffic_add(&sum->traffic, &v->traffic);
	sum->active += v->active;
	sum->usable += v->usable;
	sum->draining += v->draining;
	sum->pending += v->pending;
}

static void service_fill(struct scrape *s, const struct metric *m, const char *namespace,
			 const struct sum *v, const char *name)
{
	struct metric_label labels[4] = {{"namespace", namespace}, {"service", name}};

	m->fill_service(s, m, labels, v);
}

/* Services that keep series of their own: one place of the budget is for "other". */
static size_t services_kept(const struct scrape *s, const struct metric *m)
{
	uint64_t room = s->stream.control->series_budget / m->series;

	if (!s->stream.control->series_budget || s->n <= room)
		return s->n;
	return room ? (size_t)room - 1 : 0;
}

static void service_step(struct scrape *s, const struct metric *m)
{
	const struct service *service = s->services[s->next];
	struct sum v;

	service_read(s->stream.control, m, service, &v);
	if (s->next++ < services_kept(s, m)) {
		service_fill(s, m, service->namespace, &v, service->name);
		return;
	}
	sum_add(&s->other, &v);
	s->folded++;
}

static void metric_end(struct scrape *s, const struct metric *m)
{
	if (s->folded && m->per_backend) {
		outcomes_write(s, m, &s->other.traffic,
			       (const char *const[]){"other", "other", "other", "other"});
	} else if (s->folded) {
		service_fill(s, m, "other", &s->other, "other");
		s->folded_series += s->folded * m->series;
	}
	s->other = (struct sum){};
	s->folded = s->written = 0;
	s->next = 0;
	s->metric++;
}

/* One service of one metric, or one metric of the node. */
static int scrape_step(struct stream *stream)
{
	struct scrape *s = container_of(stream, struct scrape, stream);
	const struct metric *m = &table[s->metric];

	s->text.out = &s->stream.out;
	if (s->metric == ARRAY_SIZE(table)) {
		exposition_end(&s->text);
		return 1;
	}
	if (m->per_backend && !stream->control->backend_label) {
		s->metric++;
		return 0;
	}
	if (s->next == 0)
		exposition_head(&s->text, &m->head);
	if (m->fill) {
		m->fill(s, m);
		s->metric++;
	} else if (s->next == s->n) {
		metric_end(s, m);
	} else if (m->per_backend) {
		backends_step(s, m, s->services[s->next++]);
	} else {
		service_step(s, m);
	}
	return 0;
}

static bool is_openmetrics(const struct request *q)
{
	const char *accept =
		MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);

	/* Without a header, or when both are as good, the older format is understood by more. */
	return accept && accept_quality(accept, "application/openmetrics-text") >
				 accept_quality(accept, "text/plain");
}

int metrics_get(struct request *q)
{
	const struct control *c = q->control;
	struct scrape *s = calloc(1, sizeof(*s));
	struct service *const *all;
	size_t n;

	if (!s)
		return -ENOMEM;
	s->stream.step = scrape_step;
	s->stream.free = scrape_free;
	s->text.openmetrics = is_openmetrics(q);
	all = store_services(c->ops.store(c->ops.arg), &n);
	s->services = calloc(n + 1, sizeof(*s->services));
	if (!s->services) {
		stream_free(&s->stream);
		return -ENOMEM;
	}
	for (; s->n < n; s->n++)
		s->services[s->n] = service_ref(all[s->n]);
	c->ops.status(c->ops.arg, &s->facts);
	process_read(&s->use);
	return answer_stream(q, 200, s->text.openmetrics ? TYPE_OPEN : TYPE_CLASSIC, &s->stream);
}
