/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The noun Registration: what a workload that listens on a port is to be called in a registry.
 * sinewd keeps and shows it, and tells who listens; sinew-agent registers. Immutable once built
 * and reference-counted (atomically), as Service is.
 */
#pragma once

#include <sinew/service.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "model/label.h"

#define REGISTRATION_TTL_MS 15000u

/* How the workload is told from others; exactly one of them is given. */
enum registration_by {
	REGISTRATION_BY_UNIT,      /* `workload` is a systemd unit: "payments.service" */
	REGISTRATION_BY_CGROUP,    /* `workload` is a pattern of cgroups' paths: "/shop.slice/?" */
	REGISTRATION_BY_CONTAINER, /* a container that has each of `selects` as a label */
	REGISTRATION_BY_POD,       /* a pod of pod_namespace that has them, too; `workload` is a
				      pattern of names ("payments-*") or "" */
};

struct registration {
	unsigned int refs;
	uint64_t etag;   /* of the canonical JSON without source; never 0 */
	char *namespace; /* default "default" */
	char *name;
	char *source;
	struct label *labels;
	size_t n_labels;
	char *service;  /* its name in the registry */
	char *registry; /* which one, by its name in agent.yaml */
	enum registration_by by;
	char *workload;                      /* "" when by container */
	char *pod_namespace, *pod_container; /* "" unless by pod; a container's name or "" */
	struct label *selects;
	size_t n_selects;
	bool has_address;
	struct sn_addr address; /* to be announced; else the listener's */
	uint16_t port;          /* that is listened on; host order, never 0 */
	uint8_t proto;          /* SN_PROTO_TCP */
	uint32_t ttl_ms;        /* how long the registry believes it without hearing more */
	char **tags;            /* as they were written */
	size_t n_tags;
	struct label *meta; /* sorted by key */
	size_t n_meta;
};

/* A copy of what `draft` describes, in one block of memory, with one reference and its etag; the
 * draft stays the caller's. All labels must be sorted by key. -ENOMEM. */
int registration_new(const struct registration *draft, struct registration **ret);
/* Whether they say the same, sources aside. */
bool registration_is_equal(const struct registration *a, const struct registration *b);

struct registration *registration_ref(struct registration *r);
struct registration *registration_unref(struct registration *r); /* returns NULL */
DEFINE_CLEANUP(struct registration *, registration_unref);
