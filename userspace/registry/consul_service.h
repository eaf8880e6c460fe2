/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instances of one Consul service as a service of Sinew. Pure.
 *
 * Port      Instances may each have a port of their own, and Consul has none for the service: its
 *           address answers at every TCP port, and each endpoint keeps its own port.
 * Health    Critical instances are left out, as in Consul's DNS. Those in maintenance stay with
 *           weight 0: nothing new for them, and they have not gone (guard.h).
 * Weight    Consul's default of 1 is Sinew's of 100, so that endpoints of other registries weigh
 *           the same beside these; with a weight over LIMIT_WEIGHT / 100 all are as Consul has
 * them. Zone      Locality.Zone, or of Meta zone, availability-zone, availability_zone,
 * failure-domain, failure_domain; of the service, then of the node, then the registry's own. Labels
 * Meta and tags that all instances have in common; a tag "k=v" is a label k: v, a tag "k" is a
 * label k: "". Meta "sinew-policy" is no label, it names the TrafficPolicy.
 */
#pragma once

#include "registry/consul_decode.h"
#include "registry/draft.h"

#define CONSUL_POLICY_KEY "sinew-policy"

struct consul_naming {
	const char *tag;       /* "consul/dc1" */
	const char *namespace; /* Sinew's */
	const char *name;      /* Consul's */
	const char *zone;      /* of instances that say none; NULL: none */
};

/*
 * `d` is used and emptied. *ret_left_out: entries, endpoints and labels that could not be used.
 * *ret is NULL when there is no instance. -EINVAL: the name is no label; -ENOMEM.
 */
int consul_service_make(struct draft_service *d, const struct consul_naming *naming,
			const struct consul_health *health, struct service **ret,
			size_t *ret_left_out);
