/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is declared once a plan is applied: the plan's objects over the store's. Before draft.c,
 * which asks for a service's policy and for its fallback services. Changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel/entry.h"

static int compare(const char *namespace, const char *name, const char *other_namespace,
		   const char *other_name)
{
	int r = strcmp(namespace, other_namespace);

	return r ? r : strcmp(name, other_name);
}

struct sought {
	const char *namespace, *name;
};

static int compare_service(const void *key, const void *item)
{
	const struct plan_service *at = item;
	const struct service *s = at->new ?: at->old;
	const struct sought *k = key;

	return compare(k->namespace, k->name, s->namespace, s->name);
}

static int compare_policy(const void *key, const void *item)
{
	const struct plan_policy *at = item;
	const struct policy *p = at->new ?: at->old;
	const struct sought *k = key;

	return compare(k->namespace, k->name, p->namespace, p->name);
}

/* A plan lists its changes by namespace and name. */
static const struct plan_service *find_service(const struct plan *plan, const char *namespace,
					       const char *name)
{
	const struct sought key = {namespace, name};

	return plan && plan->n_services ? bsearch(&key, plan->services, plan->n_services,
						  sizeof(*plan->services), compare_service)
					: NULL;
}

static const struct plan_policy *find_policy(const struct plan *plan, const char *namespace,
					     const char *name)
{
	const struct sought key = {namespace, name};

	return plan && plan->n_policies ? bsearch(&key, plan->policies, plan->n_policies,
						  sizeof(*plan->policies), compare_policy)
					: NULL;
}

struct service *declared_service(const struct declared *d, const char *namespace, const char *name)
{
	const struct plan_service *planned = find_service(d->plan, namespace, name);

	if (planned)
		return planned->new;
	return d->store ? store_find_service(d->store, namespace, name) : NULL;
}

const struct policy *declared_policy(const struct declared *d, const struct service *s)
{
	const struct plan_policy *planned = find_policy(d->plan, s->namespace, s->policy);

	if (planned)
		return planned->new;
	return d->store ? store_find_policy(d->store, s->namespace, s->policy) : NULL;
}

/* Does the plan change what others make of this service, which it does not name itself? */
static bool is_touched(const struct declared *d, const struct service *s)
{
	const struct policy *policy = declared_policy(d, s);

	if (find_policy(d->plan, s->namespace, s->policy))
		return true;
	for (size_t i = 0; policy && i < policy->n_fallback; i++)
		if (find_service(d->plan, policy->fallback[i].namespace, policy->fallback[i].name))
			return true;
	return false;
}

static bool has_fallbacks(const struct declared *d)
{
	size_t n;
	struct policy *const *policies = store_policies(d->store, &n);

	for (size_t i = 0; i < n; i++)
		if (policies[i]->n_fallback)
			return true;
	return false;
}

int declared_each_touched(const struct declared *d, int (*visit)(void *arg, struct service *s),
			  void *arg)
{
	struct service *const *services;
	size_t n;
	int r;

	if (!d->store || (!d->plan->n_policies && !has_fallbacks(d)))
		return 0;
	services = store_services(d->store, &n);
	for (size_t i = 0; i < n; i++) {
		if (find_service(d->plan, services[i]->namespace, services[i]->name) ||
		    !is_touched(d, services[i]))
			continue;
		r = visit(arg, services[i]);
		if (r < 0)
			return r;
	}
	return 0;
}
