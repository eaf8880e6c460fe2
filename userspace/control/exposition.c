/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See exposition.h. Formats: Prometheus "Exposition formats" (text 0.0.4) and the OpenMetrics
 * 1.0.0 specification. They differ in where "_total" and "_info" stand, in UNIT, and in the end.
 */
#include <inttypes.h>
#include <string.h>

#include "control/exposition.h"

static const char *type_suffix(enum metric_type type)
{
	return type == METRIC_COUNTER ? "_total" : type == METRIC_INFO ? "_info" : "";
}

static void escaped_append(struct bytes *out, const char *text)
{
	for (; *text; text++) {
		size_t n = strcspn(text, "\\\"\n");

		bytes_append(out, text, n);
		text += n;
		if (!*text)
			return;
		bytes_text(out, *text == '\n' ? "\\n" : *text == '"' ? "\\\"" : "\\\\");
	}
}

void exposition_head(const struct exposition *e, const struct metric_head *m)
{
	static const char *const classic[] = {"counter", "gauge", "histogram", "gauge"};
	static const char *const open[] = {"counter", "gauge", "histogram", "info"};
	const char *suffix = e->openmetrics ? "" : type_suffix(m->type);

	bytes_format(e->out, "# HELP %s%s %s\n", m->name, suffix, m->help);
	bytes_format(e->out, "# TYPE %s%s %s\n", m->name, suffix,
		     e->openmetrics ? open[m->type] : classic[m->type]);
	if (e->openmetrics && m->unit[0])
		bytes_format(e->out, "# UNIT %s %s\n", m->name, m->unit);
}

static void series_append(const struct exposition *e, const char *name, const char *suffix,
			  const struct metric_label *labels)
{
	bytes_text(e->out, name);
	bytes_text(e->out, suffix);
	for (size_t i = 0; labels && labels[i].name; i++) {
		bytes_text(e->out, i ? "," : "{");
		bytes_text(e->out, labels[i].name);
		bytes_text(e->out, "=\"");
		escaped_append(e->out, labels[i].value);
		bytes_text(e->out, "\"");
	}
	bytes_text(e->out, labels && labels[0].name ? "} " : " ");
}

void exposition_count(const struct exposition *e, const struct metric_head *m,
		      const struct metric_label *labels, uint64_t value)
{
	series_append(e, m->name, type_suffix(m->type), labels);
	bytes_format(e->out, "%" PRIu64 "\n", value);
}

void exposition_real(const struct exposition *e, const struct metric_head *m,
		     const struct metric_label *labels, double value)
{
	series_append(e, m->name, type_suffix(m->type), labels);
	bytes_format(e->out, "%.17g\n", value);
}

void exposition_part(const struct exposition *e, const struct metric_head *m, const char *suffix,
		     const struct metric_label *labels, double value)
{
	series_append(e, m->name, suffix, labels);
	bytes_format(e->out, "%.17g\n", value);
}

void exposition_end(const struct exposition *e)
{
	if (e->openmetrics)
		bytes_text(e->out, "# EOF\n");
}
