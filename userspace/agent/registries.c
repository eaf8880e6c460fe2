/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See registries.h. Before: agent.yaml, and sources that speak. After: the merge, which agent.c
 * tells to sinewd. Must never drop what a registry said because it went away, or was written
 * otherwise: only a person who takes it out of agent.yaml does that.
 */
#include "agent/registries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/lastgood.h"
#include "agent/node_pods.h"
#include "agent/push_pods.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "model/limits.h"
#include "registry/registry_config.h"

#define LOOKS_EACH 4u /* services are asked about one by one, a tick each; more: all at once */

/* --- what registries say -----------------------------------------------------------------------
 */

static void said(struct agent_registry *g, int r)
{
	if (r < 0)
		(void)log_err_r(r, "%s: what it said could not be kept", g->tag);
	g->dirty = true;
	agent_poke(g->agent);
}

static void on_snapshot(void *arg, struct registry *r, struct object *objects, size_t n)
{
	struct agent_registry *g = arg;
	struct agent *a = g->agent;

	int error = merge_snapshot(a->merge, g->source, g->tag, (struct merge_objects){objects, n},
				   uv_now(&a->loop));

	if (!g->spoken)
		log_info("%s: %zu services and policies", g->tag, n);
	if (error >= 0) {
		g->heard = g->spoken = true;
		merge_set_away(a->merge, g->source, false, uv_now(&a->loop));
	}
	said(g, error);
	agent_start_push(a);
}

static void on_upsert(void *arg, struct registry *r, struct object *object)
{
	struct agent_registry *g = arg;
	struct agent *a = g->agent;

	g->partly = true;
	said(g, merge_upsert(a->merge, g->source, g->tag, object, uv_now(&a->loop)));
}

static void on_remove(void *arg, struct registry *r, enum object_kind kind, const char *namespace,
		      const char *name)
{
	struct agent_registry *g = arg;
	struct agent *a = g->agent;
	struct object_name object = {kind, namespace, name};

	said(g, merge_remove(a->merge, g->source, &object, uv_now(&a->loop)));
}

/* --- contact, and its loss ---------------------------------------------------------------------
 */

static void set_stale(struct agent_registry *g, bool stale)
{
	static const char *const becomes[] = {"stay", "are drained", "are taken for gone"};
	enum registry_on_stale how = stale ? g->config->on_stale : STALE_KEEP;
	int r = merge_set_stale(g->agent->merge, g->source, how);

	g->stale = stale;
	if (r < 0)
		(void)log_err_r(r, "%s: stale endpoints are as before", g->tag);
	else if (stale)
		log_warn("%s: no contact for %llu s: stale; its endpoints %s", g->tag,
			 (unsigned long long)(g->config->stale_ms / 1000), becomes[how]);
	else
		log_notice("%s: it answers again", g->tag);
	if (stale && g->registry)
		g->registry->status.state = REGISTRY_STALE;
	else if (g->registry && g->registry->status.state == REGISTRY_STALE)
		g->registry->status.state = REGISTRY_SYNCED;
	agent_poke(g->agent);
}

/* Most answers bring no news, and then a source does not call: the tick looks, too. */
static void hear(struct agent_registry *g, const struct registry_status *s)
{
	if (s->contact_ms == g->told_contact_ms)
		return;
	g->told_contact_ms = s->contact_ms;
	g->contact_ms = uv_now(&g->agent->loop);
	merge_contact(g->agent->merge, g->source, g->contact_ms);
	if (g->stale)
		set_stale(g, false);
	else
		agent_poke(g->agent);
}

/* Whoever says no is there, and knows what it knew; so is one of whose words some are of no use. */
static bool is_away(const struct registry_status *s)
{
	return s->error != REGISTRY_OK && s->error != REGISTRY_UNAUTHORIZED &&
	       s->error != REGISTRY_FORBIDDEN && !s->partly;
}

