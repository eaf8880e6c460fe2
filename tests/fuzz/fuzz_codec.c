/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as the body of a control request, of each of the four kinds: one object, a source's list, a
 * delta, a list of pods. What is refused has problems whose pointers are pointers.
 */
#include <errno.h>
#include <string.h>

#include "control/body.h"
#include "fuzz/require.h"
#include "model/codec.h"
#include "model/limits.h"
#include "model/pod_codec.h"

static void check_problems(const struct problems *problems)
{
	REQUIRE(problems->n >= 1 && problems->n <= LIMIT_PROBLEMS);
	for (size_t i = 0; i < problems->n; i++) {
		const struct problem *p = &problems->items[i];

		REQUIRE(p->message && *p->message);
		REQUIRE(!*p->pointer || *p->pointer == '/');
	}
}

/* A policy that was taken is written as one that is taken as the same. */
static void check_policy(const struct policy *p)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	struct problems problems = {};
	struct object again = {};
	yyjson_doc *json;

	REQUIRE(!(p->given & ~POLICY_EVERY_KEY) && p->n_fallback <= LIMIT_FALLBACK);
	yyjson_mut_doc_set_root(doc, codec_encode_policy(doc, p));
	json = yyjson_mut_doc_imut_copy(doc, NULL);
	REQUIRE(codec_decode_object(yyjson_doc_get_root(json), "", "fuzz", &problems, &again) == 0);
	REQUIRE(policy_is_equal(p, again.policy));
	object_done(&again);
	problems_done(&problems);
	yyjson_doc_free(json);
	yyjson_mut_doc_free(doc);
}

static void check_body(const struct body *b)
{
	for (size_t i = 0; i < b->n_objects; i++) {
		const struct object *o = &b->objects[i];

		REQUIRE((o->kind == OBJECT_SERVICE && o->service) ||
			(o->kind == OBJECT_POLICY && o->policy) ||
			(o->kind == OBJECT_REGISTRATION && o->registration));
		REQUIRE(o->kind != OBJECT_SERVICE ||
			(o->service->n_ports >= 1 && o->service->n_ports <= LIMIT_PORTS &&
			 o->service->n_endpoints <= LIMIT_ENDPOINTS));
		if (o->kind == OBJECT_POLICY)
			check_policy(o->policy);
	}
	for (size_t i = 0; i < b->n_deletes; i++)
		REQUIRE(b->deletes[i].kind != OBJECT_NONE && *b->deletes[i].name &&
			*b->deletes[i].namespace);
}

/* What was taken is written as what is taken as the same, and each is found. */
static void check_pods(struct pod *const *pods, size_t n)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *items = yyjson_mut_arr(doc);
	struct problems problems = {};
	struct pod **again = NULL;
	size_t n_again = 0;
	yyjson_doc *json;

	REQUIRE(n <= LIMIT_PODS);
	for (size_t i = 0; i < n; i++) {
		REQUIRE(pod_find(pods, n, pods[i]->uid) == pods[i]);
		REQUIRE(codec_is_name(pods[i]->namespace) && codec_is_host(pods[i]->name));
		(void)yyjson_mut_arr_append(items, pod_codec_encode(doc, pods[i]));
	}
	yyjson_mut_doc_set_root(doc, items);
	json = yyjson_mut_doc_imut_copy(doc, NULL);
	REQUIRE(pod_codec_decode(yyjson_doc_get_root(json), &problems, &again, &n_again) == 0);
	REQUIRE(n == n_again);
	for (size_t i = 0; i < n; i++)
		REQUIRE(!strcmp(pods[i]->uid, again[i]->uid) &&
			!strcmp(pods[i]->name, again[i]->name) &&
			pods[i]->n_containers == again[i]->n_containers);
	pod_free_list(again, n_again);
	yyjson_doc_free(json);
	yyjson_mut_doc_free(doc);
}

static void check_pods_body(const char *text, size_t size)
{
	struct problems problems = {};
	struct pod **pods = NULL;
	size_t n = 0;
	int r = body_decode_pods(text, size, &problems, &pods, &n);

	REQUIRE(r == 0 || r == -EBADMSG || r == -EINVAL);
	if (r < 0) {
		check_problems(&problems);
	} else {
		REQUIRE(!problems_any(&problems));
		check_pods(pods, n);
		pod_free_list(pods, n);
	}
	problems_done(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int (*const decoders[])(const char *, size_t, const char *, struct problems *,
				       struct body *) = {body_decode_object, body_decode_list,
							 body_decode_delta};
	char *text = require_text(data, size);

	for (size_t i = 0; i < sizeof(decoders) / sizeof(decoders[0]); i++) {
		struct problems problems = {};
		struct body body = {};
		int r = decoders[i](text, size, "fuzz", &problems, &body);

		REQUIRE(r == 0 || r == -EBADMSG || r == -EINVAL);
		if (r == 0) {
			REQUIRE(!problems_any(&problems));
			check_body(&body);
			body_done(&body);
		} else {
			check_problems(&problems);
		}
		problems_done(&problems);
	}
	check_pods_body(text, size);
	free(text);
	return 0;
}
