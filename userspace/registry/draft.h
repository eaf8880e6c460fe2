/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A service being put together from a registry's answer. Bounded by model/limits.h: what does not
 * fit is left out and counted, and the service stays usable. Pure.
 *
 *   draft_init, draft_add_port..., draft_add_endpoint..., draft_finish -> struct service
 */
#pragma once

#include "model/service.h"

struct draft_service; /* grows; reused for the next service by draft_init() */

struct draft_endpoint {
	struct sn_addr addr;
	const uint16_t *ports;   /* for each port of the service, host order; NULL: as asked for */
	uint16_t weight;         /* 0: draining */
	const char *zone, *node; /* NULL or "": none; names that are no label are made into one, or
				    left out */
	const char *instance;    /* the registry's id; NULL: none */
};

int draft_new(struct draft_service **ret);
struct draft_service *draft_free(struct draft_service *d); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct draft_service *, draft_free);

/* Empties it. Names must be labels already (draft_name()): -EINVAL otherwise. Texts are copied. */
int draft_init(struct draft_service *d, const char *namespace, const char *name,
	       const char *source);
void draft_set_policy(struct draft_service *d, const char *policy); /* NULL: "default" */
/* A virtual address that the registry gives (Kubernetes' ClusterIP); endpoints of another family
 * are then left out. -EINVAL: no address to send to; -E2BIG: a second of a family. */
int draft_add_address(struct draft_service *d, const struct sn_addr *addr);
/* All ports come before the first endpoint. The name may be NULL or ""; one that is no label is
 * made into one, or left out; with several ports those without get one ("tcp-80"). -EINVAL
 * (protocol), -E2BIG, -EEXIST (port and protocol, or name), -ENOMEM. */
int draft_add_port(struct draft_service *d, const char *name, uint16_t port, uint8_t proto);
/* Left out, and counted: when the address is no target (-EINVAL). Of too many, those with the
 * highest addresses are (0: which they are is only known at the end). The same address with the
 * same ports again is one endpoint: the better of the two (weight) stays. -ENOMEM. */
int draft_add_endpoint(struct draft_service *d, const struct draft_endpoint *e);
/* Left out when key or value do not fit. */
int draft_add_label(struct draft_service *d, const char *key, const char *value);
size_t draft_left_out(const struct draft_service *d);
/* The service, with endpoints in an order of their own (by address and ports), so that equal
 * answers make equal services. -ENODATA: it has no port. -ENOMEM. */
int draft_finish(struct draft_service *d, struct service **ret);

/*
 * A registry's name as an RFC 1123 label: lower case, '_' and '.' to '-'. -EINVAL: nothing of it is
 * left, it is too long, or another byte is in it. `ret` holds LIMIT_NAME + 1 bytes.
 */
int draft_name(const char *text, char ret[static 64]);
/* The hash of an instance id, never 0; 0 for NULL and "". */
uint64_t draft_instance(const char *id);
