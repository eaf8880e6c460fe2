/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See docker_listing.h. Before: docker.c knows a reason to ask. After: docker_service.c, and it is
 * said. A list that is not whole is none: what was said stays.
 */
#include "registry/docker_listing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "model/address.h"
#include "registry/docker_service.h"

#define SETTLE_MS 10 /* events come in bunches */
#define PERIOD_MS 30000
#define DEAD_MS 5000 /* so long an event counts for more than a list */
/* Nor is it sure that a list shows at once what an event told: later ones will. */
static const uint16_t looks_ms[] = {300, 2000};

static void on_again(uv_timer_t *timer);
static void inspect_next(struct docker *d);

/* --- asking ----------------------------------------------------------------------------------- */

int docker_listing_ask(struct docker *d, const char *path, struct fetch_request *request,
		       struct fetch **ret)
{
	_cleanup_free_ char *url = NULL;

	if (asprintf(&url, "%s%s%s", d->base, d->version, path) < 0)
		return -ENOMEM;
	request->url = url;
	request->unix_socket = d->socket;
	request->tls = d->r->config->tls;
	request->arg = d;
	return fetch_begin(d->r->fetcher, request, ret);
}

void docker_listing_in(struct docker *d, uint64_t ms)
{
	if (d->is_listing)
		d->missed = true;
	else if (!uv_is_active((uv_handle_t *)&d->again) || uv_timer_get_due_in(&d->again) > ms)
		(void)uv_timer_start(&d->again, on_again, ms, 0);
}

static uint64_t period(const struct docker *d)
{
	const struct registry_config *c = d->r->config;
	uint64_t ms = c->interval_ms ? c->interval_ms : PERIOD_MS;

	if (c->stale_ms && ms > c->stale_ms / 2)
		ms = c->stale_ms / 2;
	return ms < 1000 ? 1000 : ms;
}

static const char *hint_of(const struct docker *d, enum registry_error error, int code)
{
	if (code == -EACCES || code == -EPERM)
		return "the agent's user must be in the group of the socket; whoever may use it is "
		       "as good as root";
	if (error == REGISTRY_UNREACHABLE && d->socket)
		return "is the engine running, and is \"address\" its socket?";
	if (error == REGISTRY_TLS)
		return "check caFile, certFile and keyFile";
	return "";
}

void docker_listing_say_failure(struct docker *d, const char *what,
				const struct fetch_result *result)
{
	enum registry_error error = registry_error_of(result);
	char message[160];

	if (result->error) {
		registry_say_error(d->r, error, hint_of(d, error, result->error), "%s: %s", what,
				   result->error_text);
		return;
	}
	docker_decode_message(result->body, result->length, message);
	registry_say_error(d->r, error, "", "%u on %s: %s", result->status, what, message);
}

/* --- what was inspected ----------------------------------------------------------------------- */

static struct docker_container *find_inspected(const struct docker *d, const char *id)
{
	for (size_t i = 0; i < d->n_inspected; i++)
		if (!strcmp(d->inspected[i].one.items->id, id))
			return d->inspected[i].one.items;
	return NULL;
}

void docker_listing_forget(struct docker *d, const char *id)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_inspected; i++) {
		if (!id || !strcmp(d->inspected[i].one.items->id, id))
			docker_list_done(&d->inspected[i].one);
		else
			d->inspected[n++] = d->inspected[i];
	}
	d->n_inspected = n;
}

/* Those that are listed no more. */
static void forget_gone(struct docker *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_inspected; i++) {
		if (docker_list_find(&d->list, d->inspected[i].one.items->id))
			d->inspected[n++] = d->inspected[i];
		else
			docker_list_done(&d->inspected[i].one);
	}
	d->n_inspected = n;
}

static int keep_inspected(struct docker *d, const struct docker_list *one)
{
	struct inspected *grown =
		reallocarray(d->inspected, d->n_inspected + 1, sizeof(*d->inspected));

	if (!grown)
		return -ENOMEM;
	d->inspected = grown;
	d->inspected[d->n_inspected++].one = *one;
	return 0;
}

