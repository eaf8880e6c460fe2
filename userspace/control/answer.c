/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See answer.h. Before: a handler has decided. After: the HTTP library sends. Never touches the
 * store or the kernel.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "control/answer.h"

struct status_name {
	unsigned int status;
	const char *slug, *title;
};

static const struct status_name names[] = {
	{400, "bad-request", "Bad Request"},
	{403, "forbidden", "Forbidden"},
	{404, "not-found", "Not Found"},
	{405, "method-not-allowed", "Method Not Allowed"},
	{406, "not-acceptable", "Not Acceptable"},
	{409, "conflict", "Conflict"},
	{412, "precondition-failed", "Precondition Failed"},
	{413, "too-large", "Content Too Large"},
	{415, "unsupported-media-type", "Unsupported Media Type"},
	{422, "invalid", "Unprocessable Content"},
	{503, "busy", "Service Unavailable"},
	{507, "no-space", "Insufficient Storage"},
};

/* What errors of the model and the kernel mean to a client. */
static const struct error_status {
	int error;
	unsigned int status;
	const char *detail;
} errors[] = {
	{EINVAL, 422, "the object is not valid"},
	{EEXIST, 409, "another source owns it"},
	{ESTALE, 412, "it was changed by somebody else; read it again"},
	{ENOENT, 404, "there is no such object"},
	{E2BIG, 422, "a limit would be exceeded"},
	{ENOSPC, 507, "a kernel map or the disk is full; see sinewctl status"},
	{EBUSY, 503, "room that was freed is not reusable yet; try again in a second"},
	{ENOMEM, 503, "out of memory"},
};

static const struct status_name *status_find(unsigned int status)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].status == status)
			return &names[i];
	return &names[10]; /* busy: the only server-side failure that a client can do nothing about
			    */
}

