/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See yaml.h. On libfyaml's events rather than its documents: those are built by recursion, compare
 * each key with all others, and expand aliases without a bound.
 */
#include "manifest/yaml.h"

#include <errno.h>
#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "manifest/scalar.h"
#include "model/limits.h"

/* An open mapping or list. */
struct frame {
	uint32_t node;
	bool mapping;
	bool has_key; /* the next value belongs to this key */
	bool doubled; /* and the key was there before */
	const char *key;
	size_t key_length;
	struct place key_place;
};

struct anchor {
	const char *name;
	uint32_t node;
};

struct yaml {
	struct fy_diag *diag;
	struct fy_parser *parser;
	yyjson_mut_doc *doc;
	struct error_list *errors;
	const char *text;
	struct yaml_node *nodes;
	size_t n, capacity;
	size_t total; /* nodes of all documents so far */
	struct frame frames[LIMIT_DEPTH];
	size_t depth;
	struct anchor anchors[LIMIT_ANCHORS];
	size_t n_anchors;
	struct place last; /* of the last event that had one */
	char *unquoted;    /* text of the last scalar in single quotes */
};

/* --- places ------------------------------------------------------------------------------- */

/* libfyaml counts from 0, and a quoted scalar's mark stands behind its quote. */
static struct place event_place(struct yaml *y, struct fy_event *e)
{
	const struct fy_mark *mark = fy_event_start_mark(e);
	struct fy_token *token = e->type == FYET_SCALAR ? fy_event_get_token(e) : NULL;
	enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
	bool quoted = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;

	if (!mark)
		return y->last;
	y->last = (struct place){(size_t)mark->line + 1, (size_t)mark->column + 1};
	if ((quoted || e->type == FYET_ALIAS) && y->last.column > 1)
		y->last.column--;
	return y->last;
}

static int fail(struct yaml *y, struct place place, const char *message)
{
	error_add(y->errors, place, "%s", message);
	return -EBADMSG;
}

static int fail_syntax(struct yaml *y)
{
	void *iterator = NULL;
	struct fy_diag_error *e = fy_diag_errors_iterate(y->diag, &iterator);

	if (!e)
		return fail(y, y->last, "this is no YAML");
	return fail(y,
		    (struct place){(size_t)(e->line < 0 ? 0 : e->line),
				   (size_t)(e->column < 0 ? 0 : e->column)},
		    e->msg ? e->msg : "this is no YAML");
}

/* --- nodes -------------------------------------------------------------------------------- */