static void on_status(void *arg, struct registry *r)
{
	struct agent_registry *g = arg;
	const struct registry_status *s = &r->status;

	merge_set_away(g->agent->merge, g->source, is_away(s), uv_now(&g->agent->loop));
	hear(g, s);
	if (s->error != g->told) {
		g->told = s->error;
		if (s->error != REGISTRY_OK)
			log_warn("%s: %s: %s%s%s", g->tag, registry_error_name(s->error), s->text,
				 *s->hint ? "; " : "", s->hint);
		else
			log_notice("%s: well", g->tag);
	}
}

static void on_pods(void *arg, struct registry *r)
{
	struct agent_registry *g = arg;
	struct agent *a = g->agent;
	const struct pods *p = r->pods;

	if (p->error != g->told_pods) {
		g->told_pods = p->error;
		if (p->error != REGISTRY_OK)
			log_warn("%s: pods: %s: %s%s%s", g->tag, registry_error_name(p->error),
				 p->text, *p->hint ? "; " : "", p->hint);
		else
			log_notice("%s: %zu pods of %s are known", g->tag, p->n, p->node);
	}
	if (a->stopping)
		return;
	push_pods_kick(a->push_pods);
	if (a->registrations)
		registrations_on_pods(a->registrations);
}

void registries_write(struct agent *a)
{
	for (size_t i = 0; i < a->n_registries; i++) {
		struct agent_registry *g = a->registries[i];
		int r;

		if (!g->dirty || !g->spoken || !g->registry)
			continue;
		r = lastgood_write(a->merge, g->source, g->registry, a->config.state);
		if (r < 0)
			(void)log_err_r(r, "cannot write the last good state of %s in %s", g->tag,
					a->config.state);
		g->dirty = r < 0;
	}
	a->written_ms = uv_now(&a->loop);
}

/* --- one of them -------------------------------------------------------------------------------
 */

static void read_file(struct agent_registry *g)
{
	struct agent *a = g->agent;
	struct object *objects = NULL;
	size_t n = 0;
	int r = lastgood_read(a->config.state, g->config, &objects, &n);

	if (r >= 0)
		r = merge_snapshot(a->merge, g->source, g->tag, (struct merge_objects){objects, n},
				   uv_now(&a->loop));
	if (r >= 0) {
		g->heard = true;
		/* Until it has spoken itself: who knows what happened to it meanwhile. */
		merge_set_away(a->merge, g->source, n > 0, uv_now(&a->loop));
		log_info("%s: %zu services and policies of before", g->tag, n);
	} else if (r != -ENOENT && r != -EBADMSG) {
		(void)log_warn_r(r, "%s: its last good state cannot be read", g->tag);
	}
}

/* One that cannot even begin (a kubeconfig that is not there yet) has what it had, and is tried
 * again. */
static void open_registry(struct agent_registry *g)
{
	struct agent *a = g->agent;
	char text[200] = "";
	int r = registry_open(g->config, &g->host, a->fetcher, &g->registry, text);

	if (r >= 0) {
		a->n_open++;
		if (*g->failure)
			log_notice("%s: followed now", g->tag);
		g->failure[0] = '\0';
		g->wait_ms = 0;
		node_pods_on_open(g);
		return;
	}
	if (!*text)
		(void)snprintf(text, sizeof(text), "%s", strerror(-r));
	if (strcmp(g->failure, text) != 0)
		log_err("%s: not followed: %s; trying again", g->tag, text);
	(void)snprintf(g->failure, sizeof(g->failure), "%s", text);
	g->retry_ms = uv_now(&a->loop) + registry_backoff_of(&g->wait_ms, 0);
}

static struct agent_registry *registry_new(struct agent *a)
{
	struct agent_registry *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->agent = a;
	g->host = (struct registry_host){.loop = &a->loop,
					 .arg = g,
					 .snapshot = on_snapshot,
					 .upsert = on_upsert,
					 .remove = on_remove,
					 .status = on_status,
					 .pods = on_pods};
	return g;
}

static void registry_free(struct agent_registry *g)
{
	registry_config_unref(g->config);
	free(g);
}

/* Takes the reference. */
static void set_config(struct agent_registry *g, struct registry_config *config)
{
	registry_config_unref(g->config);
	g->config = config;
	(void)snprintf(g->tag, sizeof(g->tag), "%.60s/%.63s", config->type, config->name);
}

