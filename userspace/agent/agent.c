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

#include "agent/node_pods.h"
#include "agent/push_pods.h"
#include "agent/registries.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/notify.h"

#define TICK_MS 500u
#define GRACE_MS 5000u /* then those that have spoken wait no longer for those that have not */
#define WRITE_MS 3000u /* between two writes of last good states */

/* --- what is told to sinewd ------------------------------------------------------------------
 */

static void on_due(uv_timer_t *timer)
{
	struct agent *a = timer->data;

	push_kick(a->push, true);
}

void agent_poke(struct agent *a)
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

void agent_start_push(struct agent *a)
{
	size_t heard = 0, partly = 0;

	for (size_t i = 0; i < a->n_registries; i++) {
		heard += a->registries[i]->heard;
		partly += a->registries[i]->partly;
	}
	if (heard == a->n_registries)
		push_start(a->push, true);
	else if ((heard || partly) && uv_now(&a->loop) - a->started_ms >= GRACE_MS)
		push_start(a->push, false);
}

bool agent_is_ready(const struct agent *a)
{
	return push_status(a->push)->synced && (!a->names || names_is_known(a->names));
}

int agent_confirm(struct agent *a, const char *name)
{
	const struct agent_registry *g = registries_find(a, name);
	size_t n;

	if (!g)
		return -ENOENT;
	n = merge_confirm(a->merge, g->source, NULL, NULL);
	log_notice("%s: confirmed by hand: %zu let go", g->tag, n);
	agent_poke(a);
	return (int)n;
}

/* --- start --------------------------------------------------------------------------------------
 */

static void on_tick(uv_timer_t *timer)
{
	struct agent *a = timer->data;

	registries_tick(a);
	agent_start_push(a);
	if (uv_now(&a->loop) - a->written_ms >= WRITE_MS)
		registries_write(a);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	struct agent *a = handle->data;

	if (!a->leaving)
		(void)agent_reload(a);
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
	if (r >= 0)
		r = push_pods_new(a, &a->push_pods);
	return r;
}

static void open_handles(struct agent *a)
{
	(void)uv_timer_init(&a->loop, &a->tick); /* cannot fail */
	(void)uv_timer_init(&a->loop, &a->due);
	(void)uv_signal_init(&a->loop, &a->term);
	(void)uv_signal_init(&a->loop, &a->interrupt);
	(void)uv_signal_init(&a->loop, &a->hangup);
	a->tick.data = a->due.data = a->term.data = a->interrupt.data = a->hangup.data = a;
	(void)uv_signal_start(&a->term, on_signal, SIGTERM);
	(void)uv_signal_start(&a->interrupt, on_signal, SIGINT);
	(void)uv_signal_start(&a->hangup, on_hangup, SIGHUP);
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
		r = registries_open(a);
	if (r >= 0)
		r = registrations_new(&a->loop, a->fetcher, &a->config, &pods, &a->registrations);
	if (r < 0)
		return r;
	registries_register(a);
	agent_start_push(a);
	return uv_timer_start(&a->tick, on_tick, TICK_MS, TICK_MS);
}

int agent_run(struct agent *a)
{
	notify_send("READY=1");
	log_info("following %zu of %zu registries", a->n_open, a->n_registries);
	(void)uv_run(&a->loop, UV_RUN_DEFAULT);
	registries_write(a);
	return 0;
}

/* --- the end ------------------------------------------------------------------------------------
 */

static void close_handles(struct agent *a)
{
	uv_handle_t *handles[] = {(uv_handle_t *)&a->tick, (uv_handle_t *)&a->due,
				  (uv_handle_t *)&a->term, (uv_handle_t *)&a->interrupt,
				  (uv_handle_t *)&a->hangup};

	for (size_t i = 0; i < ARRAY_SIZE(handles); i++)
		uv_close(handles[i], NULL);
}

void agent_done(struct agent *a)
{
	notify_send("STOPPING=1");
	a->stopping = true;
	(void)uv_timer_stop(&a->tick); /* it would open again what has just closed */
	registries_close(a);
	while (a->n_open && uv_run(&a->loop, UV_RUN_ONCE))
		; /* sources close what they have open; none waits for the network */
	agent_show_stop(a);
	names_close(a->names);
	serve_close(a->serve);
	push_close(a->push);
	push_pods_close(a->push_pods);
	registrations_close(a->registrations);
	fetcher_close(a->fetcher);
	close_handles(a);
	(void)uv_run(&a->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&a->loop);
	merge_free(a->merge);
	registries_done(a);
	agent_config_done(&a->config);
}
