/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See agent.h. After main and config; before nothing. Must never block the loop on a network, and
 * never drop what a registry said because it went away.
 */
#include "agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/lastgood.h"
#include "agent/node_pods.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "model/limits.h"

#define TICK_MS 500u
#define GRACE_MS 5000u /* then those that have spoken wait no longer for those that have not */
#define WRITE_MS 3000u /* between two writes of last good states */

/* --- what registries say -----------------------------------------------------------------------
 */

static struct agent_registry *find(struct agent *a, const struct registry *r)
{
	return &a->registries[r->config - a->config.registries];
}

static unsigned int index_of(const struct agent_registry *g)
{
	return (unsigned int)(g - g->agent->registries);
}

static void on_due(uv_timer_t *timer)
{
	struct agent *a = timer->data;

	push_kick(a->push, true);
}

/* Something may have changed: it is told, and time is kept for what the guard holds. */
static void poke(struct agent *a)
{
	uint64_t now = uv_now(&a->loop), next;
	bool urgent = false;

	if (a->stopping)
		return;
	if (merge_has_change(a->merge, &urgent))
		push_kick(a->push, urgent);
	next = merge_next_ms(a->merge);
	if (next)
		(void)uv_timer_start(&a->due, on_due, next > now ? next - now : 1, 0);
}

static void start_push(struct agent *a)
{
	size_t heard = 0, partly = 0;

	for (size_t i = 0; i < a->config.n_registries; i++) {
		heard += a->registries[i].heard;
		partly += a->registries[i].partly;
	}
	if (heard == a->config.n_registries)
		push_start(a->push, true);
	else if ((heard || partly) && uv_now(&a->loop) - a->started_ms >= GRACE_MS)
		push_start(a->push, false);
}

static void said(struct agent_registry *g, int r)
{
	if (r < 0)
		(void)log_err_r(r, "%s: what it said could not be kept", g->tag);
	g->dirty = true;
	poke(g->agent);
}

static void on_snapshot(void *arg, struct registry *r, struct object *objects, size_t n)
{
	struct agent *a = arg;
	struct agent_registry *g = find(a, r);

	int error = merge_snapshot(a->merge, index_of(g), g->tag,
				   (struct merge_objects){objects, n}, uv_now(&a->loop));

	if (!g->spoken)
		log_info("%s: %zu services and policies", g->tag, n);
	if (error >= 0) {
		g->heard = g->spoken = true;
		merge_set_away(a->merge, index_of(g), false, uv_now(&a->loop));
	}
	said(g, error);
	start_push(a);
}

static void on_upsert(void *arg, struct registry *r, struct object *object)
{
	struct agent *a = arg;
	struct agent_registry *g = find(a, r);

	g->partly = true;
	said(g, merge_upsert(a->merge, index_of(g), g->tag, object, uv_now(&a->loop)));
}

static void on_remove(void *arg, struct registry *r, enum object_kind kind, const char *namespace,
		      const char *name)
{
	struct agent *a = arg;
	struct agent_registry *g = find(a, r);
	struct object_name object = {kind, namespace, name};

	said(g, merge_remove(a->merge, index_of(g), &object, uv_now(&a->loop)));
}

/* --- contact, and its loss ---------------------------------------------------------------------
 */

static void set_stale(struct agent_registry *g, bool stale)
{
	static const char *const becomes[] = {"stay", "are drained", "are taken for gone"};
	enum registry_on_stale how = stale ? g->config->on_stale : STALE_KEEP;
	int r = merge_set_stale(g->agent->merge, index_of(g), how);

	g->stale = stale;
	if (r < 0)
		(void)log_err_r(r, "%s: stale endpoints are as before", g->tag);
	else if (stale)
		log_warn("%s: no contact for %llu s: stale; its endpoints %s", g->tag,
			 (unsigned long long)(g->config->stale_ms / 1000), becomes[how]);
	else
		log_notice("%s: it answers again", g->tag);
	if (stale && g->registry)
		g->registry->status.state = REGISTRY_STALE;
	else if (g->registry && g->registry->status.state == REGISTRY_STALE)
		g->registry->status.state = REGISTRY_SYNCED;
	poke(g->agent);
}

