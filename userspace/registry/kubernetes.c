/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kubernetes as a registry: Services, EndpointSlices and Nodes, listed and watched (see
 * kubernetes_watch.c), joined (kubernetes_join.c) and said. Nothing is said before Services and
 * EndpointSlices were both listed whole: one without the other would be a service without
 * endpoints.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "registry/kubernetes_watch.h"

static void on_settled(uv_timer_t *timer)
{
	kubernetes_on_change(timer->data);
}

static void say_left_out(struct kubernetes *k)
{
	struct kubernetes_join_counts counts;
	size_t n;

	kubernetes_join_count(k->join, &counts);
	n = counts.left_out + counts.partial;
	if (n == k->left_out)
		return;
	registry_say_skipped(
		k->r,
		"%zu objects, endpoints, ports or labels left out so far, %zu of them endpoints without a port of the others",
		n, counts.partial);
	k->left_out = n;
}

void kubernetes_on_change(struct kubernetes *k)
{
	struct kubernetes_change change;
	uint64_t now = uv_now(k->r->loop), due;
	int r = 0;

	while (k->told && (r = kubernetes_join_next(k->join, now, &change)) > 0) {
		if (change.service) {
			struct object o = {.kind = OBJECT_SERVICE, .service = change.service};

			registry_say_upsert(k->r, &o);
		} else {
			registry_say_remove(k->r, OBJECT_SERVICE, change.namespace, change.name);
		}
	}
	due = k->told ? kubernetes_join_due(k->join) : 0;
	/* Out of memory: the same again a little later. */
	if (due)
		(void)uv_timer_start(&k->settle, on_settled,
				     r < 0       ? 1000
				     : due > now ? due - now
						 : 1,
				     0);
	say_left_out(k);
}

void kubernetes_on_listed(struct kubernetes *k)
{
	const struct kubernetes_watch *w = k->watches;
	struct object *objects;
	size_t n;

	if (!w[KUBERNETES_SERVICE].listed || !w[KUBERNETES_SLICE].listed ||
	    (!w[KUBERNETES_NODE].listed && !w[KUBERNETES_NODE].denied))
		return;
	if (kubernetes_join_all(k->join, &objects, &n) < 0) {
		registry_say_error(k->r, REGISTRY_GARBAGE, "", "out of memory for a snapshot");
		return;
	}
	k->told = true;
	registry_say_snapshot(k->r, objects, n);
	say_left_out(k);
}

/* A kubeconfig may have been written anew; token files are read each time anyway. */
void kubernetes_on_unauthorized(struct kubernetes *k)
{
	struct kubernetes_access access;
	char text[200];

	if (kubernetes_config_read(k->r->config, &access, text) < 0)
		return;
	kubernetes_config_done(&k->access);
	k->access = access;
}

static void done(struct kubernetes *k)
{
	kubernetes_join_free(k->join);
	kubernetes_config_done(&k->access);
	free(k);
}

static int start(struct registry *r)
{
	struct kubernetes *k = calloc(1, sizeof(*k));
	int e;

	if (!k)
		return -ENOMEM;
	k->r = r;
	e = kubernetes_config_read(r->config, &k->access, r->status.text);
	if (e >= 0)
		e = kubernetes_join_new(r->tag, r->config->zone, &k->join);
	if (e < 0) {
		done(k);
		return e == -ENOMEM ? e : -EINVAL;
	}
	r->source = k;
	(void)uv_timer_init(r->loop, &k->settle);
	k->settle.data = k;
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++) {
		struct kubernetes_watch *w = &k->watches[i];

		w->k = k;
		w->kind = (enum kubernetes_kind)i;
		(void)uv_timer_init(r->loop, &w->timer);
		w->timer.data = w;
	}
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++)
		kubernetes_watch_begin(&k->watches[i]);
	return 0;
}

static void on_closed(struct kubernetes *k)
{
	struct registry *r = k->r;

	if (--k->n_closing)
		return;
	done(k);
	registry_stopped(r);
}

static void on_closed_settle(uv_handle_t *handle)
{
	on_closed(handle->data);
}

static void on_closed_watch(uv_handle_t *handle)
{
	const struct kubernetes_watch *w = handle->data;

	on_closed(w->k);
}

static void stop(struct registry *r)
{
	struct kubernetes *k = r->source;

	k->n_closing = 1 + _KUBERNETES_KIND_MAX;
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++) {
		kubernetes_watch_stop(&k->watches[i]);
		uv_close((uv_handle_t *)&k->watches[i].timer, on_closed_watch);
	}
	uv_close((uv_handle_t *)&k->settle, on_closed_settle);
}

const struct registry_kind registry_kubernetes = {
	.type = "kubernetes",
	.start = start,
	.stop = stop,
};
