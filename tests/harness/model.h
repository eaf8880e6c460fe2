/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects for tests, from JSON as a person would write it. Before: a test's text, with ' in place
 * of ". After: the codec's nouns. A text that a test means to be good must be good: it fails there.
 */
#pragma once

#include "model/codec.h"
#include "model/problem.h"

/* The document of a text whose ' stand for ". The caller frees it with yyjson_doc_free. */
yyjson_doc *model_json(const char *text);
/* Decodes one object. As codec_decode_object. */
int model_decode(const char *text, const char *source, struct problems *problems,
		 struct object *ret);
/* The same of an object that must be good. The caller drops it with object_done. */
struct object model_object(const char *text, const char *source);
/* Whether one of the problems is at that pointer and holds that text; prints all when none is. */
bool model_has_problem(const struct problems *problems, const char *pointer, const char *part);
