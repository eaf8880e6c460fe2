/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backends that a connect may get, level by level, each with what speaks for it and against it.
 * Before: explain.c has asked the kernel. After: it words the decision.
 */
#include <arpa/inet.h>
#include <string.h>

#include "control/explain.h"
#include "model/limits.h"

struct level {
	uint32_t n, usable;
	uint64_t weight; /* of the usable ones */
	bool same_zone;
	const char *zone;
};

struct candidates {
	struct question *k;
	yyjson_mut_val *list;
	struct level levels[SN_LEVELS + 1]; /* the last: too far away */
	uint32_t now;                       /* level that is being told */
	unsigned int used;                  /* levels that have members */
	struct sn_memory memory;            /* of the caller; failed_ns 0: nothing */
};

static struct level *level_of(struct candidates *l, const struct member_traffic *m)
{
	return &l->levels[m->backend.level < SN_LEVELS ? m->backend.level : SN_LEVELS];
}

static void on_count(void *arg, const struct member_traffic *m)
{
	struct candidates *l = arg;
	struct level *level = level_of(l, m);
	const char *zone = view_zone(m->owner, m->endpoint);

	l->used += !level->n;
	level->same_zone = !level->n || (level->same_zone && strcmp(level->zone, zone) == 0);
	level->zone = zone;
	level->n++;
	if (!backend_is_usable(&m->backend, l->k->at.now_ns))
		return;
	level->usable++;
	level->weight += m->owner->endpoints[m->endpoint].weight;
}

static bool is_picked(const struct question *k, const struct member_traffic *m)
{
	return k->e.reason == SN_R_CONNECTED && k->e.backend && k->picked == m->owner &&
	       k->picked_endpoint == m->endpoint && k->picked_port == m->port;
}

static bool is_full(const struct candidates *l, const struct backend_traffic *b)
{
	uint32_t limit = l->k->at.rules->limit_backend;

	return limit && b->traffic.active >= limit;
}

/* As bpf/stage/memory.h has it. */
static bool is_avoided(const struct candidates *l, const struct backend_traffic *b)
{
	uint64_t failed = l->memory.failed_ns, now = l->k->at.now_ns;

	return failed && b->index == l->memory.backend && b->incarnation == l->memory.incarnation &&
	       (now < failed || now - failed < l->k->at.rules->negative_ns);
}

static const char *address_of(const struct question *k, const struct member_traffic *m,
			      char buf[static ADDRESS_TEXT])
{
	uint16_t target = service_target(m->owner, m->endpoint, m->port);

	return address_format_port(&m->owner->endpoints[m->endpoint].addr,
				   target ? target : ntohs(k->e.dest.port_be), buf);
}

static void candidate_add(struct candidates *l, const struct member_traffic *m)
{
	struct question *k = l->k;
	const struct backend_traffic *b = &m->backend;
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(k->doc, l->list);
	char text[CONDITION_TEXT], address[ADDRESS_TEXT], name[2 * LIMIT_NAME + 2];

	view_add_text(k->doc, o, "address", address_of(k, m, address));
	(void)yyjson_mut_obj_add_uint(k->doc, o, "weight", m->owner->endpoints[m->endpoint].weight);
	if (*view_zone(m->owner, m->endpoint))
		view_add_text(k->doc, o, "zone", view_zone(m->owner, m->endpoint));
	if (m->owner != k->service) {
		(void)snprintf(name, sizeof(name), "%s/%s", m->owner->namespace, m->owner->name);
		view_add_text(k->doc, o, "fallback", name);
	}
	if (*view_registry(m->owner, m->endpoint))
		view_add_text(k->doc, o, "source", view_registry(m->owner, m->endpoint));
	view_add_identity(k->doc, o, m->owner, m->endpoint);
	condition_add(k->doc, o, b, &k->at);
	if (!backend_is_usable(b, k->at.now_ns))
		view_add_text(k->doc, o, "why", condition_text(b, &k->at, text));
	(void)yyjson_mut_obj_add_bool(k->doc, o, "full", is_full(l, b));
	(void)yyjson_mut_obj_add_bool(k->doc, o, "avoided", is_avoided(l, b));
	(void)yyjson_mut_obj_add_bool(k->doc, o, "picked", is_picked(k, m));
	(void)yyjson_mut_obj_add_uint(k->doc, o, "active", b->traffic.active);
	(void)yyjson_mut_obj_add_uint(k->doc, o, "failed", traffic_failed(&b->traffic));
}

/* ", weight 100 (50%), score 41 x 21us": what a pick compares. */
static const char *merits(struct candidates *l, const struct member_traffic *m,
			  char buf[static CONDITION_TEXT])
{
	const struct backend_traffic *b = &m->backend;
	uint16_t weight = m->owner->endpoints[m->endpoint].weight;
	uint64_t all = level_of(l, m)->weight;
	char span[CONDITION_SPAN], score[64];

	if (l->k->at.rules->algorithm == SN_ALGORITHM_P2C && b->ewma_us)
		(void)snprintf(score, sizeof(score), "score %u x %s", b->traffic.active,
			       condition_span((uint64_t)b->ewma_us * 1000, span));
	else
		(void)snprintf(score, sizeof(score), "active %u", b->traffic.active);
	(void)snprintf(buf, CONDITION_TEXT, ", weight %u (%.0f%%), %s, failed %llu", weight,
		       all ? 100.0 * weight / (double)all : 0, score,
		       (unsigned long long)traffic_failed(&b->traffic));
	return buf;
}

