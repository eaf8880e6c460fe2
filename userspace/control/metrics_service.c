/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metrics of services: their connects, endpoints, ejections and limits. Before: metrics.c renders a
 * row service by service. Every row has the same number of series for each service.
 */
#include "control/metrics.h"

/* Powers of two, in ns, that end a bucket: 4 us to 4.3 s. The kernel's buckets end at these, too.
 */
static const unsigned int bounds[] = {12, 13, 14, 15, 16, 17, 18, 20, 22, 24, 26, 28, 30, 32};

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

static void fill_events(struct scrape *s, const struct metric *m, struct metric_label *labels,
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
	} rows[] = {{"active", v->usable},
		    {"ejected", v->ejected},
		    {"held", v->held},
		    {"draining", v->draining},
		    {"pending", v->pending}};

	labels[2].name = "state";
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		labels[2].value = rows[i].state;
		exposition_count(&s->text, &m->head, labels, rows[i].n);
	}
}

static void fill_suspect(struct scrape *s, const struct metric *m, struct metric_label *labels,
			 const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, v->suspect);
}

static void fill_ejections(struct scrape *s, const struct metric *m, struct metric_label *labels,
			   const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, v->traffic.ejections);
}

static void fill_ejected(struct scrape *s, const struct metric *m, struct metric_label *labels,
			 const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, v->ejected);
}

static void fill_held(struct scrape *s, const struct metric *m, struct metric_label *labels,
		      const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, v->held);
}

static void fill_panic(struct scrape *s, const struct metric *m, struct metric_label *labels,
		       const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, v->panics);
}

static uint64_t decided(const struct sum *v, unsigned int reason)
{
	return v->traffic.refused_here[reason - SN_R_BACKEND_MAX];
}

static void fill_failovers(struct scrape *s, const struct metric *m, struct metric_label *labels,
			   const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, decided(v, SN_R_FAILED_OVER));
}

static void fill_missed(struct scrape *s, const struct metric *m, struct metric_label *labels,
			const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, decided(v, SN_R_FAILOVER_MISSED));
}

static void fill_budget(struct scrape *s, const struct metric *m, struct metric_label *labels,
			const struct sum *v)
{
	exposition_count(&s->text, &m->head, labels, decided(v, SN_R_RETRY_BUDGET));
}

static void limits_write(struct scrape *s, const struct metric *m, struct metric_label *labels,
			 const uint64_t values[_LIMITS])
{
	static const char *const names[] = {"service", "backend", "pending"};

	labels[2].name = "limit";
	for (size_t i = 0; i < _LIMITS; i++) {
		labels[2].value = names[i];
		exposition_count(&s->text, &m->head, labels, values[i]);
	}
}

static void fill_limit(struct scrape *s, const struct metric *m, struct metric_label *labels,
		       const struct sum *v)
{
	limits_write(s, m, labels, v->limit);
}

