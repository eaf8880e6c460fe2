/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registrations: what a workload that listens is to be called, and in which registry. Whether it is
 * registered now is the agent's to tell; it is asked besides.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/beside.h"
#include "ctl/field.h"
#include "ctl/noun.h"

#define WORKLOAD_TEXT 512

static const struct table_column columns[] = {
	{"NAMESPACE", .shrink_to = 8}, {"NAME", .shrink_to = 12},     {"SERVICE", .shrink_to = 12},
	{"REGISTRY", .shrink_to = 8},  {"WORKLOAD", .shrink_to = 16}, {"PORT", .right = true},
	{"ADDRESS", .wide = true},     {"TTL", .wide = true},         {"SOURCE", .shrink_to = 8},
	{"VERSION", .wide = true},     {"STATE", .wide = true},
};

/* Appends "app=payments,tier=web". */
static void append_labels(char buf[static WORKLOAD_TEXT], yyjson_val *labels)
{
	yyjson_val *key, *value;
	size_t i, n;

	if (!yyjson_is_obj(labels))
		return;
	yyjson_obj_foreach (labels, i, n, key, value) {
		size_t used = strlen(buf);

		(void)snprintf(buf + used, WORKLOAD_TEXT - used, "%s%s=%s", i ? "," : " ",
			       yyjson_get_str(key),
			       yyjson_get_str(value) ? yyjson_get_str(value) : "?");
	}
}

/* "pod shop/payments-* app=payments container web". */
static void write_pod(char buf[static WORKLOAD_TEXT], yyjson_val *item)
{
	const char *name = field_text(item, "/spec/workload/pod/name");
	size_t used;

	(void)snprintf(buf, WORKLOAD_TEXT, "pod %s/%s",
		       field_text(item, "/spec/workload/pod/namespace"), *name ? name : "*");
	append_labels(buf, field_get(item, "/spec/workload/pod/labels"));
	used = strlen(buf);
	if (field_has(item, "/spec/workload/pod/container"))
		(void)snprintf(buf + used, WORKLOAD_TEXT - used, " container %s",
			       field_text(item, "/spec/workload/pod/container"));
}

/* "unit payments.service", "container app=payments,tier=web"; cut where it is longer. */
static const char *workload(yyjson_val *item, char buf[static WORKLOAD_TEXT])
{
	buf[0] = '\0';
	if (field_has(item, "/spec/workload/unit")) {
		(void)snprintf(buf, WORKLOAD_TEXT, "unit %s",
			       field_text(item, "/spec/workload/unit"));
	} else if (field_has(item, "/spec/workload/cgroup")) {
		(void)snprintf(buf, WORKLOAD_TEXT, "cgroup %s",
			       field_text(item, "/spec/workload/cgroup"));
	} else if (field_has(item, "/spec/workload/pod")) {
		write_pod(buf, item);
	} else if (field_has(item, "/spec/workload/container")) {
		(void)snprintf(buf, WORKLOAD_TEXT, "container");
		append_labels(buf, field_get(item, "/spec/workload/container"));
	}
	return buf;
}

/* What the agent has made of it; NULL: nobody says. */
static yyjson_val *status_of(const struct noun_item *item)
{
	const struct beside_key keys[2] = {
		{"/namespace", field_text(item->now, "/metadata/namespace")},
		{"/name", field_text(item->now, "/metadata/name")}};

	return beside_find(item->beside, keys);
}

static void row(struct table *t, const struct noun_item *item)
{
	char buf[WORKLOAD_TEXT];

	table_add_text(t, field_text(item->now, "/metadata/namespace"));
	table_add_text(t, field_text(item->now, "/metadata/name"));
	table_add_text(t, field_text(item->now, "/spec/service"));
	table_add_text(t, field_text(item->now, "/spec/registry"));
	table_add_text(t, workload(item->now, buf));
	table_add(t, "%" PRIu64, field_count(item->now, "/spec/port"));
	table_add_text(t, field_text(item->now, "/spec/address"));
	table_add_text(t, field_text(item->now, "/spec/ttl"));
	table_add_text(t, field_text(item->now, "/metadata/source"));
	table_add_text(t, field_text(item->now, "/metadata/resourceVersion"));
	table_add_text(t, field_text(status_of(item), "/state"));
}