/* Length of the UTF-8 sequence at p, 0 when it is none (RFC 3629). */
static size_t sequence_length(const unsigned char *p)
{
	static const unsigned int least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = *p < 0x80   ? 1
		   : *p < 0xc0 ? 0
		   : *p < 0xe0 ? 2
		   : *p < 0xf0 ? 3
		   : *p < 0xf8 ? 4
			       : 0;
	unsigned int code = n > 1 ? *p & (0x7fu >> n) : *p;

	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (n > 1 && (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
		return 0;
	return n;
}

void answer_repair_text(char *text)
{
	unsigned char *p = (unsigned char *)text;

	while (*p) {
		size_t n = sequence_length(p);

		if (!n)
			*p = '?';
		p += n ? n : 1;
	}
}

static int header_add(struct MHD_Response *response, const char *name, const char *value)
{
	return MHD_add_response_header(response, name, value) == MHD_YES ? 0 : -ENOMEM;
}

static int headers_add(const struct request *q, struct MHD_Response *response, const char *type)
{
	int r = type ? header_add(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) : 0;

	if (r >= 0 && q->etag[0])
		r = header_add(response, MHD_HTTP_HEADER_ETAG, q->etag);
	if (r >= 0 && q->allow[0])
		r = header_add(response, MHD_HTTP_HEADER_ALLOW, q->allow);
	if (r >= 0 && q->retry)
		r = header_add(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	if (r >= 0)
		r = header_add(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return r;
}

int answer_response(struct request *q, unsigned int status, const char *type,
		    struct MHD_Response *response)
{
	int r = response ? headers_add(q, response, type) : -ENOMEM;

	q->answered = true;
	if (r < 0) {
		if (response)
			MHD_destroy_response(response);
		if (q->suspended)
			server_resume(q);
		return r;
	}
	q->control->counters.answers[status / 100 % 6]++;
	q->ready = response;
	q->ready_status = status;
	if (!q->suspended)
		return answer_ready(q);
	server_resume(q);
	return 0;
}

int answer_ready(struct request *q)
{
	struct MHD_Response *response = TAKE_PTR(q->ready);
	enum MHD_Result queued;

	if (q->client)
		q->client->owes = false;
	queued = MHD_queue_response(q->connection, q->ready_status, response);
	MHD_destroy_response(response);
	return queued == MHD_YES ? 0 : -EIO;
}

static struct MHD_Response *response_take(char *data, size_t length)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer_with_free_callback(length, data, free);

	if (!response)
		free(data);
	return response;
}

static int answer_doc(struct request *q, unsigned int status, const char *type,
		      const yyjson_mut_doc *doc)
{
	size_t length;
	char *text = doc ? yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, &length) : NULL;

	/* A line end after the document: people read this with curl. */
	if (text)
		text[length++] = '\n';
	return answer_response(q, status, type, text ? response_take(text, length) : NULL);
}

int answer_json(struct request *q, unsigned int status, const yyjson_mut_doc *doc)
{
	return answer_doc(q, status, TYPE_JSON, doc);
}

static void error_add(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct problem *p)
{
	yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, list), *limit;

	answer_repair_text(p->pointer);
	answer_repair_text(p->message);
	(void)yyjson_mut_obj_add_strcpy(doc, item, "pointer", p->pointer);
	(void)yyjson_mut_obj_add_strcpy(doc, item, "detail", p->message);
	if (!p->limit.of)
		return;
	limit = yyjson_mut_obj_add_obj(doc, item, "limit");
	(void)yyjson_mut_obj_add_str(doc, limit, "of", p->limit.of);
	(void)yyjson_mut_obj_add_uint(doc, limit, "count", p->limit.count);
	(void)yyjson_mut_obj_add_uint(doc, limit, "most", p->limit.most);
}

static int problem_send(struct request *q, unsigned int status, char *detail,
			const struct problems *problems)
{
	const struct status_name *name = status_find(status);
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;
	char type[64];
	int r;

	answer_repair_text(detail);
	(void)snprintf(type, sizeof(type), "urn:sinew:problem:%s", name->slug);
	(void)yyjson_mut_obj_add_strcpy(doc, root, "type", type);
	(void)yyjson_mut_obj_add_str(doc, root, "title", name->title);
	(void)yyjson_mut_obj_add_uint(doc, root, "status", name->status);
	(void)yyjson_mut_obj_add_strcpy(doc, root, "detail", detail);
	if (problems && problems->n) {
		list = yyjson_mut_obj_add_arr(doc, root, "errors");
		for (size_t i = 0; i < problems->n; i++)
			error_add(doc, list, &problems->items[i]);
		if (problems->more)
			(void)yyjson_mut_obj_add_uint(doc, root, "moreErrors", problems->more);
	}
	yyjson_mut_doc_set_root(doc, root);
	q->retry = name->status == 503;
	r = answer_doc(q, name->status, TYPE_PROBLEM, doc);
	yyjson_mut_doc_free(doc);
	return r;
}

int answer_problem(struct request *q, unsigned int status, const char *format, ...)
{
	char detail[400];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	return problem_send(q, status, detail, NULL);
}

int answer_error(struct request *q, int error, const struct problems *problems)
{
	unsigned int status = 503;
	char detail[400];

	(void)snprintf(detail, sizeof(detail), "the daemon could not do it: %s", strerror(-error));
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		if (errors[i].error != -error)
			continue;
		status = errors[i].status;
		(void)snprintf(detail, sizeof(detail), "%s", errors[i].detail);
	}
	/* One error is the detail; several are counted. */
	if (problems && problems->n == 1 && !problems->more)
		(void)snprintf(detail, sizeof(detail), "%s", problems->items[0].message);
	else if (problems && problems->n)
		(void)snprintf(detail, sizeof(detail), "nothing was applied (%zu errors)",
			       problems->n + problems->more);
	return problem_send(q, status, detail, problems);
}

int answer_bad_body(struct request *q, int error, struct problems *problems)
{
	int r;

	if (error == -EBADMSG)
		r = answer_problem(q, 400, "%s",
				   problems->n ? problems->items[0].message
					       : "the body is no JSON");
	else
		r = answer_error(q, error, problems);
	problems_done(problems);
	return r;
}

int answer_bytes(struct request *q, unsigned int status, const char *type, struct bytes *text)
{
	struct MHD_Response *response = NULL;

	if (!text->failed)
		response = response_take(TAKE_PTR(text->data), text->length);
	bytes_done(text);
	return answer_response(q, status, type, response);
}

int answer_callback(struct request *q, unsigned int status, const char *type, struct callback c)
{
	struct MHD_Response *response;

	/* libmicrohttpd 0.9.75 ends the body that a HEAD does not have with a last chunk, which the
	 * client would take for the beginning of its next answer. */
	if (q->head) {
		c.free(c.arg);
		response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
		return answer_response(q, status, type, response);
	}
	response =
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, CHUNK, c.read, c.arg, c.free);
	if (!response)
		c.free(c.arg);
	return answer_response(q, status, type, response);
}

int answer_stream(struct request *q, unsigned int status, const char *type, struct stream *s)
{
	s->control = q->control;
	return answer_callback(q, status, type, (struct callback){stream_read, stream_free, s});
}

int answer_static(struct request *q, const char *type, const void *data, size_t length)
{
	return answer_response(
		q, 200, type,
		MHD_create_response_from_buffer(length, (void *)data, MHD_RESPMEM_PERSISTENT));
}

int answer_empty(struct request *q, unsigned int status)
{
	return answer_response(q, status, NULL,
			       MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}
