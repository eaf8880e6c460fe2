/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Service's "spec" to struct service: addresses, ports and what else is not an endpoint. Before:
 * codec.c read kind and metadata. After: codec_endpoint.c reads the endpoints against the ports.
 * Whether an address may be claimed, and by whom, is the store's to say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/address.h"
#include "model/codec_endpoint.h"

/* --- addresses ---------------------------------------------------------------------------- */

static int add_address(struct codec *c, const struct json_at *at, yyjson_val *json,
		       struct service *s)
{
	struct sn_addr addr;
	int r = codec_read_address(c, at, json, &addr);

	if (r < 0)
		return r;
	if (!address_is_target(&addr))
		return codec_refuse(c, at, "address %s cannot be a service's address",
				    yyjson_get_str(json));
	for (size_t i = 0; i < s->n_addresses; i++) {
		char text[ADDRESS_TEXT];

		if (address_is_v4(&addr) == address_is_v4(&s->address[i]))
			return codec_refuse(
				c, at,
				"address %s: %s is given already; at most one IPv4 and one "
				"IPv6 address are allowed",
				yyjson_get_str(json), address_format(&s->address[i], text));
	}
	s->address[s->n_addresses++] = addr;
	return 0;
}

static void sort_addresses(struct service *s)
{
	struct sn_addr first = s->address[0];

	if (s->n_addresses < 2 || address_is_v4(&first))
		return;
	s->address[0] = s->address[1];
	s->address[1] = first;
}

static int read_address_list(struct codec *c, const struct json_at *at, yyjson_val *json,
			     struct service *s)
{
	yyjson_val *item;
	size_t i, n;
	int r = 0;

	if (!yyjson_is_arr(json))
		return codec_refuse(c, at, "addresses must be a list, not %s",
				    codec_type_name(json));
	if (yyjson_arr_size(json) > LIMIT_ADDRESSES)
		return codec_refuse(c, at,
				    "%zu addresses; at most one IPv4 and one IPv6 are allowed",
				    yyjson_arr_size(json));
	yyjson_arr_foreach (json, i, n, item) {
		struct json_at here = codec_at_index(at, i);

		if (add_address(c, &here, item, s) < 0)
			r = -EINVAL;
	}
	return r;
}

static int read_addresses(struct codec *c, const struct json_at *up, yyjson_val *one,
			  yyjson_val *many, struct service *s)
{
	struct json_at at = codec_at_key(up, one ? "address" : "addresses");
	int r = 0;

	if (one && many)
		return codec_refuse(c, &at,
				    "address and addresses are both given; one of them is enough");
	if (one)
		r = add_address(c, &at, one, s);
	else if (many)
		r = read_address_list(c, &at, many, s);
	sort_addresses(s);
	return r;
}

/* --- ports -------------------------------------------------------------------------------- */

static int read_protocol(struct codec *c, const struct json_at *up, yyjson_val *json, uint8_t *ret)
{
	static const char *const names[] = {"TCP", "UDP"};
	struct json_at at = codec_at_key(up, "protocol");
	const char *text;

	*ret = SN_PROTO_TCP;
	if (!json)
		return 0;
	if (codec_read_text(c, &at, json, LIMIT_NAME, &text) < 0)
		return -EINVAL;
	if (strcmp(text, names[0]) && strcmp(text, names[1]))
		return codec_refuse(c, &at, "protocol \"%s\" is not known; TCP or UDP is expected",
				    text);
	*ret = !strcmp(text, names[0]) ? SN_PROTO_TCP : SN_PROTO_UDP;
	return 0;
}

static int check_port(struct codec *c, const struct json_at *at, const struct service *s,
		      const struct service_port *port)
{
	for (size_t i = 0; i < s->n_ports; i++) {
		const struct service_port *other = &s->ports[i];

		if (*port->name && !strcmp(port->name, other->name))
			return codec_refuse(c, at, "two ports are named \"%s\"", port->name);
		if (port->port == other->port && port->proto == other->proto)
			return codec_refuse(c, at, "port %u/%s is given twice", port->port,
					    port->proto == SN_PROTO_UDP ? "UDP" : "TCP");
	}
	return 0;
}

static int read_port(struct codec *c, const struct json_at *at, yyjson_val *json,
		     struct codec_service *d)
{
	static const struct codec_shape shape = {
		"Service.spec.ports[]", {"name", "port", "protocol", "targetPort"}, 4};
	struct service_port port = {.name = (char *)""};
	uint64_t number = 0, target = 0;
	yyjson_val *values[CODEC_KEYS_MAX];
	int r = codec_read_members(c, at, json, &shape, values);
	struct json_at here = codec_at_key(at, "name");
	const char *name = "";

