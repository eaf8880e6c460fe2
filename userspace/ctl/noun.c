/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding a noun by any of its names; what nouns have in common.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/field.h"
#include "ctl/noun.h"
#include "ctl/print.h"
#include "ctl/units.h"

static const struct noun *const nouns[] = {&noun_service,  &noun_endpoint,     &noun_policy,
					   &noun_registry, &noun_source,       &noun_workload,
					   &noun_flow,     &noun_registration, &noun_listener};

const char *const noun_words[] = {"services",  "endpoints", "policies", "registries",
				  "sources",   "workloads", "flows",    "registrations",
				  "listeners", NULL};
const char *const noun_spellings[] = {"services",     "service",   "endpoints",  "endpoint",
				      "policies",     "policy",    "registries", "registry",
				      "sources",      "source",    "workloads",  "workload",
				      "flows",        "flow",      "backends",   "registrations",
				      "registration", "listeners", "listener",   NULL};

static bool has_word(const char *words, const char *word)
{
	size_t length = strlen(word);

	for (; *words; words += strspn(words, " ")) {
		size_t n = strcspn(words, " ");

		if (n == length && strncmp(words, word, n) == 0)
			return true;
		words += n;
	}
	return false;
}

const struct noun *noun_find(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(nouns); i++)
		if (strcmp(nouns[i]->name, word) == 0 || strcmp(nouns[i]->singular, word) == 0 ||
		    has_word(nouns[i]->aliases, word))
			return nouns[i];
	return NULL;
}

const char *noun_name(const struct noun *n, yyjson_val *item)
{
	return n->name_at ? field_text(item, n->name_at) : "";
}

const char *noun_namespace(const struct noun *n, yyjson_val *item)
{
	return n->namespace_at ? field_text(item, n->namespace_at) : "";
}

const char *noun_ago(const char *time, uint64_t clock_ms, char *buf)
{
	char age[UNITS_TEXT];
	uint64_t then;
	int r;

	r = units_parse_time(time, &then);
	if (r < 0)
		return strcpy(buf, "-");
	(void)snprintf(buf, UNITS_TEXT, "%s ago",
		       units_age(clock_ms > then ? clock_ms - then : 0, age));
	return buf;
}

void noun_print_fact(struct ctl *c, const char *title, const char *value)
{
	if (!*value)
		return;
	fprintf(c->out, "%-12s", title);
	(void)print_text(c->out, value);
	fputc('\n', c->out);
}

void noun_print_labels(struct ctl *c, yyjson_val *item)
{
	yyjson_val *labels = field_get(item, "/metadata/labels");
	yyjson_val *key, *value;
	size_t i, n;

	if (!yyjson_is_obj(labels))
		return;
	yyjson_obj_foreach (labels, i, n, key, value) {
		fprintf(c->out, "%-12s", i == 0 ? "Labels" : "");
		(void)print_text(c->out, yyjson_get_str(key));
		fputc('=', c->out);
		(void)print_text(c->out, yyjson_get_str(value));
		fputc('\n', c->out);
	}
}

void noun_print_counts(struct ctl *c, const char *title, yyjson_val *counts)
{
	yyjson_val *key, *value;
	size_t i, n, shown = 0;
	char a[UNITS_TEXT];

	if (!yyjson_is_obj(counts))
		return;
	yyjson_obj_foreach (counts, i, n, key, value) {
		if (yyjson_get_uint(value) == 0 || yyjson_equals_str(key, "no_backend"))
			continue;
		fprintf(c->out, shown++ ? ", " : "%-12s", title);
		(void)print_text(c->out, yyjson_get_str(key));
		fprintf(c->out, " %s", units_grouped(yyjson_get_uint(value), a));
	}
	if (shown > 0)
		fputc('\n', c->out);
}
