/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects to canonical JSON: members in one order, a policy's defaults only where they were
 * written, so that equal objects make equal text. After: the API's answers, state files and
 * differences. Must be read back by the decoders as the same object.
 */
#include <stdio.h>

#include "base/text.h"
#include "model/address.h"
#include "model/codec.h"

/* yyjson's calls answer NULL or false without memory and take NULL: only the last result counts,
 * and this one remembers the rest. */
struct encoder {
	yyjson_mut_doc *doc;
	bool failed;
};

static void put(struct encoder *e, yyjson_mut_val *object, const char *key, yyjson_mut_val *value)
{
	if (!value || !yyjson_mut_obj_add_val(e->doc, object, key, value))
		e->failed = true;
}

static void put_text(struct encoder *e, yyjson_mut_val *object, const char *key, const char *text)
{
	put(e, object, key, yyjson_mut_str(e->doc, text));
}

static void put_number(struct encoder *e, yyjson_mut_val *object, const char *key, uint64_t number)
{
	put(e, object, key, yyjson_mut_uint(e->doc, number));
}

static yyjson_mut_val *address_value(struct encoder *e, const struct sn_addr *addr)
{
	char text[ADDRESS_TEXT];

	return yyjson_mut_strcpy(e->doc, address_format(addr, text));
}

static void append(struct encoder *e, yyjson_mut_val *array, yyjson_mut_val *value)
{
	if (!value || !yyjson_mut_arr_append(array, value))
		e->failed = true;
}

static void put_labels(struct encoder *e, yyjson_mut_val *metadata, const struct label *labels,
		       size_t n)
{
	yyjson_mut_val *map = yyjson_mut_obj(e->doc);

	if (!n)
		return;
	for (size_t i = 0; i < n; i++)
		put_text(e, map, labels[i].key, labels[i].value);
	put(e, metadata, "labels", map);
}

/* The object with all but its spec. */
static yyjson_mut_val *begin(struct encoder *e, const char *kind, const char *namespace,
			     const char *name)
{
	yyjson_mut_val *root = yyjson_mut_obj(e->doc), *metadata = yyjson_mut_obj(e->doc);

	put_text(e, root, "apiVersion", CODEC_API_VERSION);
	put_text(e, root, "kind", kind);
	put_text(e, metadata, "name", name);
	put_text(e, metadata, "namespace", namespace);
	put(e, root, "metadata", metadata);
	return root;
}

static void put_addresses(struct encoder *e, yyjson_mut_val *spec, const struct service *s)
{
	yyjson_mut_val *list;

	if (!s->n_addresses)
		return;
	if (s->n_addresses == 1) {
		put(e, spec, "address", address_value(e, &s->address[0]));
	} else {
		list = yyjson_mut_arr(e->doc);
		for (size_t i = 0; i < s->n_addresses; i++)
			append(e, list, address_value(e, &s->address[i]));
		put(e, spec, "addresses", list);
	}
	if (s->allocated)
		put(e, spec, "allocated", yyjson_mut_true(e->doc));
}

static void put_ports(struct encoder *e, yyjson_mut_val *spec, const struct service *s)
{
	yyjson_mut_val *list = yyjson_mut_arr(e->doc);

	for (size_t i = 0; i < s->n_ports; i++) {
		yyjson_mut_val *port = yyjson_mut_obj(e->doc);

		if (*s->ports[i].name)
			put_text(e, port, "name", s->ports[i].name);
		put_number(e, port, "port", s->ports[i].port);
		put_text(e, port, "protocol", s->ports[i].proto == SN_PROTO_UDP ? "UDP" : "TCP");
		append(e, list, port);
	}
	put(e, spec, "ports", list);
}

/* One number when it serves all ports, else by name; a port that is kept as asked has none. */
static void put_targets(struct encoder *e, yyjson_mut_val *endpoint, const struct service *s,
			size_t which)
{
	yyjson_mut_val *map = NULL;
	uint16_t first = service_target(s, which, 0);
	bool uniform = true;

	for (size_t i = 1; i < s->n_ports; i++)
		uniform = uniform && service_target(s, which, i) == first;
	if (uniform && first)
		put_number(e, endpoint, "port", first);
	if (uniform)
		return;
	map = yyjson_mut_obj(e->doc);
	for (size_t i = 0; i < s->n_ports; i++)
		if (service_target(s, which, i))
			put_number(e, map, s->ports[i].name, service_target(s, which, i));
	put(e, endpoint, "ports", map);
}

/* Who named it; what nobody said is left out. */
static void put_origin(struct encoder *e, yyjson_mut_val *endpoint, const struct service *s,
		       const struct endpoint *from)
{
	char digits[17];

	if (from->source)
		put_text(e, endpoint, "source", s->sources[from->source - 1]);
	if (from->instance) {
		(void)snprintf(digits, sizeof(digits), "%016llx",
			       (unsigned long long)from->instance);
		put(e, endpoint, "instance", yyjson_mut_strcpy(e->doc, digits));
	}
	if (from->flags & ENDPOINT_SUSPECT)
		put(e, endpoint, "suspect", yyjson_mut_true(e->doc));
}

