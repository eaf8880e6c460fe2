/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One Service, EndpointSlice, Node, ConfigMap or Pod of JSON as a struct kubernetes_object. A field
 * that is missing has the meaning that the API gives it: a condition "ready" that is not there is
 * true.
 * It must never guess: what cannot be used is left out and counted.
 */
#include "registry/kubernetes_object.h"

#include <errno.h>
#include <sinew/service.h>
#include <string.h>

#include "base/text.h"
#include "model/address.h"
#include "model/limits.h"
#include "registry/kubernetes_pod.h"

#define SERVICE_LABEL "kubernetes.io/service-name"
#define ZONE_LABEL "topology.kubernetes.io/zone"
#define AFFINITY_S 10800 /* what the API means when it says none, and the most that it takes */
#define AFFINITY_MAX_S 86400

struct build {
	struct kubernetes_object *o;
	struct text_buffer text;
};

/* In line, the length of `name` is known to the compiler: a slice has thousands of keys. */
__attribute__((always_inline)) static inline bool is_key(yyjson_val *key, const char *name)
{
	return yyjson_equals_strn(key, name, strlen(name));
}

/* The offset of a string in the object's text; 0 of what is no string, or too long. */
static uint32_t keep(struct build *b, yyjson_val *value, size_t max)
{
	size_t n = yyjson_get_len(value), at = b->text.n;

	if (!yyjson_is_str(value) || n == 0)
		return 0;
	if (n > max || memchr(yyjson_get_str(value), '\0', n)) {
		b->o->left_out++;
		return 0;
	}
	text_append_bytes(&b->text, yyjson_get_str(value), n + 1);
	return (uint32_t)at;
}

/* As keep(), but again the same as `last` if it is: many endpoints of a slice share a node. */
static uint32_t keep_again(struct build *b, yyjson_val *value, uint32_t last, size_t max)
{
	size_t n = yyjson_get_len(value);

	/* The NUL is compared, too: `last` is no longer than that. */
	if (last && n && !b->text.no_memory && yyjson_is_str(value) && last + n < b->text.n &&
	    !memcmp(yyjson_get_str(value), b->text.data + last, n + 1))
		return last;
	return keep(b, value, max);
}

static uint8_t read_proto(yyjson_val *value)
{
	if (!value || yyjson_is_null(value) || yyjson_equals_str(value, "TCP"))
		return SN_PROTO_TCP;
	return yyjson_equals_str(value, "UDP") ? SN_PROTO_UDP : 0;
}

/* false: it is no port. */
static bool read_port(struct build *b, yyjson_val *json, struct kubernetes_port *ret)
{
	yyjson_val *port = yyjson_obj_get(json, "port");

	*ret = (struct kubernetes_port){
		.name = keep(b, yyjson_obj_get(json, "name"), LIMIT_NAME),
		.proto = read_proto(yyjson_obj_get(json, "protocol")),
	};
	if (!port || yyjson_is_null(port))
		return b->o->kind == KUBERNETES_SLICE && yyjson_is_obj(json);
	if (!yyjson_is_uint(port) || yyjson_get_uint(port) == 0 || yyjson_get_uint(port) > 65535)
		return false;
	ret->port = (uint16_t)yyjson_get_uint(port);
	port = yyjson_obj_get(json, "nodePort");
	if (yyjson_is_uint(port) && yyjson_get_uint(port) <= 65535)
		ret->node_port = (uint16_t)yyjson_get_uint(port);
	return true;
}

static int read_ports(struct build *b, yyjson_val *json)
{
	struct kubernetes_object *o = b->o;
	size_t i, max, n = yyjson_arr_size(json);
	yyjson_val *one;

	if (n == 0)
		return 0;
	o->ports = calloc(n > LIMIT_PORTS ? LIMIT_PORTS : n, sizeof(*o->ports));
	if (!o->ports)
		return -ENOMEM;
	if (yyjson_is_arr(json))
		yyjson_arr_foreach (json, i, max, one) {
			if (o->n_ports < LIMIT_PORTS && read_port(b, one, &o->ports[o->n_ports]))
				o->n_ports++;
			else
				o->left_out++;
		}
	return 0;
}

/* --- slices ---------------------------------------------------------------------------------- */

/* Whether it takes new connections (ready), only keeps those it has (draining), or neither. */
static bool read_conditions(yyjson_val *json, bool *ret_draining)
{
	yyjson_val *ready = yyjson_obj_get(json, "ready"),
		   *serving = yyjson_obj_get(json, "serving");

	*ret_draining = false;
	if (!yyjson_is_bool(ready) || yyjson_get_bool(ready))
		return true;
	*ret_draining =
		yyjson_get_bool(yyjson_obj_get(json, "terminating")) && yyjson_get_bool(serving);
	return *ret_draining;
}

