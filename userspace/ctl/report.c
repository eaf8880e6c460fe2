/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See report.h. Problem documents of the daemon are passed on as they came with -o json, and made
 * into lines otherwise.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <yyjson.h>

#include "ctl/field.h"
#include "ctl/print.h"
#include "ctl/report.h"

static const char *title_of(const struct ctl *c, int r)
{
	switch (r) {
	case -EINVAL:
		return "usage";
	case -ENOTCONN:
		return c->peer == PEER_AGENT ? "agent unreachable" : "daemon unreachable";
	case -ENOENT:
		return "not found";
	case -EACCES:
		return "not permitted";
	case -ETIMEDOUT:
		return "timed out";
	default:
		return "failed";
	}
}

int report_status_error(unsigned int status)
{
	switch (status) {
	case 400:
	case 413:
	case 415:
	case 422:
		return -EINVAL;
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 408:
	case 504:
		return -ETIMEDOUT;
	default:
		return -EIO;
	}
}

static void write_problem(const struct ctl *c, int r, const char *detail)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
	_cleanup_free_ char *text = NULL;

	if (root) {
		yyjson_mut_doc_set_root(doc, root);
		(void)yyjson_mut_obj_add_str(doc, root, "type", "about:blank");
		(void)yyjson_mut_obj_add_str(doc, root, "title", title_of(c, r));
		(void)yyjson_mut_obj_add_int(doc, root, "exitCode", ctl_exit_code(r));
		(void)yyjson_mut_obj_add_str(doc, root, "detail", detail);
		text = yyjson_mut_write(doc, YYJSON_WRITE_ESCAPE_UNICODE, NULL);
	}
	fprintf(c->err, "%s\n", text ? text : "{\"title\":\"out of memory\"}");
	yyjson_mut_doc_free(doc);
}

static int report(const struct ctl *c, int r, const char *detail)
{
	if (c->o.format == FORMAT_JSON) {
		write_problem(c, r, detail);
		return r;
	}
	fprintf(c->err, "%s: ", c->program->name);
	(void)print_text(c->err, detail);
	fputc('\n', c->err);
	return r;
}

int report_error(const struct ctl *c, int r, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		text = NULL;
	return report(c, r, text ? text : "out of memory");
}

int report_usage(const struct ctl *c, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		text = NULL;
	(void)report(c, -EINVAL, text ? text : "out of memory");
	if (c->o.format != FORMAT_JSON)
		fprintf(c->err, "See \"%s help%s%s\".\n", c->program->name, c->command ? " " : "",
			c->command ? c->command->name : "");
	return -EINVAL;
}

void report_note(const struct ctl *c, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n;

	if (c->o.format == FORMAT_JSON)
		return;
	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		return;
	}
	(void)print_text(c->err, text);
	fputc('\n', c->err);
}

/* "pointer: detail" for each fault that the problem lists. */
static void print_faults(const struct ctl *c, yyjson_val *problem)
{
	yyjson_val *list = yyjson_obj_get(problem, "errors");
	yyjson_val *fault;
	size_t i, n;

	yyjson_arr_foreach (list, i, n, fault) {
		const char *pointer = field_text(fault, "/pointer");

		fputs("  ", c->err);
		(void)print_text(c->err, pointer);
		fputs(*pointer ? ": " : "", c->err);
		(void)print_text(c->err, field_text(fault, "/detail"));
		fputc('\n', c->err);
	}
}

static const char *who(const struct ctl *c)
{
	return c->peer == PEER_AGENT ? "the agent" : "the daemon";
}

static void print_problem(const struct ctl *c, yyjson_val *problem, unsigned int status,
			  const char *subject)
{
	const char *detail = field_text(problem, "/detail");

	if (!*detail)
		detail = field_text(problem, "/title");
	fprintf(c->err, "%s: ", c->program->name);
	if (subject && !strstr(detail, subject)) {
		(void)print_text(c->err, subject);
		fputs(": ", c->err);
	}
	if (*detail)
		(void)print_text(c->err, detail);
	else
		fprintf(c->err, "%s answered with status %u", who(c), status);
	fputc('\n', c->err);
	print_faults(c, problem);
}

/* What RFC 9457 calls so, and says something. */
static bool is_problem(yyjson_val *root)
{
	return *field_text(root, "/detail") || *field_text(root, "/title");
}

int report_response(const struct ctl *c, const struct http_response *response, const char *subject)
{
	int r = report_status_error(response->status);
	yyjson_doc *doc = yyjson_read(response->body, response->length, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);

	if (c->o.format != FORMAT_JSON) {
		print_problem(c, root, response->status, subject);
	} else if (is_problem(root)) {
		_cleanup_free_ char *text =
			yyjson_val_write(root, YYJSON_WRITE_ESCAPE_UNICODE, NULL);

		fprintf(c->err, "%s\n", text ? text : "{}");
	} else {
		(void)report_error(c, r, "%s answered with status %u", who(c), response->status);
	}
	yyjson_doc_free(doc);
	return r;
}
