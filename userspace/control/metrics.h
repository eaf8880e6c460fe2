/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a row of the table of metrics is, and what a scrape carries along while it renders them.
 * Private to control/metrics*.c.
 */
#pragma once

#include "control/exposition.h"
#include "control/process.h"
#include "control/stream.h"
#include "control/view.h"

enum limit { LIMIT_OF_SERVICE, LIMIT_OF_BACKEND, LIMIT_OF_PENDING, _LIMITS };

struct sum {
	struct traffic traffic;
	uint64_t active, usable, draining, pending, suspect;
	uint64_t ejected, held, panics; /* members of its ports and families; 1: in panic */
	uint64_t limit[_LIMITS], used[_LIMITS];
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
	enum { READS_TRAFFIC, READS_ENDPOINTS, READS_STATE } reads; /* what fill_service needs */
	bool per_backend;                                           /* opt-in: for each backend */
};

/* The rows: of services, and of the node. */
extern const struct metric metrics_service[], metrics_node[];
extern const size_t metrics_n_service, metrics_n_node;

/* Reads what the row's fill_service needs. */
void metrics_service_read(const struct control *c, const struct metric *m, const struct service *s,
			  struct sum *ret);
void metrics_service_add(struct sum *sum, const struct sum *v);
