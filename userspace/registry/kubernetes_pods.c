/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pods of this node, followed only while somebody wants them: most who may read services may not
 * read pods. Before: kubernetes_watch.c lists and watches them like any other kind. After: the
 * agent looks in registry/pods.h. Nothing of a registry's services ever waits for them.
 */
#include <stdio.h>
#include <string.h>

#include "registry/kubernetes_watch.h"

#define ASK_FIRST_MS 2000  /* a uid that is not known: its pod may be on its way to us */
#define ASK_KUBELET_MS 200 /* it is the one who began the pod */
#define ASK_MAX_MS 60000

static struct kubernetes_watch *watch_of(struct kubernetes *k)
{
	return &k->watches[KUBERNETES_POD];
}

static void set_error(struct pods *p, enum registry_error error)
{
	p->error = error;
	if (error == REGISTRY_OK)
		*p->text = *p->hint = '\0';
}

static void tell(struct kubernetes *k)
{
	k->pods_changed = false;
	if (k->r->host->pods && !k->stopping)
		k->r->host->pods(k->r->host->arg, k->r);
}

/* --- what is told ----------------------------------------------------------------------------- */

void kubernetes_pods_begin(struct kubernetes *k)
{
	pods_begin(k->r->pods);
}

void kubernetes_pods_end(struct kubernetes *k)
{
	struct pods *p = k->r->pods;

	pods_end(p, uv_now(k->r->loop));
	if (p->left_out)
		registry_say_skipped(k->r,
				     "%zu pods left out, over the %d of one node that are kept",
				     p->left_out, LIMIT_PODS);
	tell(k);
}

void kubernetes_pods_put(struct kubernetes *k, struct kubernetes_object *o)
{
	int r = pods_put(k->r->pods, TAKE_PTR(o->pod));

	kubernetes_object_free(o);
	if (r > 0)
		k->pods_wait_ms = 0;
	k->pods_changed = true;
}

void kubernetes_pods_delete(struct kubernetes *k, const struct kubernetes_object *o)
{
	pods_delete(k->r->pods, kubernetes_text(o, o->namespace), kubernetes_text(o, o->name));
	k->pods_changed = true;
}

void kubernetes_pods_on_change(struct kubernetes *k)
{
	if (k->pods_changed)
		tell(k);
}

void kubernetes_pods_heard(struct kubernetes *k)
{
	if (k->r->pods->error == REGISTRY_OK)
		return;
	set_error(k->r->pods, REGISTRY_OK);
	tell(k);
}

/* Those that were known stay; they are the newest that we may know. */
void kubernetes_pods_failed(struct kubernetes *k, const struct kubernetes_failure *f)
{
	struct pods *p = k->r->pods;
	struct kubernetes_refusal why;

	kubernetes_decode_refusal(f->result->body, f->result->length, &why);
	p->error = f->error;
	kubernetes_hint(k, f, p->hint);
	if (f->result->error)
		(void)snprintf(p->text, sizeof(p->text), "%s pods: %s", f->verb,
			       f->result->error_text);
	else
		(void)snprintf(p->text, sizeof(p->text), "%u on %s pods: %s", f->result->status,
			       f->verb, why.text);
	tell(k);
}

/* --- what is wanted --------------------------------------------------------------------------- */

/* As if it had never begun. */
static void end_watch(struct kubernetes_watch *w)
{
	kubernetes_watch_stop(w);
	w->step = KUBERNETES_LIST;
	*w->version = *w->next = '\0';
	w->newest = (struct kubernetes_mark){};
	w->waits = w->listed = w->denied = w->failing = false;
	w->wait_ms = 0;
}

static bool asks_kubelet(const struct kubernetes *k)
{
	return k->r->config->kubelet && *k->r->config->kubelet;
}

void kubernetes_want_pods(struct registry *r, bool wanted)
{
	struct kubernetes *k = r->source;
	struct kubernetes_watch *w = watch_of(k);

	if (r->pods->wanted == wanted || k->stopping)
		return;
	r->pods->wanted = wanted;
	if (wanted && asks_kubelet(k)) {
		kubernetes_kubelet_ask(k);
		return;
	}
	if (wanted) {
		w->waits = true;
		kubernetes_go(k);
		return;
	}
	end_watch(w);
	kubernetes_kubelet_stop(k);
	(void)uv_timer_stop(&k->pods_again);
	pods_clear(r->pods);
	set_error(r->pods, REGISTRY_OK);
	k->pods_wait_ms = k->pods_asked_ms = 0;
}

static void on_again(uv_timer_t *timer)
{
	struct kubernetes *k = timer->data;

	kubernetes_watch_forget(watch_of(k));
	tell(k);
}

/* Until the first list there is nothing to ask for again; after it, once a wait that doubles. */
void kubernetes_ask_pods(struct registry *r)
{
	struct kubernetes *k = r->source;
	uint64_t now = uv_now(r->loop), first = asks_kubelet(k) ? ASK_KUBELET_MS : ASK_FIRST_MS;

	if (!r->pods->listed || k->stopping)
		return;
	if (k->pods_asked_ms <= now) {
		k->pods_wait_ms = k->pods_wait_ms ? 2 * k->pods_wait_ms : first;
		if (k->pods_wait_ms > ASK_MAX_MS)
			k->pods_wait_ms = ASK_MAX_MS;
		k->pods_asked_ms = now + k->pods_wait_ms;
	}
	if (uv_is_active((uv_handle_t *)&k->pods_again) &&
	    uv_timer_get_due_in(&k->pods_again) <= k->pods_asked_ms - now)
		return;
	if (asks_kubelet(k))
		kubernetes_kubelet_later(k, k->pods_asked_ms - now);
	else
		(void)uv_timer_start(&k->pods_again, on_again, k->pods_asked_ms - now, 0);
}