/* Most answers bring no news, and then a source does not call: the tick looks, too. */
static void hear(struct agent_registry *g, const struct registry_status *s)
{
	if (s->contact_ms == g->told_contact_ms)
		return;
	g->told_contact_ms = s->contact_ms;
	g->contact_ms = uv_now(&g->agent->loop);
	merge_contact(g->agent->merge, index_of(g), g->contact_ms);
	if (g->stale)
		set_stale(g, false);
	else
		poke(g->agent);
}

/* Whoever says no is there, and knows what it knew; so is one of whose words some are of no use. */
static bool is_away(const struct registry_status *s)
{
	return s->error != REGISTRY_OK && s->error != REGISTRY_UNAUTHORIZED &&
	       s->error != REGISTRY_FORBIDDEN && !s->partly;
}

static void on_status(void *arg, struct registry *r)
{
	struct agent_registry *g = find(arg, r);
	const struct registry_status *s = &r->status;

	merge_set_away(g->agent->merge, index_of(g), is_away(s), uv_now(&g->agent->loop));
	hear(g, s);
	if (s->error != g->told) {
		g->told = s->error;
		if (s->error != REGISTRY_OK)
			log_warn("%s: %s: %s%s%s", g->tag, registry_error_name(s->error), s->text,
				 *s->hint ? "; " : "", s->hint);
		else
			log_notice("%s: well", g->tag);
	}
}

static void on_pods(void *arg, struct registry *r)
{
	struct agent *a = arg;
	struct agent_registry *g = find(a, r);
	const struct pods *p = r->pods;

	if (p->error != g->told_pods) {
		g->told_pods = p->error;
		if (p->error != REGISTRY_OK)
			log_warn("%s: pods: %s: %s%s%s", g->tag, registry_error_name(p->error),
				 p->text, *p->hint ? "; " : "", p->hint);
		else
			log_notice("%s: %zu pods of %s are known", g->tag, p->n, p->node);
	}
	if (a->registrations && !a->stopping)
		registrations_on_pods(a->registrations);
}

static void write_files(struct agent *a)
{
	for (size_t i = 0; i < a->config.n_registries; i++) {
		struct agent_registry *g = &a->registries[i];
		int r;

		if (!g->dirty || !g->spoken || !g->registry)
			continue;
		r = lastgood_write(a->merge, index_of(g), g->registry, a->config.state);
		if (r < 0)
			(void)log_err_r(r, "cannot write the last good state of %s in %s", g->tag,
					a->config.state);
		g->dirty = r < 0;
	}
	a->written_ms = uv_now(&a->loop);
}

bool agent_is_ready(const struct agent *a)
{
	return push_status(a->push)->synced && (!a->names || names_is_known(a->names));
}

int agent_confirm(struct agent *a, const char *name)
{
	for (size_t i = 0; i < a->config.n_registries; i++)
		if (!strcmp(a->config.registries[i].name, name)) {
			size_t n = merge_confirm(a->merge, (unsigned int)i, NULL, NULL);

			log_notice("%s: confirmed by hand: %zu let go", a->registries[i].tag, n);
			poke(a);
			return (int)n;
		}
	return -ENOENT;
}

/* --- start --------------------------------------------------------------------------------------
 */

static const struct registry_host host_template = {.snapshot = on_snapshot,
						   .upsert = on_upsert,
						   .remove = on_remove,
						   .status = on_status,
						   .pods = on_pods};
static struct registry_host host; /* there is one agent in a process */

