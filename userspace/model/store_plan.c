/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a change would do: the objects that it names, whose they are, and what the plan says. See
 * store.h. Before: the codec read the objects. After: the kernel applies the plan, store.c commits
 * it. A change is planned whole or refused whole.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/store_draft.h"

static bool is_among(const struct drafts *drafts, const struct draft *d)
{
	return d >= drafts->items && d < drafts->items + drafts->n;
}

static enum object_kind kind_of(const struct planner *p, const struct draft *d)
{
	return is_among(&p->services, d)   ? OBJECT_SERVICE
	       : is_among(&p->policies, d) ? OBJECT_POLICY
					   : OBJECT_REGISTRATION;
}

void store_plan_refuse(struct planner *p, struct draft *d, int error, const char *format, ...)
{
	char message[768];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	problem_add(p->problems, "", "%s %s/%s: %s", object_kind_noun(kind_of(p, d)),
		    d->name.namespace, d->name.name, message);
	d->bad = true;
	if (p->error >= 0)
		p->error = error;
}

__attribute__((format(printf, 3, 4))) static int refuse_all(struct planner *p, int error,
							    const char *format, ...)
{
	char message[256];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	problem_add(p->problems, "", "%s", message);
	if (p->error >= 0)
		p->error = error;
	return error;
}

struct draft *store_plan_find(const struct drafts *drafts, const struct store_name *name)
{
	size_t low = 0, high = drafts->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int r = store_shelf_compare(&drafts->items[middle].name, name);

