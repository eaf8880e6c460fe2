/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metrics of the node: the programs, their maps, the daemon and its API. Before: metrics.c renders
 * a row at once.
 */
#include <sinew/report.h>

#include "control/metrics.h"

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

#define TELL_LABEL(id, label, help) [SN_TELL_##id] = (label),
static void fill_reports(struct scrape *s, const struct metric *m)
{
	static const char *const labels[] = {SN_TELLS(TELL_LABEL)};
	const struct control *c = s->stream.control;

	for (unsigned int i = 0; i < SN_TELL_MAX; i++)
		exposition_count(&s->text, &m->head,
				 (struct metric_label[]){{"result", labels[i]}, {}},
				 c->ops.report_count(c->ops.arg, i));
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
		{name, METRIC_##type, unit, help}, fill, NULL, 0, READS_TRAFFIC, false             \
	}

const struct metric metrics_node[] = {
	NODE("sinew_build", INFO, "", "Version of the running daemon and kernel.", fill_build),
	NODE("sinew_source_services", GAUGE, "", "Services that a source has declared.",
	     fill_sources),
	NODE("sinew_node_events", COUNTER, "", "Conditions of the datapath's own machinery.",
	     fill_node),
	NODE("sinew_reports", COUNTER, "",
	     "Outcomes that applications have reported, by what became of them.", fill_reports),
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
const size_t metrics_n_node = ARRAY_SIZE(metrics_node);
