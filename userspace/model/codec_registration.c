/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Registration's "spec" to struct registration. Before: codec.c read kind and metadata. After:
 * the store keeps it. Whether its registry exists, and who listens, is the agent's to find out.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/address.h"
#include "model/codec_endpoint.h"
#include "model/registration.h"

/* A registration while it is read; its texts belong to the document. */
struct reading {
	struct registration r;
	struct codec_labels selects, meta;
	char *tags[LIMIT_TAGS];
};

/* --- texts -------------------------------------------------------------------------------- */

/* Letters, digits and `more`, a letter or digit first. */
static bool is_word(const char *text, const char *more)
{
	if (!isalnum((unsigned char)*text))
		return false;
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(more, *p))
			return false;
	return true;
}

/* As registries have them: Eureka's are upper-case, Consul's may have dots. */
static int read_service(struct codec *c, const struct json_at *up, yyjson_val *json,
			const char **ret)
{
	struct json_at at = codec_at_key(up, "service");
	const char *text;

	if (!json)
		return codec_refuse(c, up, "service is missing: the name in the registry");
	if (codec_read_text(c, &at, json, LIMIT_LABEL_VALUE, &text) < 0)
		return -EINVAL;
	if (!is_word(text, "-_."))
		return codec_refuse(c, &at,
				    "service \"%.64s\" must be letters, digits and \"-_.\", a "
				    "letter or digit first",
				    text);
	*ret = text;
	return 0;
}

static int read_registry(struct codec *c, const struct json_at *up, yyjson_val *json,
			 const char **ret)
{
	struct json_at at = codec_at_key(up, "registry");

	if (!json)
		return codec_refuse(c, up,
				    "registry is missing: the name of a registry in agent.yaml");
	return codec_read_name(c, &at, json, ret);
}

static bool is_printable(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return true;
}

static int read_tag(struct codec *c, const struct json_at *at, yyjson_val *json, struct reading *d)
{
	const char *text;

	if (codec_read_text(c, at, json, LIMIT_LABEL_VALUE, &text) < 0)
		return -EINVAL;
	if (!*text || !is_printable(text))
		return codec_refuse(c, at, "a tag must be a text without control characters");
	for (size_t i = 0; i < d->r.n_tags; i++)
		if (!strcmp(d->tags[i], text))
			return codec_refuse(c, at, "tag \"%.64s\" is given twice", text);
	d->tags[d->r.n_tags++] = (char *)text;
	return 0;
}

static int read_tags(struct codec *c, const struct json_at *up, yyjson_val *json, struct reading *d)
{
	struct json_at at = codec_at_key(up, "tags");
	yyjson_val *item;
	size_t i, n;
	int r = 0;

	if (!json)
		return 0;
	if (!yyjson_is_arr(json))
		return codec_refuse(c, &at, "tags must be a list, not %s", codec_type_name(json));
	if (yyjson_arr_size(json) > LIMIT_TAGS)
		return codec_refuse(c, &at, "%zu tags; at most %d are allowed",
				    yyjson_arr_size(json), LIMIT_TAGS);
	yyjson_arr_foreach (json, i, n, item) {
		struct json_at here = codec_at_index(&at, i);

		if (read_tag(c, &here, item, d) < 0)
			r = -EINVAL;
	}
	return r;
}

/* --- the workload ------------------------------------------------------------------------- */

static int read_unit(struct codec *c, const struct json_at *up, yyjson_val *json, const char **ret)
{
	struct json_at at = codec_at_key(up, "unit");
	const char *text, *dot;

	if (codec_read_text(c, &at, json, LIMIT_UNIT, &text) < 0)
		return -EINVAL;
	dot = strrchr(text, '.');
	if (is_word(text, "-_.:\\@") && !dot)
		return codec_refuse(c, &at,
				    "unit \"%.64s\" has no type; did you mean \"%.64s.service\"?",
				    text, text);
	if (!is_word(text, "-_.:\\@") || (strcmp(dot, ".service") && strcmp(dot, ".scope")))
		return codec_refuse(c, &at,
				    "unit \"%.64s\" must be the name of a .service or .scope of "
				    "systemd",
				    text);
	*ret = text;
	return 0;
}