		if (!r)
			return &drafts->items[middle];
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* --- the drafts --------------------------------------------------------------------------- */

struct wish {
	struct store_name name;
	const struct object *given;
};

static int compare_wishes(const void *a, const void *b)
{
	return store_shelf_compare(&((const struct wish *)a)->name,
				   &((const struct wish *)b)->name);
}

static const void *item_of(const struct object *o)
{
	return o->kind == OBJECT_SERVICE  ? (const void *)o->service
	       : o->kind == OBJECT_POLICY ? (const void *)o->policy
					  : (const void *)o->registration;
}

static size_t collect_wishes(const struct change *c, enum object_kind kind, struct wish *wishes)
{
	bool sorted = true;
	size_t n = 0;

	for (size_t i = 0; i < c->n_upserts; i++)
		if (c->upserts[i].kind == kind) {
			const void *item = item_of(&c->upserts[i]);

			wishes[n++] = (struct wish){store_shelf_name(kind, item), &c->upserts[i]};
			sorted = sorted &&
				 (n < 2 || compare_wishes(&wishes[n - 2], &wishes[n - 1]) < 0);
		}
	for (size_t i = 0; i < c->n_deletes; i++)
		if (c->deletes[i].kind == kind) {
			struct store_name name = {c->deletes[i].namespace, c->deletes[i].name,
						  NULL};

			wishes[n++] = (struct wish){name, NULL};
			sorted = false;
		}
	if (!sorted)
		qsort(wishes, n, sizeof(*wishes), compare_wishes);
	return n;
}

static void check_owner(struct planner *p, const struct shelf *shelf, struct draft *d)
{
	struct store_name old;

	if (!d->old && !d->given)
		store_plan_refuse(p, d, -ENOENT, "there is no such %s",
				  object_kind_noun(shelf->kind));
	if (!d->old)
		return;
	old = store_shelf_name(shelf->kind, d->old);
	if (strcmp(old.source, p->change->source))
		store_plan_refuse(p, d, -EEXIST, "it belongs to source %s; source %s cannot %s it",
				  old.source, p->change->source, d->given ? "change" : "remove");
}

static struct draft *add_draft(struct drafts *drafts, const struct store_name *name,
			       const struct object *given, void *old)
{
	struct draft *d = &drafts->items[drafts->n++];

	*d = (struct draft){.name = *name, .given = given, .old = old};
	return d;
}

/* Of a whole snapshot: what the source has between two names that it declares is to go. */
static void add_vanished(struct planner *p, const struct shelf *shelf, struct drafts *drafts,
			 size_t from, size_t to)
{
	for (size_t i = from; p->change->whole && i < to; i++) {
		struct store_name name = store_shelf_name(shelf->kind, shelf->items[i]);

		if (!strcmp(name.source, p->change->source))
			(void)add_draft(drafts, &name, NULL, shelf->items[i]);
	}
}

/* Not there, or somebody else's: what another source has is none of ours to look for. */
static bool is_missing(const struct planner *p, const struct shelf *shelf, void *old)
{
	return !old || strcmp(store_shelf_name(shelf->kind, old).source, p->change->source) != 0;
}

static void add_wishes(struct planner *p, const struct shelf *shelf, struct drafts *drafts,
		       const struct wish *wishes, size_t n)
{
	size_t next = 0;

	for (size_t i = 0; i < n; i++) {
		bool found, twice = i + 1 < n && !compare_wishes(&wishes[i], &wishes[i + 1]);
		size_t at = store_shelf_seek(shelf, &wishes[i].name, next, &found);
		void *old = found ? shelf->items[at] : NULL;
		struct draft *d;

		add_vanished(p, shelf, drafts, next, at);
		next = at + found;
		if (p->change->ignore_missing && !twice && !wishes[i].given &&
		    is_missing(p, shelf, old)) {
			p->n_unchanged++;
			continue;
		}
		d = add_draft(drafts, &wishes[i].name, wishes[i].given, old);
		if (twice) {
			store_plan_refuse(p, d, -EINVAL, "it is named twice in one change");
			while (i + 1 < n && !compare_wishes(&wishes[i], &wishes[i + 1]))
				i++;
		} else {
			check_owner(p, shelf, d);
		}
	}
	add_vanished(p, shelf, drafts, next, shelf->n);
}

static int find_drafts(struct planner *p, const struct shelf *shelf, struct drafts *drafts)
{
	const struct change *c = p->change;
	size_t n = c->n_upserts + c->n_deletes;
	_cleanup_free_ struct wish *wishes = calloc(n + 1, sizeof(*wishes));

	drafts->items = calloc(n + (c->whole ? shelf->n : 0) + 1, sizeof(*drafts->items));
	if (!wishes || !drafts->items)
		return -ENOMEM;
	/* For store_plan_refuse, which tells the kinds by the array. */
	drafts->n = 0;
	add_wishes(p, shelf, drafts, wishes, collect_wishes(c, shelf->kind, wishes));
	return 0;
}

/* --- policies ----------------------------------------------------------------------------- */

static void plan_policies(struct planner *p)
{
	for (size_t i = 0; i < p->policies.n; i++) {
		struct draft *d = &p->policies.items[i];

		if (d->bad || !d->given)
			continue;
		d->new = policy_ref(d->given->policy);
		d->unchanged = d->old && policy_is_equal(d->old, d->new);
	}
}

/* Nothing in the kernel depends on them, and they on nothing that is declared here. */
static void plan_registrations(struct planner *p)
{
	for (size_t i = 0; i < p->registrations.n; i++) {
		struct draft *d = &p->registrations.items[i];

		if (d->bad || !d->given)
			continue;
		d->new = registration_ref(d->given->registration);
		d->unchanged = d->old && registration_is_equal(d->old, d->new);
	}
}

static bool policy_exists(const struct planner *p, const struct store_name *name)
{
	const struct draft *d;

	/* "default" needs no declaration. */
	if (!strcmp(name->name, "default"))
		return true;
	d = store_plan_find(&p->policies, name);
	return d ? !!d->given : !!store_find_policy(p->store, name->namespace, name->name);
}

static void refuse_policy(struct planner *p, struct draft *d, const struct store_name *name)
{
	const char *names[256] = {"default"}, *meant;
	size_t n = 1;

	for (size_t i = 0; i < p->policies.n && n < ARRAY_SIZE(names); i++)
		if (p->policies.items[i].given &&
		    !strcmp(p->policies.items[i].name.namespace, name->namespace))
			names[n++] = p->policies.items[i].name.name;
	for (size_t i = 0; i < p->store->policies.n && n < ARRAY_SIZE(names); i++) {
		struct store_name other =
			store_shelf_name(OBJECT_POLICY, p->store->policies.items[i]);

		if (!strcmp(other.namespace, name->namespace) && policy_exists(p, &other))
			names[n++] = other.name;
	}
	meant = text_suggest(name->name, names, n);
	if (meant)
		store_plan_refuse(p, d, -EINVAL,
				  "there is no policy \"%s\" in namespace %s; did you mean \"%s\"?",
				  name->name, name->namespace, meant);
	else
		store_plan_refuse(p, d, -EINVAL, "there is no policy \"%s\" in namespace %s",
				  name->name, name->namespace);
}

static void check_policies(struct planner *p)
{
	for (size_t i = 0; i < p->services.n; i++) {
		struct draft *d = &p->services.items[i];
		struct store_name name = {.namespace = d->name.namespace};

		if (d->bad || !d->given)
			continue;
		name.name = d->given->service->policy;
		if (!policy_exists(p, &name))
			refuse_policy(p, d, &name);
	}
}

/* A policy that goes while a service that stays uses it. */
static void check_removed(struct planner *p)
{
	bool removes = false;

	for (size_t i = 0; i < p->policies.n; i++)
		removes = removes || !p->policies.items[i].given;
	for (size_t i = 0; removes && i < p->store->services.n; i++) {
		const struct service *s = p->store->services.items[i];
		struct store_name mine = store_shelf_name(OBJECT_SERVICE, s);
		struct store_name name = {.namespace = s->namespace, .name = s->policy};
		struct draft *d = store_plan_find(&p->policies, &name);

		if (!d || d->given || d->bad || policy_exists(p, &name) ||
		    store_plan_find(&p->services, &mine))
			continue;
		store_plan_refuse(p, d, -EINVAL, "service %s/%s still uses it", s->namespace,
				  s->name);
	}
}

/* --- limits ------------------------------------------------------------------------------- */

/* How many there would be. */
static size_t count_after(const struct shelf *shelf, const struct drafts *drafts)
{
	size_t n = shelf->n;

	for (size_t i = 0; i < drafts->n; i++) {
		n += !!drafts->items[i].new;
		n -= !!drafts->items[i].old;
	}
	return n;
}

/* `what` and `note` are for people. */
static void check_limit(struct planner *p, const struct problem_limit *limit, const char *what,
			const char *note)
{
	if (limit->count <= limit->most)
		return;
	problem_add_limit(p->problems, "", limit, "%zu %s; at most %zu are allowed%s", limit->count,
			  what, limit->most, note);
	if (p->error >= 0)
		p->error = -E2BIG;
}

static void check_limits(struct planner *p)
{
	size_t frontends = p->store->n_frontends, backends = p->store->n_backends;
	size_t policies = count_after(&p->store->policies, &p->policies);
	size_t registrations = count_after(&p->store->registrations, &p->registrations);

	for (size_t i = 0; i < p->services.n; i++) {
		const struct draft *d = &p->services.items[i];

		if (d->unchanged)
			continue;
		frontends += store_count_frontends(d->new);
		frontends -= store_count_frontends(d->old);
		backends += store_count_backends(d->new);
		backends -= store_count_backends(d->old);
	}
	check_limit(p, &(struct problem_limit){"frontends", frontends, LIMIT_SERVICES},
		    "addresses and ports of services", " (each port of each address counts)");
	check_limit(p, &(struct problem_limit){"backends", backends, LIMIT_BACKENDS}, "backends",
		    " (each port of each endpoint counts)");
	check_limit(p, &(struct problem_limit){"policies", policies, LIMIT_POLICIES}, "policies",
		    "");
	check_limit(p, &(struct problem_limit){"registrations", registrations, LIMIT_REGISTRATIONS},
		    "registrations", "");
}

/* --- the plan ----------------------------------------------------------------------------- */

static void take_services(struct planner *p, struct plan *plan)
{
	for (size_t i = 0; i < p->services.n; i++) {
		struct draft *d = &p->services.items[i];

		if (d->unchanged)
			plan->n_unchanged++;
		else
			plan->services[plan->n_services++] =
				(struct plan_service){service_ref(d->old), TAKE_PTR(d->new)};
	}
}

static void take_policies(struct planner *p, struct plan *plan)
{
	for (size_t i = 0; i < p->policies.n; i++) {
		struct draft *d = &p->policies.items[i];

		if (d->unchanged)
			plan->n_unchanged++;
		else
			plan->policies[plan->n_policies++] =
				(struct plan_policy){policy_ref(d->old), TAKE_PTR(d->new)};
	}
}

static void take_registrations(struct planner *p, struct plan *plan)
{
	for (size_t i = 0; i < p->registrations.n; i++) {
		struct draft *d = &p->registrations.items[i];

		if (d->unchanged)
			plan->n_unchanged++;
		else
			plan->registrations[plan->n_registrations++] = (struct plan_registration){
				registration_ref(d->old), TAKE_PTR(d->new)};
	}
}

static int reserve(const struct planner *p, struct plan *plan)
{
	struct store *s = p->store;

	plan->source = strdup(p->change->source);
	plan->services = calloc(p->services.n + 1, sizeof(*plan->services));
	plan->policies = calloc(p->policies.n + 1, sizeof(*plan->policies));
	plan->registrations = calloc(p->registrations.n + 1, sizeof(*plan->registrations));
	if (!plan->source || !plan->services || !plan->policies || !plan->registrations ||
	    store_shelf_reserve(&s->services, s->services.n + p->services.n) < 0 ||
	    store_shelf_reserve(&s->policies, s->policies.n + p->policies.n) < 0 ||
	    store_shelf_reserve(&s->registrations, s->registrations.n + p->registrations.n) < 0)
		return -ENOMEM;
	return 0;
}

/* Everything that a commit needs memory for is taken here. */
static int make_plan(struct planner *p, struct plan *ret)
{
	struct plan plan = {.serial = p->store->serial, .n_unchanged = p->n_unchanged};

	if (reserve(p, &plan) < 0) {
		plan_done(&plan);
		return -ENOMEM;
	}
	take_services(p, &plan);
	take_policies(p, &plan);
	take_registrations(p, &plan);
	*ret = plan;
	return 0;
}

static void drafts_done(struct drafts *drafts, enum object_kind kind)
{
	for (size_t i = 0; i < drafts->n; i++)
		if (drafts->items[i].new)
			store_shelf_unref(kind, drafts->items[i].new);
	free(drafts->items);
}

static void planner_done(struct planner *p)
{
	drafts_done(&p->services, OBJECT_SERVICE);
	drafts_done(&p->policies, OBJECT_POLICY);
	drafts_done(&p->registrations, OBJECT_REGISTRATION);
}

static int check_source(struct planner *p)
{
	const struct change *c = p->change;
	uint64_t generation = store_generation(p->store, c->source);

	if (c->has_if_match && c->if_match != generation)
		return refuse_all(
			p, -ESTALE, "source %s is at generation %llu, not %llu; read it again",
			c->source, (unsigned long long)generation, (unsigned long long)c->if_match);
	if (!*c->source || strlen(c->source) > LIMIT_SOURCE)
		return refuse_all(p, -EINVAL, "a source's name has 1 to %d bytes", LIMIT_SOURCE);
	if (!store_find_source(p->store, c->source) && !store_has_room(p->store))
		return refuse_all(p, -E2BIG, "more than %d sources", LIMIT_SOURCES);
	return 0;
}

static int plan_change(struct planner *p, struct plan *ret)
{
	int r = check_source(p);

	if (r >= 0)
		r = find_drafts(p, &p->store->policies, &p->policies);
	if (r >= 0)
		r = find_drafts(p, &p->store->services, &p->services);
	if (r >= 0)
		r = find_drafts(p, &p->store->registrations, &p->registrations);
	if (r < 0)
		return r;
	plan_registrations(p);
	plan_policies(p);
	check_policies(p);
	check_removed(p);
	r = store_fallback_plan(p);
	if (r >= 0)
		r = store_address_plan(p);
	if (r < 0)
		return r;
	if (p->error >= 0)
		check_limits(p);
	if (p->error < 0)
		return p->error;
	return p->problems->no_memory ? -ENOMEM : make_plan(p, ret);
}

int store_plan(struct store *s, const struct change *change, struct problems *problems,
	       struct plan *ret)
{
	struct planner p = {.store = s, .change = change, .problems = problems};
	int r = plan_change(&p, ret);

	planner_done(&p);
	return r;
}
