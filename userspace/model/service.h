/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The noun Service as a person declared it, and beside it the TrafficPolicy. Immutable once built
 * and reference-counted (atomically: the thread that writes state files holds references too), so a
 * snapshot is an array of pointers and a change is another object.
 */
#pragma once

#include <sinew/service.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "model/label.h"
#include "model/policy.h"

struct service_port {
	char *name;    /* never NULL; "" when there is one unnamed port */
	uint16_t port; /* host order; SN_PORT_ANY: every port (pool addresses only) */
	uint8_t proto; /* SN_PROTO_* */
};

struct endpoint {
	struct sn_addr addr;
	uint16_t weight;   /* 0: draining */
	uint16_t zone;     /* index in struct service.zones, +1; 0: none */
	uint16_t node;     /* the same in struct service.nodes */
	uint8_t source;    /* the same in struct service.sources: which registry named it */
	uint8_t flags;     /* ENDPOINT_* */
	uint64_t instance; /* who it is, whatever its address: a hash of the registry's instance id;
			      0: nobody said */
};

/* The registry no longer names it, and that is not believed yet: picked last (see
 * registry/guard.h). */
#define ENDPOINT_SUSPECT 1

struct service {
	unsigned int refs;
	uint64_t etag;   /* of the canonical JSON without source; never 0 */
	char *namespace; /* default "default" */
	char *name;
	char *source; /* who declared it: "manifest", "consul/dc1" */
	char *policy; /* name of a TrafficPolicy in the same namespace; "default" always exists */
	struct label *labels;
	size_t n_labels;
	struct sn_addr address[2]; /* at most one per family, IPv4 first */
	size_t n_addresses;
	bool allocated; /* the addresses came from the pool */
	struct service_port *ports;
	size_t n_ports;
	struct endpoint *endpoints;
	size_t n_endpoints;
	uint16_t *targets; /* [endpoint * n_ports + port]: the endpoint's port there, host order; 0:
			      as asked */
	char **zones;
	size_t n_zones;
	char **nodes;
	size_t n_nodes;
	char **sources; /* "consul/dc1": of endpoints that came from a registry */
	size_t n_sources;
};

/*
 * A copy of what `draft` describes, in one block of memory, with one reference and its etag; the
 * draft (refs and etag unused) may point anywhere and stays the caller's. Labels must be sorted by
 * key. -ENOMEM.
 */
int service_new(const struct service *draft, struct service **ret);

/*
 * Whether endpoint i of `a`, as it was, and endpoint k of `b`, as it is, are known to be two at the
 * same address: one registry gives them, in a service of the same name, different instances. What
 * nobody said, or two registries did, each with ids of its own, tells nothing.
 */
bool service_is_other(const struct service *a, size_t i, const struct service *b, size_t k);

/* Whether they say the same, sources aside. */
bool service_is_equal(const struct service *a, const struct service *b);

struct service *service_ref(struct service *s);
struct service *service_unref(struct service *s); /* returns NULL */
DEFINE_CLEANUP(struct service *, service_unref);

/* The endpoint's port for one of the service's ports, host order; 0 keeps the port asked for. */
static inline uint16_t service_target(const struct service *s, size_t endpoint, size_t port)
{
	return s->targets[endpoint * s->n_ports + port];
}
