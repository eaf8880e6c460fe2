/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TrafficPolicies out of ConfigMaps and Services. It must never take anything else out of
 * ConfigMaps, or let one namespace speak for another.
 */
#include "registry/kubernetes_policy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "manifest/manifest.h"
#include "model/limits.h"

struct kept {
	struct policy *policy;
	uint64_t origin; /* which value of which ConfigMap */
	size_t order;
	bool told; /* as it is */
};

struct list {
	struct kept *items; /* by namespace and name */
	size_t n;
};

struct kubernetes_policies {
	const char *tag;
	struct list now;
	struct list gone; /* told, and not told to be gone */
};

struct reading {
	struct kubernetes_policies *p;
	struct list list;
	const struct kubernetes_object *map;
	const char *key;
	char *text;
	int left_out;
};

static void list_done(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		policy_unref(l->items[i].policy);
	free(l->items);
	*l = (struct list){};
}

int kubernetes_policies_new(const char *tag, struct kubernetes_policies **ret)
{
	struct kubernetes_policies *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->tag = tag;
	*ret = p;
	return 0;
}

struct kubernetes_policies *kubernetes_policies_free(struct kubernetes_policies *p)
{
	if (!p)
		return NULL;
	list_done(&p->now);
	list_done(&p->gone);
	free(p);
	return NULL;
}

/* --- reading --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void leave_out(struct reading *in, const char *format,
							    ...)
{
	va_list args;
	int n = snprintf(in->text, KUBERNETES_TEXT,
			 "ConfigMap %.40s/%.60s: ", kubernetes_text(in->map, in->map->namespace),
			 kubernetes_text(in->map, in->map->name));

	va_start(args, format);
	if (n > 0 && n < KUBERNETES_TEXT)
		(void)vsnprintf(in->text + n, KUBERNETES_TEXT - (size_t)n, format, args);
	va_end(args);
	in->left_out++;
}

/* Takes the policy. */
static int add(struct reading *in, struct policy *policy, uint64_t origin)
{
	struct list *l = &in->list;
	struct kept *grown;

	if (l->n == LIMIT_POLICIES) {
		leave_out(in, "more than %d policies", LIMIT_POLICIES);
		policy_unref(policy);
		return 0;
	}
	grown = reallocarray(l->items, l->n + 1, sizeof(*l->items));
	if (!grown) {
		policy_unref(policy);
		return -ENOMEM;
	}
	l->items = grown;
	l->items[l->n] = (struct kept){.policy = policy, .origin = origin, .order = l->n};
	l->n++;
	return 0;
}

/* Whether the text says a namespace at all: one that does not means the ConfigMap's. */
static bool says_namespace(const struct manifest *m, size_t i)
{
	yyjson_mut_val *meta = yyjson_mut_obj_get(m->items[i], "metadata");

	return yyjson_mut_obj_get(meta, "namespace");
}

static int read_object(struct reading *in, const struct manifest *m, size_t i, uint64_t origin)
{
	const char *own = kubernetes_text(in->map, in->map->namespace);
	struct policy draft, *policy;

	if (m->objects[i].kind != OBJECT_POLICY) {
		leave_out(in, "%.40s holds what is no TrafficPolicy", in->key);
		return 0;
	}
	draft = *m->objects[i].policy;
	if (says_namespace(m, i) && strcmp(draft.namespace, own)) {
		leave_out(in, "policy %.30s is for namespace %.30s", draft.name, draft.namespace);
		return 0;
	}
	draft.namespace = (char *)own;
	draft.source = (char *)in->p->tag;
	if (policy_new(&draft, &policy) < 0)
		return -ENOMEM;
	return add(in, policy, origin);
}

/* What that value said when it could be read. */
static int keep_old(struct reading *in, uint64_t origin)
{
	const struct list *now = &in->p->now;
	int r = 0;

	for (size_t i = 0; i < now->n && r >= 0; i++) {
		if (now->items[i].origin == origin)
			r = add(in, policy_ref(now->items[i].policy), origin);
	}
	return r;
}