/* The first zone that it is meant for. */
static uint32_t read_hint(struct build *b, yyjson_val *json, uint32_t last)
{
	yyjson_val *zone = yyjson_arr_get_first(yyjson_obj_get(json, "forZones"));

	return keep_again(b, yyjson_obj_get(zone, "name"), last, LIMIT_NAME);
}

/* 1: it is one to be used; 0: not now; -EINVAL: of no use. All texts are of `last` if equal. */
static int read_endpoint(struct build *b, yyjson_val *json, const struct kubernetes_endpoint *last,
			 struct kubernetes_endpoint *ret)
{
	yyjson_val *addresses = NULL, *key, *value;
	bool usable = true;
	size_t i, max;

	*ret = (struct kubernetes_endpoint){};
	if (!yyjson_is_obj(json))
		return -EINVAL;
	yyjson_obj_foreach (json, i, max, key, value) {
		if (is_key(key, "addresses"))
			addresses = value;
		else if (is_key(key, "conditions"))
			usable = read_conditions(value, &ret->draining);
		else if (is_key(key, "zone"))
			ret->zone = keep_again(b, value, last->zone, LIMIT_NAME);
		else if (is_key(key, "nodeName"))
			ret->node = keep_again(b, value, last->node, LIMIT_NODE);
		else if (is_key(key, "targetRef"))
			ret->instance = keep(b, yyjson_obj_get(value, "uid"), LIMIT_INSTANCE_ID);
		else if (is_key(key, "hints"))
			ret->hint = read_hint(b, value, last->hint);
		else if (is_key(key, "topology") && !ret->zone) /* v1beta1 */
			ret->zone = keep_again(b, yyjson_obj_get(value, ZONE_LABEL), last->zone,
					       LIMIT_NAME);
	}
	/* Its other addresses, if any, are the same endpoint. */
	value = yyjson_arr_get_first(addresses);
	if (!yyjson_is_str(value) || address_parse(yyjson_get_str(value), &ret->addr) < 0)
		return -EINVAL;
	return usable;
}

static int read_endpoints(struct build *b, yyjson_val *json)
{
	const struct kubernetes_endpoint none = {}, *last = &none;
	struct kubernetes_object *o = b->o;
	size_t i, max, n = yyjson_arr_size(json);
	yyjson_val *one;

	if (n == 0)
		return 0;
	o->endpoints = calloc(n > LIMIT_ENDPOINTS ? LIMIT_ENDPOINTS : n, sizeof(*o->endpoints));
	if (!o->endpoints)
		return -ENOMEM;
	if (yyjson_is_arr(json))
		yyjson_arr_foreach (json, i, max, one) {
			struct kubernetes_endpoint e;
			int r = o->n_endpoints < LIMIT_ENDPOINTS ? read_endpoint(b, one, last, &e)
								 : -E2BIG;

			if (r < 0) {
				o->left_out++;
			} else if (r > 0) {
				o->endpoints[o->n_endpoints] = e;
				last = &o->endpoints[o->n_endpoints++];
			}
		}
	return 0;
}

static int read_slice(struct build *b, yyjson_val *root)
{
	yyjson_val *type = yyjson_obj_get(root, "addressType");
	int r;

	b->o->unusable = !yyjson_equals_str(type, "IPv4") && !yyjson_equals_str(type, "IPv6");
	if (b->o->unusable)
		return 0;
	r = read_ports(b, yyjson_obj_get(root, "ports"));
	return r < 0 ? r : read_endpoints(b, yyjson_obj_get(root, "endpoints"));
}

/* --- services and nodes ---------------------------------------------------------------------- */

static void add_address(struct kubernetes_object *o, yyjson_val *json)
{
	struct sn_addr addr;

	if (!yyjson_is_str(json) || yyjson_get_len(json) == 0 || yyjson_equals_str(json, "None"))
		return;
	if (address_parse(yyjson_get_str(json), &addr) < 0 || o->n_addresses == 2 ||
	    (o->n_addresses == 1 && address_is_v4(&o->addresses[0]) == address_is_v4(&addr))) {
		o->left_out++;
		return;
	}
	o->addresses[o->n_addresses++] = addr;
}

