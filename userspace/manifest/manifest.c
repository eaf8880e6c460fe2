/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See manifest.h. Before: a file was read. After: the command line sends the values, or prints the
 * errors. Reads nothing itself.
 */
#include "manifest/manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "manifest/yaml.h"
#include "model/limits.h"

#define SOURCE "manifest" /* of the decoded objects; whoever sends them names the real one */

struct parse {
	struct manifest m;
	struct error_list errors;
	struct place *places; /* of the objects' names */
	size_t capacity;
};

/* --- the text ----------------------------------------------------------------------------- */

/* UTF-8 without control characters: what is left, YAML can be asked about. */
static int check_text(const char *text, size_t length, struct error_list *errors)
{
	struct place place = {1, 1};
	size_t n;

	for (size_t i = 0; i < length; i += n) {
		unsigned char c = (unsigned char)text[i];

		n = text_utf8_length(text + i, length - i);
		if (!n) {
			error_add(errors, place, "byte 0x%02x is no UTF-8", c);
			return -EBADMSG;
		}
		if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
			error_add(errors, place, "control character 0x%02x", c);
			return -EBADMSG;
		}
		place.column++;
		if (c == '\n')
			place = (struct place){place.line + 1, 1};
	}
	return 0;
}

/* --- objects ------------------------------------------------------------------------------ */

static int reserve(struct parse *p)
{
	size_t capacity = p->capacity ? 2 * p->capacity : 64;
	void *grown;

	if (p->m.n < p->capacity)
		return 0;
	grown = reallocarray(p->m.items, capacity, sizeof(*p->m.items));
	if (!grown)
		return -ENOMEM;
	p->m.items = grown;
	grown = reallocarray(p->m.objects, capacity, sizeof(*p->m.objects));
	if (!grown)
		return -ENOMEM;
	p->m.objects = grown;
	grown = reallocarray(p->places, capacity, sizeof(*p->places));
	if (!grown)
		return -ENOMEM;
	p->places = grown;
	p->capacity = capacity;
	return 0;
}

static void add_problems(struct parse *p, const struct yaml_node *root,
			 const struct problems *problems)
{
	for (size_t i = 0; i < problems->n; i++) {
		const struct problem *problem = &problems->items[i];
		const struct yaml_node *node = yaml_find(root, problem->pointer);

		error_add(&p->errors, problem->at_key ? node->key_place : node->place, "%s",
			  problem->message);
	}
	p->errors.more += problems->more;
}

static int add_object(struct parse *p, const struct yaml_node *root)
{
	yyjson_doc *json = yyjson_mut_val_imut_copy(root->value, NULL);
	struct problems problems = {};
	int r = json ? reserve(p) : -ENOMEM;

	if (r >= 0)
		r = codec_decode_object(yyjson_doc_get_root(json), "", SOURCE, &problems,
					&p->m.objects[p->m.n]);
	if (r >= 0) {
		p->m.items[p->m.n] = root->value;
		p->places[p->m.n++] = yaml_find(root, "/metadata/name")->place;
	}
	add_problems(p, root, &problems);
	problems_done(&problems);
	yyjson_doc_free(json);
	return r == -ENOMEM ? r : 0;
}

/* What "get -o yaml" prints for several objects: their list stands for its items. */
static const struct yaml_node *find_items(const struct yaml_node *root)
{
	static const char *const kinds[] = {"List", "ServiceList", "TrafficPolicyList",
					    "RegistrationList"};
	const struct yaml_node *items = yaml_find(root, "/items");
	const char *kind = yyjson_mut_get_str(yyjson_mut_obj_get(root->value, "kind"));

	for (size_t i = 0; kind && i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kind, kinds[i]))
			return items != root && yyjson_mut_is_arr(items->value) ? items : NULL;
	return NULL;
}

static int add_document(struct parse *p, const struct yaml_node *root)
{
	const struct yaml_node *items = find_items(root);
	int r = 0;

	if (!items)
		return yyjson_mut_is_null(root->value) ? 0 : add_object(p, root);
	for (const struct yaml_node *item = items + 1; r >= 0 && item < items + items->size;
	     item += item->size)
		r = add_object(p, item);
	return r;
}

