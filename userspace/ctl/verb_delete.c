/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * delete: objects by name, one request each, or those that manifests name, as one change.
 */
#include <errno.h>
#include <string.h>

#include "ctl/change.h"
#include "ctl/client.h"
#include "ctl/report.h"
#include "ctl/select.h"
#include "ctl/source.h"
#include "ctl/verb.h"

/* --- by manifest --------------------------------------------------------------------------------
 */

struct named {
	const char *noun, *path, *kind, *namespace, *name;
};

static const struct noun *noun_of(enum object_kind kind)
{
	return kind == OBJECT_SERVICE  ? &noun_service
	       : kind == OBJECT_POLICY ? &noun_policy
				       : &noun_registration;
}

static struct named name_of(const struct object *o)
{
	return (struct named){object_kind_noun(o->kind), noun_of(o->kind)->path,
			      object_kind_name(o->kind), object_namespace(o), object_name(o)};
}

/* 1 or 0; < 0: told. */
static int is_there(struct ctl *c, const struct named *n)
{
	struct client_path path;
	struct client_change get = {.method = "GET", .path = &path};
	struct http_response response = {0};
	int r;

	client_path_init(&path, n->path);
	client_path_segment(&path, n->namespace);
	client_path_segment(&path, n->name);
	r = client_exchange(c, &get, &response);
	if (r < 0)
		return r;
	if (response.status == 404)
		report_note(c, "there is no %s %s/%s", n->noun, n->namespace, n->name);
	else if (response.status != 200)
		r = report_response(c, &response, NULL);
	else
		r = 1;
	http_response_done(&response);
	return r;
}

/* 1: added; 0: not there, which was to be no failure; < 0: told. */
static int add_delete(struct ctl *c, yyjson_mut_doc *doc, const struct object *o)
{
	yyjson_mut_val *list = yyjson_mut_obj_get(yyjson_mut_doc_get_root(doc), "delete");
	struct named n = name_of(o);
	int r = c->o.ignore_missing ? is_there(c, &n) : 1;
	yyjson_mut_val *item;

	if (r <= 0)
		return r;
	item = yyjson_mut_arr_add_obj(doc, list);
	if (yyjson_mut_obj_add_str(doc, item, "kind", n.kind) &&
	    yyjson_mut_obj_add_str(doc, item, "namespace", n.namespace) &&
	    yyjson_mut_obj_add_str(doc, item, "name", n.name))
		return 1;
	return report_error(c, -ENOMEM, "out of memory");
}

/* {"delete": [...]}. Returns how many there are; < 0: told. */
static int fill_body(struct ctl *c, const struct input *in, yyjson_mut_doc *doc)
{
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	const struct manifest *m;
	size_t at;
	int n = 0, r = 0;

	yyjson_mut_doc_set_root(doc, root);
	(void)yyjson_mut_obj_add_arr(doc, root, "delete");
	for (size_t i = 0; r >= 0 && (m = input_find(in, i, &at)) != NULL; i++) {
		r = add_delete(c, doc, &m->objects[at]);
		n += r > 0;
	}
	return r < 0 ? r : n;
}

static int send_deletes(struct ctl *c, const struct input *in, yyjson_mut_doc *doc)
{
	struct source_change change = {
		.method = "PATCH", .input = in, .list = "", .done = "deleted"};
	_cleanup_free_ char *body = yyjson_mut_write(doc, 0, &change.length);

	if (!body)
		return report_error(c, -ENOMEM, "out of memory");
	change.body = body;
	return source_send(c, &change);
}

static int delete_files(struct ctl *c)
{
	yyjson_mut_doc *doc;
	struct input in = {0};
	int r;

	if (c->n_operands > 0)
		return report_usage(c, "delete takes names or -f, not both");
	r = input_read(c, "deleted", &in);
	if (r < 0)
		return r;
	doc = yyjson_mut_doc_new(NULL);
	r = doc ? fill_body(c, &in, doc) : report_error(c, -ENOMEM, "out of memory");
	if (r > 0)
		r = send_deletes(c, &in, doc);
	yyjson_mut_doc_free(doc);
	input_done(&in);
	return r;
}

/* --- by name ------------------------------------------------------------------------------------
 */

static void make_path(struct ctl *c, const struct select *s, const struct select_name *name,
		      struct client_path *ret)
{
	client_path_init(ret, s->noun->path);
	if (s->noun->namespace_at)
		client_path_segment(ret, *name->namespace ? name->namespace : "default");
	client_path_segment(ret, name->name);
	client_path_query(ret, "dryRun", c->o.dry_run ? "true" : NULL);
	client_path_query(ret, "verbose", "true");
}

static int delete_one(struct ctl *c, const struct select *s, const struct select_name *name)
{
	struct client_path path;
	struct client_change change = {.method = "DELETE", .path = &path};
	struct http_response response = {0};
	char subject[SELECT_SUBJECT];
	yyjson_doc *doc = NULL;
	int r;

	make_path(c, s, name, &path);
	r = client_exchange(c, &change, &response);
	if (r < 0)
		return r;
	(void)select_subject(s->noun, name, subject);
	if (response.status == 404 && c->o.ignore_missing) {
		report_note(c, "there is no %s", subject);
	} else if (response.status < 200 || response.status > 299) {
		r = report_response(c, &response, subject);
	} else {
		doc = yyjson_read(response.body, response.length, 0);
		if (doc)
			r = change_print(c, yyjson_doc_get_root(doc), c->o.dry_run);
		else if (c->o.format == FORMAT_TABLE)
			fprintf(c->out, "%s deleted\n", subject);
	}
	yyjson_doc_free(doc);
	http_response_done(&response);
	return r;
}

static int delete_names(struct ctl *c, const struct select *s)
{
	int worst = 0;

	if (!s->noun->can_delete)
		return report_usage(c,
				    "%s cannot be deleted: they are what the kernel or the "
				    "configuration says",
				    s->noun->name);
	if (s->n == 0)
		return report_usage(c, "delete %s needs names; nothing was deleted", s->noun->name);
	for (size_t i = 0; i < s->n; i++) {
		int r = delete_one(c, s, &s->names[i]);

		if (r < 0)
			worst = r;
		if (r == -ENOTCONN || r == -ETIMEDOUT)
			break; /* the others would only wait as long and say the same */
	}
	return worst;
}

int verb_delete_run(void *ctl)
{
	struct ctl *c = ctl;
	_cleanup_free_ struct select *s = NULL;
	int r;

	if (c->o.files.n > 0)
		return delete_files(c);
	if (c->n_operands == 0)
		return report_usage(c, "delete needs NOUN NAME, or -f FILE");
	s = malloc(sizeof(*s));
	if (!s)
		return report_error(c, -ENOMEM, "out of memory");
	r = select_parse(c, s);
	if (r < 0)
		return r;
	return delete_names(c, s);
}
