/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One instance of a service as a registry is to have it: a Registration that met a listener. All of
 * it is its own, so it outlives both. Pure.
 */
#pragma once

#include "base/cleanup.h"
#include "model/registration.h"

#define INSTANCE_NODE_KEY "sinew-node" /* in what a registry keeps of it: whose it is */
#define INSTANCE_ID_KEY "sinew-id"     /* etcd alone: other registries have ids */

struct instance {
	unsigned int refs;
	char *id;       /* "sinew:<node>:<service>:<address>:<port>"; unique in its registry */
	char *service;  /* as the registry is to spell it */
	char *node;     /* ours */
	char *host;     /* the address as text, IPv6 without brackets */
	char *hostport; /* "10.0.0.5:8080", "[fd00::1]:8080" */
	char *owner;    /* of the Registration: "shop/payments" */
	uint16_t port;  /* host order */
	char **tags;
	size_t n_tags;
	struct label *meta;
	size_t n_meta;
	uint64_t ttl_ms;
	uint64_t hash; /* of all that a registry is told; never 0 */
};

/* 0; -ENOMEM. */
int instance_new(const struct registration *r, const struct sn_addr *addr, const char *node,
		 struct instance **ret);
struct instance *instance_ref(struct instance *i);
struct instance *instance_unref(struct instance *i); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct instance *, instance_unref);
/* What every id of this node's begins with: "sinew:<node>:"; returns buf. */
const char *instance_prefix(const char *node, char *buf, size_t size);
