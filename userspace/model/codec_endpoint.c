/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See codec_endpoint.h. Before: codec_service.c read the ports that endpoints refer to. An
 * endpoint's port for a service's port is: its own "ports" by name, else its "port", else the
 * service's "targetPort", else the service's port.
 */
#include "model/codec_endpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/address.h"

#define WEIGHT_DEFAULT 100
#define INSTANCE_DIGITS 16
#define HEX_DIGITS "0123456789abcdef"

int codec_read_address(struct codec *c, const struct json_at *at, yyjson_val *json,
		       struct sn_addr *ret)
{
	const char *text;

	if (!yyjson_is_str(json))
		return codec_refuse(c, at, "an address must be a text, not %s",
				    codec_type_name(json));
	if (codec_read_text(c, at, json, LIMIT_LABEL_VALUE, &text) < 0)
		return -EINVAL;
	if (address_parse(text, ret) < 0)
		return codec_refuse(c, at, "\"%.64s\" is no IPv4 or IPv6 address", text);
	return 0;
}

/* --- one endpoint ------------------------------------------------------------------------- */

/* The port that the key names; n_ports: none, as for a key with a NUL byte in it. */
static size_t find_port(const struct service *s, yyjson_val *key)
{
	size_t i;

	for (i = 0; i < s->n_ports; i++)
		if (yyjson_equals_str(key, s->ports[i].name))
			break;
	return i;
}

static int refuse_port(struct codec *c, const struct json_at *at, const struct service *s)
{
	const char *names[LIMIT_PORTS], *meant;

	for (size_t i = 0; i < s->n_ports; i++)
		names[i] = s->ports[i].name;
	meant = text_suggest(at->key, names, s->n_ports);
	if (meant)
		return codec_refuse_key(
			c, at, "the service has no port named \"%.64s\"; did you mean \"%s\"?",
			at->key, meant);
	return codec_refuse_key(c, at, "the service has no port named \"%.64s\"", at->key);
}

/* {"http": 8080}: overrides targets one by one. */
static int read_named(struct codec *c, const struct json_at *up, yyjson_val *json,
		      const struct codec_service *d, uint16_t *targets)
{
	struct json_at at = codec_at_key(up, "ports");
	yyjson_val *key, *value;
	uint32_t seen = 0;
	size_t i, n;
	int r = 0;

	if (!yyjson_is_obj(json))
		return codec_refuse(c, &at, "ports must map names of ports to numbers, not be %s",
				    codec_type_name(json));
	yyjson_obj_foreach (json, i, n, key, value) {
		struct json_at here = {
			.up = &at, .key = yyjson_get_str(key), .length = yyjson_get_len(key)};
		size_t which = find_port(&d->s, key);
		uint64_t number = 0;

		if (which == d->s.n_ports)
			r = d->bad_ports ? -EINVAL : refuse_port(c, &here, &d->s);
		else if (seen & 1u << which)
			r = codec_refuse_key(c, &here, "port \"%s\" is given twice", here.key);
		else if (codec_read_number(c, &here, value, (struct codec_range){1, 65535},
					   &number) < 0)
			r = -EINVAL;
		if (which < d->s.n_ports) {
			seen |= 1u << which;
			targets[which] = (uint16_t)number;
		}
	}
	return r;
}

/* The names of places that endpoints are at, each once. */
struct places {
	char **names;
	size_t *n;
	size_t max;
};

static int find_place(struct codec *c, const struct json_at *at, const char *name,
		      const struct places *places, uint16_t *ret)
{
	size_t i;

	for (i = *places->n; i > 0; i--)
		if (!strcmp(places->names[i - 1], name))
			break;
	if (!i && *places->n == places->max)
		return codec_refuse(c, at, "more than %zu %ss in one service", places->max,
				    at->key);
	if (!i) {
		places->names[*places->n] = (char *)name;
		i = ++*places->n;
	}
	*ret = (uint16_t)i;
	return 0;
}

/* Where it is: "zone" and "node", NULL when not said. */
static int read_places(struct codec *c, const struct json_at *up, yyjson_val *const *values,
		       struct service *s, struct endpoint *e)
{
	const struct places zones = {s->zones, &s->n_zones, LIMIT_SERVICE_ZONES};
	const struct places nodes = {s->nodes, &s->n_nodes, LIMIT_SERVICE_NODES};
	struct json_at at = codec_at_key(up, "zone");
	const char *name;
	int r = 0;