/* --- who died ----------------------------------------------------------------------------------
 */

static void note_dead(struct docker *d, const struct docker_event *e)
{
	uint64_t now = uv_now(d->r->loop);
	struct dead *place = NULL;

	for (size_t i = 0; i < DOCKER_DEAD; i++) {
		struct dead *at = &d->dead[i];

		if (*at->id && (at->until_ms <= now || !strcmp(at->id, e->id)))
			*at->id = '\0';
		if (!*at->id)
			place = at;
	}
	if (!e->died || !place)
		return;
	memcpy(place->id, e->id, sizeof(place->id));
	place->until_ms = now + DEAD_MS;
}

static bool is_dead(const struct docker *d, const char *id)
{
	for (size_t i = 0; i < DOCKER_DEAD; i++)
		if (!strcmp(d->dead[i].id, id))
			return d->dead[i].until_ms > uv_now(d->r->loop);
	return false;
}

/* --- what is said ----------------------------------------------------------------------------- */

/* Of this host, towards others; loopback only when it has no other. */
static struct sn_addr find_node(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, mine;
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(mine);
	char text[INET_ADDRSTRLEN];
	struct sn_addr addr = {};

	(void)address_parse("127.0.0.1", &addr);
	(void)inet_pton(AF_INET, "192.0.2.1", &to.sin_addr); /* nothing is sent */
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&mine, &size) == 0 &&
	    inet_ntop(AF_INET, &mine.sin_addr, text, sizeof(text)))
		(void)address_parse(text, &addr);
	return addr;
}

static size_t select_services(const struct docker *d, struct object *objects, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (registry_is_selected(d->r, objects[i].service->name))
			objects[kept++] = objects[i];
		else
			object_done(&objects[i]);
	}
	return kept;
}

static int say(struct docker *d)
{
	const struct registry_config *c = d->r->config;
	_cleanup_free_ const struct docker_container **all = calloc(d->list.n + 1, sizeof(*all));
	struct docker_wish wish = {.draft = d->draft,
				   .tag = d->r->tag,
				   .namespace = c->namespace ?: "default",
				   .zone = c->zone,
				   .node = c->node_address ? d->node : find_node()};
	struct object *objects;
	size_t n;
	int r;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < d->list.n; i++) {
		struct docker_container *at =
			find_inspected(d, d->list.items[i].id) ?: &d->list.items[i];

		if (is_dead(d, at->id))
			at->state = "dead";
		all[i] = at;
	}
	r = docker_services(&wish, all, d->list.n, &objects, &n);
	if (r < 0)
		return r;
	if (d->list.skipped)
		registry_say_skipped(d->r, "%zu containers without an id", d->list.skipped);
	if (wish.left_out && strcmp(wish.text, d->r->status.skipped_text) != 0)
		registry_say_skipped(d->r, "%s", wish.text);
	registry_say_snapshot(d->r, objects, select_services(d, objects, n));
	return 0;
}

/* --- the list --------------------------------------------------------------------------------- */

static void end_list(struct docker *d, uint64_t next_ms)
{
	uint64_t wait = d->missed                         ? SETTLE_MS
			: d->looks < ARRAY_SIZE(looks_ms) ? looks_ms[d->looks++]
							  : next_ms;

	docker_list_done(&d->list);
	d->is_listing = d->missed = false;
	docker_listing_in(d, wait);
}

static void fail_list(struct docker *d)
{
	docker_list_done(&d->list);
	d->is_listing = d->missed = false;
	docker_listing_in(d, registry_backoff(d->r, 0));
}

static void complete_list(struct docker *d)
{
	registry_say_contact(d->r, uv_hrtime() / 1000 - d->began_us + 1);
	if (say(d) < 0) {
		registry_say_error(d->r, REGISTRY_GARBAGE, "", "out of memory");
		fail_list(d);
		return;
	}
	end_list(d, period(d));
}