static void read_addresses(struct kubernetes_object *o, yyjson_val *spec)
{
	yyjson_val *all = yyjson_obj_get(spec, "clusterIPs"), *one;
	size_t i, max;

	if (yyjson_is_arr(all))
		yyjson_arr_foreach (all, i, max, one)
			add_address(o, one);
	if (yyjson_arr_size(all) == 0)
		add_address(o, yyjson_obj_get(spec, "clusterIP"));
}

static void add_outside(struct kubernetes_object *o, yyjson_val *json)
{
	struct sn_addr addr;

	if (!yyjson_is_str(json) || address_parse(yyjson_get_str(json), &addr) < 0 ||
	    o->n_outside == 2 * KUBERNETES_OUTSIDE) {
		o->left_out++;
		return;
	}
	for (size_t i = 0; i < o->n_outside; i++) {
		if (address_is_equal(&o->outside[i], &addr))
			return;
	}
	o->outside[o->n_outside++] = addr;
}

/* Where a balancer ends the connection itself ("Proxy"), it must not be passed by. */
static void add_ingress(struct kubernetes_object *o, yyjson_val *json)
{
	if (yyjson_obj_get(json, "ip") &&
	    !yyjson_equals_str(yyjson_obj_get(json, "ipMode"), "Proxy"))
		add_outside(o, yyjson_obj_get(json, "ip"));
}

static int read_outside(struct kubernetes_object *o, yyjson_val *root)
{
	yyjson_val *own = yyjson_obj_get(yyjson_obj_get(root, "spec"), "externalIPs"),
		   *status = yyjson_obj_get(root, "status"), *one,
		   *ingress = yyjson_obj_get(yyjson_obj_get(status, "loadBalancer"), "ingress");
	size_t i, max;

	if (!yyjson_arr_size(own) && !yyjson_arr_size(ingress))
		return 0;
	o->outside = calloc(2ul * KUBERNETES_OUTSIDE, sizeof(*o->outside));
	if (!o->outside)
		return -ENOMEM;
	if (yyjson_is_arr(own))
		yyjson_arr_foreach (own, i, max, one)
			add_outside(o, one);
	if (yyjson_is_arr(ingress))
		yyjson_arr_foreach (ingress, i, max, one)
			add_ingress(o, one);
	return 0;
}

/* The addresses by which its neighbours know it. */
static void read_node_addresses(struct kubernetes_object *o, yyjson_val *root)
{
	yyjson_val *all = yyjson_obj_get(yyjson_obj_get(root, "status"), "addresses"), *one;
	size_t i, max;

	if (yyjson_is_arr(all))
		yyjson_arr_foreach (all, i, max, one) {
			if (yyjson_equals_str(yyjson_obj_get(one, "type"), "InternalIP"))
				add_address(o, yyjson_obj_get(one, "address"));
		}
}

static void add_label(struct build *b, yyjson_val *key, yyjson_val *value)
{
	struct kubernetes_object *o = b->o;

	if (!yyjson_is_str(value) || o->n_labels == LIMIT_LABELS) {
		o->left_out++;
		return;
	}
	o->labels[o->n_labels++] = (struct kubernetes_label){
		.key = keep(b, key, LIMIT_LABEL_VALUE),
		.value = keep(b, value, LIMIT_LABEL_VALUE),
	};
}

/* sessionAffinity and internalTrafficPolicy; kubernetes_policy.c makes policies of them. */
static void read_balance(struct kubernetes_object *o, yyjson_val *spec)
{
	yyjson_val *config =
		yyjson_obj_get(yyjson_obj_get(spec, "sessionAffinityConfig"), "clientIP");
	yyjson_val *timeout = yyjson_obj_get(config, "timeoutSeconds");

	o->local = yyjson_equals_str(yyjson_obj_get(spec, "internalTrafficPolicy"), "Local");
	if (!yyjson_equals_str(yyjson_obj_get(spec, "sessionAffinity"), "ClientIP"))
		return;
	o->affinity_s = AFFINITY_S;
	if (yyjson_is_uint(timeout) && yyjson_get_uint(timeout) > 0 &&
	    yyjson_get_uint(timeout) <= AFFINITY_MAX_S)
		o->affinity_s = (uint32_t)yyjson_get_uint(timeout);
}

static int read_service(struct build *b, yyjson_val *root, yyjson_val *labels)
{
	yyjson_val *spec = yyjson_obj_get(root, "spec"), *key, *value;
	struct kubernetes_object *o = b->o;
	size_t i, max;

	o->labels = calloc(LIMIT_LABELS, sizeof(*o->labels));
	if (!o->labels)
		return -ENOMEM;
	o->external = yyjson_equals_str(yyjson_obj_get(spec, "type"), "ExternalName");
	o->policy = keep(b, yyjson_obj_get(labels, KUBERNETES_POLICY), LIMIT_NAME);
	read_balance(o, spec);
	if (yyjson_is_obj(labels))
		yyjson_obj_foreach (labels, i, max, key, value)
			add_label(b, key, value);
	read_addresses(o, spec);
	if (read_outside(o, root) < 0)
		return -ENOMEM;
	return read_ports(b, yyjson_obj_get(spec, "ports"));
}

