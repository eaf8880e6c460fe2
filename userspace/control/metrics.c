/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /metrics: tables with a row per metric, rendered family by family over references of the
 * services taken at the start. Before: route.c. After: stream.c sends chunk by chunk. Never more
 * than series_budget series of one metric: services past it are summed under "other".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/accept.h"
#include "control/answer.h"
#include "control/handler.h"
#include "control/metrics.h"

#define TYPE_CLASSIC "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_OPEN "application/openmetrics-text; version=1.0.0; charset=utf-8"

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

/* --- rendering ---------------------------------------------------------------------------- */

static void scrape_free(struct stream *stream)
{
	struct scrape *s = container_of(stream, struct scrape, stream);

	for (size_t i = 0; i < s->n; i++)
		service_unref(s->services[i]);
	free(s->services);
	free(s);
}

/* NULL behind the last. */
static const struct metric *row_at(size_t i)
{
	if (i < metrics_n_service)
		return &metrics_service[i];
	i -= metrics_n_service;
	return i < metrics_n_node ? &metrics_node[i] : NULL;
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

	metrics_service_read(s->stream.control, m, service, &v);
	if (s->next++ < services_kept(s, m)) {
		service_fill(s, m, service->namespace, &v, service->name);
		return;
	}
	metrics_service_add(&s->other, &v);
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
	const struct metric *m = row_at(s->metric);

	s->text.out = &s->stream.out;
	if (!m) {
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