static int read_cgroup(struct codec *c, const struct json_at *up, yyjson_val *json,
		       const char **ret)
{
	struct json_at at = codec_at_key(up, "cgroup");
	const char *text;

	if (codec_read_text(c, &at, json, LIMIT_CGROUP, &text) < 0)
		return -EINVAL;
	if (text[0] != '/' || !text[1] || !is_printable(text))
		return codec_refuse(c, &at,
				    "cgroup \"%.64s\" must be a path below the cgroup mount, "
				    "beginning with \"/\"; * ? and [] stand for others",
				    text);
	*ret = text;
	return 0;
}

/* Labels that what is selected has, at least one. */
static int read_selects(struct codec *c, const struct json_at *at, yyjson_val *json,
			struct reading *d)
{
	if (codec_read_labels(c, at, json, &d->selects) < 0)
		return -EINVAL;
	if (!d->selects.n)
		return codec_refuse(c, at, "%s needs at least one label", at->key);
	d->r.selects = d->selects.items;
	d->r.n_selects = d->selects.n;
	return 0;
}

/* A pod's name, in which * and ? stand for others: a Deployment's pods end with what chance gave.
 */
static int read_pod_name(struct codec *c, const struct json_at *up, yyjson_val *json,
			 const char **ret)
{
	struct json_at at = codec_at_key(up, "name");
	const char *text;

	if (!json)
		return 0;
	if (codec_read_text(c, &at, json, LIMIT_NODE, &text) < 0)
		return -EINVAL;
	if (!*text || text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.*?")])
		return codec_refuse(c, &at,
				    "name \"%.64s\" must be a pod's name: lower-case letters, "
				    "digits, \"-\" and \".\"; * and ? stand for others",
				    text);
	*ret = text;
	return 0;
}

/* Whoever may make a pod names and labels it; in which namespace, is for the cluster to say. So
 * nothing is selected without one. */
static int read_pod(struct codec *c, const struct json_at *up, yyjson_val *json, struct reading *d)
{
	static const struct codec_shape shape = {
		"Registration.spec.workload.pod", {"namespace", "name", "labels", "container"}, 4};
	struct json_at at = codec_at_key(up, "pod"), here = codec_at_key(&at, "namespace");
	const char *namespace = "", *name = "", *container = "";
	yyjson_val *values[CODEC_KEYS_MAX];
	int r = codec_read_members(c, &at, json, &shape, values);

	if (!yyjson_is_obj(json))
		return r;
	if (!values[0])
		r = codec_refuse(c, &at, "namespace is missing: that of the pods");
	else if (codec_read_name(c, &here, values[0], &namespace) < 0)
		r = -EINVAL;
	if (read_pod_name(c, &at, values[1], &name) < 0)
		r = -EINVAL;
	here = codec_at_key(&at, "labels");
	if (values[2] && read_selects(c, &here, values[2], d) < 0)
		r = -EINVAL;
	here = codec_at_key(&at, "container");
	if (values[3] && codec_read_name(c, &here, values[3], &container) < 0)
		r = -EINVAL;
	d->r.workload = (char *)name;
	d->r.pod_namespace = (char *)namespace;
	d->r.pod_container = (char *)container;
	return r;
}

/* The one way that is given. */
static int read_way(struct codec *c, const struct json_at *at, yyjson_val **values,
		    struct reading *d)
{
	struct json_at here = codec_at_key(at, "container");
	const char *text = "";
	int r;

	if (values[2]) {
		d->r.by = REGISTRATION_BY_CONTAINER;
		return read_selects(c, &here, values[2], d);
	}
	if (values[3]) {
		d->r.by = REGISTRATION_BY_POD;
		return read_pod(c, at, values[3], d);
	}
	d->r.by = values[0] ? REGISTRATION_BY_UNIT : REGISTRATION_BY_CGROUP;
	r = values[0] ? read_unit(c, at, values[0], &text) : read_cgroup(c, at, values[1], &text);
	d->r.workload = (char *)text;
	return r;
}

static int read_workload(struct codec *c, const struct json_at *up, yyjson_val *json,
			 struct reading *d)
{
	static const struct codec_shape shape = {
		"Registration.spec.workload", {"unit", "cgroup", "container", "pod"}, 4};
	struct json_at at = codec_at_key(up, "workload");
	yyjson_val *values[CODEC_KEYS_MAX];
	int r;

	if (!json)
		return codec_refuse(c, up,
				    "workload is missing: one of unit, cgroup, container, pod");
	r = codec_read_members(c, &at, json, &shape, values);
	if (r < 0)
		return r;
	if (!!values[0] + !!values[1] + !!values[2] + !!values[3] != 1)
		return codec_refuse(c, &at,
				    "workload needs exactly one of unit, cgroup, container, pod");
	return read_way(c, &at, values, d);
}

/* --- where -------------------------------------------------------------------------------- */

static int read_address(struct codec *c, const struct json_at *up, yyjson_val *json,
			struct registration *r)
{
	struct json_at at = codec_at_key(up, "address");

	if (!json)
		return 0;
	if (codec_read_address(c, &at, json, &r->address) < 0)
		return -EINVAL;
	if (!address_is_target(&r->address))
		return codec_refuse(c, &at, "address %s is none that others can connect to",
				    yyjson_get_str(json));
	r->has_address = true;
	return 0;
}

static int read_protocol(struct codec *c, const struct json_at *up, yyjson_val *json)
{
	struct json_at at = codec_at_key(up, "protocol");
	const char *text;

	if (!json)
		return 0;
	if (codec_read_text(c, &at, json, LIMIT_NAME, &text) < 0)
		return -EINVAL;
	if (strcasecmp(text, "tcp"))
		return codec_refuse(c, &at,
				    "protocol \"%s\" is not possible: only of TCP does the kernel "
				    "tell who listens",
				    text);
	return 0;
}

static int read_place(struct codec *c, const struct json_at *up, yyjson_val **values,
		      struct registration *r)
{
	struct json_at at = codec_at_key(up, "port");
	uint64_t port = 0, ttl = REGISTRATION_TTL_MS;
	int bad = 0;

	if (!values[0])
		bad = codec_refuse(c, up, "port is missing: the one that is listened on");
	else if (codec_read_number(c, &at, values[0], (struct codec_range){1, 65535}, &port) < 0)
		bad = -EINVAL;
	if (read_protocol(c, up, values[1]) < 0 || read_address(c, up, values[2], r) < 0)
		bad = -EINVAL;
	at = codec_at_key(up, "ttl");
	if (values[3] &&
	    codec_read_duration(c, &at, values[3], (struct codec_range){3000, 3600000}, &ttl) < 0)
		bad = -EINVAL;
	r->port = (uint16_t)port;
	r->proto = SN_PROTO_TCP;
	r->ttl_ms = (uint32_t)ttl;
	return bad;
}

/* --- the whole ---------------------------------------------------------------------------- */

static int read_rest(struct codec *c, const struct json_at *at, yyjson_val **values,
		     struct reading *d)
{
	struct json_at here = codec_at_key(at, "meta");
	const char *service = "", *registry = "";
	int r = 0;

	if (read_service(c, at, values[0], &service) < 0)
		r = -EINVAL;
	if (read_registry(c, at, values[1], &registry) < 0)
		r = -EINVAL;
	if (read_workload(c, at, values[2], d) < 0)
		r = -EINVAL;
	if (read_place(c, at, values + 3, &d->r) < 0)
		r = -EINVAL;
	if (read_tags(c, at, values[7], d) < 0)
		r = -EINVAL;
	if (values[8] && codec_read_labels(c, &here, values[8], &d->meta) < 0)
		r = -EINVAL;
	d->r.service = (char *)service;
	d->r.registry = (char *)registry;
	return r;
}

int codec_registration_decode(struct codec *c, const struct json_at *at, yyjson_val *spec,
			      struct codec_metadata *metadata, struct registration **ret)
{
	static const struct codec_shape shape = {"Registration.spec",
						 {"service", "registry", "workload", "port",
						  "protocol", "address", "ttl", "tags", "meta"},
						 9};
	struct reading d = {.r = {.namespace = (char *)metadata->namespace,
				  .name = (char *)metadata->name,
				  .source = (char *)c->source,
				  .labels = metadata->labels.items,
				  .n_labels = metadata->labels.n,
				  .workload = (char *)"",
				  .pod_namespace = (char *)"",
				  .pod_container = (char *)""}};
	yyjson_val *values[CODEC_KEYS_MAX];
	int bad = codec_read_members(c, at, spec, &shape, values);

	if (!yyjson_is_obj(spec))
		return bad;
	if (read_rest(c, at, values, &d) < 0)
		bad = -EINVAL;
	if (bad < 0 || !d.r.name)
		return -EINVAL;
	d.r.tags = d.tags;
	d.r.meta = d.meta.items;
	d.r.n_meta = d.meta.n;
	return registration_new(&d.r, ret);
}
