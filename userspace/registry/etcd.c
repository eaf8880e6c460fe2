/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * etcd as a registry: the keys below a prefix as gRPC naming lays them out, listed and watched by
 * the JSON gateway (see etcd_watch.h), kept and made into services (etcd_table.c), and said. A key
 * goes when its lease ends. A list is of one revision, whole or of no effect, and what is not in it
 * is gone: so nothing is left of what vanished while nobody watched.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "registry/etcd_watch.h"

#define PREFIX "services"
#define PAGE 1000u
#define LIST_MS 30000u
#define SILENCE_MS 10000u
#define LOGIN_MS 10000u
#define NAMED "CommonName of client" /* the gateway, while there are users */

/* gRPC's codes, as far as etcd's answers need a name */
enum {
	INVALID_ARGUMENT = 3,
	PERMISSION_DENIED = 7,
	RESOURCE_EXHAUSTED = 8,
	FAILED_PRECONDITION = 9,
	OUT_OF_RANGE = 11,
	UNAVAILABLE = 14,
	UNAUTHENTICATED = 16
};

static void on_timer(uv_timer_t *timer);

/* --- requests -----------------------------------------------------------------------------------
 */

void etcd_retry(struct etcd *e, uint64_t at_least_ms)
{
	uint64_t wait = registry_backoff(e->r, at_least_ms);
	/* A watch that says hello and ends resets the registry's own wait. */
	uint64_t own = registry_backoff_of(&e->wait_ms, 0);

	(void)uv_timer_start(&e->timer, on_timer, wait > own ? wait : own, 0);
}

/* "Authorization: ..."; *ret NULL: there is no token. */
static int make_authorization(const struct etcd *e, char **ret)
{
	const char *file = e->r->config->token_file;
	char *secret = NULL;
	int r = 0;

	*ret = NULL;
	if (!e->token && !file)
		return 0;
	if (!e->token)
		r = registry_read_secret(file, &secret);
	if (r < 0) {
		registry_say_error(e->r, REGISTRY_UNAUTHORIZED,
				   "the agent's user must be able to read the file", "%s: %s", file,
				   strerror(-r));
		return r;
	}
	/* without "Bearer", as etcd wants it */
	*ret = registry_join("Authorization", ": ", secret ? secret : e->token);
	registry_forget(secret);
	return *ret ? 0 : -ENOMEM;
}

int etcd_post(struct etcd *e, struct fetch_request *request, const char *path, char *body,
	      struct fetch **ret)
{
	_cleanup_free_ char *url = NULL;
	char *authorization = NULL;
	int r = body ? make_authorization(e, &authorization) : -ENOMEM;

	if (r >= 0 && asprintf(&url, "%s%s", e->base, path) < 0) {
		url = NULL;
		r = -ENOMEM;
	}
	if (r >= 0) {
		const char *const headers[] = {
			"Content-Type: application/json",
			"Grpc-Metadata-Hasleader: true", /* no answer rather than an old one */
			authorization, NULL};

		request->method = "POST";
		request->url = url;
		request->headers = headers;
		request->body = body;
		request->length = strlen(body);
		request->tls = e->r->config->tls;
		request->max_body = LIMIT_ANSWER;
		r = fetch_begin(e->r->fetcher, request, ret);
		if (r == -EINVAL)
			registry_say_error(e->r, REGISTRY_GARBAGE,
					   "it begins with http:// or https://",
					   "%s is no address of a server", e->base);
	}
	registry_forget(authorization);
	registry_forget(body);
	return r;
}

/* --- what went wrong ----------------------------------------------------------------------------
 */

static enum registry_error error_of(const struct etcd_refusal *why,
				    const struct fetch_result *result)
{
	switch (why->code) {
	case UNAUTHENTICATED:
		return REGISTRY_UNAUTHORIZED;
	case INVALID_ARGUMENT: /* what it says to nobody, and to a wrong password */
		return strstr(why->text, "user name is empty") ||
				       strstr(why->text, "authentication failed")
			       ? REGISTRY_UNAUTHORIZED
			       : REGISTRY_GARBAGE;
	case PERMISSION_DENIED:
		return REGISTRY_FORBIDDEN;
	case RESOURCE_EXHAUSTED:
		return REGISTRY_OVERLOADED;
	case 0:
		return strstr(why->text, NAMED) ? REGISTRY_UNAUTHORIZED
		       : result                 ? registry_error_of(result)
						: REGISTRY_FAILED;
	default:
		return REGISTRY_FAILED;
	}
}

