/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as the body of a control request, of each of the three kinds: one object, a source's list,
 * a delta. What is refused has problems whose pointers are pointers.
 */
#include <errno.h>

#include "control/body.h"
#include "fuzz/require.h"
#include "model/limits.h"

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
	free(text);
	return 0;
}
