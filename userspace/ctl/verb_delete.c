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

static bool add_delete(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct object *o)
{
	yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, list);
	bool is_service = o->kind == OBJECT_SERVICE;

	return yyjson_mut_obj_add_str(doc, item, "kind",
				      is_service ? "Service" : "TrafficPolicy") &&
	       yyjson_mut_obj_add_str(doc, item, "namespace",
				      is_service ? o->service->namespace : o->policy->namespace) &&
	       yyjson_mut_obj_add_str(doc, item, "name",
				      is_service ? o->service->name : o->policy->name);
}

/* {"delete": [...]}; NULL: no memory. */
static char *make_body(const struct input *in, size_t *ret_length)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "delete");
	char *text = NULL;
	bool ok = list != NULL;

	for (size_t i = 0; i < in->n; i++)
		for (size_t k = 0; k < in->manifests[i].n && ok; k++)
			ok = add_delete(doc, list, &in->manifests[i].objects[k]);
	yyjson_mut_doc_set_root(doc, root);
	if (ok)
		text = yyjson_mut_write(doc, 0, ret_length);
	yyjson_mut_doc_free(doc);
	return text;
}

static int delete_files(struct ctl *c)
{
	struct input in = {0};
	_cleanup_free_ char *body = NULL;
	struct source_change change = {.method = "PATCH", .input = &in, .list = "/delete/"};
	int r;

	if (c->n_operands > 0)
		return report_usage(c, "delete takes names or -f, not both");
	r = input_read(c, &in);
	if (r < 0)
		return r;
	body = make_body(&in, &change.length);
	change.body = body;
	r = body ? source_send(c, &change) : report_error(c, -ENOMEM, "out of memory");
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