static int reserve(struct yaml *y, size_t more)
{
	size_t capacity = y->capacity ? y->capacity : 256;
	struct yaml_node *nodes;

	if (y->total + more > LIMIT_NODES) {
		error_add(y->errors, y->last, "more than %d values, aliases written out",
			  LIMIT_NODES);
		return -EBADMSG;
	}
	if (y->n + more <= y->capacity)
		return 0;
	while (capacity < y->n + more)
		capacity *= 2;
	nodes = reallocarray(y->nodes, capacity, sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	y->nodes = nodes;
	y->capacity = capacity;
	return 0;
}

/* Puts a value where it belongs in the JSON and names its node after the waiting key. */
static int attach(struct yaml *y, struct yaml_node *node)
{
	struct frame *frame = y->depth ? &y->frames[y->depth - 1] : NULL;
	yyjson_mut_val *parent = frame ? y->nodes[frame->node].value : NULL, *key;

	if (frame && frame->mapping) {
		node->key = frame->key;
		node->key_length = frame->key_length;
		node->key_place = frame->key_place;
		frame->has_key = false;
		key = yyjson_mut_strn(y->doc, frame->key, frame->key_length);
		return frame->doubled || yyjson_mut_obj_add(parent, key, node->value) ? 0 : -ENOMEM;
	}
	node->key = NULL;
	node->key_place = node->place;
	return !frame || yyjson_mut_arr_append(parent, node->value) ? 0 : -ENOMEM;
}

static int add_node(struct yaml *y, yyjson_mut_val *value, struct place place)
{
	int r = value ? reserve(y, 1) : -ENOMEM;

	if (r < 0)
		return r;
	y->nodes[y->n] = (struct yaml_node){
		.place = place, .size = 1, .depth = (uint32_t)y->depth, .value = value};
	r = attach(y, &y->nodes[y->n]);
	y->n++;
	y->total++;
	return r;
}

/* --- keys --------------------------------------------------------------------------------- */

static bool has_key(const struct yaml *y, uint32_t parent, const char *key, size_t length,
		    size_t *ret_n)
{
	size_t n = 0;

	for (size_t i = parent + 1; i < y->n; i += y->nodes[i].size, n++)
		if (y->nodes[i].key_length == length && !memcmp(y->nodes[i].key, key, length))
			return true;
	*ret_n = n;
	return false;
}

static int set_key(struct yaml *y, const char *text, size_t length, struct place place)
{
	struct frame *frame = &y->frames[y->depth - 1];
	yyjson_mut_val *copy = yyjson_mut_strncpy(y->doc, text ? text : "", length);
	size_t n = 0;

	if (!copy)
		return -ENOMEM;
	frame->key = yyjson_mut_get_str(copy);
	frame->key_length = length;
	frame->key_place = place;
	frame->has_key = true;
	frame->doubled = has_key(y, frame->node, frame->key, length, &n);
	if (n >= LIMIT_KEYS)
		return fail(y, place, "the mapping has too many keys");
	if (frame->doubled)
		error_add(y->errors, place, "key \"%.64s\" is given twice", frame->key);
	return 0;
}

static bool wants_key(const struct yaml *y)
{
	return y->depth && y->frames[y->depth - 1].mapping && !y->frames[y->depth - 1].has_key;
}

/* --- anchors and aliases ------------------------------------------------------------------ */

static int add_anchor(struct yaml *y, struct fy_event *e, struct place place)
{
	struct fy_token *token = fy_event_get_anchor_token(e);
	yyjson_mut_val *name;
	const char *text;
	size_t length;

	if (!token)
		return 0;
	if (y->n_anchors == LIMIT_ANCHORS)
		return fail(y, place, "the document has too many anchors");
	text = fy_token_get_text(token, &length);
	name = text ? yyjson_mut_strncpy(y->doc, text, length) : NULL;
	if (!name)
		return -ENOMEM;
	y->anchors[y->n_anchors++] = (struct anchor){yyjson_mut_get_str(name), (uint32_t)y->n};
	return 0;
}

/* The last anchor of that name; a name may be used again. */
static const struct anchor *find_anchor(const struct yaml *y, const char *name, size_t length)
{
	for (size_t i = y->n_anchors; i > 0; i--)
		if (strlen(y->anchors[i - 1].name) == length &&
		    !memcmp(y->anchors[i - 1].name, name, length))
			return &y->anchors[i - 1];
	return NULL;
}

static bool is_open(const struct yaml *y, uint32_t node)
{
	for (size_t i = 0; i < y->depth; i++)
		if (y->frames[i].node == node)
			return true;
	return false;
}

/* The copied nodes keep the places of the anchored text: that is what a person has to mend. */
static int expand(struct yaml *y, uint32_t from)
{
	uint32_t size = y->nodes[from].size, to = (uint32_t)y->n;
	uint32_t shift = (uint32_t)y->depth - y->nodes[from].depth;
	int r = reserve(y, size);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < size; i++) {
		y->nodes[to + i] = y->nodes[from + i];
		y->nodes[to + i].depth += shift;
		if (y->nodes[to + i].depth >= LIMIT_DEPTH)
			return fail(y, y->last, "the alias makes the document nest too deep");
	}
	y->nodes[to].value = yyjson_mut_val_mut_copy(y->doc, y->nodes[from].value);
	if (!y->nodes[to].value)
		return -ENOMEM;
	r = attach(y, &y->nodes[to]);
	y->n += size;
	y->total += size;
	return r;
}