static void fill_limit_used(struct scrape *s, const struct metric *m, struct metric_label *labels,
			    const struct sum *v)
{
	limits_write(s, m, labels, v->used);
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

/* --- what the rows are made of ------------------------------------------------------------ */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Members are those of every port and family, endpoints are counted once. */
static void endpoints_read(const struct control *c, const struct service *s, struct sum *v)
{
	struct service_state state = {};
	uint64_t rest;

	v->usable = c->ops.service_usable(c->ops.arg, s);
	for (size_t i = 0; i < s->n_endpoints; i++) {
		v->draining += s->endpoints[i].weight == 0;
		v->suspect += view_is_suspect(s, i);
	}
	(void)c->ops.service_state(c->ops.arg, s, &state);
	rest = s->n_endpoints - least(s->n_endpoints, v->usable + v->draining);
	v->ejected = least(rest, state.ejected);
	v->held = least(rest - v->ejected, state.held);
	v->pending = rest - v->ejected - v->held;
}

static void state_read(const struct control *c, const struct service *s, struct sum *v)
{
	const struct sn_policy *rules = view_rules(c, s);
	struct service_state state = {};

	(void)c->ops.service_state(c->ops.arg, s, &state);
	v->ejected = state.ejected;
	v->held = state.held;
	v->panics = state.panic_ns != 0;
	v->limit[LIMIT_OF_SERVICE] = rules->limit_service;
	v->limit[LIMIT_OF_BACKEND] = rules->limit_backend;
	v->limit[LIMIT_OF_PENDING] = rules->limit_pending;
	v->used[LIMIT_OF_SERVICE] = state.active;
	v->used[LIMIT_OF_BACKEND] = state.fullest;
	v->used[LIMIT_OF_PENDING] = state.pending;
}

void metrics_service_read(const struct control *c, const struct metric *m, const struct service *s,
			  struct sum *ret)
{
	struct sum v = {};

	if (m->reads == READS_ENDPOINTS)
		endpoints_read(c, s, &v);
	else if (m->reads == READS_STATE)
		state_read(c, s, &v);
	else if (c->ops.service_traffic(c->ops.arg, s, &v.traffic) < 0)
		v.traffic = (struct traffic){};
	v.active = v.traffic.active;
	*ret = v;
}

void metrics_service_add(struct sum *sum, const struct sum *v)
{
	traffic_add(&sum->traffic, &v->traffic);
	sum->active += v->active;
	sum->usable += v->usable;
	sum->draining += v->draining;
	sum->pending += v->pending;
	sum->suspect += v->suspect;
	sum->ejected += v->ejected;
	sum->held += v->held;
	sum->panics += v->panics;
	for (size_t i = 0; i < _LIMITS; i++) {
		sum->limit[i] += v->limit[i];
		sum->used[i] += v->used[i];
	}
}

/* --- the table ---------------------------------------------------------------------------- */

#define SERVICE(name, type, unit, help, fill, series, reads)                                       \
	{                                                                                          \
		{name, METRIC_##type, unit, help}, NULL, fill, series, reads, false                \
	}

const struct metric metrics_service[] = {
	SERVICE("sinew_connect_attempts", COUNTER, "", "Connects sent to a backend of the service.",
		fill_attempts, 1, READS_TRAFFIC),
	SERVICE("sinew_connects", COUNTER, "", "How connects to the service's backends ended.",
		fill_connects, SN_R_BACKEND_MAX, READS_TRAFFIC),
	SERVICE("sinew_service_events", COUNTER, "",
		"What befell connects to the service besides a backend's answer, by reason.",
		fill_events, SN_R_SERVICE_COUNT, READS_TRAFFIC),
	SERVICE("sinew_connect_duration_seconds", HISTOGRAM, "seconds",
		"Time from the SYN to the established TCP connection.", fill_duration,
		ARRAY_SIZE(bounds) + 3, READS_TRAFFIC),
	SERVICE("sinew_active_connections", GAUGE, "",
		"Sockets that hold a backend of the service.", fill_active, 1, READS_TRAFFIC),
	SERVICE("sinew_service_endpoints", GAUGE, "", "Endpoints of the service by state.",
		fill_endpoints, 5, READS_ENDPOINTS),
	SERVICE("sinew_suspect_endpoints", GAUGE, "",
		"Endpoints of the service, in whatever state, that their registry no longer names, "
		"which is not believed yet.",
		fill_suspect, 1, READS_ENDPOINTS),
	SERVICE("sinew_backend_ejections", COUNTER, "",
		"Times that a backend of the service was ejected, failed probes included.",
		fill_ejections, 1, READS_TRAFFIC),
	SERVICE("sinew_ejected_backends", GAUGE, "",
		"Backends of the service, port by port, that are ejected or half-open.",
		fill_ejected, 1, READS_STATE),
	SERVICE("sinew_held_backends", GAUGE, "",
		"Backends of the service, port by port, that are held by hand.", fill_held, 1,
		READS_STATE),
	SERVICE("sinew_panic", GAUGE, "",
		"1 while so few backends are usable that ejection is ignored.", fill_panic, 1,
		READS_STATE),
	SERVICE("sinew_failovers", COUNTER, "",
		"Times that a connect went on to the next backend by itself.", fill_failovers, 1,
		READS_TRAFFIC),
	SERVICE("sinew_missed_failovers", COUNTER, "",
		"Times that a connect could not go on, so that the caller saw the error.",
		fill_missed, 1, READS_TRAFFIC),
	SERVICE("sinew_retry_budget_exceeded", COUNTER, "",
		"Re-attempts of workloads over the retry budget.", fill_budget, 1, READS_TRAFFIC),
	SERVICE("sinew_connection_limit", GAUGE, "",
		"Connections that the policy allows for a port, a backend, and not yet answered; "
		"0 for any number.",
		fill_limit, _LIMITS, READS_STATE),
	SERVICE("sinew_limited_connections", GAUGE, "",
		"Connections counted against that limit at the fullest port or backend.",
		fill_limit_used, _LIMITS, READS_STATE),
	{{"sinew_backend_connects", METRIC_COUNTER, "",
	  "How connects to one backend ended (opt-in)."},
	 NULL,
	 NULL,
	 0,
	 READS_TRAFFIC,
	 true},
};
const size_t metrics_n_service = ARRAY_SIZE(metrics_service);
