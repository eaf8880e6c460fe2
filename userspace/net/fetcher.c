/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See fetch.h. Before: fetch.c. After: libcurl's multi handle, which says what it waits for and is
 * told by libuv. Must never enter libcurl from within one of its callbacks.
 *
 * That is why begin, cancel and close only mark while `busy`; fetcher_apply() does the rest as soon
 * as libcurl has returned.
 */
#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/fetch_state.h"

/* A socket that libcurl waits for. */
struct wait {
	struct fetcher *fetcher;
	uv_poll_t poll;
	curl_socket_t fd;
};

static void turn(struct fetcher *f, curl_socket_t fd, int events);
static void on_silence(uv_timer_t *timer);

/* --- libcurl's waits, on the loop ------------------------------------------------------------- */

static void handle_gone(struct fetcher *f)
{
	f->n_handles--;
	if (f->torn && !f->n_handles)
		free(f);
}

static void on_wait_closed(uv_handle_t *handle)
{
	struct wait *w = handle->data;
	struct fetcher *f = w->fetcher;

	free(w);
	handle_gone(f);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct wait *w = poll->data;
	int flags = 0;

	/* Not CURL_CSELECT_ERR, with which libcurl gives up unread: what came before the error is
	 * the answer still, and a kept connection that was reset before a byte came is asked anew.
	 */
	if (status < 0)
		flags = CURL_CSELECT_IN | CURL_CSELECT_OUT;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	turn(w->fetcher, w->fd, flags);
}