static void read_file(struct agent_registry *g)
{
	struct agent *a = g->agent;
	struct object *objects = NULL;
	size_t n = 0;
	int r = lastgood_read(a->config.state, g->config, &objects, &n);

	if (r >= 0)
		r = merge_snapshot(a->merge, index_of(g), g->tag,
				   (struct merge_objects){objects, n}, uv_now(&a->loop));
	if (r >= 0) {
		g->heard = true;
		/* Until it has spoken itself: who knows what happened to it meanwhile. */
		merge_set_away(a->merge, index_of(g), n > 0, uv_now(&a->loop));
		log_info("%s: %zu services and policies of before", g->tag, n);
	} else if (r != -ENOENT && r != -EBADMSG) {
		(void)log_warn_r(r, "%s: its last good state cannot be read", g->tag);
	}
}

/* One that cannot even begin (a kubeconfig that is not there yet) has what it had, and is tried
 * again. */
static void open_registry(struct agent_registry *g)
{
	struct agent *a = g->agent;
	char text[200] = "";
	int r = registry_open(g->config, &host, a->fetcher, &g->registry, text);

	if (r >= 0) {
		a->n_open++;
		if (*g->failure)
			log_notice("%s: followed now", g->tag);
		g->failure[0] = '\0';
		g->wait_ms = 0;
		node_pods_on_open(g);
		return;
	}
	if (!*text)
		(void)snprintf(text, sizeof(text), "%s", strerror(-r));
	if (strcmp(g->failure, text) != 0)
		log_err("%s: not followed: %s; trying again", g->tag, text);
	(void)snprintf(g->failure, sizeof(g->failure), "%s", text);
	g->retry_ms = uv_now(&a->loop) + registry_backoff_of(&g->wait_ms, 0);
}

static int open_registries(struct agent *a)
{
	a->registries = calloc(a->config.n_registries + 1, sizeof(*a->registries));
	if (!a->registries)
		return -ENOMEM;
	host = host_template;
	host.arg = a;
	host.loop = &a->loop;
	for (size_t i = 0; i < a->config.n_registries; i++) {
		struct agent_registry *g = &a->registries[i];

		g->agent = a;
		g->config = &a->config.registries[i];
		g->contact_ms = a->started_ms;
		(void)snprintf(g->tag, sizeof(g->tag), "%.60s/%.63s", g->config->type,
			       g->config->name);
	}
	for (size_t i = 0; i < a->config.n_registries; i++) {
		read_file(&a->registries[i]);
		open_registry(&a->registries[i]);
	}
	return 0;
}

static void on_tick(uv_timer_t *timer)
{
	struct agent *a = timer->data;
	uint64_t now = uv_now(&a->loop);

	for (size_t i = 0; i < a->config.n_registries; i++) {
		struct agent_registry *g = &a->registries[i];

		if (g->registry)
			hear(g, &g->registry->status);
		else if (now >= g->retry_ms)
			open_registry(g);
		if (!g->stale && now - g->contact_ms >= g->config->stale_ms)
			set_stale(g, true);
	}
	start_push(a);
	if (now - a->written_ms >= WRITE_MS)
		write_files(a);
}

static void on_left(void *arg)
{
	struct agent *a = arg;

	uv_stop(&a->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct agent *a = handle->data;

	if (a->leaving) {
		uv_stop(handle->loop);
		return;
	}
	a->leaving = true;
	registrations_leave(a->registrations, on_left, a);
}

/* The socket's file says who may: its folder lets everybody through. */
static void make_socket_folder(const char *path)
{
	_cleanup_free_ char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!slash || slash == folder)
		return;
	*slash = '\0';
	if (mkdir(folder, 0755) == 0)
		(void)chmod(folder, 0755); /* whatever the mask is; without a folder bind() tells */
}

static int open_server(struct agent *a)
{
	const struct serve_config config = {
		.tcp = a->config.metrics, .socket = a->config.agent_socket, .group = "sinew"};
	const struct serve_ops ops = {.arg = a, .on_request = agent_show};
	int r;

	make_socket_folder(a->config.agent_socket);
	r = serve_open(&a->loop, &config, &ops, &a->serve);

	if (r < 0)
		return log_err_r(r,
				 "cannot listen at %s and %s (metrics.address is a loopback "
				 "address with a port, or empty)",
				 a->config.agent_socket, a->config.metrics);
	if (serve_port(a->serve))
		log_info("metrics at port %u", serve_port(a->serve));
	return 0;
}

