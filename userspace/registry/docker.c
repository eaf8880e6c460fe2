/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Docker Engine, or a Podman, as a registry: the list of its containers is what it says, and its
 * events only tell when to ask for the list again. So a lost event costs time, never the truth.
 *
 *   ping (which version) -> events, from where they were known -> list -> inspect what the list
 *   does not tell (Podman) -> say; an event, or half a minute -> list
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "model/address.h"
#include "registry/docker_listing.h"

#define LINE_MAX_BYTES (1u << 20)
#define VERSION_LEAST 40 /* 1.40, the oldest that newer engines speak, too */
#define SHORT_US 1000000 /* an event stream that ends sooner is no good one */
#define STREAM_MOST_MS 10000

/* --- events ----------------------------------------------------------------------------------- */

static int on_line(void *arg, const char *line, size_t length)
{
	struct docker *d = arg;
	struct docker_event e;

	if (docker_decode_event(line, length, &e) < 0)
		return -EPROTO;
	if (e.time_ns > d->since_ns)
		d->since_ns = e.time_ns;
	if (e.matters)
		docker_listing_note(d, &e);
	return 0;
}

static int on_events(void *arg, const char *data, size_t length)
{
	struct docker *d = arg;
	const struct text_lines lines = {LINE_MAX_BYTES, on_line, d};
	int r = text_take_lines(&d->line, &lines, data, length);

	d->is_bad |= r == -EPROTO || r == -EMSGSIZE;
	return r;
}

static void on_reconnect(uv_timer_t *timer);

static void reconnect_in(struct docker *d, uint64_t ms)
{
	(void)uv_timer_start(&d->reconnect, on_reconnect, ms, 0);
}

/* The engine went away, or wants a new connection; what it has is asked for anew. */
static void on_events_end(void *arg, const struct fetch_result *result)
{
	struct docker *d = arg;
	bool was_bad = d->is_bad || result->elapsed_us < SHORT_US;
	uint64_t wait = registry_backoff(d->r, 0);

	d->control = NULL;
	text_done(&d->line);
	docker_listing_forget(d, NULL);
	if (d->is_bad)
		registry_say_error(d->r, REGISTRY_GARBAGE, "",
				   "events: one that cannot be understood, or is too long");
	else if (registry_error_of(result) != REGISTRY_OK)
		docker_listing_say_failure(d, "events", result);
	d->stream_wait_ms = !was_bad ? 0 : d->stream_wait_ms ? d->stream_wait_ms * 2 : 100;
	if (d->stream_wait_ms > STREAM_MOST_MS)
		d->stream_wait_ms = STREAM_MOST_MS;
	if (wait < d->stream_wait_ms)
		wait = d->stream_wait_ms;
	reconnect_in(d, was_bad ? wait : 0);
	d->is_bad = false;
}

static void begin_events(struct docker *d)
{
	/* Events between the list and this are told again; podman says nothing of spans that are
	 * over, so there is no end. */
	uint64_t s = d->since_ns ? d->since_ns / 1000000000 : d->pinged_s;
	uint64_t ns = d->since_ns % 1000000000;
	struct fetch_request request = {.on_data = on_events, .on_done = on_events_end};
	char path[160];

	(void)snprintf(path, sizeof(path),
		       "/events?since=%llu.%09llu&filters=%%7B%%22type%%22%%3A%%5B%%22container%%22"
		       "%%2C%%22network%%22%%5D%%7D",
		       (unsigned long long)s, (unsigned long long)ns);
	if (docker_listing_ask(d, path, &request, &d->control) < 0)
		reconnect_in(d, registry_backoff(d->r, 0));
}

/* --- ping ------------------------------------------------------------------------------------- */