static int on_alias(struct yaml *y, struct fy_event *e)
{
	struct place place = event_place(y, e);
	const struct anchor *anchor;
	const char *name;
	size_t length;

	if (wants_key(y))
		return fail(y, place, "an alias cannot be a key");
	name = fy_token_get_text(fy_event_get_token(e), &length);
	anchor = name ? find_anchor(y, name, length) : NULL;
	if (!anchor)
		return fail(y, place, "the alias names no anchor of this document");
	if (is_open(y, anchor->node))
		return fail(y, place, "the alias stands inside what it names");
	return expand(y, anchor->node);
}

/* --- events ------------------------------------------------------------------------------- */

/* Whether the value has a tag, and it is the core schema's of that name. */
static bool has_tag(struct fy_event *e, const char *name)
{
	struct fy_token *token = fy_event_get_tag_token(e);
	size_t length = 0;
	const char *text = token ? fy_token_get_text(token, &length) : NULL;

	return text && length == strlen(name) && !memcmp(text, name, length);
}

static void check_tag(struct yaml *y, struct fy_event *e, const char *allowed, struct place place)
{
	size_t length = 0;
	const char *text;

	if (!fy_event_get_tag_token(e) || has_tag(e, allowed))
		return;
	text = fy_token_get_text(fy_event_get_tag_token(e), &length);
	error_add(y->errors, place, "the tag %.*s is not supported here",
		  (int)(length < 64 ? length : 64), text ? text : "");
}

/* The text of a scalar, valid until the event is freed or the next call. libfyaml loses memory over
 * doubled single quotes, so these are read here. NULL: no memory. */
static const char *scalar_text(struct yaml *y, struct fy_event *e, size_t *ret_length)
{
	struct fy_token *token = fy_event_get_token(e);
	const struct fy_mark *start = fy_event_start_mark(e), *end = fy_event_end_mark(e);
	size_t length;

	*ret_length = 0;
	if (!token)
		return "";
	if (fy_token_scalar_style(token) != FYSS_SINGLE_QUOTED)
		return fy_token_get_text(token, ret_length);
	length = end->input_pos - start->input_pos;
	free(y->unquoted);
	y->unquoted = malloc(length + 1);
	if (y->unquoted)
		*ret_length = scalar_unquote(y->text + start->input_pos, length, y->unquoted);
	return y->unquoted;
}

static bool is_utf8(const char *text, size_t length)
{
	for (size_t i = 0, n; i < length; i += n) {
		n = text_utf8_length(text + i, length - i);
		if (!n)
			return false;
	}
	return true;
}

static int on_scalar(struct yaml *y, struct fy_event *e)
{
	struct fy_token *token = fy_event_get_token(e);
	struct place place = event_place(y, e);
	size_t length = 0;
	const char *text = scalar_text(y, e, &length);
	bool plain = (!token || fy_token_scalar_style(token) == FYSS_PLAIN) &&
		     !has_tag(e, "tag:yaml.org,2002:str");
	int r;

	if (!text)
		return -ENOMEM;
	/* The text itself was checked; an escape can still spell half a character. */
	if (!is_utf8(text, length))
		return fail(y, place, "an escape makes invalid UTF-8");
	check_tag(y, e, "tag:yaml.org,2002:str", place);
	if (wants_key(y)) {
		if (plain && length == 2 && !memcmp(text, "<<", 2))
			return fail(y, place,
				    "merge keys (<<) are not supported; write the keys out");
		if (fy_event_get_anchor_token(e))
			return fail(y, place, "a key cannot have an anchor");
		return set_key(y, text, length, place);
	}
	r = add_anchor(y, e, place);
	if (r < 0)
		return r;
	return add_node(y,
			plain ? scalar_resolve(y->doc, text, length)
			      : yyjson_mut_strncpy(y->doc, text, length),
			place);
}

static int on_open(struct yaml *y, struct fy_event *e, bool mapping)
{
	struct place place = event_place(y, e);
	int r;

	if (wants_key(y))
		return fail(y, place, "a key must be a text, not a mapping or list");
	if (y->depth == LIMIT_DEPTH)
		return fail(y, place, "the document is nested too deep");
	check_tag(y, e, mapping ? "tag:yaml.org,2002:map" : "tag:yaml.org,2002:seq", place);
	r = add_anchor(y, e, place);
	if (r >= 0)
		r = add_node(y, mapping ? yyjson_mut_obj(y->doc) : yyjson_mut_arr(y->doc), place);
	if (r < 0)
		return r;
	y->frames[y->depth++] = (struct frame){.node = (uint32_t)y->n - 1, .mapping = mapping};
	return 0;
}