static void make_hint(const struct etcd *e, enum registry_error error,
		      const struct etcd_refusal *why, char hint[static 200])
{
	const char *const text[_REGISTRY_ERROR_MAX] = {
		[REGISTRY_UNAUTHORIZED] = "give username and passwordFile of a user of etcd",
		[REGISTRY_MISSING] = "the JSON gateway of etcd 3.4 or newer is needed "
				     "(--enable-grpc-gateway), and an address without a path",
		[REGISTRY_TLS] = "check caFile, certFile and keyFile",
	};

	if (error == REGISTRY_FORBIDDEN)
		(void)snprintf(hint, 200,
			       "etcdctl role grant-permission ROLE --prefix=true read '%.60s', and "
			       "grant the role to the agent's user",
			       e->prefix);
	else if (strstr(why->text, NAMED))
		(void)snprintf(hint, 200, "certFile must have no CommonName where there are users");
	else
		(void)snprintf(hint, 200, "%s", text[error] ? text[error] : "");
}

void etcd_say_refusal(struct etcd *e, const char *what, const struct etcd_refusal *why,
		      const struct fetch_result *result)
{
	enum registry_error error = error_of(why, result);
	bool again = why->code == UNAUTHENTICATED && e->token && !e->is_fresh;
	char hint[200];

	if (why->code == UNAUTHENTICATED || strstr(why->text, "revision of auth store is old"))
		e->token = registry_forget(e->token);
	e->is_open &= !strstr(why->text, "user name is empty"); /* it has users now */
	if (again)
		return; /* tokens do not outlive a server: a new one is no news */
	make_hint(e, error, why, hint);
	if (result && result->error)
		registry_say_error(e->r, error, hint, "%s %s: %s", what, e->base,
				   result->error_text);
	else if (result)
		registry_say_error(e->r, error, hint, "%u on %s %s: %s", result->status, what,
				   e->prefix, why->text);
	else
		registry_say_error(e->r, error, hint, "%s %s: %s", what, e->prefix, why->text);
}

/* --- a login ------------------------------------------------------------------------------------
 */

static void on_token(void *arg, const struct fetch_result *result)
{
	struct etcd *e = arg;
	struct etcd_refusal why = {};
	char text[JSON_ERROR] = "out of memory";

	e->fetch = NULL;
	if (registry_error_of(result) == REGISTRY_OK) {
		if (etcd_decode_token(result->body, result->length, &e->token, text) < 0) {
			registry_say_error(e->r, REGISTRY_GARBAGE, "", "log in to %s: %s", e->base,
					   text);
			etcd_retry(e, 0);
			return;
		}
		e->is_fresh = true;
		etcd_begin(e);
		return;
	}
	if (!result->error)
		etcd_decode_refusal(result->body, result->length, &why);
	if (why.code == FAILED_PRECONDITION && strstr(why.text, "not enabled")) {
		e->is_open = true;
		etcd_begin(e);
		return;
	}
	etcd_say_refusal(e, "log in to", &why, result);
	etcd_retry(e, registry_retry_after(result));
}

static char *make_login(const char *name, const char *password)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char *text;

	yyjson_mut_doc_set_root(doc, root);
	(void)yyjson_mut_obj_add_str(doc, root, "name", name);
	(void)yyjson_mut_obj_add_str(doc, root, "password", password);
	text = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	return text;
}

static void log_in(struct etcd *e)
{
	const struct registry_config *config = e->r->config;
	struct fetch_request request = {
		.is_secret = true, .timeout_ms = LOGIN_MS, .on_done = on_token, .arg = e};
	char *password;
	int r = registry_read_secret(config->password_file, &password);

	if (r < 0) {
		registry_say_error(e->r, REGISTRY_UNAUTHORIZED,
				   "the agent's user must be able to read the file", "%s: %s",
				   config->password_file, strerror(-r));
	} else {
		r = etcd_post(e, &request, "/v3/auth/authenticate",
			      make_login(config->username, password), &e->fetch);
		registry_forget(password);
	}
	if (r < 0)
		etcd_retry(e, 1000);
}

/* --- a list -------------------------------------------------------------------------------------
 */

void etcd_forget_list(struct etcd *e)
{
	e->watching = false;
	free(e->next);
	e->next = NULL;
}