	if (values[0] && (codec_read_name(c, &at, values[0], &name) < 0 ||
			  find_place(c, &at, name, &zones, &e->zone) < 0))
		r = -EINVAL;
	at = codec_at_key(up, "node");
	if (values[1] && (codec_read_host(c, &at, values[1], &name) < 0 ||
			  find_place(c, &at, name, &nodes, &e->node) < 0))
		r = -EINVAL;
	return r;
}

/* Sixteen lower-case hex digits, not all 0: what draft_instance() made of a registry's id. */
static int read_instance(struct codec *c, const struct json_at *at, yyjson_val *json, uint64_t *ret)
{
	uint64_t number = 0;
	const char *text;

	if (codec_read_text(c, at, json, INSTANCE_DIGITS, &text) < 0)
		return -EINVAL;
	if (strlen(text) != INSTANCE_DIGITS || strspn(text, HEX_DIGITS) != INSTANCE_DIGITS)
		return codec_refuse(c, at, "instance \"%s\" must be %d lower-case hex digits", text,
				    INSTANCE_DIGITS);
	for (; *text; text++)
		number = number << 4 | (uint64_t)(strchr(HEX_DIGITS, *text) - HEX_DIGITS);
	if (!number)
		return codec_refuse(c, at, "instance 0 is nobody; leave the key out");
	*ret = number;
	return 0;
}

/* Who named it: "source", "instance" and "suspect", NULL when not said. */
static int read_origin(struct codec *c, const struct json_at *up, yyjson_val *const *values,
		       struct service *s, struct endpoint *e)
{
	const struct places sources = {s->sources, &s->n_sources, LIMIT_SERVICE_SOURCES};
	struct json_at at = codec_at_key(up, "source");
	bool suspect = false;
	uint16_t place = 0;
	const char *name;
	int r = 0;

	if (values[0] && (codec_read_source(c, &at, values[0], &name) < 0 ||
			  find_place(c, &at, name, &sources, &place) < 0))
		r = -EINVAL;
	at = codec_at_key(up, "instance");
	if (values[1] && read_instance(c, &at, values[1], &e->instance) < 0)
		r = -EINVAL;
	at = codec_at_key(up, "suspect");
	if (values[2] && codec_read_bool(c, &at, values[2], &suspect) < 0)
		r = -EINVAL;
	e->source = (uint8_t)place;
	e->flags = suspect ? ENDPOINT_SUSPECT : 0;
	return r;
}

static int check_family(struct codec *c, const struct json_at *at, const struct sn_addr *addr,
			const struct codec_service *d)
{
	char mine[ADDRESS_TEXT], its[ADDRESS_TEXT];

	if (!address_is_target(addr))
		return codec_refuse(c, at,
				    "address %s cannot be an endpoint: nothing can be sent to it",
				    address_format(addr, mine));
	if (d->any_family)
		return 0;
	for (size_t i = 0; i < d->s.n_addresses; i++)
		if (address_is_v4(&d->s.address[i]) == address_is_v4(addr))
			return 0;
	return codec_refuse(c, at, "endpoint %s is %s, but the service only has the address %s",
			    address_format(addr, mine), address_is_v4(addr) ? "IPv4" : "IPv6",
			    address_format(&d->s.address[0], its));
}

static int read_endpoint(struct codec *c, const struct json_at *at, yyjson_val *json,
			 struct codec_service *d)
{
	static const struct codec_shape shape = {"Service.spec.endpoints[]",
						 {"address", "port", "ports", "weight", "zone",
						  "node", "source", "instance", "suspect"},
						 9};
	uint16_t *targets = &d->s.targets[d->s.n_endpoints * d->s.n_ports];
	uint64_t port = 0, weight = WEIGHT_DEFAULT;
	struct endpoint e = {};
	yyjson_val *values[CODEC_KEYS_MAX];
	int r = codec_read_members(c, at, json, &shape, values);
	struct json_at here = codec_at_key(at, "address");

	if (!yyjson_is_obj(json))
		return r;
	if (!values[0])
		r = codec_refuse(c, at, "address is missing");
	else if (codec_read_address(c, &here, values[0], &e.addr) < 0 ||
		 check_family(c, &here, &e.addr, d) < 0)
		r = -EINVAL;
	here = codec_at_key(at, "port");
	if (values[1] &&
	    codec_read_number(c, &here, values[1], (struct codec_range){1, 65535}, &port) < 0)
		r = -EINVAL;
	for (size_t i = 0; i < d->s.n_ports; i++)
		targets[i] = port ? (uint16_t)port : d->target[i];
	if (values[2] && read_named(c, at, values[2], d, targets) < 0)
		r = -EINVAL;
	here = codec_at_key(at, "weight");
	if (values[3] && codec_read_number(c, &here, values[3],
					   (struct codec_range){0, LIMIT_WEIGHT}, &weight) < 0)
		r = -EINVAL;
	if (read_places(c, at, &values[4], &d->s, &e) < 0 ||
	    read_origin(c, at, &values[6], &d->s, &e) < 0)
		r = -EINVAL;
	if (r < 0)
		return r;
	e.weight = (uint16_t)weight;
	d->s.endpoints[d->s.n_endpoints++] = e;
	return 0;
}

