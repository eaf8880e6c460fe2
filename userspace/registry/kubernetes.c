/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kubernetes as a registry: Services, EndpointSlices, Nodes, ConfigMaps with policies, and pods,
 * listed and watched (see kubernetes_watch.c), joined (kubernetes_join.c) and said. Nothing is said
 * before all were listed whole: a Service without its EndpointSlices would be one without
 * endpoints.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "registry/kubernetes_watch.h"

#define MAPS_MS 10000u

static void list_maps(struct kubernetes *k);

static void on_settled(uv_timer_t *timer)
{
	list_maps(timer->data);
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

/* The number of those that could be told; -ENOMEM. */
static int tell_policies(struct kubernetes *k)
{
	struct kubernetes_policy_change change;
	char text[KUBERNETES_TEXT];
	int n;

	if (!kubernetes_join_take_policies(k->join))
		return 0;
	n = kubernetes_policies_read(k->policies, k->join, text);
	if (n > 0)
		registry_say_skipped(k->r, "%s", text);
	while (k->told && n >= 0 && kubernetes_policies_next(k->policies, &change) > 0) {
		if (change.policy) {
			struct object o = {.kind = OBJECT_POLICY, .policy = change.policy};

			registry_say_upsert(k->r, &o);
		} else {
			registry_say_remove(k->r, OBJECT_POLICY, change.namespace, change.name);
		}
	}
	return n;
}

static int tell_services(struct kubernetes *k)
{
	struct kubernetes_change change;
	int r;

	while ((r = kubernetes_join_next(k->join, uv_now(k->r->loop), &change)) > 0) {
		if (change.service) {
			struct object o = {.kind = OBJECT_SERVICE, .service = change.service};

			registry_say_upsert(k->r, &o);
		} else {
			registry_say_remove(k->r, OBJECT_SERVICE, change.namespace, change.name);
		}
	}
	return r;
}

static int say_all(struct kubernetes *k);

/* ConfigMaps that were left out are listed again once others have gone: in how many ms, 0: not.
 * They are few and small, but who may write them must not make us ask all the time. */
static uint64_t maps_wait(const struct kubernetes *k, uint64_t now)
{
	uint64_t due = k->maps_ms + MAPS_MS;

	if (!kubernetes_join_wants_maps(k->join))
		return 0;
	return k->maps_ms && due > now ? due - now : 1;
}

/* Never within a watch's own answer: that would end it. */
static void list_maps(struct kubernetes *k)
{
	uint64_t now = uv_now(k->r->loop);

	if (maps_wait(k, now) != 1)
		return;
	k->maps_ms = now;
	kubernetes_watch_forget(&k->watches[KUBERNETES_CONFIGMAP]);
}

void kubernetes_on_change(struct kubernetes *k)
{
	uint64_t now = uv_now(k->r->loop), due, wait = maps_wait(k, now);
	int r = 0;

	kubernetes_pods_on_change(k);
	if (!k->told)
		return;
	if (tell_policies(k) < 0)
		registry_say_skipped(k->r, "out of memory for policies");
	r = tell_services(k);
	due = kubernetes_join_due(k->join);
	/* Out of memory: the same again a little later. */
	if (due)
		due = r < 0 ? 1000 : due > now ? due - now : 1;
	if (wait && (!due || wait < due))
		due = wait;
	if (due)
		(void)uv_timer_start(&k->settle, on_settled, due, 0);
	say_left_out(k);
	if (kubernetes_look_is_over(k) && say_all(k) < 0)
		registry_say_skipped(k->r, "out of memory for a second look");
}

void kubernetes_on_begin(struct kubernetes_watch *w)
{
	if (w->kind == KUBERNETES_POD)
		kubernetes_pods_begin(w->k);
	else
		kubernetes_join_begin(w->k->join, w->kind);
}

void kubernetes_on_whole(struct kubernetes_watch *w)
{
	if (w->kind == KUBERNETES_POD)
		kubernetes_pods_end(w->k);
	else
		kubernetes_join_end(w->k->join, w->kind, uv_now(w->k->r->loop));
}

void kubernetes_on_deleted(struct kubernetes *k, struct kubernetes_object *o)
{
	if (o->kind == KUBERNETES_POD)
		kubernetes_pods_delete(k, o);
	else
		kubernetes_join_delete(k->join, o, uv_now(k->r->loop));
	kubernetes_object_free(o);
}

static bool is_settled(const struct kubernetes *k)
{
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++) {
		if (i != KUBERNETES_POD && !k->watches[i].listed && !k->watches[i].denied)
			return false;
	}
	return true;
}

static int say_all(struct kubernetes *k)
{
	struct object *objects, *grown;
	size_t n, n_policies;
	int r;

	(void)tell_policies(k);
	n_policies = kubernetes_policies_count(k->policies);
	r = kubernetes_join_all(k->join, &objects, &n);
	if (r < 0)
		return r;
	grown = reallocarray(objects, n + n_policies + 1, sizeof(*objects));
	if (!grown) {
		object_free_list(objects, n);
		return -ENOMEM;
	}
	kubernetes_policies_take(k->policies, grown + n);
	k->told = true;
	registry_say_snapshot(k->r, grown, n + n_policies);
	return 0;
}

/* What a later list brings is told as changes: a snapshot would not wait for what is on its way
 * from one slice to another. */
