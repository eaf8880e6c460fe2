/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcurl, held on a short lead: the unix socket decides where bytes go, the host name in the URL
 * is only a Host header. See http.h for what this client will not do.
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/http.h"

#define RESPONSE_MAX_DEFAULT (64u << 20)
#define URL_MAX 8192
#define HEADER_MAX 512 /* of one response header that is kept */

struct http {
	CURL *curl;
	char *socket;
};

/* One exchange while it runs. */
struct exchange {
	const struct http_request *request;
	CURL *curl;
	FILE *body; /* collects into response.body */
	size_t max;
	size_t seen;
	int error; /* why a callback stopped the transfer; 0: it did not */
	struct http_response response;
};

static int keep_header(char **slot, const char *value, size_t length)
{
	char *copy;

	while (length > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		length--;
	}
	while (length > 0 && strchr("\r\n \t", value[length - 1]))
		length--;
	copy = strndup(value, length < HEADER_MAX ? length : HEADER_MAX);
	if (!copy)
		return -ENOMEM;
	free(*slot);
	*slot = copy;
	return 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	static const char type[] = "content-type:", etag[] = "etag:";
	struct exchange *x = arg;
	size_t length = size * n;

	if (length > sizeof(type) - 1 && strncasecmp(data, type, sizeof(type) - 1) == 0)
		x->error = keep_header(&x->response.content_type, data + sizeof(type) - 1,
				       length - (sizeof(type) - 1));
	else if (length > sizeof(etag) - 1 && strncasecmp(data, etag, sizeof(etag) - 1) == 0)
		x->error = keep_header(&x->response.etag, data + sizeof(etag) - 1,
				       length - (sizeof(etag) - 1));
	return x->error < 0 ? 0 : length;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	size_t length = size * n;
	long status = 0;

	(void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
	if (x->request->on_data && status >= 200 && status < 300) {
		x->error = x->request->on_data(x->request->arg, data, length);
		return x->error < 0 ? 0 : length;
	}
	x->seen += length;
	if (x->seen > x->max)
		x->error = -EMSGSIZE;
	else if (fwrite(data, 1, length, x->body) != length)
		x->error = -ENOMEM;
	return x->error < 0 ? 0 : length;
}

/* What went wrong, as an errno of this room's contract. */
static int exchange_error(const struct exchange *x, CURLcode code)
{
	long os = 0;

	if (code == CURLE_OK)
		return 0;
	if (x->error < 0)
		return x->error;
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		(void)curl_easy_getinfo(x->curl, CURLINFO_OS_ERRNO, &os);
		return os > 0 ? -(int)os : -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_FILESIZE_EXCEEDED:
		return -EMSGSIZE;
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
		return -ECONNRESET;
	default:
		return -EPROTO;
	}
}

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
	char line[HEADER_MAX];
	struct curl_slist *longer;
	int n = snprintf(line, sizeof(line), "%s: %s", name, value);

	if (n < 0 || (size_t)n >= sizeof(line) || strpbrk(line, "\r\n"))
		return -EINVAL;
	longer = curl_slist_append(*list, line);
	if (!longer)
		return -ENOMEM;
	*list = longer;
	return 0;
}

static int make_headers(const struct http_request *q, struct curl_slist **ret)
{
	struct curl_slist *list = NULL, *longer;
	int r = add_header(&list, "Accept",
			   q->accept ? q->accept : "application/json, application/problem+json");

	if (r >= 0 && q->body)
		r = add_header(&list, "Content-Type",
			       q->content_type ? q->content_type : "application/json");
	if (r >= 0 && q->if_match)
		r = add_header(&list, "If-Match", q->if_match);
	/* Without this libcurl asks first before a body of more than 1 MiB, and may wait a second.
	 */
	longer = r < 0 ? NULL : curl_slist_append(list, "Expect:");
	if (!longer) {
		curl_slist_free_all(list);
		return r < 0 ? r : -ENOMEM;
	}
	*ret = list;
	return 0;
}

static void set_limits(const struct http *h, const struct http_request *q)
{
	(void)curl_easy_setopt(h->curl, CURLOPT_UNIX_SOCKET_PATH, h->socket);
	(void)curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http");
	(void)curl_easy_setopt(h->curl, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(h->curl, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(h->curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	(void)curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(h->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
	(void)curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT_MS,
			       (long)(q->timeout_ms ? q->timeout_ms : 10000));
}

static void set_body(const struct http *h, const struct http_request *q)
{
	(void)curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, q->method);
	if (!q->body)
		return;
	(void)curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->length);
	(void)curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, q->body);
}

static int exchange_run(struct http *h, struct exchange *x)
{
	_cleanup_free_ char *url = NULL;
	struct curl_slist *headers = NULL;
	CURLcode code;
	int r;

	if (strlen(x->request->path) > URL_MAX || x->request->path[0] != '/')
		return -EINVAL;
	if (asprintf(&url, "http://sinew%s", x->request->path) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	r = make_headers(x->request, &headers);
	if (r < 0)
		return r;
	curl_easy_reset(h->curl); /* keeps the connection */
	set_limits(h, x->request);
	set_body(h, x->request);
	(void)curl_easy_setopt(h->curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, x);
	(void)curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, x);
	code = curl_easy_perform(h->curl);
	r = exchange_error(x, code);
	curl_slist_free_all(headers);
	return r;
}

/* Makes absent headers "" and reads the status. */
static int exchange_finish(struct exchange *x)
{
	long status = 0;

	(void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
	x->response.status = (unsigned int)status;
	if (!x->response.content_type)
		x->response.content_type = strdup("");
	if (!x->response.etag)
		x->response.etag = strdup("");
	return x->response.content_type && x->response.etag && x->response.body ? 0 : -ENOMEM;
}

int http_send(struct http *h, const struct http_request *request, struct http_response *ret)
{
	struct exchange x = {
		.request = request,
		.curl = h->curl,
		.max = request->max_response ? request->max_response : RESPONSE_MAX_DEFAULT,
	};
	int r;

	x.body = open_memstream(&x.response.body, &x.response.length);
	if (!x.body)
		return -ENOMEM;
	r = exchange_run(h, &x);
	if (fclose(x.body) < 0 && r >= 0)
		r = -ENOMEM;
	if (r >= 0)
		r = exchange_finish(&x);
	if (r < 0) {
		http_response_done(&x.response);
		return r;
	}
	*ret = x.response;
	return 0;
}

void http_response_done(struct http_response *r)
{
	free(r->content_type);
	free(r->etag);
	free(r->body);
	*r = (struct http_response){0};
}

int http_open(const char *path, struct http **ret)
{
	_cleanup_(http_closep) struct http *h = NULL;
	struct sockaddr_un name;

	if (strlen(path) >= sizeof(name.sun_path))
		return -ENAMETOOLONG;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->socket = strdup(path);
	h->curl = curl_easy_init();
	if (!h->socket || !h->curl)
		return -ENOMEM;
	*ret = TAKE_PTR(h);
	return 0;
}

struct http *http_close(struct http *h)
{
	if (!h)
		return NULL;
	if (h->curl)
		curl_easy_cleanup(h->curl);
	free(h->socket);
	free(h);
	return NULL;
}