static int open_core(struct agent *a)
{
	const struct merge_settings settings = {.hold_percent = 50, .hold_window_ms = 5000};
	const struct push_config config = {.socket = a->config.control_socket,
					   .coalesce_ms = a->config.coalesce_ms};
	int r = fetcher_new(&a->loop, &a->fetcher);

	if (r >= 0)
		r = merge_new(&settings, &a->merge);
	if (r >= 0)
		r = push_new(&a->loop, a->fetcher, a->merge, &config, &a->push);
	return r;
}

static void open_handles(struct agent *a)
{
	(void)uv_timer_init(&a->loop, &a->tick); /* cannot fail */
	(void)uv_timer_init(&a->loop, &a->due);
	(void)uv_signal_init(&a->loop, &a->term);
	(void)uv_signal_init(&a->loop, &a->interrupt);
	a->tick.data = a->due.data = a->term.data = a->interrupt.data = a;
	(void)uv_signal_start(&a->term, on_signal, SIGTERM);
	(void)uv_signal_start(&a->interrupt, on_signal, SIGINT);
}

int agent_start(struct agent *a)
{
	struct timespec now;
	const struct registrations_pods pods = {a, node_pods_find, node_pods_want};
	int r = uv_loop_init(&a->loop);

	if (r < 0)
		return log_err_r(r, "no event loop");
	(void)clock_gettime(CLOCK_REALTIME, &now);
	a->started_at_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	a->started_ms = a->written_ms = uv_now(&a->loop);
	open_handles(a);
	if (mkdir(a->config.state, 0700) < 0 && errno != EEXIST)
		(void)log_warn_r(-errno, "cannot make %s", a->config.state);
	r = open_core(a);
	if (r >= 0 && a->dns.wanted) {
		r = names_open(&a->loop, a->fetcher, &a->config, &a->dns, &a->names);
		if (r < 0)
			(void)log_err_r(r, "no DNS");
	}
	if (r >= 0)
		r = open_server(a);
	if (r >= 0)
		r = open_registries(a);
	if (r >= 0)
		r = registrations_new(&a->loop, a->fetcher, &a->config, &pods, &a->registrations);
	if (r < 0)
		return r;
	start_push(a);
	return uv_timer_start(&a->tick, on_tick, TICK_MS, TICK_MS);
}

int agent_run(struct agent *a)
{
	log_info("following %zu of %zu registries", a->n_open, a->config.n_registries);
	(void)uv_run(&a->loop, UV_RUN_DEFAULT);
	write_files(a);
	return 0;
}

/* --- the end ------------------------------------------------------------------------------------
 */

static void on_stopped(void *arg, struct registry *r)
{
	struct agent *a = arg;

	find(a, r)->registry = NULL;
	a->n_open--;
}

static void close_handles(struct agent *a)
{
	uv_handle_t *handles[] = {(uv_handle_t *)&a->tick, (uv_handle_t *)&a->due,
				  (uv_handle_t *)&a->term, (uv_handle_t *)&a->interrupt};

	for (size_t i = 0; i < ARRAY_SIZE(handles); i++)
		uv_close(handles[i], NULL);
}

void agent_done(struct agent *a)
{
	a->stopping = true;
	(void)uv_timer_stop(&a->tick); /* it would open again what has just closed */
	for (size_t i = 0; a->registries && i < a->config.n_registries; i++)
		if (a->registries[i].registry)
			registry_close(a->registries[i].registry, on_stopped, a);
	while (a->n_open && uv_run(&a->loop, UV_RUN_ONCE))
		; /* sources close what they have open; none waits for the network */
	agent_show_stop(a);
	names_close(a->names);
	serve_close(a->serve);
	push_close(a->push);
	registrations_close(a->registrations);
	fetcher_close(a->fetcher);
	close_handles(a);
	(void)uv_run(&a->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&a->loop);
	merge_free(a->merge);
	free(a->registries);
	agent_config_done(&a->config);
}