/* Of the value of a key in a ConfigMap, whatever it is. */
static uint64_t origin_of(const struct reading *in)
{
	const char *const texts[] = {kubernetes_text(in->map, in->map->namespace),
				     kubernetes_text(in->map, in->map->name), in->key};
	uint64_t hash = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		hash = text_hash(texts[i], strlen(texts[i]), hash);
	return hash;
}

static int read_value(struct reading *in, const char *value)
{
	uint64_t origin = origin_of(in);
	struct manifest m = {};
	int r = manifest_parse(in->key, value, strlen(value), &m);

	if (r == -E2BIG || (r >= 0 && m.n_errors)) {
		leave_out(in, "%.30s:%zu: %.60s", in->key, m.n_errors ? m.errors[0].line : 0,
			  m.n_errors ? m.errors[0].message : "too large");
		r = keep_old(in, origin);
	} else {
		for (size_t i = 0; i < m.n && r >= 0; i++)
			r = read_object(in, &m, i, origin);
	}
	manifest_done(&m);
	return r;
}

static int read_map(struct reading *in, const struct kubernetes_object *map)
{
	int r = 0;

	in->map = map;
	for (size_t i = 0; i < map->n_labels && r >= 0; i++) {
		in->key = kubernetes_text(map, map->labels[i].key);
		r = read_value(in, kubernetes_text(map, map->labels[i].value));
	}
	return r;
}

/* --- of services ----------------------------------------------------------------------------- */

bool kubernetes_policy_of(const struct kubernetes_object *o, char ret[static 64])
{
	if (o->policy)
		return draft_name(kubernetes_text(o, o->policy), ret) >= 0;
	if (!kubernetes_is_balanced(o))
		return false;
	if (o->affinity_s)
		(void)snprintf(ret, 64, "kubernetes-client-ip-%us%s", o->affinity_s,
			       o->local ? "-local" : "");
	else
		(void)snprintf(ret, 64, "kubernetes-local");
	return true;
}

static bool is_read(const struct reading *in, const char *namespace, const char *name)
{
	for (size_t i = 0; i < in->list.n; i++) {
		const struct policy *p = in->list.items[i].policy;

		if (!strcmp(p->name, name) && !strcmp(p->namespace, namespace))
			return true;
	}
	return false;
}

/* Those of one namespace that say the same share a policy. */
static int read_service(struct reading *in, const struct kubernetes_object *o)
{
	char name[LIMIT_NAME + 1], text[300], affinity[80] = "";

	if (!kubernetes_is_balanced(o) || !kubernetes_policy_of(o, name) ||
	    is_read(in, kubernetes_text(o, o->namespace), name))
		return 0;
	if (o->affinity_s)
		(void)snprintf(affinity, sizeof(affinity),
			       "affinity: {by: address, timeout: %us}, ", o->affinity_s);
	(void)snprintf(text, sizeof(text),
		       "apiVersion: sinew/v1\nkind: TrafficPolicy\nmetadata: {name: %s}\n"
		       "spec: {loadBalancer: {%slocality: {prefer: %s}}}\n",
		       name, affinity, o->local ? "node" : "none");
	in->map = o;
	in->key = "spec";
	return read_value(in, text);
}

static int read_services(struct reading *in, const struct kubernetes_join *j)
{
	const struct kubernetes_row *at = NULL;
	int r = 0;

	do {
		const struct kubernetes_object *o =
			kubernetes_join_visit(j, KUBERNETES_SERVICE, &at);

		if (o) /* else it is gone, and that is not told yet; or there is none left */
			r = read_service(in, o);
	} while (at && r >= 0);
	return r;
}

/* --- order ----------------------------------------------------------------------------------- */

static int compare_maps(const void *a, const void *b)
{
	const struct kubernetes_object *x = *(const struct kubernetes_object *const *)a,
				       *y = *(const struct kubernetes_object *const *)b;
	int r = strcmp(kubernetes_text(x, x->namespace), kubernetes_text(y, y->namespace));

	return r ? r : strcmp(kubernetes_text(x, x->name), kubernetes_text(y, y->name));
}

static int compare_names(const struct kept *a, const struct kept *b)
{
	int r = strcmp(a->policy->namespace, b->policy->namespace);

	return r ? r : strcmp(a->policy->name, b->policy->name);
}

