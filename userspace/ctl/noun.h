/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be listed: one row per noun, with where the API keeps it, its columns, and how one
 * object is described at length. Nouns draw; they never fetch.
 */
#pragma once

#include <yyjson.h>

#include "ctl/ctl.h"
#include "ctl/table.h"

/* One object to draw. */
struct noun_item {
	yyjson_val *now;
	yyjson_val *before; /* the same object at the last look; NULL: none */
	double seconds;     /* between the two */
	bool recent;        /* shares are of what happened between the two, not of all */
	uint64_t clock_ms;  /* CLOCK_REALTIME */
	yyjson_val *beside; /* what the agent says besides; NULL: nothing */
};

struct noun {
	const char *name;         /* "services" */
	const char *singular;     /* "service" */
	const char *aliases;      /* separated by spaces */
	const char *path;         /* "/v1/services" */
	const char *namespace_at; /* JSON pointers into an item; NULL: not in a namespace */
	const char *name_at;
	enum ctl_peer peer; /* who has it */
	const char *beside; /* what the agent is asked for, for tables and descriptions; NULL:
			       nothing */
	bool has_one;       /* path/NAMESPACE/NAME (or path/NAME) can be fetched */
	bool can_delete;
	bool has_rates;                                /* a row needs two looks */
	bool (*is_same)(yyjson_val *a, yyjson_val *b); /* besides the name; NULL: that is enough */
	const struct table_column *columns;
	size_t n_columns;
	void (*row)(struct table *t, const struct noun_item *item);
	/* At length, and whether the last events about it follow. NULL: shown as YAML. */
	int (*describe)(struct ctl *c, const struct noun_item *item);
	bool has_events;
};

/* By name, singular or alias; NULL: none. */
const struct noun *noun_find(const char *word);
/* The names, for completion; and every spelling, for suggestions. Both end with NULL. */
extern const char *const noun_words[], *const noun_spellings[];
/* Identity of an item; "" when it has none. */
const char *noun_name(const struct noun *n, yyjson_val *item);
const char *noun_namespace(const struct noun *n, yyjson_val *item);

extern const struct noun noun_service, noun_endpoint, noun_policy, noun_registry, noun_source,
	noun_workload, noun_flow, noun_registration, noun_listener;
/* Rows of a service's endpoints, below its description. */
int noun_endpoint_print(struct ctl *c, yyjson_val *endpoints);
/* Appends "12 services, 40 endpoints, heard 3s ago": what is kept of a registry, and how old it is.
 */
struct text_buffer;
void noun_registry_kept(struct text_buffer *b, yyjson_val *registry, uint64_t clock_ms);
/* Lines of a description: "Name        value", nothing when the value is empty; labels; and counts
 * that are not 0 ("connected 310, refused 4"), without "no_backend", which is told elsewhere. */
void noun_print_fact(struct ctl *c, const char *title, const char *value);
void noun_print_labels(struct ctl *c, yyjson_val *item);
void noun_print_counts(struct ctl *c, const char *title, yyjson_val *counts);
/* "3m ago" of an RFC 3339 text; "-" when it is none. */
const char *noun_ago(const char *time, uint64_t clock_ms, char *buf);
