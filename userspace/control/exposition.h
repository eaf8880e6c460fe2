/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two text formats of metrics: Prometheus 0.0.4 and OpenMetrics 1.0.0. Pure. Private to
 * control/.
 */
#pragma once

#include "control/bytes.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_INFO };

struct exposition {
	struct bytes *out;
	bool openmetrics;
};

/* A name without "_total" or "_info", its type, unit ("": none; a suffix of the name) and help. */
struct metric_head {
	const char *name;
	enum metric_type type;
	const char *unit;
	const char *help;
};

struct metric_label {
	const char *name, *value; /* value: any bytes; name NULL ends the list */
};

void exposition_head(const struct exposition *e, const struct metric_head *m);
/* One sample of a counter, gauge or info; labels end with a NULL name (NULL: none). */
void exposition_count(const struct exposition *e, const struct metric_head *m,
		      const struct metric_label *labels, uint64_t value);
void exposition_real(const struct exposition *e, const struct metric_head *m,
		     const struct metric_label *labels, double value);
/* "_bucket", "_sum", "_count": the suffix in place of the type's own. */
void exposition_part(const struct exposition *e, const struct metric_head *m, const char *suffix,
		     const struct metric_label *labels, double value);
void exposition_end(const struct exposition *e);