static int on_close(struct yaml *y)
{
	uint32_t node = y->frames[--y->depth].node;

	y->nodes[node].size = (uint32_t)(y->n - node);
	return 0;
}

static int on_event(struct yaml *y, struct fy_event *e)
{
	switch (e->type) {
	case FYET_SCALAR:
		return on_scalar(y, e);
	case FYET_ALIAS:
		return on_alias(y, e);
	case FYET_MAPPING_START:
	case FYET_SEQUENCE_START:
		return on_open(y, e, e->type == FYET_MAPPING_START);
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		return on_close(y);
	default:
		return 0;
	}
}

int yaml_next(struct yaml *y, const struct yaml_node **ret)
{
	struct fy_event *e;
	bool end = false;
	int r = 0;

	y->n = y->n_anchors = y->depth = 0;
	while (r >= 0 && !end && (e = fy_parser_parse(y->parser))) {
		r = on_event(y, e);
		end = e->type == FYET_DOCUMENT_END;
		if (e->type == FYET_STREAM_END)
			end = true;
		fy_parser_event_free(y->parser, e);
	}
	if (r < 0)
		return r;
	if (!end)
		return fail_syntax(y);
	*ret = y->nodes;
	return y->n > 0;
}

/* --- life --------------------------------------------------------------------------------- */

/* Errors are collected, not printed. */
static void on_output(struct fy_diag *diag, void *user, const char *text, size_t length)
{
}

int yaml_open(const char *text, size_t length, yyjson_mut_doc *doc, struct error_list *errors,
	      struct yaml **ret)
{
	_cleanup_(yaml_closep) struct yaml *y = calloc(1, sizeof(*y));
	struct fy_parse_cfg config = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE};
	struct fy_diag_cfg diag;

	if (!y)
		return -ENOMEM;
	y->doc = doc;
	y->errors = errors;
	y->text = text;
	y->last = (struct place){1, 1};
	fy_diag_cfg_default(&diag);
	diag.fp = NULL;
	diag.output_fn = on_output;
	diag.level = FYET_ERROR;
	y->diag = fy_diag_create(&diag);
	if (!y->diag)
		return -ENOMEM;
	fy_diag_set_collect_errors(y->diag, true);
	config.diag = y->diag;
	y->parser = fy_parser_create(&config);
	if (!y->parser || fy_parser_set_string(y->parser, text, length) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(y);
	return 0;
}

struct yaml *yaml_close(struct yaml *y)
{
	if (!y)
		return NULL;
	if (y->parser)
		fy_parser_destroy(y->parser);
	if (y->diag)
		fy_diag_destroy(y->diag);
	free(y->unquoted);
	free(y->nodes);
	free(y);
	return NULL;
}

/* --- finding ------------------------------------------------------------------------------ */

/* Compares a key with one step of a pointer, ~0 and ~1 read back. */
static bool is_step(const struct yaml_node *node, const char *step, size_t length)
{
	size_t at = 0;

	for (size_t i = 0; i < length; i++, at++) {
		char c = step[i];

		if (c == '~' && i + 1 < length)
			c = step[++i] == '1' ? '/' : '~';
		if (at >= node->key_length || node->key[at] != c)
			return false;
	}
	return at == node->key_length;
}

static const struct yaml_node *find_part(const struct yaml_node *node, const char *step,
					 size_t length)
{
	const struct yaml_node *part = node + 1, *end = node + node->size;
	size_t index = strtoull(step, NULL, 10);

	for (; part < end; part += part->size)
		if (part->key ? is_step(part, step, length) : !index--)
			return part;
	return NULL;
}

const struct yaml_node *yaml_find(const struct yaml_node *root, const char *pointer)
{
	while (*pointer == '/') {
		size_t length = strcspn(++pointer, "/");
		const struct yaml_node *part = find_part(root, pointer, length);

		if (!part)
			break;
		root = part;
		pointer += length;
	}
	return root;
}