/* Its data as pairs; what is binary is not ours. */
static int read_config_map(struct build *b, yyjson_val *root)
{
	yyjson_val *data = yyjson_obj_get(root, "data"), *key, *value;
	struct kubernetes_object *o = b->o;
	size_t i, max, n = yyjson_is_obj(data) ? yyjson_obj_size(data) : 0;

	o->labels = calloc(n > LIMIT_LABELS ? LIMIT_LABELS : n + 1, sizeof(*o->labels));
	if (!o->labels)
		return -ENOMEM;
	if (n)
		yyjson_obj_foreach (data, i, max, key, value) {
			if (o->n_labels == LIMIT_LABELS || !yyjson_is_str(value)) {
				o->left_out++;
				continue;
			}
			o->labels[o->n_labels++] = (struct kubernetes_label){
				.key = keep(b, key, KUBERNETES_NAME),
				.value = keep(b, value, KUBERNETES_DATA),
			};
		}
	return 0;
}

/* What tells one state of one object from all others: a uid is given once, a version once for a
 * uid. Versions are numbers that grow. */
static void read_revision(struct kubernetes_object *o, yyjson_val *meta)
{
	yyjson_val *uid = yyjson_obj_get(meta, "uid"),
		   *version = yyjson_obj_get(meta, "resourceVersion");
	const char *text = yyjson_get_str(version);
	char *end;

	if (!yyjson_is_str(uid) || !text || *text < '0' || *text > '9')
		return;
	o->uid = text_hash(yyjson_get_str(uid), yyjson_get_len(uid), 1);
	o->revision = text_hash(text, yyjson_get_len(version), o->uid);
	o->version = strtoull(text, &end, 10);
	if (*end)
		o->version = 0;
}

static int read_object(struct build *b, yyjson_val *root)
{
	yyjson_val *meta = yyjson_obj_get(root, "metadata"), *labels;
	struct kubernetes_object *o = b->o;

	text_append_bytes(&b->text, "", 1);
	labels = yyjson_obj_get(meta, "labels");
	o->name = keep(b, yyjson_obj_get(meta, "name"), KUBERNETES_NAME);
	o->namespace = keep(b, yyjson_obj_get(meta, "namespace"), LIMIT_NAME);
	read_revision(o, meta);
	if (!o->name || (!o->namespace && o->kind != KUBERNETES_NODE))
		return -EINVAL;
	if (o->kind == KUBERNETES_SERVICE)
		return read_service(b, root, labels);
	if (o->kind == KUBERNETES_CONFIGMAP)
		return read_config_map(b, root);
	if (o->kind == KUBERNETES_POD)
		return kubernetes_pod_read(root, &o->pod);
	if (o->kind == KUBERNETES_NODE) {
		o->zone = keep(b, yyjson_obj_get(labels, ZONE_LABEL), LIMIT_NAME);
		read_node_addresses(o, root);
		return 0;
	}
	o->service = keep(b, yyjson_obj_get(labels, SERVICE_LABEL), LIMIT_NAME);
	return read_slice(b, root);
}

int kubernetes_object_read(yyjson_val *root, enum kubernetes_kind kind,
			   struct kubernetes_object **ret)
{
	_cleanup_(kubernetes_object_freep) struct kubernetes_object *o = calloc(1, sizeof(*o));
	struct build b = {.o = o};
	int r;

	if (!o)
		return -ENOMEM;
	o->kind = kind;
	r = yyjson_is_obj(root) ? read_object(&b, root) : -EINVAL;
	if (r >= 0 && b.text.no_memory)
		r = -ENOMEM;
	o->n_text = b.text.n;
	o->text = text_take(&b.text);
	if (r < 0)
		return r;
	if (!o->text)
		return -ENOMEM;
	*ret = TAKE_PTR(o);
	return 0;
}

struct kubernetes_object *kubernetes_object_free(struct kubernetes_object *o)
{
	if (!o)
		return NULL;
	free(o->ports);
	free(o->endpoints);
	free(o->labels);
	free(o->outside);
	pod_free(o->pod);
	free(o->text);
	free(o);
	return NULL;
}
