/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See eureka_service.h. Before: eureka_apps.c. After: eureka.c, which says it. Eureka knows ports
 * of instances and none of an application, whose clients look the port up; so whatever port a
 * client asks a service's address for leads to the instance's, and none is better than another. It
 * must never make ports come and go with the state of instances: who has a port is asked of all.
 */
#include "registry/eureka_service.h"

#include <errno.h>
#include <string.h>

#include "model/limits.h"

#define WEIGHT 100
#define HTTPS_PORT 443

struct offer {
	bool plain;  /* the first port is the plain one, else the secure one */
	bool second; /* the secure one besides */
};

static bool has_main(const struct offer *o, const struct eureka_instance *i)
{
	return o->plain ? i->port : i->secure_port;
}

/* The port that most have; the other one only if nobody would be lost by it. */
static int choose(const struct eureka_instance *instances, size_t n, struct offer *ret)
{
	size_t plain = 0, secure = 0, both = 0;

	for (size_t i = 0; i < n; i++) {
		plain += instances[i].port != 0;
		secure += instances[i].secure_port != 0;
		both += instances[i].port && instances[i].secure_port;
	}
	if (!plain && !secure)
		return -ENODATA;
	ret->plain = plain >= secure;
	ret->second = ret->plain && both == plain;
	return 0;
}

static int add_ports(struct draft_service *d, const struct offer *o)
{
	int r = draft_add_port(d, o->plain ? "http" : "https", SN_PORT_ANY, SN_PROTO_TCP);

	if (r >= 0 && o->second)
		r = draft_add_port(d, "https", HTTPS_PORT, SN_PROTO_TCP);
	return r;
}

static int add_instance(struct draft_service *d, const struct offer *o, const char *zone,
			const struct eureka_instance *i)
{
	const uint16_t ports[] = {o->plain ? i->port : i->secure_port, i->secure_port};
	const struct draft_endpoint e = {.addr = i->addr,
					 .ports = ports,
					 .weight = WEIGHT,
					 .zone = i->zone ? i->zone : zone,
					 .instance = i->id};

	return draft_add_endpoint(d, &e) == -ENOMEM ? -ENOMEM : 0;
}

static const char *value_of(const char *metadata, const char *key)
{
	for (const char *k = metadata; k && *k;) {
		const char *value = k + strlen(k) + 1;

		if (!strcmp(k, key))
			return value;
		k = value + strlen(value) + 1;
	}
	return NULL;
}

static bool all_say(const struct eureka_instance *instances, size_t n, const char *key,
		    const char *value)
{
	for (size_t i = 0; i < n; i++) {
		const char *own = value_of(instances[i].metadata, key);

		if (eureka_instance_is_usable(&instances[i]) && (!own || strcmp(own, value) != 0))
			return false;
	}
	return true;
}

/* What differs between instances is no property of the service. */
static int add_labels(struct draft_service *d, const struct eureka_instance *instances, size_t n)
{
	const char *key = NULL;

	for (size_t i = 0; i < n && !key; i++)
		if (eureka_instance_is_usable(&instances[i]))
			key = instances[i].metadata ? instances[i].metadata : "";
	while (key && *key) {
		const char *value = key + strlen(key) + 1;

		if (all_say(instances, n, key, value) && draft_add_label(d, key, value) == -ENOMEM)
			return -ENOMEM;
		key = value + strlen(value) + 1;
	}
	return 0;
}

int eureka_service(struct eureka_wish *wish, const struct eureka_instance *instances, size_t n,
		   struct service **ret)
{
	struct draft_service *d = wish->draft;
	struct offer offer;
	size_t left_out = 0;
	int r = choose(instances, n, &offer);

	if (r >= 0)
		r = draft_init(d, wish->namespace, instances[0].app, wish->source);
	if (r >= 0)
		r = add_ports(d, &offer);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		if (!eureka_instance_is_usable(&instances[i]))
			continue;
		if (has_main(&offer, &instances[i]))
			r = add_instance(d, &offer, wish->zone, &instances[i]);
		else
			left_out++;
	}
	if (r >= 0)
		r = add_labels(d, instances, n);
	if (r >= 0)
		r = draft_finish(d, ret);
	wish->left_out = left_out + draft_left_out(d);
	return r;
}
