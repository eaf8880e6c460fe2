/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nouns and numbers as the JSON that clients see: the manifest's shape, and beside it where it came
 * from and how it fares. Values belong to `doc`; NULL or a missing member means no memory, which
 * the final write of the document reports. Private to control/.
 */
#pragma once

#include <yyjson.h>

#include "control/condition.h"
#include "control/server.h"

#define API_VERSION "sinew/v1"
#define TIME_TEXT 40

/* The declaration with metadata.source and metadata.resourceVersion. */
yyjson_mut_val *view_service(yyjson_mut_doc *doc, const struct service *s);
yyjson_mut_val *view_policy(yyjson_mut_doc *doc, const struct policy *p);
yyjson_mut_val *view_registration(yyjson_mut_doc *doc, const struct registration *r);
yyjson_mut_val *view_object(yyjson_mut_doc *doc, const struct object *o);
/* view_service with status. */
yyjson_mut_val *view_service_status(const struct control *c, yyjson_mut_doc *doc,
				    const struct service *s);
/* The rules of its policy. */
const struct sn_policy *view_rules(const struct control *c, const struct service *s);
/* view_policy with status: what is in force, and which fallback services are declared. */
yyjson_mut_val *view_policy_status(const struct control *c, yyjson_mut_doc *doc,
				   const struct policy *p);
/* One endpoint at one port, with names of its service. */
struct view_place {
	const struct service *service;
	size_t endpoint, port;
};
yyjson_mut_val *view_backend(const struct control *c, yyjson_mut_doc *doc, struct view_place at);
/* The service that a flow asked for; `owner` has the backend at `port`, is another one if that is
 * lent by a fallback, and NULL if it was removed. NULL: the service was, too. */
const struct service *view_asked(const struct control *c, const struct sn_flow *flow,
				 const struct service *owner, size_t port);
yyjson_mut_val *view_flow(const struct control *c, yyjson_mut_doc *doc, const struct sn_flow *flow);

/* "cgroup", "unit", "container" and "pod" of a cgroup, and what the latter two are called: those
 * that there are. */
void view_identity(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *object,
		   const struct cgroup_name *name);

/* New root object {"apiVersion", "kind"}; NULL: no memory. */
yyjson_mut_val *view_root(yyjson_mut_doc *doc, const char *kind);
void view_add_text(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, const char *text);
void view_add_address(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key,
		      const struct sn_addr *addr);
void view_add_address_port(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key,
			   const struct sn_addr *addr, uint16_t port);
/* Seconds as a number. */
void view_add_seconds(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, uint64_t ns);
/* RFC 3339 in UTC with milliseconds; nothing for 0. */
void view_add_time(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, uint64_t ms);
const char *view_format_time(uint64_t ms, char buf[static TIME_TEXT]);
uint64_t view_now_ms(void); /* CLOCK_REALTIME */

const char *view_reason(unsigned int reason); /* label of an enum sn_reason; "unknown" */
const char *view_reason_help(unsigned int reason);
bool view_reason_is_failure(unsigned int reason); /* blamed on the backend */
const char *view_proto(uint8_t proto);
const char *view_state(unsigned int state);                      /* enum sn_backend_state */
const char *view_zone(const struct service *s, size_t endpoint); /* "": none */
/* "consul/dc1": the registry that named it; "": nobody said. */
const char *view_registry(const struct service *s, size_t endpoint);
bool view_is_suspect(const struct service *s, size_t endpoint);
/* "instance" and "suspect", what there is of them. */
void view_add_identity(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct service *s,
		       size_t endpoint);