static void on_stopped(void *arg, struct registry *r)
{
	struct agent *a = arg;

	a->n_open--;
}

static void stop(struct agent_registry *g)
{
	if (g->registry)
		registry_close(g->registry, on_stopped, g->agent);
	g->registry = NULL;
}

/* --- another file ------------------------------------------------------------------------------
 */

struct agent_registry *registries_find(const struct agent *a, const char *name)
{
	for (size_t i = 0; i < a->n_registries; i++)
		if (!strcmp(a->registries[i]->config->name, name))
			return a->registries[i];
	return NULL;
}

/* What is to be, by precedence: found or made before anything is changed. */
struct next {
	struct agent_registry *all[LIMIT_REGISTRIES];
	struct registry_config *configs[LIMIT_REGISTRIES];
	size_t n;
};

static void next_drop(struct next *p)
{
	for (size_t i = 0; i < p->n; i++) {
		registry_config_unref(p->configs[i]);
		if (p->all[i] && !p->all[i]->config)
			registry_free(p->all[i]);
	}
}

static int next_make(struct agent *a, struct agent_config *fresh, struct next *p)
{
	for (size_t i = 0; i < fresh->n_registries; i++) {
		struct registry_config *c = registry_config_take(&fresh->registries[i]);

		p->n = i + 1;
		p->configs[i] = c;
		if (!c)
			return -ENOMEM;
		p->all[i] = registries_find(a, c->name) ?: registry_new(a);
		if (!p->all[i])
			return -ENOMEM;
	}
	return 0;
}

static bool is_next(const struct next *p, const struct agent_registry *g)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->all[i] == g)
			return true;
	return false;
}

static void set_registration(struct agent_registry *g, struct registry_config *config)
{
	struct agent *a = g->agent;
	int r = a->registrations ? registrations_set(a->registrations, g->source, config) : 0;

	if (r < 0)
		(void)log_err_r(r, "%s: nothing is registered there", g->tag);
}

/* A person took it out of the file. */
static void drop(struct agent_registry *g)
{
	struct agent *a = g->agent;
	struct merge_counts counts;
	int r;

	merge_count(a->merge, g->source, &counts);
	log_notice("%s: followed no more; its %zu services and %zu policies go", g->tag,
		   counts.services, counts.policies);
	stop(g);
	merge_forget(a->merge, g->source);
	r = lastgood_remove(a->config.state, g->config->name);
	if (r < 0)
		(void)log_warn_r(r, "%s: its last good state cannot be removed", g->tag);
	set_registration(g, NULL);
	registry_free(g);
}

/* The lowest number that nobody has. */
static unsigned int free_source(const struct agent *a)
{
	bool taken[LIMIT_REGISTRIES] = {};
	unsigned int source = 0;

	for (size_t i = 0; i < a->n_registries; i++)
		if (a->registries[i]->config)
			taken[a->registries[i]->source] = true;
	while (taken[source])
		source++;
	return source;
}

/* One that was not followed before gets a number. */
static void begin(struct agent_registry *g, struct registry_config *config)
{
	g->source = free_source(g->agent);
	set_config(g, config);
	g->contact_ms = uv_now(&g->agent->loop);
}

/* What it said stays, as after a restart, until it speaks under its new settings. */
static void begin_anew(struct agent_registry *g, struct registry_config *config)
{
	struct agent *a = g->agent;
	struct merge_counts counts;

	stop(g);
	set_config(g, config);
	g->failure[0] = '\0';
	g->wait_ms = g->told_contact_ms = 0;
	g->told = g->told_pods = REGISTRY_OK;
	g->spoken = false;
	merge_count(a->merge, g->source, &counts);
	merge_set_away(a->merge, g->source, counts.services > 0, uv_now(&a->loop));
	if (g->stale)
		set_stale(g, true);
	log_notice("%s: begun anew with other settings; what it said stays until it speaks",
		   g->tag);
}

/* Only the agent looks at onStale: nothing has to begin anew for that. */
static void set_on_stale(struct agent_registry *g, enum registry_on_stale how)
{
	if (g->config->on_stale == how)
		return;
	g->config->on_stale = how;
	if (g->stale)
		set_stale(g, true);
}

