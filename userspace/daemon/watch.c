/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What sinewd looks after by itself: its heartbeat, the links (whose cgroup may vanish), workloads,
 * stale datagram sockets, the event ring, signals. All on the loop, none of it blocking.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/notify.h"
#include "daemon/daemon.h"
#include "kernel/attach.h"
#include "kernel/events.h"
#include "kernel/workload.h"

#define TICK_MS 500        /* a vanished cgroup is repaired within 1 s */
#define SWEEP_SOON_MS 20   /* changes that come together share a sweep */
#define SWEEP_AGAIN_MS 400 /* connects that had read the old set when it changed */
#define LISTEN_MS 100      /* for events that did not wake us */
#define EVENTS_PER_TURN 256

/* --- workloads -----------------------------------------------------------------------------------
 */

uint32_t watch_levels(const struct daemon *d)
{
	uint32_t levels = 0, depth;

	if (d->n_workloads && !workload_sees_top())
		return WORKLOAD_LEVELS_ALL;
	for (size_t i = 0; i < d->n_workloads; i++) {
		depth = workload_depth(d->cgroup_mount, d->workloads[i].path);
		if (depth == WORKLOAD_DEPTH_UNKNOWN)
			return WORKLOAD_LEVELS_ALL;
		if (depth < WORKLOAD_LEVELS)
			levels |= 1u << depth;
		else
			log_warn(
				"bypass.cgroups: %s lies %u levels deep; the programs look at %u, it is served",
				d->workloads[i].path, depth, WORKLOAD_LEVELS);
	}
	return levels;
}

int watch_read_workloads(struct daemon *d)
{
	struct workload *all = calloc(d->config.n_bypass_cgroups + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < d->config.n_bypass_cgroups; i++) {
		all[i].path = strdup(d->config.bypass_cgroups[i]);
		if (!all[i].path)
			return -ENOMEM;
	}
	for (size_t i = 0; i < d->n_workloads; i++)
		free(d->workloads[i].path);
	free(d->workloads);
	d->workloads = all;
	d->n_workloads = d->config.n_bypass_cgroups;
	return 0;
}

int watch_workloads(struct daemon *d)
{
	_cleanup_free_ uint64_t *ids = calloc(d->n_workloads + 1, sizeof(*ids));
	bool changed = false;
	size_t n = 0;

	if (!ids)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_workloads; i++) {
		uint64_t id = 0;

		if (attach_cgroup_id(d->workloads[i].path, &id) < 0)
			id = 0;
		changed = changed || id != d->workloads[i].id;
		d->workloads[i].id = id;
		if (id)
			ids[n++] = id;
	}
	return changed || !d->n_workloads ? workload_set(&d->kernel, ids, n) : 0;
}

/* --- links ---------------------------------------------------------------------------------------
 */