bool etcd_is_ours(const struct etcd_header *known, const struct etcd_header *h)
{
	/* a cancelled watch of old servers tells no revision */
	return h->cluster == known->cluster && h->term >= known->term &&
	       h->revision >= known->revision;
}

void etcd_say_contact(struct etcd *e, uint64_t latency_us)
{
	if (e->is_mute)
		registry_say_heard(e->r);
	else
		registry_say_contact(e->r, latency_us);
}

/* The last page was taken. */
static void end_list(struct etcd *e)
{
	int r = 0;

	etcd_table_end(e->table);
	e->header = e->list;
	e->offset = e->list_count - etcd_table_count(e->table);
	e->odd = 0;
	e->listed_ms = uv_now(e->r->loop);
	etcd_forget_list(e);
	if (!e->told || e->look.all)
		r = etcd_say_all(e);
	if (r < 0) {
		registry_say_error(e->r, REGISTRY_GARBAGE, "", "out of memory for a snapshot");
		etcd_retry(e, 1000);
		return;
	}
	etcd_say(e);
	e->watching = true;
	etcd_begin(e);
}

static int take_page(struct etcd *e, const struct etcd_range *range)
{
	const struct etcd_kv *last = range->n ? &range->kvs[range->n - 1] : NULL;
	int r = 0;

	if (!e->next) {
		etcd_table_begin(e->table);
		e->list = range->header;
		e->list_count = range->count;
	} else if (range->header.cluster != e->list.cluster) {
		return -EBADMSG;
	}
	for (size_t i = 0; r >= 0 && i < range->n; i++)
		r = etcd_table_put(e->table, &range->kvs[i]);
	if (r < 0 || !range->more)
		return r;
	if (!last) /* more of nothing */
		return -EBADMSG;
	free(e->next);
	/* the NUL behind a key does not count, and is what the next one begins with at least */
	e->next = base64_encode(last->key, last->key_length + 1);
	return e->next ? 0 : -ENOMEM;
}

static void on_page(struct etcd *e, const struct fetch_result *result)
{
	char why[JSON_ERROR] = "out of memory";
	struct etcd_range range;
	bool more;
	int r = etcd_decode_range(result->body, result->length, &range, why);

	if (r >= 0) {
		more = range.more;
		r = take_page(e, &range);
		etcd_range_done(&range);
	}
	if (r < 0) {
		registry_say_error(e->r, REGISTRY_GARBAGE, "", "list %s: %s", e->prefix,
				   r == -E2BIG ? "there are more keys than are taken" : why);
		etcd_forget_list(e);
		etcd_retry(e, 0);
		return;
	}
	etcd_say_contact(e, result->elapsed_us);
	e->is_fresh = false;
	if (more)
		etcd_begin(e);
	else
		end_list(e);
}

static void on_list(void *arg, const struct fetch_result *result)
{
	struct etcd *e = arg;
	struct etcd_refusal why = {};

	e->fetch = NULL;
	if (registry_error_of(result) == REGISTRY_OK) {
		on_page(e, result);
		return;
	}
	/* values of any length: fewer at a time */
	if (result->error == -EMSGSIZE && e->page > 1) {
		e->page = e->page > 8 ? e->page / 8 : 1;
		etcd_begin(e);
		return;
	}
	if (!result->error)
		etcd_decode_refusal(result->body, result->length, &why);
	/* Between two pages the first one's revision may be forgotten, or the server be another. */
	if (why.code != OUT_OF_RANGE || !e->next)
		etcd_say_refusal(e, "list", &why, result);
	if (!result->error)
		etcd_forget_list(e);
	etcd_retry(e, registry_retry_after(result));
}

static void list(struct etcd *e)
{
	struct fetch_request request = {
		.timeout_ms = LIST_MS, .silence_ms = SILENCE_MS, .on_done = on_list, .arg = e};
	struct text_buffer b = {};
	int r;

	/* of two members of a name the last one counts, for the gateway as for others: not so sure
	 */
	if (e->next)
		text_append_format(&b, "{\"key\":\"%s\",%s,\"revision\":\"%llu\"", e->next,
				   strstr(e->span, "\"range_end\""),
				   (unsigned long long)e->list.revision);
	else
		text_append_format(&b, "{%s", e->span);
	text_append_format(&b, ",\"limit\":\"%zu\"}", e->page);
	r = etcd_post(e, &request, "/v3/kv/range", text_take(&b), &e->fetch);
	if (r < 0)
		etcd_retry(e, 1000);
}

