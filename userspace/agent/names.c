/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See names.h. Before: sinewd's control socket. After: dns/server.h. The list of services is asked
 * for when an event says that one came, changed or went, and every two seconds in case an event was
 * lost; its tag makes the answer empty nearly always. A list is read by a thread, since ten
 * thousand services take some 20 ms and a question must not wait for that. Must never take a name
 * away because sinewd is silent.
 */
#include "agent/names.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "model/codec.h"
#include "model/limits.h"

#define LOOK_MS 2000u
#define RETRY_MS 500u
#define COALESCE_MS 10u
#define WRITE_MS 3000u /* between two writes of the file */
#define TIMEOUT_MS 30000u
#define SILENCE_MS 60000u  /* an event stream has a heartbeat every 15 s */
#define FILE_NAME ".names" /* no registry has such a name */
#define LINE 256           /* bytes of an event's line that are looked at */

/* A list that becomes a table; the thread's between begin_reading() and on_read(). */
struct reading {
	uv_work_t work;
	struct names *names;
	char *text;
	size_t length;
	char etag[80];
	struct dns_table *table;
	char error[200]; /* "": a table, or no memory */
};

struct names {
	uv_loop_t *loop;
	struct fetcher *fetcher;
	const struct agent_config *config;
	struct dns_server *server;
	struct dns_forward *forward;
	uv_timer_t timer;
	struct fetch *list, *events;
	struct reading *reading;
	bool closing, closed; /* closed: all handles are */
	bool news;            /* an event came while the list was under way */
	bool failing;         /* it was told */
	bool known;
	size_t n; /* services in the table */
	char etag[80];
	char line[LINE];
	size_t used;
	char *text; /* of the last list, to be written; NULL: it is */
	size_t length;
	uint64_t written_ms, updates, failures;
};

/* --- what there is --------------------------------------------------------------------------- */

static int make_table(struct object *objects, size_t n, struct dns_table **ret)
{
	struct service **services = calloc(n + 1, sizeof(*services));
	size_t used = 0;
	int r;

	if (!services)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (objects[i].kind == OBJECT_SERVICE)
			services[used++] = objects[i].service;
	r = dns_table_new(services, used, ret);
	free(services);
	return r;
}

/* A list of services, as sinewd writes it. NULL, ret_error "": no memory. */
static struct dns_table *decode(const char *text, size_t length, char ret_error[static 200])
{
	struct problems problems = {};
	struct object *objects = NULL;
	struct dns_table *table = NULL;
	char error[JSON_ERROR] = "";
	yyjson_doc *doc = NULL;
	size_t n = 0;
	int r = json_parse(text, length, LIMIT_DEPTH, &doc, error);

	(void)snprintf(ret_error, 200, "%s", error);
	if (r >= 0)
		r = codec_decode_items(yyjson_obj_get(yyjson_doc_get_root(doc), "items"), "sinewd",
				       &problems, &objects, &n);
	if (r == -EINVAL)
		(void)snprintf(ret_error, 200, "%.60s: %.130s",
			       problems.n ? problems.items[0].pointer : "",
			       problems.n ? problems.items[0].message : "no list");
	if (r < 0 || make_table(objects, n, &table) < 0)
		table = NULL;
	object_free_list(objects, n);
	problems_done(&problems);
	yyjson_doc_free(doc);
	return table;
}

static void use(struct names *n, struct dns_table *table)
{
	n->n = dns_table_size(table);
	n->known = true;
	dns_server_set_table(n->server, table);
}

/* --- the file -------------------------------------------------------------------------------- */

static void read_file(struct names *n)
{
	char path[PATH_MAX], error[200] = "";
	_cleanup_free_ char *text = NULL;
	struct dns_table *table;
	size_t length = 0;
	int r;

	if (snprintf(path, sizeof(path), "%s/" FILE_NAME ".json", n->config->state) >= PATH_MAX)
		return;
	r = file_read(path, LIMIT_STATE, &text, &length, NULL);
	if (r == -ENOENT)
		return;
	table = r < 0 ? NULL : decode(text, length, error);
	if (!table) {
		log_warn("%s: not used: %s", path, r < 0 ? strerror(-r) : error);
		return;
	}
	use(n, table);
	log_info("names: %zu services of before", n->n);
}