/* --- the list ----------------------------------------------------------------------------- */

static int compare_endpoints(const void *a, const void *b, void *service)
{
	const struct service *s = service;
	uint16_t i = *(const uint16_t *)a, k = *(const uint16_t *)b;
	int r = memcmp(&s->endpoints[i].addr, &s->endpoints[k].addr, sizeof(struct sn_addr));

	return r ? r
		 : memcmp(&s->targets[i * s->n_ports], &s->targets[k * s->n_ports],
			  s->n_ports * sizeof(*s->targets));
}

static int refuse_double(struct codec *c, const struct json_at *up, struct service *s, uint16_t i,
			 uint16_t k)
{
	uint16_t first = i < k ? i : k, second = i < k ? k : i;
	struct json_at at = codec_at_index(up, second);
	uint16_t port = s->n_ports ? s->targets[second * s->n_ports] : 0;
	char text[ADDRESS_TEXT];

	return codec_refuse(c, &at, "endpoint %s is in the list already (number %u)",
			    port ? address_format_port(&s->endpoints[second].addr, port, text)
				 : address_format(&s->endpoints[second].addr, text),
			    first + 1u);
}

/* `order` holds n_endpoints elements of scratch. */
static int check_double(struct codec *c, const struct json_at *up, struct service *s,
			uint16_t *order)
{
	int r = 0;

	for (size_t i = 0; i < s->n_endpoints; i++)
		order[i] = (uint16_t)i;
	qsort_r(order, s->n_endpoints, sizeof(*order), compare_endpoints, s);
	for (size_t i = 1; i < s->n_endpoints; i++)
		if (!compare_endpoints(&order[i - 1], &order[i], s))
			r = refuse_double(c, up, s, order[i - 1], order[i]);
	return r;
}

/* One piece of memory for all arrays: pointers first, then by falling alignment. */
static void *lay_out(struct service *s, size_t n, uint16_t **ret_order)
{
	size_t zones = n < LIMIT_SERVICE_ZONES ? n : LIMIT_SERVICE_ZONES;
	size_t nodes = n < LIMIT_SERVICE_NODES ? n : LIMIT_SERVICE_NODES;
	size_t sources = n < LIMIT_SERVICE_SOURCES ? n : LIMIT_SERVICE_SOURCES;
	char *scratch =
		malloc((zones + nodes + sources) * sizeof(char *) + n * sizeof(struct endpoint) +
		       n * (s->n_ports + 1) * sizeof(uint16_t) + 1);

	if (!scratch)
		return NULL;
	s->zones = (char **)scratch;
	s->nodes = s->zones + zones;
	s->sources = s->nodes + nodes;
	s->endpoints = (struct endpoint *)(s->sources + sources);
	s->targets = (uint16_t *)(s->endpoints + n);
	*ret_order = s->targets + n * s->n_ports;
	return scratch;
}

int codec_endpoint_decode(struct codec *c, const struct json_at *up, yyjson_val *json,
			  struct codec_service *d, void **ret_scratch)
{
	struct json_at at = codec_at_key(up, "endpoints");
	size_t n = yyjson_arr_size(json), i, max;
	yyjson_val *item;
	uint16_t *order;
	int r = 0;

	if (!json)
		return 0;
	if (!yyjson_is_arr(json))
		return codec_refuse(c, &at, "endpoints must be a list, not %s",
				    codec_type_name(json));
	if (n > LIMIT_ENDPOINTS)
		return codec_refuse(c, &at, "%zu endpoints; at most %d are allowed", n,
				    LIMIT_ENDPOINTS);
	*ret_scratch = lay_out(&d->s, n, &order);
	if (!*ret_scratch)
		return -ENOMEM;
	yyjson_arr_foreach (json, i, max, item) {
		struct json_at here = codec_at_index(&at, i);

		if (read_endpoint(c, &here, item, d) < 0)
			r = -EINVAL;
	}
	return r < 0 || d->bad_ports ? r : check_double(c, &at, &d->s, order);
}