static int compare(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;
	int r = compare_names(x, y);

	return r ? r : (x->order > y->order) - (x->order < y->order);
}

/* The maps, by name; the caller frees. */
static int collect(const struct kubernetes_join *j, const struct kubernetes_object ***ret,
		   size_t *ret_n)
{
	const struct kubernetes_row *at = NULL;
	struct kubernetes_join_counts counts;
	const struct kubernetes_object **maps, *one;
	size_t n = 0;

	kubernetes_join_count(j, &counts);
	maps = calloc(counts.objects[KUBERNETES_CONFIGMAP] + 1, sizeof(*maps));
	if (!maps)
		return -ENOMEM;
	while ((one = kubernetes_join_visit(j, KUBERNETES_CONFIGMAP, &at)))
		maps[n++] = one;
	qsort((void *)maps, n, sizeof(*maps), compare_maps);
	*ret = maps;
	*ret_n = n;
	return 0;
}

/* Sorted; of several of a name the first stays. */
static void make_unique(struct list *l)
{
	size_t n = 0;

	if (l->n)
		qsort(l->items, l->n, sizeof(*l->items), compare);
	for (size_t i = 0; i < l->n; i++) {
		if (n && !compare_names(&l->items[n - 1], &l->items[i]))
			policy_unref(l->items[i].policy);
		else
			l->items[n++] = l->items[i];
	}
	l->n = n;
}

/* What of `old` is told already, and what is gone. -ENOMEM. */
static int compare_lists(struct kubernetes_policies *p, struct list *next)
{
	size_t n = p->gone.n, k = 0;
	struct kept *grown = reallocarray(p->gone.items, n + p->now.n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	p->gone.items = grown;
	for (size_t i = 0; i < p->now.n; i++) {
		struct kept *old = &p->now.items[i];

		while (k < next->n && compare_names(&next->items[k], old) < 0)
			k++;
		if (k == next->n || compare_names(&next->items[k], old) > 0) {
			grown[p->gone.n++] =
				(struct kept){.policy = policy_ref(old->policy), .told = true};
			continue;
		}
		next->items[k].told =
			old->told && policy_is_equal(old->policy, next->items[k].policy);
	}
	return 0;
}

int kubernetes_policies_read(struct kubernetes_policies *p, const struct kubernetes_join *j,
			     char ret_text[static KUBERNETES_TEXT])
{
	struct reading in = {.p = p, .text = ret_text};
	const struct kubernetes_object **maps;
	size_t n;
	int r = collect(j, &maps, &n);

	*ret_text = '\0';
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r >= 0; i++)
		r = read_map(&in, maps[i]);
	free((void *)maps);
	if (r >= 0)
		r = read_services(&in, j);
	make_unique(&in.list);
	if (r >= 0)
		r = compare_lists(p, &in.list);
	if (r < 0) {
		list_done(&in.list);
		return r;
	}
	list_done(&p->now);
	p->now = in.list;
	return in.left_out;
}

/* --- telling --------------------------------------------------------------------------------- */

int kubernetes_policies_next(struct kubernetes_policies *p, struct kubernetes_policy_change *ret)
{
	*ret = (struct kubernetes_policy_change){};
	if (p->gone.n) {
		struct policy *gone = p->gone.items[--p->gone.n].policy;

		(void)snprintf(ret->namespace, sizeof(ret->namespace), "%s", gone->namespace);
		(void)snprintf(ret->name, sizeof(ret->name), "%s", gone->name);
		policy_unref(gone);
		return 1;
	}
	for (size_t i = 0; i < p->now.n; i++) {
		if (p->now.items[i].told)
			continue;
		p->now.items[i].told = true;
		ret->policy = policy_ref(p->now.items[i].policy);
		return 1;
	}
	return 0;
}

size_t kubernetes_policies_count(const struct kubernetes_policies *p)
{
	return p->now.n;
}

void kubernetes_policies_take(struct kubernetes_policies *p, struct object *ret)
{
	for (size_t i = 0; i < p->now.n; i++) {
		ret[i] = (struct object){.kind = OBJECT_POLICY,
					 .policy = policy_ref(p->now.items[i].policy)};
		p->now.items[i].told = true;
	}
	list_done(&p->gone);
}
