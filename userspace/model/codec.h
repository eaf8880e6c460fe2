/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON to nouns and back: the one decoder behind manifests (YAML turned into JSON), the control
 * API and the state files. Strict: unknown keys, wrong types, duplicates and out-of-range values
 * are problems with a pointer and, for a mistyped key, a suggestion.
 */
#pragma once

#include <yyjson.h>

#include "model/problem.h"
#include "model/registration.h"
#include "model/service.h"

#define CODEC_API_VERSION "sinew/v1"

/* A source's name: a word, or two with a "/" between, of lower-case letters, digits and "._-", at
 * most LIMIT_SOURCE bytes: "consul/dc1". Nothing in it needs to be escaped in JSON. */
bool codec_is_source(const char *text);
/* An RFC 1123 label of at most LIMIT_NAME bytes, and such labels with "." between, at most
 * LIMIT_NODE bytes: what Kubernetes calls a namespace or a container, and a pod. */
bool codec_is_name(const char *text);
bool codec_is_host(const char *text);

/* One object of any kind, as in a manifest document. */
struct object {
	enum object_kind { OBJECT_NONE, OBJECT_SERVICE, OBJECT_POLICY, OBJECT_REGISTRATION } kind;
	struct service *service; /* owned, when kind says so */
	struct policy *policy;
	struct registration *registration;
};

/* "TrafficPolicy" as manifests have it, and "policy" as sentences do. */
const char *object_kind_name(enum object_kind kind);
const char *object_kind_noun(enum object_kind kind);
/* OBJECT_NONE: there is no kind of that name. */
enum object_kind object_kind_find(const char *name);
const char *object_namespace(const struct object *o);
const char *object_name(const struct object *o);

/*
 * Decodes {"apiVersion": "sinew/v1", "kind": "Service", ...}. `pointer` is the
 * prefix for problems ("" or "/items/3"). `source` becomes the object's source. 0; -EINVAL with at
 * least one problem added; -ENOMEM.
 */
int codec_decode_object(yyjson_val *json, const char *pointer, const char *source,
			struct problems *problems, struct object *ret);
void object_done(struct object *o);

/*
 * Decodes a list's "items", of any kinds; all of them, so that one answer tells all errors. 0 and
 * an array for object_free_list; -EINVAL with problems whose pointers begin with /items; -ENOMEM.
 */
int codec_decode_items(yyjson_val *items, const char *source, struct problems *problems,
		       struct object **ret, size_t *ret_n);
/* As codec_decode_items, of {"apiVersion": "sinew/v1", "kind": "List", "items": [...]}: snapshots
 * and state files, whose "metadata", "source" and "generation" are the caller's affair. */
int codec_decode_list(yyjson_val *json, const char *source, struct problems *problems,
		      struct object **ret, size_t *ret_n);
struct object *object_free_list(struct object *objects, size_t n); /* returns NULL */

/*
 * Canonical JSON of an object (the shape that decode accepts), as a value of `doc`; texts are
 * borrowed from the object, which must outlive the document. NULL: no memory. Allocated addresses
 * are included, beside "allocated": true, because they are part of the state: read back, they are
 * kept if they are free and within a pool, and chosen anew otherwise. Without that word an address
 * is a person's wish.
 */
yyjson_mut_val *codec_encode_service(yyjson_mut_doc *doc, const struct service *s);
yyjson_mut_val *codec_encode_policy(yyjson_mut_doc *doc, const struct policy *p);
yyjson_mut_val *codec_encode_registration(yyjson_mut_doc *doc, const struct registration *r);
/* Any of them. */
yyjson_mut_val *codec_encode_object(yyjson_mut_doc *doc, const struct object *o);
/* Only the "spec" with the keys that are wanted, as bits 1 << enum policy_key: policy->given is
 * what was written, POLICY_EVERY_KEY what is in force. */
#define POLICY_EVERY_KEY ((1ull << POLICY_KEYS) - 1)
yyjson_mut_val *codec_encode_policy_spec(yyjson_mut_doc *doc, const struct policy *p,
					 uint64_t keys);
