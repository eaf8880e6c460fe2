/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Request bodies to objects and changes. Pure: neither the store nor the client is touched.
 * Private to control/.
 */
#pragma once

#include <yyjson.h>

#include "model/pod.h"
#include "model/store.h"

struct body {
	yyjson_doc *json; /* deletes point into it */
	struct object *objects;
	size_t n_objects;
	struct object_name *deletes;
	size_t n_deletes;
	char version[24]; /* metadata.resourceVersion of a single object; "": none */
};

/* All three: -EBADMSG: no JSON, or too
 * deep; -EINVAL: JSON of the wrong shape; each with problems. -ENOMEM. */
int body_decode_object(const char *text, size_t length, const char *source,
		       struct problems *problems, struct body *ret);
/* {"apiVersion", "kind": "List", "items": [...]} */
int body_decode_list(const char *text, size_t length, const char *source, struct problems *problems,
		     struct body *ret);
/* {"upsert": [...], "delete": [{"kind", "namespace", "name"}]} */
int body_decode_delta(const char *text, size_t length, const char *source,
		      struct problems *problems, struct body *ret);
void body_done(struct body *b);

/* {"apiVersion", "kind": "PodList", "items": [...]}: see model/pod_codec.h. Errors as above. */
int body_decode_pods(const char *text, size_t length, struct problems *problems, struct pod ***ret,
		     size_t *ret_n);