/* The engine's clock, a second earlier: "Date" has whole seconds. Without one, ours. */
static uint64_t clock_of(const struct fetch_result *result)
{
	const char *date = fetch_header(result->fetch, "Date");
	struct tm tm = {};

	if (date && strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
		return (uint64_t)timegm(&tm) - 1;
	return (uint64_t)time(NULL) - 1;
}

/* Newer engines have forgotten old versions: theirs is used, as long as we know its like. */
static int take_version(struct docker *d, const char *header)
{
	unsigned int major, minor;
	char rest;

	if (!header || sscanf(header, "%u.%u%c", &major, &minor, &rest) != 2 || major > 9 ||
	    minor > 999) {
		registry_say_error(d->r, REGISTRY_GARBAGE,
				   "\"address\" must be a Docker Engine's or Podman's",
				   "_ping: no Api-Version");
		return -EPROTO;
	}
	if (major != 1 || minor < VERSION_LEAST) {
		registry_say_error(d->r, REGISTRY_FAILED, "update the engine",
				   "it speaks API %u.%u, and 1.%d is needed", major, minor,
				   VERSION_LEAST);
		return -EPROTO;
	}
	(void)snprintf(d->version, sizeof(d->version), "/v%u.%u", major, minor);
	return 0;
}

static void on_pinged(void *arg, const struct fetch_result *result)
{
	struct docker *d = arg;

	d->control = NULL;
	*d->version = '\0';
	if (registry_error_of(result) != REGISTRY_OK) {
		docker_listing_say_failure(d, "_ping", result);
		reconnect_in(d, registry_backoff(d->r, 0));
		return;
	}
	if (take_version(d, fetch_header(result->fetch, "Api-Version")) < 0) {
		reconnect_in(d, registry_backoff(d->r, 0));
		return;
	}
	d->pinged_s = clock_of(result);
	begin_events(d);
	docker_listing_in(d, 0);
}

static void on_reconnect(uv_timer_t *timer)
{
	struct fetch_request request = {.timeout_ms = DOCKER_ANSWER_MS, .on_done = on_pinged};
	struct docker *d = timer->data;
	char version[sizeof(d->version)];
	int r;

	memcpy(version, d->version, sizeof(version));
	*d->version = '\0'; /* it may be another engine by now */
	r = docker_listing_ask(d, "/_ping", &request, &d->control);
	memcpy(d->version, version, sizeof(version));
	if (r == -EINVAL)
		registry_say_error(d->r, REGISTRY_GARBAGE, "unix:///path, or tcp://host:port",
				   "%.100s is no address of an engine", d->r->config->address);
	if (r < 0)
		reconnect_in(d, registry_backoff(d->r, 0));
}

/* --- life ------------------------------------------------------------------------------------- */

static void done(struct docker *d)
{
	docker_listing_done(d);
	text_done(&d->line);
	draft_free(d->draft);
	free(d->socket);
	free(d->base);
	free(d);
}

static bool take_prefix(const char **text, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncmp(*text, prefix, n) != 0)
		return false;
	*text += n;
	return true;
}

static int take_address(struct docker *d, const struct registry_config *c)
{
	const char *address = c->address ?: registry_docker.address;
	const char *rest = address;

	if (take_prefix(&rest, "unix://")) {
		d->socket = strdup(rest);
		d->base = strdup("http://docker");
		return *rest == '/' ? d->socket && d->base ? 0 : -ENOMEM : -EINVAL;
	}
	if (take_prefix(&rest, "tcp://")) {
		int r = asprintf(&d->base, "%s://%s",
				 c->tls.ca_file || c->tls.cert_file ? "https" : "http", rest);

		return r < 0 ? -ENOMEM : 0;
	}
	if (!take_prefix(&rest, "http://") && !take_prefix(&rest, "https://"))
		return -EINVAL;
	d->base = strdup(address);
	return d->base ? 0 : -ENOMEM;
}

static int check(struct docker *d, struct registry *r)
{
	const struct registry_config *c = r->config;
	int e = take_address(d, c);

	if (e == -EINVAL)
		(void)snprintf(r->status.text, sizeof(r->status.text),
			       "\"address\" is %.100s, not unix:///path or tcp://host:port",
			       c->address);
	if (e < 0)
		return e;
	if (c->node_address &&
	    (address_parse(c->node_address, &d->node) < 0 || !address_is_target(&d->node))) {
		(void)snprintf(r->status.text, sizeof(r->status.text),
			       "\"nodeAddress\" is %.60s, no address", c->node_address);
		return -EINVAL;
	}
	return draft_new(&d->draft);
}

static int start(struct registry *r)
{
	struct docker *d = calloc(1, sizeof(*d));
	int e;

	if (!d)
		return -ENOMEM;
	d->r = r;
	e = check(d, r);
	if (e < 0) {
		done(d);
		return e;
	}
	r->source = d;
	(void)uv_timer_init(r->loop, &d->reconnect);
	d->reconnect.data = d;
	docker_listing_init(d);
	reconnect_in(d, 0);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct docker *d = handle->data;
	struct registry *r = d->r;

	if (--d->n_closing)
		return;
	done(d);
	registry_stopped(r);
}

static void stop(struct registry *r)
{
	struct docker *d = r->source;

	d->control = fetch_cancel(d->control);
	d->ask = fetch_cancel(d->ask);
	d->n_closing = 2;
	uv_close((uv_handle_t *)&d->reconnect, on_closed);
	uv_close((uv_handle_t *)&d->again, on_closed);
}

/* The next list is the look, whatever it is about. After an event that comes of itself; what a list
 * alone showed would wait for half a minute. */
static int look(struct registry *r, const char *namespace, const char *name)
{
	struct docker *d = r->source;

	if (d->is_listing || !*d->version)
		return -EAGAIN;
	docker_listing_in(d, 0);
	return 0;
}

const struct registry_kind registry_docker = {
	.type = "docker",
	.address = "unix:///var/run/docker.sock",
	.start = start,
	.stop = stop,
	.look = look,
};
