/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What registries are sent, as JSON. Pure. Each returns a text for free(), NUL-terminated, and its
 * length; NULL: no memory.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "register/instance.h"

/* Consul: /v1/agent/service/register. Its check is called "service:<id>". */
char *body_consul(const struct instance *i, size_t *ret_length);
/* Eureka: POST apps/{APP}; `now_ms` of CLOCK_REALTIME is its lastDirtyTimestamp. */
char *body_eureka(const struct instance *i, uint64_t now_ms, size_t *ret_length);

/* etcd, through its JSON gateway. The value is {"Op":0,"Addr":"host:port","Metadata":{...}}, as its
 * clients for Go write endpoints, at <prefix><service>/<host:port>; a prefix ends with "/", or is
 * empty. */
char *body_etcd_put(const struct instance *i, const char *prefix, uint64_t lease,
		    size_t *ret_length);
char *body_etcd_grant(uint64_t ttl_ms, size_t *ret_length);
char *body_etcd_lease(uint64_t lease, size_t *ret_length); /* keepalive and revoke */
char *body_etcd_range(const char *prefix, size_t limit, size_t *ret_length);
char *body_etcd_login(const char *user, const char *password, size_t *ret_length);