static void put_endpoints(struct encoder *e, yyjson_mut_val *spec, const struct service *s)
{
	yyjson_mut_val *list = yyjson_mut_arr(e->doc);

	for (size_t i = 0; i < s->n_endpoints; i++) {
		const struct endpoint *from = &s->endpoints[i];
		yyjson_mut_val *endpoint = yyjson_mut_obj(e->doc);

		put(e, endpoint, "address", address_value(e, &from->addr));
		put_targets(e, endpoint, s, i);
		put_number(e, endpoint, "weight", from->weight);
		if (from->zone)
			put_text(e, endpoint, "zone", s->zones[from->zone - 1]);
		if (from->node)
			put_text(e, endpoint, "node", s->nodes[from->node - 1]);
		put_origin(e, endpoint, s, from);
		append(e, list, endpoint);
	}
	put(e, spec, "endpoints", list);
}

yyjson_mut_val *codec_encode_service(yyjson_mut_doc *doc, const struct service *s)
{
	struct encoder e = {.doc = doc};
	yyjson_mut_val *root = begin(&e, "Service", s->namespace, s->name);
	yyjson_mut_val *spec = yyjson_mut_obj(doc);

	put_labels(&e, yyjson_mut_obj_get(root, "metadata"), s->labels, s->n_labels);
	put_addresses(&e, spec, s);
	put_ports(&e, spec, s);
	put_endpoints(&e, spec, s);
	put_text(&e, spec, "policy", s->policy);
	put(&e, root, "spec", spec);
	return e.failed ? NULL : root;
}

static yyjson_mut_val *pod_value(struct encoder *e, const struct registration *r,
				 yyjson_mut_val *labels)
{
	yyjson_mut_val *pod = yyjson_mut_obj(e->doc);

	put_text(e, pod, "namespace", r->pod_namespace);
	if (*r->workload)
		put_text(e, pod, "name", r->workload);
	if (r->n_selects)
		put(e, pod, "labels", labels);
	if (*r->pod_container)
		put_text(e, pod, "container", r->pod_container);
	return pod;
}

static yyjson_mut_val *workload_value(struct encoder *e, const struct registration *r)
{
	yyjson_mut_val *workload = yyjson_mut_obj(e->doc), *labels = yyjson_mut_obj(e->doc);

	if (r->by == REGISTRATION_BY_UNIT)
		put_text(e, workload, "unit", r->workload);
	else if (r->by == REGISTRATION_BY_CGROUP)
		put_text(e, workload, "cgroup", r->workload);
	for (size_t i = 0; i < r->n_selects; i++)
		put_text(e, labels, r->selects[i].key, r->selects[i].value);
	if (r->by == REGISTRATION_BY_CONTAINER)
		put(e, workload, "container", labels);
	if (r->by == REGISTRATION_BY_POD)
		put(e, workload, "pod", pod_value(e, r, labels));
	return workload;
}

static void put_particulars(struct encoder *e, yyjson_mut_val *spec, const struct registration *r)
{
	yyjson_mut_val *tags = yyjson_mut_arr(e->doc), *meta = yyjson_mut_obj(e->doc);
	char ttl[TEXT_DURATION];

	put(e, spec, "ttl", yyjson_mut_strcpy(e->doc, text_format_duration(r->ttl_ms, ttl)));
	for (size_t i = 0; i < r->n_tags; i++)
		append(e, tags, yyjson_mut_str(e->doc, r->tags[i]));
	if (r->n_tags)
		put(e, spec, "tags", tags);
	for (size_t i = 0; i < r->n_meta; i++)
		put_text(e, meta, r->meta[i].key, r->meta[i].value);
	if (r->n_meta)
		put(e, spec, "meta", meta);
}

yyjson_mut_val *codec_encode_registration(yyjson_mut_doc *doc, const struct registration *r)
{
	struct encoder e = {.doc = doc};
	yyjson_mut_val *root = begin(&e, "Registration", r->namespace, r->name);
	yyjson_mut_val *spec = yyjson_mut_obj(doc);

	put_labels(&e, yyjson_mut_obj_get(root, "metadata"), r->labels, r->n_labels);
	put_text(&e, spec, "service", r->service);
	put_text(&e, spec, "registry", r->registry);
	put(&e, spec, "workload", workload_value(&e, r));
	put_number(&e, spec, "port", r->port);
	put_text(&e, spec, "protocol", "tcp");
	if (r->has_address)
		put(&e, spec, "address", address_value(&e, &r->address));
	put_particulars(&e, spec, r);
	put(&e, root, "spec", spec);
	return e.failed ? NULL : root;
}

yyjson_mut_val *codec_encode_object(yyjson_mut_doc *doc, const struct object *o)
{
	if (o->kind == OBJECT_SERVICE)
		return codec_encode_service(doc, o->service);
	if (o->kind == OBJECT_POLICY)
		return codec_encode_policy(doc, o->policy);
	return codec_encode_registration(doc, o->registration);
}

yyjson_mut_val *codec_encode_policy(yyjson_mut_doc *doc, const struct policy *p)
{
	struct encoder e = {.doc = doc};
	yyjson_mut_val *root = begin(&e, "TrafficPolicy", p->namespace, p->name);

	put_labels(&e, yyjson_mut_obj_get(root, "metadata"), p->labels, p->n_labels);
	put(&e, root, "spec", codec_encode_policy_spec(doc, p, p->given));
	return e.failed ? NULL : root;
}
