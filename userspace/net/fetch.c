/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See fetch.h: one exchange, what is asked and what comes. Before: whoever asks a server. After:
 * fetcher.c, which runs it. Must never follow a redirect, or hold more than it was asked to.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "net/fetch_state.h"

#define BODY_MAX (64u << 20)    /* bytes, unless asked for another limit */
#define HEADERS_MAX (64u << 10) /* bytes of all headers of an answer */
#define BUFFER_BYTES (64l << 10)
#define BODY_FIRST (4u << 10)
#define KEEPALIVE_IDLE_S 30l
#define KEEPALIVE_INTERVAL_S 10l
#define NAMES_S 1l /* names are asked for anew: a registry may move */

/* --- how it ended ----------------------------------------------------------------------------- */

static int error_of_connect(const struct fetch *x)
{
	long number = 0;

	(void)curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &number);
	return number > 0 ? -(int)number : -ECONNREFUSED;
}

static bool says_one_of(const struct fetch *x, const char *const words[])
{
	for (size_t i = 0; words[i]; i++)
		if (strstr(x->text, words[i]))
			return true;
	return false;
}

/* libcurl has one code for a peer that went away in the handshake and for one that objects, or is
 * objected to. Only its text tells: the socket's failure, an end without a reason, or OpenSSL's and
 * GnuTLS' own words for it. */
static bool is_broken_handshake(const struct fetch *x)
{
	static const char *const words[] = {"Recv failure",
					    "Send failure",
					    "reset by peer",
					    "SSL_ERROR_SYSCALL",
					    "SSL_ERROR_ZERO_RETURN",
					    "unexpected eof",
					    "non-properly terminated",
					    NULL};

	return says_one_of(x, words);
}

/* With TLS 1.3 a server that wants another certificate of ours says so after the handshake. */
static bool is_refusal(const struct fetch *x)
{
	static const char *const words[] = {"alert certificate",    "alert bad certificate",
					    "alert unknown ca",     "alert access denied",
					    "certificate required", NULL};

	return says_one_of(x, words);
}

