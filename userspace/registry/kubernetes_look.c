/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A second look at what a Kubernetes API server took away (registry.h). The watches say what there
 * is, and a look only whether that is so: the slices of one service and the service itself are
 * listed beside them, without a version, so that the server must have it from its store. If each
 * object is there as it is known, and no other, the service is said again. If not, either a change
 * is on its way in a watch, or a watch missed one: the next look tells, and if it differs, too,
 * everything is listed anew. An answer is never taken in itself: it may be older than a watch's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "registry/kubernetes_build.h"
#include "registry/kubernetes_watch.h"

#define LOOK_MS 5000
#define DIFFERS_MOST 2 /* looks in a row; then the watches are not believed */

static void on_done(void *arg, const struct fetch_result *result);

/* --- what is known --------------------------------------------------------------------------- */

/* The row of which it is a part. */
static struct kubernetes_row *find_part(const struct kubernetes_join *j, const char *namespace,
					const char *name, unsigned int *ret_part)
{
	const struct kubernetes_table *t = &j->tables[KUBERNETES_SERVICE];
	char its_namespace[64], its_name[64];
	struct kubernetes_row *row = kubernetes_table_find(t, namespace, name);

	*ret_part = 0;
	if ((row && row->object) || kubernetes_parts(j) == 1)
		return row;
	for (row = kubernetes_table_next(t, NULL); row; row = kubernetes_table_next(t, row))
		for (*ret_part = 0; *ret_part < kubernetes_parts(j); ++*ret_part)
			if (kubernetes_build_name(row, *ret_part, its_namespace, its_name) >= 0 &&
			    !strcmp(its_namespace, namespace) && !strcmp(its_name, name))
				return row;
	return NULL;
}

/* The Service that a service came of, or did when it was there. False: who knows. */
static bool find_source(const struct kubernetes_join *j, const char *namespace, const char *name,
			char ret_namespace[static 64], char ret_name[static 64])
{
	unsigned int part;
	const struct kubernetes_row *row = find_part(j, namespace, name, &part);

	/* One that has gone has the name of its Service only if no other could. */
	if (!row && kubernetes_parts(j) > 1)
		return false;
	(void)snprintf(ret_namespace, 64, "%s", namespace);
	(void)snprintf(ret_name, 64, "%s", name);
	return !row || kubernetes_build_name(row, 0, ret_namespace, ret_name) >= 0;
}

static bool has_slice(const struct kubernetes_join *j, const struct kubernetes_row *service,
		      const struct kubernetes_object *o)
{
	const struct kubernetes_row *row = kubernetes_table_find(&j->tables[KUBERNETES_SLICE],
								 kubernetes_text(o, o->namespace),
								 kubernetes_text(o, o->name));

	return row && service && row->owner == service && o->revision &&
	       row->object->revision == o->revision;
}

static bool has_slices(const struct kubernetes_join *j, const struct kubernetes_row *service,
		       const struct kubernetes_list *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n_items; i++) {
		if (list->items[i]->unusable)
			continue;
		if (!has_slice(j, service, list->items[i]))
			return false;
		n++;
	}
	for (const struct kubernetes_row *s = service ? service->slices : NULL; s; s = s->sibling)
		n--;
	return n == 0;
}

/* Whether a Service, or its slices, are here as the list has them, and all of it was said. */
static bool is_same(const struct kubernetes_join *j, enum kubernetes_kind kind,
		    const char *namespace, const char *name, const struct kubernetes_list *list)
{
	const struct kubernetes_row *row =
		kubernetes_table_find(&j->tables[KUBERNETES_SERVICE], namespace, name);
	const struct kubernetes_object *o = row ? row->object : NULL;

	if ((row && row->dirty) || *list->next)
		return false;
	if (kind == KUBERNETES_SLICE)
		return has_slices(j, row, list);
	if (!list->n_items || !o)
		return !list->n_items && !o;
	return list->n_items == 1 && o->revision && list->items[0]->revision == o->revision;
}

/* --- questions ------------------------------------------------------------------------------- */