static void candidate_say(struct candidates *l, const struct member_traffic *m)
{
	struct question *k = l->k;
	const struct backend_traffic *b = &m->backend;
	const char *indent = l->used > 1 ? "  " : "";
	const char *doubt = "", *registry = view_registry(m->owner, m->endpoint);
	char text[CONDITION_TEXT], rest[CONDITION_TEXT] = "", address[ADDRESS_TEXT], note[128] = "",
				   span[CONDITION_SPAN];

	if (backend_is_usable(b, k->at.now_ns))
		merits(l, m, rest);
	else if (b->state == SN_BACKEND_DRAINING || backend_is_held(b, k->at.now_ns))
		(void)snprintf(rest, sizeof(rest), ", active %u", b->traffic.active);
	if (is_full(l, b))
		(void)snprintf(note, sizeof(note), "; full: %u of %u connections",
			       b->traffic.active, k->at.rules->limit_backend);
	else if (is_avoided(l, b))
		(void)snprintf(note, sizeof(note),
			       "; failed this workload %s ago, so only if there is no other",
			       condition_span(k->at.now_ns > l->memory.failed_ns
						      ? k->at.now_ns - l->memory.failed_ns
						      : 0,
					      span));
	if (view_is_suspect(m->owner, m->endpoint))
		doubt = "; suspect, so the last to be picked: no longer named by ";
	explain_line(k, "%s%s %s%s%s%s%s", indent, address_of(k, m, address),
		     condition_text(b, &k->at, text), rest, note, doubt,
		     !*doubt     ? ""
		     : *registry ? registry
				 : "its registry");
}

static void on_member(void *arg, const struct member_traffic *m)
{
	struct candidates *l = arg;
	bool is_needed = l->k->e.reason != SN_R_CONNECTED || l->now <= l->k->e.level;

	if (level_of(l, m) != &l->levels[l->now])
		return;
	candidate_add(l, m);
	if (is_needed && l->now < SN_LEVELS)
		candidate_say(l, m);
}

static void level_say(struct candidates *l)
{
	const struct level *level = &l->levels[l->now];
	const char *zone = level->same_zone ? level->zone : "", *s = level->n == 1 ? "" : "s";
	char where[LIMIT_NAME + 16] = "";

	if (l->used < 2)
		return;
	if (*zone)
		(void)snprintf(where, sizeof(where), " (zone %s)", zone);
	if (l->now == SN_LEVELS)
		explain_line(l->k, "%u backend%s further away%s: the policy does not let it spill",
			     level->n, s, where);
	else if (l->k->e.reason == SN_R_CONNECTED && l->now > l->k->e.level)
		explain_line(l->k, "level %u%s: not needed, %u backend%s", l->now, where, level->n,
			     s);
	else
		explain_line(l->k, "level %u%s: %u of %u usable", l->now, where, level->usable,
			     level->n);
}

static void panic_say(const struct candidates *l)
{
	const struct sn_policy *rules = l->k->at.rules;
	uint32_t usable = 0, n = 0;

	for (size_t i = 0; i < SN_LEVELS; i++) {
		usable += l->levels[i].usable;
		n += l->levels[i].n;
	}
	if (l->k->e.panic)
		explain_line(l->k, "panic: %u of %u usable, less than %u%%: %s", usable, n,
			     rules->panic_percent,
			     rules->flags & SN_POLICY_PANIC_NONE ? "only probes are let through"
								 : "ejection is ignored");
}

static void limit_say(const struct control *c, const struct candidates *l)
{
	const struct sn_policy *rules = l->k->at.rules;
	struct service_state state = {};

	if (!rules->limit_service && !rules->limit_pending)
		return;
	(void)c->ops.service_state(c->ops.arg, l->k->service, &state);
	if (rules->limit_service)
		explain_line(l->k, "connections %u of %u", state.active, rules->limit_service);
	if (rules->limit_pending)
		explain_line(l->k, "connections not answered yet %u of %u", state.pending,
			     rules->limit_pending);
}

void candidate_explain(const struct control *c, struct question *k)
{
	struct candidates l = {.k = k,
			       .list = yyjson_mut_obj_add_arr(k->doc, k->root, "candidates")};
	struct control_door door = {k->service, k->port, k->e.dest.addr};

	if (!k->service)
		return;
	if (c->ops.members(c->ops.arg, &door, on_count, &l) < 0) {
		explain_line(k, "it is not published yet");
		return;
	}
	if (k->e.cgroup_id && k->e.service &&
	    c->ops.memory(c->ops.arg, k->e.service, (uint32_t)k->e.cgroup_id, &l.memory) < 0)
		l.memory = (struct sn_memory){};
	limit_say(c, &l);
	panic_say(&l);
	for (l.now = 0; l.now <= SN_LEVELS; l.now++) {
		if (!l.levels[l.now].n)
			continue;
		level_say(&l);
		(void)c->ops.members(c->ops.arg, &door, on_member, &l);
	}
}
