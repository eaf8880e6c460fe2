/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pods of this node from its kubelet: GET /pods, again and again, for it has no watch. Before:
 * kubernetes_pods.c wants them. After: it keeps them. An answer that is no whole list takes nothing
 * away.
 */
#include <errno.h>
#include <string.h>

#include "registry/kubernetes_watch.h"

#define ANSWER_MS 10000
#define INTERVAL_MS 10000
#define WAIT_MS 1000 /* for credentials */

static void on_again(uv_timer_t *timer)
{
	kubernetes_kubelet_ask(timer->data);
}

void kubernetes_kubelet_later(struct kubernetes *k, uint64_t ms)
{
	(void)uv_timer_start(&k->pods_again, on_again, ms, 0);
}

static uint64_t interval_ms(const struct kubernetes *k)
{
	return k->r->config->interval_ms ?: INTERVAL_MS;
}

/* 0, -EBADMSG, -ENOMEM. */
static int take(struct kubernetes *k, const struct fetch_result *result)
{
	struct kubernetes_list list;
	int r = kubernetes_decode_pods(result->body, result->length, &list);

	if (r < 0)
		return r;
	kubernetes_pods_begin(k);
	for (size_t i = 0; i < list.n_items; i++)
		kubernetes_pods_put(k, TAKE_PTR(list.items[i]));
	kubernetes_list_done(&list);
	kubernetes_pods_end(k);
	return 0;
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct kubernetes *k = arg;
	enum registry_error error = registry_error_of(result);
	struct kubernetes_failure failure = {"get", "nodes/proxy", error, result};

	k->kubelet = NULL;
	if (error == REGISTRY_OK && take(k, result) < 0)
		failure.error = REGISTRY_GARBAGE;
	if (failure.error != REGISTRY_OK) {
		if (error == REGISTRY_UNAUTHORIZED)
			kubernetes_distrust(k, result->elapsed_us);
		kubernetes_pods_failed(k, &failure);
		kubernetes_kubelet_later(k, registry_backoff_of(&k->kubelet_wait_ms, WAIT_MS));
		return;
	}
	k->kubelet_wait_ms = 0;
	kubernetes_pods_heard(k);
	/* Whoever misses one while it is told may have asked for an earlier look. */
	if (!uv_is_active((uv_handle_t *)&k->pods_again))
		kubernetes_kubelet_later(k, interval_ms(k));
}

void kubernetes_kubelet_ask(struct kubernetes *k)
{
	_cleanup_free_ char *url = NULL;
	struct fetch_request request = {.timeout_ms = ANSWER_MS, .on_done = on_done, .arg = k};
	int r = asprintf(&url, "%s/pods", k->r->config->kubelet);

	if (k->kubelet)
		return;
	if (r < 0)
		url = NULL;
	request.url = url;
	r = url ? kubernetes_ask(k, &request, &k->kubelet) : -ENOMEM;
	if (r < 0)
		kubernetes_kubelet_later(k, WAIT_MS);
}

void kubernetes_kubelet_stop(struct kubernetes *k)
{
	k->kubelet = fetch_cancel(k->kubelet);
	k->kubelet_wait_ms = 0;
}