void kubernetes_on_listed(struct kubernetes *k)
{
	if (k->told) {
		kubernetes_on_change(k);
		return;
	}
	if (!is_settled(k))
		return;
	if (say_all(k) < 0) {
		registry_say_error(k->r, REGISTRY_GARBAGE, "", "out of memory for a snapshot");
		return;
	}
	say_left_out(k);
}

void kubernetes_on_contact(struct kubernetes_watch *w, uint64_t latency_us)
{
	const struct kubernetes *k = w->k;

	w->failing = false;
	w->wait_ms = 0;
	w->heard_ms = uv_now(k->r->loop);
	if (w->kind == KUBERNETES_POD)
		kubernetes_pods_heard(w->k);
	/* Who is a backend is in slices: without those it is stale, whatever else answers. */
	if (k->watches[KUBERNETES_SLICE].failing)
		return;
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++) {
		if (k->watches[i].failing) {
			registry_say_heard(k->r);
			return;
		}
	}
	registry_say_contact(k->r, latency_us);
}

void kubernetes_on_lost(struct kubernetes_watch *w)
{
	struct kubernetes *k = w->k;

	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++) {
		if (&k->watches[i] != w)
			kubernetes_watch_doubt(&k->watches[i]);
	}
}

void kubernetes_on_other_history(struct kubernetes *k)
{
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++)
		kubernetes_watch_forget(&k->watches[i]);
}

void kubernetes_go(struct kubernetes *k)
{
	if (k->exec || k->stopping)
		return;
	if (!k->discovered) {
		kubernetes_discover(k);
		return;
	}
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++) {
		struct kubernetes_watch *w = &k->watches[i];

		if (!w->waits || w->fetch)
			continue;
		(void)uv_timer_stop(&w->timer);
		kubernetes_watch_begin(w);
	}
}

static void done(struct kubernetes *k)
{
	kubernetes_join_free(k->join);
	kubernetes_policies_free(k->policies);
	k->r->pods = pods_free(k->r->pods);
	kubernetes_config_done(&k->access);
	kubernetes_config_done(&k->older);
	free(k);
}

/* As the pod was told (by the downward API), or as the host is called. */
static void find_node(struct kubernetes *k)
{
	const char *name = getenv("NODE_NAME");

	if (name && *name)
		(void)snprintf(k->node, sizeof(k->node), "%s", name);
	else if (gethostname(k->node, sizeof(k->node) - 1) < 0)
		*k->node = '\0';
	for (char *p = k->node; *p; p++) /* as the kubelet does */
		*p = (char)tolower((unsigned char)*p);
	(void)snprintf(k->r->pods->node, sizeof(k->r->pods->node), "%s", k->node);
}

static void start_watches(struct kubernetes *k)
{
	uv_loop_t *loop = k->r->loop;

	(void)uv_timer_init(loop, &k->settle);
	(void)uv_timer_init(loop, &k->again);
	(void)uv_timer_init(loop, &k->pods_again);
	k->settle.data = k->again.data = k->pods_again.data = k;
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++) {
		struct kubernetes_watch *w = &k->watches[i];

		*w = (struct kubernetes_watch){.k = k,
					       .kind = (enum kubernetes_kind)i,
					       .waits = i != KUBERNETES_POD,
					       .page = KUBERNETES_PAGE};
		(void)uv_timer_init(loop, &w->timer);
		w->timer.data = w;
	}
	kubernetes_go(k);
}

static int start(struct registry *r)
{
	struct kubernetes *k = calloc(1, sizeof(*k));
	int e;

	if (!k)
		return -ENOMEM;
	k->r = r;
	k->access = k->older = KUBERNETES_ACCESS_NONE;
	e = kubernetes_config_read(r->config, &k->access, r->status.text);
	if (e >= 0)
		e = kubernetes_join_new(r->tag, r->config->zone, &k->join);
	if (e >= 0)
		e = kubernetes_policies_new(r->tag, &k->policies);
	if (e >= 0)
		e = pods_new(&r->pods);
	if (e < 0) {
		done(k);
		return e == -ENOMEM ? e : -EINVAL;
	}
	r->source = k;
	find_node(k);
	if (r->config->external)
		kubernetes_join_set_node(k->join, k->node);
	start_watches(k);
	kubernetes_want_pods(r, r->config->pods);
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

static void on_closed_timer(uv_handle_t *handle)
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

	k->stopping = true;
	k->n_closing = 3 + _KUBERNETES_KIND_MAX;
	k->discovery = fetch_cancel(k->discovery);
	kubernetes_kubelet_stop(k);
	k->look.fetch = fetch_cancel(k->look.fetch);
	kubernetes_access_stop(k);
	for (size_t i = 0; i < _KUBERNETES_KIND_MAX; i++) {
		kubernetes_watch_stop(&k->watches[i]);
		uv_close((uv_handle_t *)&k->watches[i].timer, on_closed_watch);
	}
	uv_close((uv_handle_t *)&k->settle, on_closed_timer);
	uv_close((uv_handle_t *)&k->again, on_closed_timer);
	uv_close((uv_handle_t *)&k->pods_again, on_closed_timer);
}

const struct registry_kind registry_kubernetes = {
	.type = "kubernetes",
	.start = start,
	.stop = stop,
	.want_pods = kubernetes_want_pods,
	.ask_pods = kubernetes_ask_pods,
	.look = kubernetes_look,
};