static void sort(struct agent *a)
{
	unsigned int order[LIMIT_REGISTRIES];

	for (size_t i = 0; i < a->n_registries; i++)
		order[i] = a->registries[i]->source;
	merge_set_order(a->merge, order, a->n_registries);
}

/* Whether one that knew pods is begun anew: for a while nobody knows them. */
static bool next_apply(struct agent *a, struct next *p)
{
	bool opens[LIMIT_REGISTRIES] = {}, doubt = false;

	for (size_t i = 0; i < a->n_registries; i++)
		if (!is_next(p, a->registries[i]))
			drop(a->registries[i]);
	memcpy(a->registries, p->all, p->n * sizeof(struct agent_registry *));
	a->n_registries = p->n;
	for (size_t i = 0; i < p->n; i++)
		if (!p->all[i]->config) {
			begin(p->all[i], p->configs[i]);
			opens[i] = true;
		}
	sort(a);
	for (size_t i = 0; i < p->n; i++) {
		struct agent_registry *g = p->all[i];

		if (opens[i]) {
			read_file(g);
		} else if (registry_config_is_equal(g->config, p->configs[i])) {
			set_on_stale(g, p->configs[i]->on_stale);
			registry_config_unref(p->configs[i]);
		} else {
			doubt |= g->registry && g->registry->pods;
			begin_anew(g, p->configs[i]);
			opens[i] = true;
		}
		if (opens[i])
			open_registry(g);
		if (opens[i])
			set_registration(g, g->config);
	}
	return doubt;
}

/* Who knows labels of containers. */
static struct registry_config *find_engine(const struct agent *a)
{
	for (size_t i = 0; i < a->n_registries; i++)
		if (!strcmp(a->registries[i]->config->type, "docker"))
			return a->registries[i]->config;
	return NULL;
}

int registries_replace(struct agent *a, struct agent_config *fresh)
{
	struct next p = {};
	int r = next_make(a, fresh, &p);
	bool doubt;

	if (r < 0) {
		next_drop(&p);
		return log_err_r(r, "registries are followed as before");
	}
	doubt = next_apply(a, &p);
	if (a->registrations)
		registrations_settle(a->registrations, find_engine(a), doubt);
	push_pods_kick(a->push_pods); /* they may be wanted no more */
	agent_poke(a);
	return 0;
}

/* --- life --------------------------------------------------------------------------------------
 */

int registries_open(struct agent *a)
{
	return registries_replace(a, &a->config);
}

void registries_register(struct agent *a)
{
	for (size_t i = 0; i < a->n_registries; i++)
		set_registration(a->registries[i], a->registries[i]->config);
	registrations_settle(a->registrations, find_engine(a), false);
}

/* A registry that took much away is asked a second time; about several services at once by one
 * question. */
static void look_again(struct agent_registry *g)
{
	struct agent *a = g->agent;
	uint64_t now = uv_now(&a->loop);
	struct merge_doubt doubt;
	const char *name;

	if (!g->registry || !g->registry->kind->look)
		return;
	merge_doubt(a->merge, g->source, now, &doubt);
	if (!doubt.n)
		return;
	name = doubt.n > LOOKS_EACH ? NULL : doubt.name;
	if (g->registry->kind->look(g->registry, doubt.namespace, name) >= 0)
		merge_asked(a->merge, g->source, doubt.namespace, name, now);
}

void registries_tick(struct agent *a)
{
	uint64_t now = uv_now(&a->loop);

	for (size_t i = 0; i < a->n_registries; i++) {
		struct agent_registry *g = a->registries[i];

		if (g->registry)
			hear(g, &g->registry->status);
		else if (now >= g->retry_ms)
			open_registry(g);
		if (!g->stale && now - g->contact_ms >= g->config->stale_ms)
			set_stale(g, true);
		look_again(g);
	}
}

void registries_close(struct agent *a)
{
	for (size_t i = 0; i < a->n_registries; i++)
		stop(a->registries[i]);
}

void registries_done(struct agent *a)
{
	for (size_t i = 0; i < a->n_registries; i++)
		registry_free(a->registries[i]);
	a->n_registries = 0;
}