static void write_file(struct names *n)
{
	_cleanup_close_ int dir = -1;
	int r;

	if (!n->text)
		return;
	dir = open(n->config->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = dir < 0 ? -errno : file_replace(dir, FILE_NAME, n->text, n->length);
	if (r < 0)
		(void)log_warn_r(r, "names cannot be kept in %s", n->config->state);
	free(n->text);
	n->text = NULL;
	n->written_ms = uv_now(n->loop);
}

/* --- the list -------------------------------------------------------------------------------- */

static void turn(struct names *n);

static void on_timer(uv_timer_t *timer)
{
	turn(timer->data);
}

static void arm(struct names *n, uint64_t ms)
{
	(void)uv_timer_start(&n->timer, on_timer, ms, 0);
}

static void fail(struct names *n, const char *text)
{
	n->failures++;
	if (!n->failing)
		log_warn("names: %.80s: %.200s; they lead where they led",
			 n->config->control_socket, text);
	n->failing = true;
	arm(n, RETRY_MS);
}

static void names_free_when_done(struct names *n)
{
	if (!n->closed || n->reading)
		return;
	free(n->text);
	free(n);
}

/* In the thread. */
static void on_reading(uv_work_t *work)
{
	struct reading *job = work->data;

	job->table = decode(job->text, job->length, job->error);
}

static void take(struct names *n, struct reading *job)
{
	bool first = !n->updates;

	if (!job->table) {
		fail(n, *job->error ? job->error : "out of memory");
		return;
	}
	use(n, TAKE_PTR(job->table));
	memcpy(n->etag, job->etag, sizeof(n->etag));
	n->updates++;
	free(n->text);
	n->text = TAKE_PTR(job->text);
	n->length = job->length;
	if (first)
		log_info("names: %zu services", n->n);
	arm(n, n->news ? COALESCE_MS : LOOK_MS);
}

static void on_read(uv_work_t *work, int status)
{
	struct reading *job = work->data;
	struct names *n = job->names;

	n->reading = NULL;
	if (!n->closing)
		take(n, job);
	dns_table_free(job->table);
	free(job->text);
	free(job);
	names_free_when_done(n);
}

static void begin_reading(struct names *n, const struct fetch_result *result)
{
	const char *etag = fetch_header(result->fetch, "ETag");
	struct reading *job = calloc(1, sizeof(*job));
	char *text = job ? strndup(result->body, result->length) : NULL;

	if (!text) {
		free(job);
		fail(n, "out of memory");
		return;
	}
	job->work.data = job;
	job->names = n;
	job->text = text;
	job->length = strlen(text);
	(void)snprintf(job->etag, sizeof(job->etag), "%s", etag ?: "");
	n->reading = job;
	(void)uv_queue_work(n->loop, &job->work, on_reading, on_read); /* it has a function */
}

static void on_list(void *arg, const struct fetch_result *result)
{
	struct names *n = arg;
	char text[40];

	n->list = NULL;
	if (result->error < 0) {
		fail(n, result->error_text);
		return;
	}
	if (result->status != 200 && result->status != 304) {
		(void)snprintf(text, sizeof(text), "status %u", result->status);
		fail(n, text);
		return;
	}
	if (n->failing)
		log_notice("names: sinewd answers again");
	n->failing = false;
	if (result->status == 200)
		begin_reading(n, result);
	else
		arm(n, n->news ? COALESCE_MS : LOOK_MS);
}

static void begin_list(struct names *n)
{
	char match[100];
	const char *headers[] = {NULL, NULL};
	const struct fetch_request request = {.url = "http://sinewd/v1/services?brief=true",
					      .unix_socket = n->config->control_socket,
					      .headers = headers,
					      .timeout_ms = TIMEOUT_MS,
					      .on_done = on_list,
					      .arg = n};
	int r;

	if (*n->etag) {
		(void)snprintf(match, sizeof(match), "If-None-Match: %s", n->etag);
		headers[0] = match;
	}
	n->news = false;
	r = fetch_begin(n->fetcher, &request, &n->list);
	if (r < 0)
		fail(n, strerror(-r));
}

/* --- events ---------------------------------------------------------------------------------- */

static void on_line(struct names *n)
{
	n->line[n->used] = '\0';
	if (!strstr(n->line, "\"type\":\"service.") && !strstr(n->line, "\"type\":\"source."))
		return;
	n->news = true;
	if (!n->list && !n->reading)
		arm(n, COALESCE_MS);
}

static int on_event_data(void *arg, const char *data, size_t length)
{
	struct names *n = arg;

	for (size_t i = 0; i < length; i++) {
		if (data[i] == '\n') {
			on_line(n);
			n->used = 0;
		} else if (n->used < LINE - 1) {
			n->line[n->used++] = data[i];
		}
	}
	return 0;
}

/* The look that every list is brings it back. */
static void on_events_end(void *arg, const struct fetch_result *result)
{
	struct names *n = arg;

	n->events = NULL;
	n->used = 0;
}

static void begin_events(struct names *n)
{
	const struct fetch_request request = {.url = "http://sinewd/v1/events?connects=false",
					      .unix_socket = n->config->control_socket,
					      .silence_ms = SILENCE_MS,
					      .on_data = on_event_data,
					      .on_done = on_events_end,
					      .arg = n};

	(void)fetch_begin(n->fetcher, &request, &n->events);
}

static void turn(struct names *n)
{
	if (n->text && uv_now(n->loop) - n->written_ms >= WRITE_MS)
		write_file(n);
	if (!n->events)
		begin_events(n);
	if (!n->list && !n->reading)
		begin_list(n);
}

/* --- life ------------------------------------------------------------------------------------ */

static void on_timer_closed(uv_handle_t *handle)
{
	struct names *n = handle->data;

	n->closed = true;
	names_free_when_done(n);
}

static void on_server_closed(void *arg)
{
	struct names *n = arg;

	dns_forward_close(n->forward);
	uv_close((uv_handle_t *)&n->timer, on_timer_closed);
}

static int open_server(struct names *n, struct names_config *config)
{
	int r = 0;

	if (config->n_resolvers)
		r = dns_forward_new(n->loop, config->resolvers, config->n_resolvers, &n->forward);
	if (r >= 0)
		r = dns_server_open(n->loop, &config->dns, &config->door, n->forward, &n->server);
	if (r < 0)
		dns_forward_close(n->forward);
	return r;
}

int names_open(uv_loop_t *loop, struct fetcher *fetcher, const struct agent_config *c,
	       struct names_config *config, struct names **ret)
{
	struct names *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	n->loop = loop;
	n->fetcher = fetcher;
	n->config = c;
	r = open_server(n, config);
	if (r < 0) {
		free(n);
		return r;
	}
	(void)uv_timer_init(loop, &n->timer); /* cannot fail */
	n->timer.data = n;
	log_info("names below %s at port %u of %s", config->dns.names.zone,
		 dns_server_port(n->server), c->dns_address);
	read_file(n);
	arm(n, 0);
	*ret = n;
	return 0;
}

void names_close(struct names *n)
{
	if (!n)
		return;
	n->closing = true;
	write_file(n);
	(void)uv_timer_stop(&n->timer);
	n->list = fetch_cancel(n->list);
	n->events = fetch_cancel(n->events);
	dns_server_close(n->server, on_server_closed, n);
}

bool names_is_known(const struct names *n)
{
	return n->known;
}

size_t names_count(const struct names *n)
{
	return n->n;
}

/* --- metrics --------------------------------------------------------------------------------- */

static void head(struct text_buffer *b, const char *name, const char *type, const char *help)
{
	text_append_format(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct text_buffer *b, const char *name, const char *help, uint64_t value)
{
	head(b, name, "counter", help);
	text_append_format(b, "%s %" PRIu64 "\n", name, value);
}

static void append_responses(struct text_buffer *b, const struct dns_counts *c)
{
	static const char *const names[DNS_RCODES] = {"noerror",  "formerr", "servfail",
						      "nxdomain", "notimp",  "refused"};
	uint64_t others = 0;

	head(b, "sinew_dns_responses_total", "counter", "Answers of the agent's own, by rcode.");
	for (size_t i = 0; i < DNS_RCODES; i++) {
		if (names[i])
			text_append_format(b,
					   "sinew_dns_responses_total{rcode=\"%s\"} %" PRIu64 "\n",
					   names[i], c->rcodes[i]);
		else
			others += c->rcodes[i];
	}
	text_append_format(b, "sinew_dns_responses_total{rcode=\"other\"} %" PRIu64 "\n", others);
}

static void append_forward(struct text_buffer *b, const struct dns_forward_counts *f)
{
	head(b, "sinew_dns_forwarded_total", "counter",
	     "Questions about names of others, by what became of them.");
	text_append_format(b,
			   "sinew_dns_forwarded_total{result=\"answered\"} %" PRIu64
			   "\nsinew_dns_forwarded_total{result=\"unanswered\"} %" PRIu64
			   "\nsinew_dns_forwarded_total{result=\"too_many\"} %" PRIu64 "\n",
			   f->answered, f->unanswered, f->refused);
	one(b, "sinew_dns_forwarded_over_tcp_total", "Of these, asked over TCP as well.",
	    f->over_tcp);
	one(b, "sinew_dns_foreign_datagrams_total",
	    "Datagrams that came in place of an answer: strays, or forgeries.", f->foreign);
}

void names_append_metrics(struct text_buffer *b, const struct names *n)
{
	const struct dns_counts *c = dns_server_counts(n->server);

	head(b, "sinew_dns_services", "gauge", "Services that have a name.");
	text_append_format(b, "sinew_dns_services %zu\n", n->n);
	head(b, "sinew_dns_known", "gauge", "Whether it is known which services there are.");
	text_append_format(b, "sinew_dns_known %d\n", n->known);
	one(b, "sinew_dns_updates_total", "Times that the names changed.", n->updates);
	one(b, "sinew_dns_update_failures_total", "Times that sinewd could not be asked.",
	    n->failures);
	head(b, "sinew_dns_queries_total", "counter", "Queries, by transport.");
	text_append_format(b,
			   "sinew_dns_queries_total{transport=\"udp\"} %" PRIu64
			   "\nsinew_dns_queries_total{transport=\"tcp\"} %" PRIu64 "\n",
			   c->queries_udp, c->queries_tcp);
	append_responses(b, c);
	one(b, "sinew_dns_truncated_total", "Answers that were cut to fit.", c->truncated);
	one(b, "sinew_dns_dropped_total", "What was no query, or could not be sent.", c->dropped);
	one(b, "sinew_dns_refused_connections_total", "TCP connections over the limit.",
	    c->refused_connections);
	if (n->forward)
		append_forward(b, dns_forward_counts(n->forward));
}