void etcd_begin(struct etcd *e)
{
	if (e->r->config->username && !e->token && !e->is_open)
		log_in(e);
	else if (e->watching)
		etcd_watch_begin(e);
	else
		list(e);
}

static void on_timer(uv_timer_t *timer)
{
	etcd_begin(timer->data);
}

/* --- life ---------------------------------------------------------------------------------------
 */

static bool is_selected(const void *arg, const char *name)
{
	return registry_is_selected(arg, name);
}

static void done(struct etcd *e)
{
	etcd_table_free(e->table);
	registry_forget(e->token);
	text_done(&e->line);
	free(e->base);
	free(e->prefix);
	free(e->span);
	free(e->next);
	free(e);
}

/* What is wrong with the config; NULL: nothing. */
static const char *complaint(const struct registry_config *config, const char *address)
{
	const char *host = strstr(address, "://");

	if (!host ||
	    (strncmp(address, "http://", 7) != 0 && strncmp(address, "https://", 8) != 0) ||
	    !host[3] || strpbrk(host, "?# "))
		return "address must be http://HOST:2379, or the same with https";
	if (memchr(host + 3, '@', strcspn(host + 3, "/")))
		return "credentials do not belong into an address: give username and passwordFile";
	if (!config->username != !config->password_file)
		return "username and passwordFile go together";
	if (config->username && config->token_file)
		return "either username and passwordFile, or tokenFile";
	return NULL;
}

static char *without_slashes(const char *text, const char *end)
{
	size_t n = strlen(text);
	char *copy;

	while (n && text[n - 1] == '/')
		n--;
	if (asprintf(&copy, "%.*s%s", (int)n, text, n ? end : "") < 0)
		return NULL;
	return copy;
}

/* A range ends before the first key that does not begin so: '0' follows '/'. The whole of etcd is
 * from a NUL to a NUL. */
static char *make_span(const char *prefix)
{
	size_t n = strlen(prefix);
	_cleanup_free_ char *end = strdup(prefix), *from = NULL, *to = NULL;
	struct text_buffer b = {};

	if (!end)
		return NULL;
	if (n)
		end[n - 1] = '0';
	from = base64_encode(prefix, n ? n : 1);
	to = base64_encode(end, n ? n : 1);
	if (!from || !to)
		return NULL;
	text_append_format(&b, "\"key\":\"%s\",\"range_end\":\"%s\"", from, to);
	return text_take(&b);
}

static int make(struct etcd *e, const char *address)
{
	const struct registry_config *config = e->r->config;
	struct etcd_settings settings = {.namespace =
						 config->namespace ? config->namespace : "default",
					 .tag = e->r->tag,
					 .zone = config->zone,
					 .is_selected = is_selected,
					 .arg = e->r};

	e->page = PAGE;
	e->base = without_slashes(address, "");
	e->prefix = without_slashes(config->prefix ? config->prefix : PREFIX, "/");
	e->span = e->prefix ? make_span(e->prefix) : NULL;
	if (!e->base || !e->span)
		return -ENOMEM;
	settings.prefix = e->prefix;
	return etcd_table_new(&settings, &e->table);
}

static int start(struct registry *r)
{
	const char *address = r->config->address ? r->config->address : r->kind->address;
	const char *wrong = complaint(r->config, address);
	struct etcd *e;

	if (wrong) {
		(void)snprintf(r->status.text, sizeof(r->status.text), "%s", wrong);
		return -EINVAL;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->r = r;
	if (make(e, address) < 0) {
		done(e);
		return -ENOMEM;
	}
	r->source = e;
	(void)uv_timer_init(r->loop, &e->timer);
	(void)uv_timer_init(r->loop, &e->beat);
	e->timer.data = e->beat.data = e;
	etcd_begin(e);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct etcd *e = handle->data;
	struct registry *r = e->r;

	if (--e->n_closing)
		return;
	done(e);
	registry_stopped(r);
}

static void stop(struct registry *r)
{
	struct etcd *e = r->source;

	etcd_watch_stop(e);
	e->n_closing = 2;
	uv_close((uv_handle_t *)&e->timer, on_closed);
	uv_close((uv_handle_t *)&e->beat, on_closed);
}

const struct registry_kind registry_etcd = {
	.type = "etcd",
	.address = "http://127.0.0.1:2379",
	.start = start,
	.stop = stop,
	.look = etcd_look,
};