static void look_after_links(struct daemon *d)
{
	int pins = kernel_repin(&d->kernel), r = kernel_repair(&d->kernel);

	if (pins > 0)
		log_warn(
			"%d pins below %s had been removed and are made again; to remove Sinew: sinewctl uninstall",
			pins, d->config.bpffs);
	if (r > 0) {
		d->cgroup_lost = false;
		listeners_look(&d->listeners);
		log_notice("the cgroup %s had gone and is back; programs are attached again",
			   d->cgroup);
		control_publish_note(
			d->control, "cgroup.repaired", d->cgroup,
			"the attached cgroup had gone and is back; programs are attached again");
	} else if (r < 0 && !d->cgroup_lost) {
		d->cgroup_lost = true;
		log_err("programs are not attached: %s; trying again every %d ms",
			d->kernel.trouble, TICK_MS);
		control_publish_note(d->control, "cgroup.lost", d->cgroup, d->kernel.trouble);
	} else if (r >= 0) {
		d->cgroup_lost = false;
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	d->kernel.meta->heartbeat_ns = uv_hrtime();
	notify_send("WATCHDOG=1");
	look_after_links(d);
	interfaces_tick(d);
	evict_reap(&d->evict);
	if (d->publish) {
		publish_tick(d->publish);
		holds_tick(&d->holds);
	}
	if (d->n_workloads && watch_workloads(d) < 0)
		log_warn("cannot update the workloads set to bypass; trying again");
}

/* --- stale datagram sockets --------------------------------------------------------------- */

static void on_sweep(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	const struct evict_request request = {.verb = EVICT_SWEEP, .streams = d->sweep_streams};

	if (d->sweep_running || evict_send(&d->evict, &request) < 0)
		return;
	d->sweep_running = true;
	d->sweeps_left--;
}

void watch_sweep_soon(struct daemon *d)
{
	if (!evict_ends(&d->evict))
		return;
	d->sweeps_left = 2;
	d->sweep_streams = d->sweep_streams || publish_terminates(d->publish);
	if (d->sweep_running)
		return;
	/* Changes that come without a pause must not put it off for ever. */
	if (!uv_is_active((uv_handle_t *)&d->sweep) ||
	    uv_timer_get_due_in(&d->sweep) > SWEEP_SOON_MS)
		(void)uv_timer_start(&d->sweep, on_sweep, SWEEP_SOON_MS, 0);
}

static void on_evict_answer(uv_poll_t *poll, int status, int events)
{
	struct daemon *d = poll->data;
	struct evict_answer answer;
	int r = evict_receive(&d->evict, &answer);

	if (r == -EAGAIN)
		return;
	if (r < 0) {
		(void)log_err_r(
			r,
			"the helper that ends stale datagram sockets is gone; restart sinewd to have it back");
		(void)uv_poll_stop(poll);
		evict_stop(&d->evict);
		d->evict_lost = true;
		listeners_lost(&d->listeners);
		return;
	}
	if (answer.verb == EVICT_LISTENERS || answer.verb == EVICT_CGROUP) {
		listeners_answer(&d->listeners, &answer);
		return;
	}
	if (answer.verb != EVICT_SWEEP) {
		inspect_answer(d, &answer);
		return;
	}
	d->sweep_running = false;
	if (answer.failed && !d->sweep_failed)
		log_warn_r(answer.r,
			   "%u network namespaces could not be swept for stale datagram sockets",
			   answer.failed);
	d->sweep_failed = answer.failed;
	d->ended_by_diag += answer.ended;
	if (answer.more && answer.ended)
		d->sweeps_left++;
	if (d->sweeps_left)
		(void)uv_timer_start(&d->sweep, on_sweep, SWEEP_AGAIN_MS, 0);
	else
		d->sweep_streams = false;
}

/* --- events ------------------------------------------------------------------------------- */

static void on_event(void *arg, const struct sn_event *event)
{
	struct daemon *d = arg;

	if (event->type == SN_EVENT_LISTEN || event->type == SN_EVENT_UNLISTEN)
		listeners_event(&d->listeners, event);
	else if (!inspect_is_canary(d, event))
		control_publish_event(d->control, event);
}

static void on_events(uv_poll_t *poll, int status, int events)
{
	struct daemon *d = poll->data;

	(void)events_drain(&d->kernel, EVENTS_PER_TURN);
}

/* Programs on a packet's way do not wake us: that would cost a connect more than the rest of its
 * failover. What they told is read a moment later. */
static void on_listen(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	/* The rest in the loop's next turn, so that whoever subscribed is sent to before more is
	 * queued; a timer of 0 ms would come again in this turn. */
	if (d->events_open && events_drain(&d->kernel, EVENTS_PER_TURN) >= EVENTS_PER_TURN)
		(void)uv_timer_start(timer, on_listen, 1, LISTEN_MS);
}

static int open_events(struct daemon *d)
{
	int fd, r;

	r = events_open(&d->kernel, on_event, d, &fd);
	if (r < 0)
		return r;
	r = uv_poll_init(&d->loop, &d->events_poll, fd);
	if (r < 0)
		return r;
	d->events_poll.data = d;
	d->events_open = true;
	return uv_poll_start(&d->events_poll, UV_READABLE, on_events);
}

/* --- the loop itself ---------------------------------------------------------------------- */

/* From one sleep of the loop to the next: everything but the sleep, whoever's callback it was. */
static void on_prepare(uv_prepare_t *prepare)
{
	struct daemon *d = prepare->data;
	uint64_t busy = uv_hrtime() - uv_metrics_idle_time(&d->loop), turn = busy - d->busy_ns;

	if (d->busy_ns && turn > d->turn_max_ns)
		d->turn_max_ns = turn;
	d->busy_ns = busy;
}

static void on_stop(uv_signal_t *signal, int number)
{
	struct daemon *d = signal->data;

	log_info("stopping on %s; programs and maps stay and keep serving", strsignal(number));
	uv_stop(&d->loop);
}

void watch_on_uninstall(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void on_hangup(uv_signal_t *signal, int number)
{
	(void)daemon_reload(signal->data);
}

static int start_signal(struct daemon *d, uv_signal_t *handle, uv_signal_cb callback, int number)
{
	int r = uv_signal_init(&d->loop, handle);

	handle->data = d;
	return r < 0 ? r : uv_signal_start(handle, callback, number);
}

static int start_timers(struct daemon *d)
{
	uint64_t every = notify_watchdog_ms() / 2;
	int r = uv_timer_init(&d->loop, &d->tick);

	d->tick.data = d;
	if (r >= 0)
		r = uv_timer_init(&d->loop, &d->sweep);
	d->sweep.data = d;
	if (r >= 0)
		r = uv_timer_init(&d->loop, &d->listen);
	d->listen.data = d;
	every = every && every < TICK_MS ? every : TICK_MS;
	if (r >= 0)
		r = uv_timer_start(&d->listen, on_listen, LISTEN_MS, LISTEN_MS);
	return r < 0 ? r : uv_timer_start(&d->tick, on_tick, every, every);
}

static int start_turns(struct daemon *d)
{
	int r = uv_loop_configure(&d->loop, UV_METRICS_IDLE_TIME);

	if (r >= 0)
		r = uv_prepare_init(&d->loop, &d->prepare);
	d->prepare.data = d;
	return r < 0 ? r : uv_prepare_start(&d->prepare, on_prepare);
}

static int start_evict(struct daemon *d)
{
	int r;

	if (d->evict.fd < 0)
		return 0;
	r = uv_poll_init(&d->loop, &d->evict_poll, d->evict.fd);
	if (r < 0)
		return r;
	d->evict_poll.data = d;
	d->evict_open = true;
	return uv_poll_start(&d->evict_poll, UV_READABLE, on_evict_answer);
}

int watch_start(struct daemon *d)
{
	int r = start_timers(d);

	if (r >= 0)
		r = inspect_open(d);
	if (r >= 0)
		r = start_turns(d);
	if (r >= 0)
		r = start_signal(d, &d->term, on_stop, SIGTERM);
	if (r >= 0)
		r = start_signal(d, &d->interrupt, on_stop, SIGINT);
	if (r >= 0)
		r = start_signal(d, &d->hangup, on_hangup, SIGHUP);
	if (r >= 0)
		r = open_events(d);
	return r < 0 ? r : start_evict(d);
}

static void reopen_events(uv_handle_t *handle)
{
	struct daemon *d = handle->data;
	int r = open_events(d);

	if (r < 0)
		(void)log_err_r(r, "no events until the next reload");
}

/* The program object was replaced; the ring is the same map under a new descriptor. A handle's
 * memory may only be used again when libuv has closed it. */
void watch_rebind(struct daemon *d)
{
	if (!d->events_open)
		return;
	d->events_open = false;
	(void)uv_poll_stop(&d->events_poll);
	uv_close((uv_handle_t *)&d->events_poll, reopen_events);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	struct daemon *d = arg;

	if (handle->data == d && !uv_is_closing(handle))
		uv_close(handle, NULL);
}

void watch_stop(struct daemon *d)
{
	uv_walk(&d->loop, close_handle, d);
}
