/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON to nouns and back: the one decoder behind manifests (YAML turned into JSON), the control
 * API and the state files. Strict: unknown keys, wrong types, duplicates and out-of-range values
 * are problems with a pointer and, for a mistyped key, a suggestion.
 */
#pragma once

#include <yyjson.h>

#include "model/problem.h"
#include "model/service.h"

/* One object of any kind, as in a manifest document. */
struct object {
	enum object_kind { OBJECT_NONE, OBJECT_SERVICE, OBJECT_POLICY } kind;
	struct service *service; /* owned, when kind says so */
	struct policy *policy;
};

/*
 * Decodes {"apiVersion": "sinew/v1", "kind": "Service"|"TrafficPolicy", ...}. `pointer` is the
 * prefix for problems ("" or "/items/3"). `source` becomes the object's source. 0; -EINVAL with at
 * least one problem added; -ENOMEM.
 */
int codec_decode_object(yyjson_val *json, const char *pointer, const char *source,
			struct problems *problems, struct object *ret);
void object_done(struct object *o);

/* Canonical JSON of an object (the shape that decode accepts), as a value of `doc`. NULL: no memory.
 * With allocated addresses included: they are part of the state. */
yyjson_mut_val *codec_encode_service(yyjson_mut_doc *doc, const struct service *s);
yyjson_mut_val *codec_encode_policy(yyjson_mut_doc *doc, const struct policy *p);