/* Whether both watches are where they only hear of changes. */
static bool is_watching(const struct kubernetes *k)
{
	static const enum kubernetes_kind kinds[] = {KUBERNETES_SERVICE, KUBERNETES_SLICE};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kubernetes_watch *w = &k->watches[kinds[i]];

		if (w->failing || !w->fetch || w->step != KUBERNETES_WATCH)
			return false;
	}
	return k->told;
}

/* Namespaces and names are DNS labels, of which every byte may be in a path. */
static char *make_url(const struct kubernetes *k)
{
	const struct kubernetes_look *l = &k->look;
	char *url;
	int r;

	if (l->kind == KUBERNETES_SLICE)
		r = asprintf(&url,
			     "/apis/discovery.k8s.io/%s/namespaces/%s/endpointslices"
			     "?labelSelector=kubernetes.io%%2Fservice-name%%3D%s",
			     k->slices, l->namespace, l->name);
	else
		r = asprintf(&url,
			     "/api/v1/namespaces/%s/services?fieldSelector=metadata.name%%3D%s",
			     l->namespace, l->name);
	return r < 0 ? NULL : url;
}

static int ask(struct kubernetes *k, enum kubernetes_kind kind)
{
	struct fetch_request request = {.timeout_ms = LOOK_MS, .on_done = on_done, .arg = k};
	_cleanup_free_ char *url = NULL;

	k->look.kind = kind;
	url = make_url(k);
	request.url = url;
	return url ? kubernetes_ask(k, &request, &k->look.fetch) : -ENOMEM;
}

/* Both are listed anew, and what comes of it is said as a whole, once it has settled. */
static void look_at_all(struct kubernetes *k)
{
	k->look.differs = 0;
	k->look.all = true;
	k->watches[KUBERNETES_SERVICE].relisted = k->watches[KUBERNETES_SLICE].relisted = false;
	kubernetes_watch_forget(&k->watches[KUBERNETES_SERVICE]);
	kubernetes_watch_forget(&k->watches[KUBERNETES_SLICE]);
}

bool kubernetes_look_is_over(struct kubernetes *k)
{
	if (!k->look.all || !k->watches[KUBERNETES_SERVICE].relisted ||
	    !k->watches[KUBERNETES_SLICE].relisted || kubernetes_join_due(k->join))
		return false;
	k->look.all = false;
	return true;
}

static void say_again(struct kubernetes *k)
{
	const struct kubernetes_look *l = &k->look;
	unsigned int part;
	struct kubernetes_row *row = find_part(k->join, l->say_namespace, l->say_name, &part);

	if (row && row->told & 1u << part) {
		kubernetes_join_again(k->join, row, uv_now(k->r->loop));
		kubernetes_on_change(k);
		return;
	}
	registry_say_remove(k->r, OBJECT_SERVICE, l->say_namespace, l->say_name);
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct kubernetes *k = arg;
	struct kubernetes_look *l = &k->look;
	struct kubernetes_list list;
	bool same;

	l->fetch = NULL;
	if (registry_error_of(result) != REGISTRY_OK || !is_watching(k) ||
	    kubernetes_decode_list(result->body, result->length, l->kind, &list) < 0)
		return;
	same = is_same(k->join, l->kind, l->namespace, l->name, &list);
	kubernetes_list_done(&list);
	if (!same) {
		if (++l->differs >= DIFFERS_MOST)
			look_at_all(k);
		return;
	}
	if (l->kind == KUBERNETES_SLICE) {
		(void)ask(k, KUBERNETES_SERVICE);
		return;
	}
	l->differs = 0;
	say_again(k);
}

int kubernetes_look(struct registry *r, const char *namespace, const char *name)
{
	struct kubernetes *k = r->source;
	struct kubernetes_look *l = &k->look;

	if (k->stopping || l->fetch || l->all || !is_watching(k))
		return -EAGAIN;
	if (!name || !find_source(k->join, namespace, name, l->namespace, l->name)) {
		look_at_all(k);
		return 0;
	}
	(void)snprintf(l->say_namespace, sizeof(l->say_namespace), "%s", namespace);
	(void)snprintf(l->say_name, sizeof(l->say_name), "%s", name);
	return ask(k, KUBERNETES_SLICE);
}