	if (!yyjson_is_obj(json))
		return r;
	if (values[0] && codec_read_name(c, &here, values[0], &name) < 0)
		r = -EINVAL;
	here = codec_at_key(at, "port");
	if (!values[1])
		r = codec_refuse(c, at, "port is missing");
	else if (codec_read_number(c, &here, values[1], (struct codec_range){0, 65535}, &number) <
		 0)
		r = -EINVAL;
	if (read_protocol(c, at, values[2], &port.proto) < 0)
		r = -EINVAL;
	here = codec_at_key(at, "targetPort");
	if (values[3] &&
	    codec_read_number(c, &here, values[3], (struct codec_range){1, 65535}, &target) < 0)
		r = -EINVAL;
	port.name = (char *)name;
	port.port = (uint16_t)number;
	if (r >= 0)
		r = check_port(c, at, &d->s, &port);
	if (r < 0)
		return r;
	d->target[d->s.n_ports] = target ? (uint16_t)target : port.port;
	d->s.ports[d->s.n_ports++] = port;
	return 0;
}

static int check_names(struct codec *c, const struct json_at *up, const struct service *s)
{
	int r = 0;

	for (size_t i = 0; s->n_ports > 1 && i < s->n_ports; i++) {
		struct json_at at = codec_at_index(up, i);

		if (!*s->ports[i].name)
			r = codec_refuse(c, &at,
					 "name is missing; with several ports each needs one");
	}
	return r;
}

static int read_ports(struct codec *c, const struct json_at *up, yyjson_val *json,
		      struct codec_service *d)
{
	struct json_at at = codec_at_key(up, "ports");
	yyjson_val *item;
	size_t i, n;
	int r = 0;

	if (!json)
		return codec_refuse(c, up, "ports is missing; at least one is needed");
	if (!yyjson_is_arr(json))
		return codec_refuse(c, &at, "ports must be a list, not %s", codec_type_name(json));
	if (!yyjson_arr_size(json) || yyjson_arr_size(json) > LIMIT_PORTS)
		return codec_refuse(c, &at, "%zu ports; 1 to %d are allowed", yyjson_arr_size(json),
				    LIMIT_PORTS);
	yyjson_arr_foreach (json, i, n, item) {
		struct json_at here = codec_at_index(&at, i);

		if (read_port(c, &here, item, d) < 0)
			r = -EINVAL;
	}
	return r < 0 ? r : check_names(c, &at, &d->s);
}

/* --- the whole ---------------------------------------------------------------------------- */

static int read_rest(struct codec *c, const struct json_at *at, yyjson_val *policy,
		     yyjson_val *allocated, struct service *s)
{
	struct json_at here = codec_at_key(at, "policy");
	const char *name = "default";
	int r = 0;

	if (policy)
		r = codec_read_name(c, &here, policy, &name);
	s->policy = (char *)name;
	here = codec_at_key(at, "allocated");
	if (allocated && !yyjson_is_bool(allocated))
		return codec_refuse(c, &here, "allocated must be true or false, not %s",
				    codec_type_name(allocated));
	s->allocated = yyjson_is_true(allocated);
	return r;
}

int codec_service_decode(struct codec *c, const struct json_at *at, yyjson_val *spec,
			 struct codec_metadata *metadata, struct service **ret)
{
	static const struct codec_shape shape = {
		"Service.spec",
		{"address", "addresses", "allocated", "ports", "endpoints", "policy"},
		6};
	_cleanup_free_ void *scratch = NULL;
	struct service_port ports[LIMIT_PORTS];
	struct codec_service d = {.s = {.namespace = (char *)metadata->namespace,
					.name = (char *)metadata->name,
					.source = (char *)c->source,
					.labels = metadata->labels.items,
					.n_labels = metadata->labels.n,
					.ports = ports}};
	yyjson_val *values[CODEC_KEYS_MAX];
	int r = codec_read_members(c, at, spec, &shape, values), bad = r;

	if (!yyjson_is_obj(spec))
		return bad;
	if (read_rest(c, at, values[5], values[2], &d.s) < 0)
		bad = -EINVAL;
	if (read_addresses(c, at, values[0], values[1], &d.s) < 0)
		bad = -EINVAL;
	/* An address that is no address leaves open which families there are: do not blame
	 * endpoints. */
	d.any_family = bad < 0 || d.s.allocated || !d.s.n_addresses;
	d.bad_ports = read_ports(c, at, values[3], &d) < 0;
	r = codec_endpoint_decode(c, at, values[4], &d, &scratch);
	if (r < 0)
		return r;
	if (bad < 0 || d.bad_ports || !d.s.name)
		return -EINVAL;
	/* Allocated addresses without an address are none yet. */
	d.s.allocated = d.s.allocated || !d.s.n_addresses;
	return service_new(&d.s, ret);
}
