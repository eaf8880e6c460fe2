/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See metrics.h. Only reads.
 */
#include "agent/metrics.h"

#include <inttypes.h>

#include "agent/registries.h"
#include "registry/pods.h"

static const struct registry_status *status_of(const struct agent_registry *g)
{
	static const struct registry_status none;

	return g->registry ? &g->registry->status : &none;
}

static void head(struct text_buffer *b, const char *name, const char *type, const char *help)
{
	text_append_format(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* One figure of each registry, in the order of the table below. */
struct figures {
	const struct registry_status *status;
	const struct pods *pods; /* NULL: it knows none */
	struct merge_counts counts;
	bool up, stale;
};

static double up_of(const struct figures *f)
{
	return f->up;
}

static double stale_of(const struct figures *f)
{
	return f->stale;
}

static double services_of(const struct figures *f)
{
	return (double)f->counts.services;
}

static double endpoints_of(const struct figures *f)
{
	return (double)f->counts.endpoints;
}

static double suspect_of(const struct figures *f)
{
	return (double)f->counts.suspect;
}

static double held_of(const struct figures *f)
{
	return (double)f->counts.held_total;
}

static double released_of(const struct figures *f)
{
	return (double)f->counts.released_total;
}

static double refused_of(const struct figures *f)
{
	return (double)f->counts.refused;
}

static double skipped_of(const struct figures *f)
{
	return (double)f->status->skipped;
}

static double pods_of(const struct figures *f)
{
	return f->pods ? (double)f->pods->n : 0;
}

static double latency_of(const struct figures *f)
{
	return (double)f->status->latency_us / 1e6;
}

static double contact_of(const struct figures *f)
{
	return (double)f->status->contact_ms / 1e3;
}

static double changed_of(const struct figures *f)
{
	return (double)f->status->changed_ms / 1e3;
}

static const struct metric {
	const char *name, *type, *help;
	double (*of)(const struct figures *f);
} metrics[] = {
	{"sinew_registry_up", "gauge", "Whether the registry answered last time it was asked.",
	 up_of},
	{"sinew_registry_stale", "gauge", "Whether it has been silent for longer than staleAfter.",
	 stale_of},
	{"sinew_registry_services", "gauge", "Services that the registry names.", services_of},
	{"sinew_registry_endpoints", "gauge", "Endpoints that the registry names.", endpoints_of},
	{"sinew_registry_suspect_endpoints", "gauge",
	 "Endpoints that it no longer names, and that is not believed yet.", suspect_of},
	{"sinew_registry_held_total", "counter", "Removals that were held as suspect.", held_of},
	{"sinew_registry_released_total", "counter", "Held removals that were believed later.",
	 released_of},
	{"sinew_registry_refused_total", "counter", "Objects over a limit.", refused_of},
	{"sinew_registry_skipped_total", "counter", "Objects that could not be used.", skipped_of},
	{"sinew_registry_pods", "gauge", "Pods of this node that are known, while they are wanted.",
	 pods_of},
	{"sinew_registry_latency_seconds", "gauge", "Duration of the last good short answer.",
	 latency_of},
	{"sinew_registry_last_contact_timestamp_seconds", "gauge",
	 "Time of the last good answer; 0 is never.", contact_of},
	{"sinew_registry_last_change_timestamp_seconds", "gauge",
	 "Time of the last change; 0 is never.", changed_of},
};

static struct figures figures_of(const struct agent *a, size_t i)
{
	const struct agent_registry *g = a->registries[i];
	struct figures f = {.status = status_of(g),
			    .stale = g->stale,
			    .pods = g->registry ? g->registry->pods : NULL};

	f.up = g->registry && f.status->contact_ms && f.status->error == REGISTRY_OK;
	merge_count(a->merge, g->source, &f.counts);
	return f;
}

static void append_errors(struct text_buffer *b, const struct agent *a)
{
	head(b, "sinew_registry_errors_total", "counter", "Answers that were none, by reason.");
	for (size_t i = 0; i < a->n_registries; i++)
		for (int e = REGISTRY_OK + 1; e < _REGISTRY_ERROR_MAX; e++)
			text_append_format(
				b,
				"sinew_registry_errors_total{registry=\"%s\",reason=\"%s\"} "
				"%" PRIu64 "\n",
				a->registries[i]->config->name,
				registry_error_name((enum registry_error)e),
				status_of(a->registries[i])->errors[e]);
}

static void append_push(struct text_buffer *b, const struct push_status *s, bool with_daemon)
{
	head(b, "sinew_agent_daemon_up", "gauge", "Whether sinewd's metrics could be read.");
	text_append_format(b, "sinew_agent_daemon_up %d\n", with_daemon);
	head(b, "sinew_agent_synced", "gauge", "Whether sinewd has all that the registries say.");
	text_append_format(b, "sinew_agent_synced %d\n", s->synced);
	head(b, "sinew_agent_updates_total", "counter", "Updates sent to sinewd, by kind.");
	text_append_format(b,
			   "sinew_agent_updates_total{kind=\"whole\"} %" PRIu64
			   "\nsinew_agent_updates_total{kind=\"delta\"} %" PRIu64 "\n",
			   s->puts, s->patches);
	head(b, "sinew_agent_update_failures_total", "counter",
	     "Updates that sinewd did not take.");
	text_append_format(b, "sinew_agent_update_failures_total %" PRIu64 "\n", s->failures);
	head(b, "sinew_agent_refused_objects", "gauge",
	     "Objects left out because sinewd does not take them.");
	text_append_format(b, "sinew_agent_refused_objects %zu\n", s->refused);
}

static void append_reloads(struct text_buffer *b, const struct agent_reloads *r)
{
	head(b, "sinew_agent_config_reloads_total", "counter",
	     "Times that agent.yaml was read anew, by result.");
	text_append_format(b,
			   "sinew_agent_config_reloads_total{result=\"ok\"} %" PRIu64
			   "\nsinew_agent_config_reloads_total{result=\"failed\"} %" PRIu64 "\n",
			   r->taken, r->failed);
	head(b, "sinew_agent_config_last_reload_successful", "gauge",
	     "Whether what agent.yaml said when it was read last is in force.");
	text_append_format(b, "sinew_agent_config_last_reload_successful %d\n", !*r->error);
}

void metrics_append(struct text_buffer *b, const struct agent *a, bool with_daemon)
{
	for (size_t m = 0; m < ARRAY_SIZE(metrics) && a->n_registries; m++) {
		head(b, metrics[m].name, metrics[m].type, metrics[m].help);
		for (size_t i = 0; i < a->n_registries; i++) {
			const struct figures f = figures_of(a, i);

			text_append_format(b, "%s{registry=\"%s\",type=\"%s\"} %.17g\n",
					   metrics[m].name, a->registries[i]->config->name,
					   a->registries[i]->config->type, metrics[m].of(&f));
		}
	}
	if (a->n_registries)
		append_errors(b, a);
	registrations_metrics(a->registrations, b);
	append_push(b, push_status(a->push), with_daemon);
	append_reloads(b, &a->reloads);
	if (a->names)
		names_append_metrics(b, a->names);
}