int fetch_error(const struct fetch *x, CURLcode code)
{
	if (x->error)
		return x->error;
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		return error_of_connect(x);
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_SSL_CONNECT_ERROR:
		return is_broken_handshake(x) ? -ECONNRESET : -EKEYREJECTED;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
		return -EKEYREJECTED;
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return is_refusal(x) ? -EKEYREJECTED : -ECONNRESET;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return -ECONNRESET;
	case CURLE_FILESIZE_EXCEEDED:
		return -EMSGSIZE;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

const char *fetch_error_text(struct fetch *x, int error, CURLcode code)
{
	if (!error)
		return "";
	if (error == -EMSGSIZE && x->error)
		return "the answer is larger than what is taken";
	if (error == -ETIMEDOUT && x->error)
		return "no byte came in time";
	if (x->error)
		return strerror(-error);
	if (error == -ECONNRESET && code == CURLE_SSL_CONNECT_ERROR)
		return "the connection broke in the TLS handshake";
	if (!*x->text)
		(void)snprintf(x->text, sizeof(x->text), "%s", curl_easy_strerror(code));
	x->text[strcspn(x->text, "\r\n")] = '\0';
	return x->text;
}

/* --- what comes ------------------------------------------------------------------------------- */

static size_t stop(struct fetch *x, int error)
{
	if (!x->error)
		x->error = error;
	return 0; /* not what came: libcurl ends the exchange */
}

static bool is_2xx(const struct fetch *x)
{
	long status = 0;

	(void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300;
}

static int keep(struct fetch *x, const char *data, size_t n)
{
	size_t room = x->room ?: BODY_FIRST;
	char *body;

	if (n > x->max_body - x->length)
		return -EMSGSIZE;
	while (room <= x->length + n)
		room *= 2;
	if (room != x->room) {
		body = realloc(x->body, room);
		if (!body)
			return -ENOMEM;
		x->body = body;
		x->room = room;
	}
	memcpy(x->body + x->length, data, n);
	x->length += n;
	x->body[x->length] = '\0';
	return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct fetch *x = arg;
	int r;

	x->heard_ms = uv_now(x->fetcher->loop);
	if (x->cancelled)
		return 0;
	n *= size;
	if (!n)
		return 0;
	r = x->on_data && is_2xx(x) ? x->on_data(x->arg, data, n) : keep(x, data, n);
	if (r < 0)
		return stop(x, r);
	return x->cancelled ? 0 : n;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct fetch *x = arg;

	x->heard_ms = uv_now(x->fetcher->loop);
	x->header_bytes += size * n;
	return x->header_bytes > HEADERS_MAX ? stop(x, -EMSGSIZE) : size * n;
}

/* --- what is asked ---------------------------------------------------------------------------- */

static bool is_method(const char *text)
{
	return *text && text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

/* http or https, and no credentials: those would be seen wherever the URL is. */
static int check_url(const char *text)
{
	CURLU *url = curl_url();
	char *scheme = NULL;
	int r = -EINVAL;

	if (!url)
		return -ENOMEM;
	if (curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) == CURLUE_OK &&
	    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    (!strcmp(scheme, "http") || !strcmp(scheme, "https")))
		r = 0;
	curl_free(scheme);
	curl_url_cleanup(url);
	return r;
}

static int add_header(struct fetch *x, const char *line)
{
	struct curl_slist *list;

	if (strpbrk(line, "\r\n"))
		return -EINVAL;
	list = curl_slist_append(x->headers, line);
	if (!list)
		return -ENOMEM;
	x->headers = list;
	return 0;
}

static int add_headers(struct fetch *x, const struct fetch_request *q, bool sends)
{
	bool typed = false;
	int r = add_header(x, "Expect:"); /* or libcurl waits for a 100 before long bodies */

	for (size_t i = 0; r >= 0 && q->headers && q->headers[i]; i++) {
		typed |= !strncasecmp(q->headers[i], "content-type:", 13);
		r = add_header(x, q->headers[i]);
	}
	if (r >= 0 && sends && !typed)
		r = add_header(x, "Content-Type:"); /* or libcurl calls it a form */
	return r;
}

/* An option of ours is refused for want of memory, or because libcurl lacks what we build on. */
#define SET(x, option, value)                                                                      \
	do {                                                                                       \
		if (curl_easy_setopt((x)->easy, (option), (value)) != CURLE_OK)                    \
			return -ENOMEM;                                                            \
	} while (0)

static int set_method(struct fetch *x, const struct fetch_request *q)
{
	const char *method = q->method ?: "GET";
	bool sends = q->body || !strcmp(method, "POST") || !strcmp(method, "PUT") ||
		     !strcmp(method, "PATCH");
	int r;

	if (!is_method(method))
		return -EINVAL;
	if (sends) { /* an empty body says so: servers ask for its length */
		SET(x, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(q->body ? q->length : 0));
		SET(x, CURLOPT_COPYPOSTFIELDS, q->body ?: "");
	}
	if (!strcmp(method, "HEAD"))
		SET(x, CURLOPT_NOBODY, 1l);
	else
		SET(x, CURLOPT_CUSTOMREQUEST, method);
	r = add_headers(x, q, sends);
	if (r < 0)
		return r;
	SET(x, CURLOPT_HTTPHEADER, x->headers);
	return 0;
}

static int set_bounds(struct fetch *x, const struct fetch_request *q)
{
	SET(x, CURLOPT_PROTOCOLS_STR, "http,https");
	SET(x, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(x, CURLOPT_FOLLOWLOCATION, 0l);
	SET(x, CURLOPT_PROXY, "");
	SET(x, CURLOPT_NOPROXY, "*"); /* what the environment says of proxies, too */
	SET(x, CURLOPT_PATH_AS_IS, 1l);
	SET(x, CURLOPT_ACCEPT_ENCODING, "gzip");
	SET(x, CURLOPT_NOSIGNAL, 1l);
	SET(x, CURLOPT_QUICK_EXIT, 1l); /* never waits for a resolver's thread */
	SET(x, CURLOPT_DNS_CACHE_TIMEOUT, NAMES_S);
	SET(x, CURLOPT_TCP_KEEPALIVE, 1l);
	SET(x, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	SET(x, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	SET(x, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	SET(x, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
	return 0;
}

static int set_tls(struct fetch *x, const struct fetch_tls *tls)
{
	/* Files are read for each connection: nothing of an earlier one is kept. */
	SET(x, CURLOPT_CA_CACHE_TIMEOUT, 0l);
	SET(x, CURLOPT_SSL_SESSIONID_CACHE, 0l);
	SET(x, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (tls->ca_file) {
		SET(x, CURLOPT_CAINFO, tls->ca_file);
		SET(x, CURLOPT_CAPATH, NULL);
	}
	if (tls->cert_file)
		SET(x, CURLOPT_SSLCERT, tls->cert_file);
	if (tls->key_file)
		SET(x, CURLOPT_SSLKEY, tls->key_file);
	return 0;
}

static int set_target(struct fetch *x, const struct fetch_request *q)
{
	int r = check_url(q->url);

	if (r < 0)
		return r;
	SET(x, CURLOPT_URL, q->url);
	if (q->unix_socket)
		SET(x, CURLOPT_UNIX_SOCKET_PATH, q->unix_socket);
	SET(x, CURLOPT_PRIVATE, (char *)x);
	SET(x, CURLOPT_ERRORBUFFER, x->text);
	SET(x, CURLOPT_WRITEFUNCTION, on_body);
	SET(x, CURLOPT_WRITEDATA, x);
	SET(x, CURLOPT_HEADERFUNCTION, on_header);
	SET(x, CURLOPT_HEADERDATA, x);
	return 0;
}

static int set_all(struct fetch *x, const struct fetch_request *q)
{
	int r = set_target(x, q);

	if (r >= 0)
		r = set_method(x, q);
	if (r >= 0)
		r = set_bounds(x, q);
	if (r >= 0)
		r = set_tls(x, &q->tls);
	return r;
}

static struct fetch *exchange_new(const struct fetch_request *q)
{
	struct fetch *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->easy = curl_easy_init();
	if (!x->easy) {
		free(x);
		return NULL;
	}
	x->max_body = q->max_body ?: BODY_MAX;
	x->on_data = q->on_data;
	x->on_done = q->on_done;
	x->arg = q->arg;
	x->silence_ms = q->silence_ms;
	x->is_secret = q->is_secret;
	x->begun_ns = uv_hrtime();
	return x;
}

void fetch_release(struct fetch *x)
{
	curl_easy_cleanup(x->easy);
	curl_slist_free_all(x->headers);
	if (x->is_secret && x->body)
		explicit_bzero(x->body, x->length);
	free(x->body);
}

int fetch_begin(struct fetcher *f, const struct fetch_request *q, struct fetch **ret)
{
	struct fetch *x = f->closing ? NULL : exchange_new(q);
	int r = x ? set_all(x, q) : -ENOMEM;

	if (r < 0) {
		if (x) {
			fetch_release(x);
			free(x);
		}
		return r;
	}
	fetcher_add(f, x);
	*ret = x;
	return 0;
}

struct fetch *fetch_cancel(struct fetch *x)
{
	if (x) {
		x->cancelled = true;
		fetcher_apply(x->fetcher);
	}
	return NULL;
}

const char *fetch_header(const struct fetch *x, const char *name)
{
	struct curl_header *header;

	return curl_easy_header(x->easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK
		       ? header->value
		       : NULL;
}
