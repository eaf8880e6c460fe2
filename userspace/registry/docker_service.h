/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers and their labels as services. Pure.
 *
 *   sinew.service=NAME    it is a backend of that service; or sinew.enable=true, and the service is
 *                         com.docker.compose.service, or else the container's name.
 *                         sinew.enable=false: it is not, whatever else it says
 *   sinew.namespace       else the registry's
 *   sinew.port            [NAME:]PORT[/PROTOCOL], several with commas between; without it the one
 *                         port that its image exposes
 *   sinew.protocol        tcp (default) or udp, of ports that say none
 *   sinew.weight          0 to 65535, default 100; 0 drains it
 *   sinew.zone            else the registry's
 *   sinew.policy          a TrafficPolicy of the service
 *   sinew.network         whose address counts; else the first by name that has one
 *
 * A service whose containers have one port each answers at every port, since each may have another;
 * with several, they are the service's ports, and containers that have others than most are left
 * out. A container that is not running, or not healthy though it has a health check, is no backend;
 * its service stays. In the host's network its address is the node's, in another container's
 * network that one's.
 */
#pragma once

#include "model/codec.h"
#include "registry/docker_decode.h"
#include "registry/draft.h"

struct docker_wish {
	struct draft_service *draft; /* borrowed; of use for one at a time */
	const char *tag;             /* "docker/local" */
	const char *namespace;       /* of containers that say none */
	const char *zone;            /* the same; NULL: none */
	struct sn_addr node;         /* of this host, for containers in its network */
	size_t left_out;             /* containers and what of them could not be used */
	char text[160];              /* about one of them */
};

/* Whether its labels make it a part of a service. */
bool docker_is_wanted(const struct docker_container *c);
/* Containers are those that run, by id, wanted or not. Free *ret with object_free_list(). -ENOMEM.
 */
int docker_services(struct docker_wish *wish, const struct docker_container *const *containers,
		    size_t n, struct object **ret, size_t *ret_n);