static void on_inspected(void *arg, const struct fetch_result *result)
{
	struct docker *d = arg;
	enum registry_error error = registry_error_of(result);
	struct docker_list one;
	char text[JSON_ERROR] = "";
	int r;

	d->ask = NULL;
	/* It has gone since it was listed: an event tells that, too. */
	if (error == REGISTRY_MISSING) {
		d->list.items[d->next].state = "gone";
		d->list.items[d->next++].mode = "none";
		inspect_next(d);
		return;
	}
	if (error != REGISTRY_OK) {
		docker_listing_say_failure(d, "containers/ID/json", result);
		fail_list(d);
		return;
	}
	r = docker_decode_container(result->body, result->length, &one, text);
	if (r >= 0 && keep_inspected(d, &one) < 0) {
		docker_list_done(&one);
		r = -ENOMEM;
	}
	if (r < 0) {
		registry_say_error(d->r, REGISTRY_GARBAGE, "", "containers/ID/json: %s", text);
		fail_list(d);
		return;
	}
	d->next++;
	inspect_next(d);
}

/* Whether an inspected one is in its network. */
static bool is_owner(const struct docker *d, const char *id)
{
	for (size_t i = 0; i < d->n_inspected; i++) {
		const char *mode = d->inspected[i].one.items->mode;

		if (!strncmp(mode, "container:", 10) && !strcmp(mode + 10, id))
			return true;
	}
	return false;
}

/* A list of Podman's has neither networks nor health. */
static bool must_inspect(const struct docker *d, const struct docker_container *c)
{
	return !c->mode && !find_inspected(d, c->id) && (docker_is_wanted(c) || is_owner(d, c->id));
}

/* The next one of the list; twice, since an owner may stand before whom it lends its network. */
static bool find_next(struct docker *d)
{
	for (; d->passes < 2; d->passes++, d->next = 0)
		for (; d->next < d->list.n; d->next++)
			if (must_inspect(d, &d->list.items[d->next]))
				return true;
	return false;
}

static void inspect_next(struct docker *d)
{
	struct fetch_request request = {.timeout_ms = DOCKER_ANSWER_MS, .on_done = on_inspected};
	char path[DOCKER_ID + 32];

	if (!find_next(d)) {
		complete_list(d);
		return;
	}
	(void)snprintf(path, sizeof(path), "/containers/%s/json", d->list.items[d->next].id);
	if (docker_listing_ask(d, path, &request, &d->ask) < 0)
		fail_list(d);
}

static void on_listed(void *arg, const struct fetch_result *result)
{
	struct docker *d = arg;
	char text[JSON_ERROR] = "";
	int r;

	d->ask = NULL;
	if (registry_error_of(result) != REGISTRY_OK) {
		docker_listing_say_failure(d, "containers/json", result);
		fail_list(d);
		return;
	}
	r = docker_decode_list(result->body, result->length, &d->list, text);
	if (r < 0) {
		registry_say_error(d->r, REGISTRY_GARBAGE, "", "containers/json: %s",
				   r == -ENOMEM ? "out of memory" : text);
		fail_list(d);
		return;
	}
	forget_gone(d);
	d->next = d->passes = 0;
	inspect_next(d);
}

static void on_again(uv_timer_t *timer)
{
	struct fetch_request request = {.timeout_ms = DOCKER_ANSWER_MS, .on_done = on_listed};
	struct docker *d = timer->data;

	if (!*d->version)
		return; /* the ping comes first */
	d->is_listing = true;
	d->began_us = uv_hrtime() / 1000;
	if (docker_listing_ask(d, "/containers/json", &request, &d->ask) < 0)
		fail_list(d);
}

/* --- life ------------------------------------------------------------------------------------- */

void docker_listing_note(struct docker *d, const struct docker_event *e)
{
	docker_listing_forget(d, e->id);
	if (e->died || e->started)
		note_dead(d, e);
	d->looks = 0;
	docker_listing_in(d, SETTLE_MS);
}

void docker_listing_init(struct docker *d)
{
	(void)uv_timer_init(d->r->loop, &d->again);
	d->again.data = d;
}

void docker_listing_done(struct docker *d)
{
	docker_list_done(&d->list);
	docker_listing_forget(d, NULL);
	free(d->inspected);
}