/* --- the same object twice ---------------------------------------------------------------- */

struct named {
	enum object_kind kind;
	const char *namespace, *name;
	struct place place;
};

static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int r = x->kind != y->kind ? (int)x->kind - (int)y->kind
				   : strcmp(x->namespace, y->namespace);

	r = r ? r : strcmp(x->name, y->name);
	if (r)
		return r;
	return x->place.line < y->place.line ? -1 : x->place.line > y->place.line;
}

static int check_doubles(struct parse *p)
{
	_cleanup_free_ struct named *all = calloc(p->m.n + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < p->m.n; i++) {
		const struct object *o = &p->m.objects[i];

		all[i] = (struct named){o->kind, object_namespace(o), object_name(o), p->places[i]};
	}
	qsort(all, p->m.n, sizeof(*all), compare_named);
	for (size_t i = 1; i < p->m.n; i++) {
		const struct named *a = &all[i - 1], *b = &all[i];

		if (a->kind == b->kind && !strcmp(a->namespace, b->namespace) &&
		    !strcmp(a->name, b->name))
			error_add(&p->errors, b->place, "%s %s/%s is declared already, at line %zu",
				  object_kind_noun(a->kind), a->namespace, a->name, a->place.line);
	}
	return 0;
}

static int keep_lines(struct parse *p)
{
	p->m.lines = calloc(p->m.n + 1, sizeof(*p->m.lines));
	if (!p->m.lines)
		return -ENOMEM;
	for (size_t i = 0; i < p->m.n; i++)
		p->m.lines[i] = p->places[i].line;
	return 0;
}

/* --- the whole ---------------------------------------------------------------------------- */

static int read_documents(struct parse *p, const char *text, size_t length)
{
	_cleanup_(yaml_closep) struct yaml *y = NULL;
	const struct yaml_node *root;
	size_t n = 0;
	int r = yaml_open(text, length, p->m.doc, &p->errors, &y);

	if (r < 0)
		return r;
	while ((r = yaml_next(y, &root)) > 0) {
		if (++n > LIMIT_DOCUMENTS) {
			error_add(&p->errors, root->place, "more than %d documents",
				  LIMIT_DOCUMENTS);
			return 0;
		}
		r = add_document(p, root);
		if (r < 0)
			return r;
	}
	/* What cannot be read on has added its error. */
	return r == -EBADMSG ? 0 : r;
}

static int parse_text(struct parse *p, const char *name, const char *text, size_t length)
{
	int r;

	p->m.name = strdup(name);
	p->m.doc = yyjson_mut_doc_new(NULL);
	if (!p->m.name || !p->m.doc)
		return -ENOMEM;
	/* A byte order mark says nothing that UTF-8 does not. */
	if (length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		text += 3;
		length -= 3;
	}
	if (check_text(text, length, &p->errors) < 0)
		return 0;
	r = read_documents(p, text, length);
	if (r >= 0)
		r = check_doubles(p);
	if (r >= 0)
		r = keep_lines(p);
	if (r >= 0 && !p->m.n && !p->errors.n)
		error_add(&p->errors, (struct place){1, 1}, "there is no object in it");
	return r;
}

int manifest_parse(const char *name, const char *text, size_t length, struct manifest *ret)
{
	struct parse p = {};
	int r;

	if (length > LIMIT_MANIFEST)
		return -E2BIG;
	r = parse_text(&p, name, text, length);
	if (r >= 0 && p.errors.no_memory)
		r = -ENOMEM;
	error_clamp(&p.errors, text, length);
	error_sort(&p.errors);
	p.m.errors = p.errors.items;
	p.m.n_errors = p.errors.n;
	p.m.more_errors = p.errors.more;
	free(p.places);
	if (r < 0) {
		manifest_done(&p.m);
		return r;
	}
	*ret = p.m;
	return 0;
}

void manifest_done(struct manifest *m)
{
	struct error_list errors = {.items = m->errors, .n = m->n_errors};

	for (size_t i = 0; i < m->n; i++)
		object_done(&m->objects[i]);
	error_list_done(&errors);
	free(m->objects);
	free(m->lines);
	free(m->items);
	free(m->name);
	yyjson_mut_doc_free(m->doc);
	*m = (struct manifest){};
}
