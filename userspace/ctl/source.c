/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See source.h.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "ctl/change.h"
#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/source.h"

#define VERBOSE_MAX 1000 /* objects up to which the daemon is asked to list what it changed */

static const char *metadata_text(yyjson_mut_val *item, const char *key)
{
	const char *text =
		yyjson_mut_get_str(yyjson_mut_obj_get(yyjson_mut_obj_get(item, "metadata"), key));

	return text ? text : "";
}

/* "shop.yaml: service shop/payments: " for "/upsert/3/spec/...", and what is left of the pointer.
 */
static const char *put_origin(struct ctl *c, const struct source_change *change,
			      const char *pointer)
{
	size_t skip = strlen(change->list), at;
	const struct manifest *m = NULL;
	char *end = NULL;

	if (strncmp(pointer, change->list, skip) == 0 && isdigit((unsigned char)pointer[skip]))
		m = input_find(change->input, strtoul(pointer + skip, &end, 10), &at);
	if (!m)
		return pointer;
	(void)print_text(c->err, m->name);
	fprintf(c->err, ": %s ",
		change_noun(m->objects[at].kind == OBJECT_SERVICE ? "Service" : "TrafficPolicy"));
	if (*metadata_text(m->items[at], "namespace")) {
		(void)print_text(c->err, metadata_text(m->items[at], "namespace"));
		fputc('/', c->err);
	}
	(void)print_text(c->err, metadata_text(m->items[at], "name"));
	fputs(*end ? ": " : "", c->err);
	return end;
}

static void put_fault(struct ctl *c, const struct source_change *change, yyjson_val *fault)
{
	const char *pointer = put_origin(c, change, field_text(fault, "/pointer"));

	for (; *pointer == '/'; pointer++)
		; /* "/spec/address" reads better as "spec/address" */
	(void)print_text(c->err, pointer);
	fputs(*field_text(fault, "/pointer") ? ": " : "", c->err);
	(void)print_text(c->err, field_text(fault, "/detail"));
	fputc('\n', c->err);
}

/* The daemon refused what this program had found right: owners, addresses, limits. */
static int report_refusal(struct ctl *c, const struct source_change *change,
			  const struct http_response *response)
{
	yyjson_doc *doc = yyjson_read(response->body, response->length, 0);
	yyjson_val *faults = field_get(yyjson_doc_get_root(doc), "/errors");
	yyjson_val *fault;
	size_t i, n;
	int r;

	if (c->o.format == FORMAT_JSON || yyjson_arr_size(faults) == 0) {
		r = report_response(c, response, NULL);
		if (c->o.format != FORMAT_JSON)
			fputs("nothing was applied\n", c->err);
		yyjson_doc_free(doc);
		return r;
	}
	yyjson_arr_foreach (faults, i, n, fault)
		put_fault(c, change, fault);
	fprintf(c->err, "nothing was applied (%zu error%s, found by the daemon)\n", n,
		n == 1 ? "" : "s");
	yyjson_doc_free(doc);
	return response->status == 403 ? -EACCES : -EINVAL;
}

static int print_result(struct ctl *c, const struct http_response *response)
{
	yyjson_doc *doc = yyjson_read(response->body, response->length, 0);
	int r;

	if (!doc)
		return report_error(c, -EIO, "%s: the answer is not JSON; the change was made",
				    c->socket);
	r = change_print(c, yyjson_doc_get_root(doc), c->o.dry_run);
	yyjson_doc_free(doc);
	return r;
}

int source_send(struct ctl *c, const struct source_change *change)
{
	struct http_response response = {0};
	struct client_path path;
	struct client_change send = {.method = change->method,
				     .path = &path,
				     .body = change->body,
				     .length = change->length};
	bool all = c->o.format != FORMAT_TABLE || change->input->n_objects <= VERBOSE_MAX;
	int r;

	client_path_init(&path, "/v1/sources");
	client_path_segment(&path, c->o.source ? c->o.source : "manifest");
	client_path_query(&path, "dryRun", c->o.dry_run ? "true" : NULL);
	client_path_query(&path, "verbose", all ? "true" : NULL);
	r = client_exchange(c, &send, &response);
	if (r < 0)
		return r;
	if (response.status < 200 || response.status > 299)
		r = report_refusal(c, change, &response);
	else
		r = print_result(c, &response);
	http_response_done(&response);
	return r;
}
