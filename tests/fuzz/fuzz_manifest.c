/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as a manifest: either objects that mean the same when they are written and read again, or
 * errors that each have a place inside the text and a sentence.
 */
#include "manifest/manifest.h"

#include <errno.h>

#include "fuzz/require.h"
#include "model/limits.h"

static void check_errors(const struct manifest *m, const char *text, size_t size)
{
	size_t lines = 1, last = 0, before = 0;

	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	REQUIRE(m->n_errors <= LIMIT_PROBLEMS);
	for (size_t i = 0; i < m->n_errors; i++) {
		const struct manifest_error *e = &m->errors[i];

		REQUIRE(e->line >= 1 && e->line <= lines && e->column >= 1);
		REQUIRE(e->column <= size + 1);
		REQUIRE(e->message && *e->message);
		REQUIRE(e->line > last || (e->line == last && e->column >= before));
		last = e->line;
		before = e->column;
	}
}

static char *encode(const struct object *o)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	char *text;

	yyjson_mut_doc_set_root(doc, codec_encode_object(doc, o));
	text = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	REQUIRE(text);
	return text;
}

static void check_object(const struct object *o)
{
	struct problems problems = {};
	struct object again;
	char *text = encode(o), *other;
	yyjson_doc *doc = yyjson_read(text, strlen(text), 0);

	REQUIRE(doc);
	REQUIRE(codec_decode_object(yyjson_doc_get_root(doc), "", "fuzz", &problems, &again) == 0);
	REQUIRE(!problems_any(&problems));
	other = encode(&again);
	REQUIRE(!strcmp(text, other));
	object_done(&again);
	yyjson_doc_free(doc);
	free(other);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = require_text(data, size);
	struct manifest m;
	int r = manifest_parse("fuzz.yaml", text, size, &m);

	REQUIRE(r == 0 || r == -E2BIG);
	if (r == 0) {
		REQUIRE(m.n_errors || m.n);
		check_errors(&m, text, size);
		for (size_t i = 0; i < m.n && !m.n_errors; i++)
			check_object(&m.objects[i]);
		manifest_done(&m);
	}
	free(text);
	return 0;
}
