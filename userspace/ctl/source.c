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

#define SUBJECT_TEXT 192
#define VERBOSE_MAX 1000 /* objects up to which the daemon is asked to list what it changed */

/* "service shop/payments" of a manifest's object. */
static const char *format_subject(const struct object *o, char buf[static SUBJECT_TEXT])
{
	(void)snprintf(buf, SUBJECT_TEXT, "%s %s/%s", object_kind_noun(o->kind),
		       object_namespace(o), object_name(o));
	return buf;
}

/* The daemon's own findings name the object in words: "service shop/payments: ...". */
static const struct manifest *find_named(const struct input *in, const char *detail, size_t *ret_at)
{
	size_t length = strcspn(detail, ":");
	const struct manifest *m;
	char subject[SUBJECT_TEXT];

	for (size_t i = 0; (m = input_find(in, i, ret_at)) != NULL; i++) {
		(void)format_subject(&m->objects[*ret_at], subject);
		if (strlen(subject) == length && strncmp(subject, detail, length) == 0)
			return m;
	}
	return NULL;
}

/* "shop.yaml:3: service shop/payments: spec/address: ...": where the object came from, as far as
 * the pointer or the words tell. */
static void put_fault(struct ctl *c, const struct source_change *change, yyjson_val *fault)
{
	const char *pointer = field_text(fault, "/pointer"), *detail = field_text(fault, "/detail");
	size_t skip = strlen(change->list), at = 0;
	bool indexed =
		strncmp(pointer, change->list, skip) == 0 && isdigit((unsigned char)pointer[skip]);
	const struct manifest *m = NULL;
	char subject[SUBJECT_TEXT], *end = NULL;

	if (indexed)
		m = input_find(change->input, strtoul(pointer + skip, &end, 10), &at);
	else if (!*pointer)
		m = find_named(change->input, detail, &at);
	if (m) {
		(void)print_text(c->err, m->name);
		fprintf(c->err, ":%zu: ", m->lines[at]);
	}
	if (m && indexed) {
		(void)print_text(c->err, format_subject(&m->objects[at], subject));
		fputs(": ", c->err);
		pointer = end;
	}
	for (; *pointer == '/'; pointer++)
		; /* "/spec/address" reads better as "spec/address" */
	(void)print_text(c->err, pointer);
	fputs(*pointer ? ": " : "", c->err);
	(void)print_text(c->err, detail);
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
			fprintf(c->err, "nothing was %s\n", change->done);
		yyjson_doc_free(doc);
		return r;
	}
	yyjson_arr_foreach (faults, i, n, fault)
		put_fault(c, change, fault);
	n += field_count(yyjson_doc_get_root(doc), "/moreErrors");
	fprintf(c->err, "nothing was %s (%zu error%s, found by the daemon)\n", change->done, n,
		n == 1 ? "" : "s");
	yyjson_doc_free(doc);
	r = report_status_error(response->status);
	/* an object of another source, a stale generation: mistakes of the manifest, too */
	return r == -EIO && response->status < 500 ? -EINVAL : r;
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
