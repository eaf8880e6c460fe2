/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control API as a whole: two doors on one loop. Before: the daemon's main loop. After:
 * server.c for each door. One turn of the HTTP library per turn of the loop and door, so that
 * other events come between; the idle handle keeps the loop awake while more is to be done.
 */
#include <errno.h>
#include <string.h>

#include "control/event.h"
#include "control/server.h"
#include "control/subscriber.h"

#define SWEEP_MS 1000u

/* Its only purpose is that the loop does not sleep. */
static void on_busy(uv_idle_t *handle)
{
}

void control_wake(struct control *c, struct door *door)
{
	door->due = true;
	if (!c->closing)
		(void)uv_idle_start(&c->busy, on_busy);
}

static void on_turn(uv_check_t *handle)
{
	struct control *c = handle->data;
	bool due = false;

	(void)uv_idle_stop(&c->busy);
	for (size_t i = 0; i < ARRAY_SIZE(c->doors); i++)
		due |= c->doors[i].due;
	if (!due)
		return;
	c->turn_end_ns = uv_hrtime() + TURN_NS;
	for (size_t i = 0; i < ARRAY_SIZE(c->doors); i++)
		if (c->doors[i].due)
			server_turn(&c->doors[i]);
}

static void on_sweep(uv_timer_t *handle)
{
	struct control *c = handle->data;
	uint64_t now_ms = uv_now(c->loop);

	for (size_t i = 0; i < ARRAY_SIZE(c->doors); i++)
		server_sweep(&c->doors[i], now_ms);
	podlist_sweep(&c->pods, now_ms);
	subscriber_heartbeat(c, now_ms);
}

static int control_watch(struct control *c)
{
	int r;

	/* These three only fill in the handle. */
	(void)uv_check_init(c->loop, &c->turn);
	(void)uv_idle_init(c->loop, &c->busy);
	(void)uv_timer_init(c->loop, &c->sweep);
	c->n_handles = 3;
	c->turn.data = c->busy.data = c->sweep.data = c;
	r = uv_check_start(&c->turn, on_turn);
	if (r < 0)
		return r;
	return uv_timer_start(&c->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

int control_new(uv_loop_t *loop, const struct control_config *config, const struct control_ops *ops,
		struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->ops = *ops;
	c->series_budget = config->series_budget;
	c->backend_label = config->backend_label;
	c->receive_ms = config->receive_ms ? config->receive_ms : RECEIVE_MS;
	c->answer_s = config->answer_s ? config->answer_s : ANSWER_S;
	c->pods_ms = config->pods_ms ? config->pods_ms : PODLIST_MS;
	c->heartbeat_ms = config->heartbeat_ms ? config->heartbeat_ms : HEARTBEAT_MS;
	c->doors[0].socket.fd = c->doors[1].socket.fd = -1;
	r = control_watch(c);
	if (r >= 0)
		r = server_open(c, &c->doors[0], true, config->control_path);
	if (r >= 0)
		r = server_open(c, &c->doors[1], false, config->status_path);
	if (r < 0) {
		control_close(c, NULL, NULL);
		return r;
	}
	*ret = c;
	return 0;
}

static void control_release(struct control *c)
{
	if (c->n_handles > 0)
		return;
	if (c->done)
		c->done(c->done_arg);
	podlist_done(&c->pods);
	free(c->recent[0].items);
	free(c->recent[1].items);
	free(c);
}

static void on_closed(uv_handle_t *handle)
{
	struct control *c = handle->data;

	c->n_handles--;
	control_release(c);
}

/* A handle that was never initialised has no loop and is passed over. */
static void handle_close(struct control *c, uv_handle_t *handle)
{
	if (!handle->loop)
		return;
	handle->data = c;
	uv_close(handle, on_closed);
}

void control_inspected(struct control *c)
{
	struct request *q = c->waiting, *next;

	for (; q; q = next) {
		next = q->next;
		if (q->inspected)
			server_resume(q);
	}
}

void control_hold_written(struct control *c, int result)
{
	struct request *q = c->waiting, *next;

	for (; q; q = next) {
		next = q->next;
		if (!q->holding)
			continue;
		q->hold_result = result;
		server_resume(q);
	}
}

void control_close(struct control *c, void (*done)(void *arg), void *arg)
{
	c->closing = true;
	c->done = done;
	c->done_arg = arg;
	c->turn_end_ns = 0;
	while (c->waiting)
		server_resume(c->waiting);
	subscriber_end(c);
	for (size_t i = 0; i < ARRAY_SIZE(c->doors); i++) {
		struct door *door = &c->doors[i];

		handle_close(c, (uv_handle_t *)&door->accepts);
		handle_close(c, (uv_handle_t *)&door->events);
		handle_close(c, (uv_handle_t *)&door->timer);
		server_stop(door);
	}
	handle_close(c, (uv_handle_t *)&c->turn);
	handle_close(c, (uv_handle_t *)&c->busy);
	handle_close(c, (uv_handle_t *)&c->sweep);
	control_release(c);
}