static struct wait *wait_new(struct fetcher *f, curl_socket_t fd)
{
	struct wait *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->fetcher = f;
	w->fd = fd;
	w->poll.data = w;
	if (uv_poll_init(f->loop, &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	f->n_handles++;
	(void)curl_multi_assign(f->multi, fd, w);
	return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
	struct fetcher *f = arg;
	struct wait *w = of_socket;
	int events = 0;

	if (what == CURL_POLL_REMOVE) {
		if (w) {
			/* Stops at once: libcurl may close the descriptor when this returns. */
			(void)uv_poll_stop(&w->poll);
			(void)curl_multi_assign(f->multi, fd, NULL);
			uv_close((uv_handle_t *)&w->poll, on_wait_closed);
		}
		return 0;
	}
	if (!w)
		w = wait_new(f, fd);
	if (!w)
		return -1;
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	return uv_poll_start(&w->poll, events, on_poll) < 0 ? -1 : 0;
}

static void on_timer(uv_timer_t *timer)
{
	turn(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
	struct fetcher *f = arg;

	if (f->torn)
		return 0;
	if (ms < 0)
		return uv_timer_stop(&f->timer);
	return uv_timer_start(&f->timer, on_timer, (uint64_t)ms, 0) < 0 ? -1 : 0;
}

/* --- an exchange's end ------------------------------------------------------------------------ */

static void on_silence_closed(uv_handle_t *handle)
{
	struct fetch *x = handle->data;
	struct fetcher *f = x->fetcher;

	free(x);
	handle_gone(f);
}

/* Not from within libcurl. The memory goes with the timer's. */
static void destroy(struct fetch *x)
{
	*x->link = x->next;
	if (x->next)
		x->next->link = x->link;
	if (x->added)
		(void)curl_multi_remove_handle(x->fetcher->multi, x->easy);
	fetch_release(x);
	uv_close((uv_handle_t *)&x->silence, on_silence_closed);
}

static void on_timer_closed(uv_handle_t *handle)
{
	handle_gone(handle->data);
}

static void tear(struct fetcher *f)
{
	while (f->first)
		destroy(f->first);
	(void)curl_multi_cleanup(f->multi);
	curl_global_cleanup();
	f->torn = true;
	uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

/* Says it, once; destroys it. Not from within libcurl. */
static void finish(struct fetch *x, CURLcode code)
{
	struct fetch_result result = {.error = fetch_error(x, code),
				      .body = x->body ?: "",
				      .length = x->length,
				      .elapsed_us = (uv_hrtime() - x->begun_ns) / 1000,
				      .fetch = x};
	long status = 0;

	if (!x->cancelled) {
		(void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
		result.status = (unsigned int)status;
		result.error_text = fetch_error_text(x, result.error, code);
		x->fetcher->busy++;
		x->on_done(x->arg, &result);
		x->fetcher->busy--;
	}
	destroy(x);
}

void fetcher_apply(struct fetcher *f)
{
	struct fetch *x = f->first, *next;

	if (f->busy || f->torn)
		return;
	if (f->closing) {
		tear(f);
		return;
	}
	for (; x; x = next) {
		next = x->next;
		if (x->cancelled) {
			destroy(x);
		} else if (!x->added) {
			x->added = true;
			if (curl_multi_add_handle(f->multi, x->easy) != CURLM_OK) {
				x->error = -ENOMEM; /* said soon, not from within here */
				(void)uv_timer_start(&x->silence, on_silence, 0, 0);
			}
		}
	}
}

/* libcurl has returned: who is ready is told. A callback may have begun, cancelled or closed. */
static void settle(struct fetcher *f)
{
	CURLMsg *message;
	int left;

	fetcher_apply(f);
	while (!f->torn && (message = curl_multi_info_read(f->multi, &left))) {
		CURLcode code = message->data.result;
		char *mine = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &mine);
		finish((struct fetch *)(void *)mine, code);
		fetcher_apply(f);
	}
}

static void turn(struct fetcher *f, curl_socket_t fd, int events)
{
	int running;

	f->busy++;
	(void)curl_multi_socket_action(f->multi, fd, events, &running);
	f->busy--;
	settle(f);
}

static void on_silence(uv_timer_t *timer)
{
	struct fetch *x = timer->data;
	struct fetcher *f = x->fetcher;
	uint64_t idle = uv_now(f->loop) - x->heard_ms;

	if (x->error) {
		finish(x, CURLE_OUT_OF_MEMORY);
		settle(f);
	} else if (idle < x->silence_ms) {
		x->warned = false;
		(void)uv_timer_start(timer, on_silence, x->silence_ms - idle, 0);
	} else if (!x->warned) {
		/* The loop may have been away: bytes that have come are looked at first. */
		x->warned = true;
		(void)uv_timer_start(timer, on_silence, 1, 0);
	} else {
		x->error = -ETIMEDOUT;
		finish(x, CURLE_OPERATION_TIMEDOUT);
		settle(f);
	}
}

void fetcher_add(struct fetcher *f, struct fetch *x)
{
	uv_update_time(f->loop); /* or a long turn before this counts as silence */
	x->fetcher = f;
	x->heard_ms = uv_now(f->loop);
	(void)uv_timer_init(f->loop, &x->silence); /* cannot fail */
	x->silence.data = x;
	f->n_handles++;
	if (x->silence_ms)
		(void)uv_timer_start(&x->silence, on_silence, x->silence_ms, 0);
	x->next = f->first;
	x->link = &f->first;
	if (x->next)
		x->next->link = &x->next;
	f->first = x;
	fetcher_apply(f);
}

/* --- libcurl's memory ------------------------------------------------------------------------- */

/* It copies what it sends, credentials too, and wipes nothing: so all that it gives back is. */
static void wipe_and_free(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

/* Never realloc(), which leaves behind what it moved. */
static void *move(void *p, size_t n)
{
	size_t had = p ? malloc_usable_size(p) : 0;
	void *to = malloc(n);

	if (!to)
		return NULL;
	if (p)
		memcpy(to, p, had < n ? had : n);
	wipe_and_free(p);
	return to;
}

/* --- life ------------------------------------------------------------------------------------- */

int fetcher_new(uv_loop_t *loop, struct fetcher **ret)
{
	_cleanup_free_ struct fetcher *f = calloc(1, sizeof(*f));

	if (!f || curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_and_free, move, strdup,
				       calloc) != CURLE_OK)
		return -ENOMEM;
	f->loop = loop;
	f->multi = curl_multi_init();
	if (!f->multi) {
		curl_global_cleanup();
		return -ENOMEM;
	}
	(void)curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	(void)curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	(void)curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	(void)uv_timer_init(loop, &f->timer); /* cannot fail */
	f->timer.data = f;
	f->n_handles = 1;
	*ret = TAKE_PTR(f);
	return 0;
}

void fetcher_close(struct fetcher *f)
{
	if (!f)
		return;
	f->closing = true;
	fetcher_apply(f);
}