static const char *join(yyjson_val *list, char buf[static WORKLOAD_TEXT])
{
	yyjson_val *item;
	size_t i, n;

	buf[0] = '\0';
	if (!yyjson_is_arr(list))
		return buf;
	yyjson_arr_foreach (list, i, n, item) {
		size_t used = strlen(buf);

		(void)snprintf(buf + used, WORKLOAD_TEXT - used, "%s%s", used ? ", " : "",
			       yyjson_is_str(item) ? yyjson_get_str(item) : "?");
	}
	return buf;
}

static void print_meta(struct ctl *c, yyjson_val *item)
{
	yyjson_val *meta = field_get(item, "/spec/meta"), *key, *value;
	char buf[WORKLOAD_TEXT];
	size_t i, n;

	if (!yyjson_is_obj(meta))
		return;
	yyjson_obj_foreach (meta, i, n, key, value) {
		(void)snprintf(buf, sizeof(buf), "%s=%s", yyjson_get_str(key),
			       yyjson_get_str(value) ? yyjson_get_str(value) : "?");
		noun_print_fact(c, i ? "" : "Meta", buf);
	}
}

/* "Pods  shop/pay-0 container web". */
static void print_pods(struct ctl *c, yyjson_val *status)
{
	yyjson_val *list = field_get(status, "/pods"), *pod;
	char buf[WORKLOAD_TEXT];
	size_t i, n;

	if (!yyjson_is_arr(list))
		return;
	yyjson_arr_foreach (list, i, n, pod) {
		const char *container = field_text(pod, "/container");

		(void)snprintf(buf, sizeof(buf), "%s/%s%s%s", field_text(pod, "/namespace"),
			       field_text(pod, "/name"), *container ? " container " : "",
			       container);
		noun_print_fact(c, i ? "" : "Pods", buf);
	}
}

static void print_instances(struct ctl *c, yyjson_val *status)
{
	yyjson_val *list = field_get(status, "/instances"), *one;
	char buf[WORKLOAD_TEXT];
	size_t i, n;

	if (!yyjson_is_arr(list))
		return;
	yyjson_arr_foreach (list, i, n, one) {
		const char *error = field_text(one, "/lastError");

		(void)snprintf(buf, sizeof(buf), "%s %s%s%s", field_text(one, "/address"),
			       field_text(one, "/state"), *error ? ": " : "", error);
		noun_print_fact(c, i ? "" : "Instances", buf);
	}
}

static void print_status(struct ctl *c, yyjson_val *status)
{
	char buf[WORKLOAD_TEXT];
	const char *reason = field_text(status, "/reason");

	(void)snprintf(buf, sizeof(buf), "%s%s%s", field_text(status, "/state"),
		       *reason ? ": " : "", reason);
	noun_print_fact(c, "State", buf);
	print_pods(c, status);
	print_instances(c, status);
}

static int describe(struct ctl *c, const struct noun_item *item)
{
	char buf[WORKLOAD_TEXT];

	noun_print_fact(c, "Name", field_text(item->now, "/metadata/name"));
	noun_print_fact(c, "Namespace", field_text(item->now, "/metadata/namespace"));
	noun_print_labels(c, item->now);
	noun_print_fact(c, "Source", field_text(item->now, "/metadata/source"));
	noun_print_fact(c, "Version", field_text(item->now, "/metadata/resourceVersion"));
	noun_print_fact(c, "Service", field_text(item->now, "/spec/service"));
	noun_print_fact(c, "Registry", field_text(item->now, "/spec/registry"));
	noun_print_fact(c, "Workload", workload(item->now, buf));
	(void)snprintf(buf, sizeof(buf), "%" PRIu64 "/TCP", field_count(item->now, "/spec/port"));
	noun_print_fact(c, "Port", buf);
	noun_print_fact(c, "Address",
			field_has(item->now, "/spec/address")
				? field_text(item->now, "/spec/address")
				: "as listened on");
	noun_print_fact(c, "TTL", field_text(item->now, "/spec/ttl"));
	noun_print_fact(c, "Tags", join(field_get(item->now, "/spec/tags"), buf));
	print_meta(c, item->now);
	print_status(c, status_of(item));
	return 0;
}

const struct noun noun_registration = {
	.name = "registrations",
	.singular = "registration",
	.aliases = "reg",
	.path = "/v1/registrations",
	.namespace_at = "/metadata/namespace",
	.name_at = "/metadata/name",
	.beside = "/v1/registrations",
	.has_one = true,
	.can_delete = true,
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.row = row,
	.describe = describe,
};
