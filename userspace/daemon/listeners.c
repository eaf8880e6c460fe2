/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See listeners.h. Before: watch.c hands on events and the helper's answers. After: ops.c shows
 * and tells. Must never hold the loop: sweeps are the helper's, and their answers come in pieces.
 */
#include "daemon/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kernel/listener.h"
#include "kernel/read.h"

#define LOOK_MS 1000         /* where somebody listened before us */
#define LOOK_AT_ALL_MS 60000 /* and everywhere: what the programs could not see end */

struct listeners_entry {
	struct listener l;
	struct cgroups_entry *cgroup; /* a reference */
	uint32_t seen;                /* number of the last sweep that saw it, or began before it */
	bool shown;
	UT_hash_handle hh; /* by cookie */
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t wall_ms(uint64_t monotonic_ns)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC), wall = now_ns(CLOCK_REALTIME);

	return (wall - (now > monotonic_ns ? now - monotonic_ns : 0)) / 1000000;
}

static struct listeners_entry *find(const struct listeners *s, uint64_t cookie)
{
	struct listeners_entry *e = NULL;

	HASH_FIND(hh, s->all, &cookie, sizeof(cookie), e);
	return e;
}

/* --- known, named, shown ------------------------------------------------------------------ */

static void take(struct listeners *s, struct listeners_entry *e)
{
	if (e->shown)
		s->changed(s->arg, false, &e->l);
	HASH_DEL(s->all, e);
	cgroups_unref(&s->cgroups, e->cgroup);
	free(e);
}

/* The programs see the served cgroups only, a sweep sees all. A cgroup without a name is one that
 * is gone: nobody can say where it was. */
static bool is_served(const struct listeners *s, const struct listeners_entry *e)
{
	const char *path = e->cgroup->name.path;
	size_t n = strlen(s->served);

	if (!e->l.swept || !n)
		return true;
	return path && !strncmp(path, s->served, n) && (!path[n] || path[n] == '/');
}

static void show(struct listeners *s, struct listeners_entry *e)
{
	if (e->shown || e->cgroup->asked || !is_served(s, e))
		return;
	e->shown = true;
	s->changed(s->arg, true, &e->l);
}

static void on_named(void *arg, struct cgroups_entry *cgroup)
{
	struct listeners *s = arg;
	struct listeners_entry *e, *next;

	HASH_ITER (hh, s->all, e, next)
		if (e->cgroup == cgroup)
			show(s, e);
}

static void add(struct listeners *s, const struct listener *l, uint64_t cgroup_id)
{
	bool has_room = HASH_COUNT(s->all) < LIMIT_LISTENERS;
	struct listeners_entry *e = has_room ? calloc(1, sizeof(*e)) : NULL;

	if (e)
		e->cgroup = cgroups_get(&s->cgroups, cgroup_id);
	if (!e || !e->cgroup) {
		free(e);
		if (!s->dropped++)
			log_warn("more than %d sockets or %d cgroups listen; some are not shown",
				 LIMIT_LISTENERS, LIMIT_CGROUPS);
		return;
	}
	e->l = *l;
	e->seen = s->sweep;
	e->l.cgroup = &e->cgroup->name;
	HASH_ADD(hh, s->all, l.cookie, sizeof(e->l.cookie), e);
	show(s, e);
}

/* --- what the programs know --------------------------------------------------------------- */

static bool is_same_place(const struct listener *l, const struct sn_listener *known)
{
	return l->port == ntohs(known->port_be) && !memcmp(&l->addr, &known->addr, sizeof(l->addr));
}

static void on_known(void *arg, uint64_t cookie, const struct sn_listener *known)
{
	struct listeners *s = arg;
	struct listeners_entry *e = find(s, cookie);
	const struct listener l = {.cookie = cookie,
				   .netns = known->netns,
				   .since_ms = wall_ms(known->since_ns),
				   .addr = known->addr,
				   .port = ntohs(known->port_be)};

	if (e && is_same_place(&e->l, known)) {
		e->l.swept = false; /* found by a sweep in the moment between */
		e->seen = s->sweep;
		return;
	}
	if (e)
		take(s, e); /* the same socket, listening elsewhere */
	add(s, &l, known->cgroup_id);
}

void listeners_event(struct listeners *s, const struct sn_event *event)
{
	struct listeners_entry *e = find(s, event->cookie);
	struct sn_listener known;

	if (event->type == SN_EVENT_UNLISTEN) {
		/* Unless it listens again by now. */
		if (e && listener_find(s->kernel, event->cookie, &known) < 0)
			take(s, e);
		return;
	}
	if (listener_find(s->kernel, event->cookie, &known) >= 0)
		on_known(s, event->cookie, &known);
}

/* The map says all that lost records would have said. */
static void read_map(struct listeners *s)
{
	struct listeners_entry *e, *next;
	struct sn_listener known;

	HASH_ITER (hh, s->all, e, next)
		if (!e->l.swept && listener_find(s->kernel, e->l.cookie, &known) < 0)
			take(s, e);
	if (listener_visit(s->kernel, on_known, s) < 0)
		log_warn("cannot read who listens; trying again");
}

/* --- sweeps ------------------------------------------------------------------------------- */

static void found(struct listeners *s, uint64_t netns, const struct evict_found *f)
{
	struct listeners_entry *e = find(s, f->cookie);
	const struct listener l = {.cookie = f->cookie,
				   .netns = netns,
				   .since_ms = now_ns(CLOCK_REALTIME) / 1000000,
				   .addr = f->addr,
				   .port = f->port,
				   .swept = true};

	if (e)
		e->seen = s->sweep;
	else if (!f->told) /* else the programs tell, or have told that it ended since */
		add(s, &l, f->cgroup_id);
}

/* Nobody saw its end: it was there before the sweep, which came by and did not find it. Of those
 * that the programs know only a look at everything may say so; they are not asked for each second.
 */
static void end_unseen(struct listeners *s, uint64_t netns)
{
	struct listeners_entry *e, *next;

	HASH_ITER (hh, s->all, e, next) {
		if (e->l.netns != netns || e->seen == s->sweep || (!e->l.swept && !s->full))
			continue;
		if (!e->l.swept)
			listener_forget(s->kernel, e->l.cookie);
		take(s, e);
	}
}

static void sync_once(struct listeners *s)
{
	if (s->is_synced)
		return;
	s->is_synced = true;
	s->synced(s->arg);
}

static void swept(struct listeners *s, const struct evict_answer *answer)
{
	s->sweeping = false;
	if (answer->failed && !s->told_failed)
		log_warn_r(answer->r ? answer->r : -EIO,
			   "%u network namespaces could not be looked at for sockets that listen",
			   answer->failed);
	s->told_failed = answer->failed;
	s->kept = answer->more;
	if (s->full)
		sync_once(s);
}

void listeners_answer(struct listeners *s, const struct evict_answer *answer)
{
	if (answer->verb == EVICT_CGROUP) {
		cgroups_answer(&s->cgroups, answer);
		return;
	}
	for (uint32_t i = 0; i < answer->n_found && i < EVICT_FOUND; i++)
		found(s, answer->subject, &answer->found[i]);
	if (answer->part == EVICT_NAMESPACE)
		end_unseen(s, answer->subject);
	else if (answer->part == EVICT_OVER)
		swept(s, answer);
}

static void begin_sweep(struct listeners *s, uint64_t now_ms)
{
	bool full = s->look || now_ms - s->looked_ms >= LOOK_AT_ALL_MS;
	const struct evict_request request = {.verb = EVICT_LISTENERS, .streams = full};

	if (s->sweeping || (!full && !s->kept))
		return;
	if (evict_send(s->evict, &request) < 0) {
		sync_once(s); /* without the helper what the programs tell is all there is */
		return;
	}
	s->sweeping = true;
	s->full = full;
	s->sweep++;
	s->look = s->look && !full;
	s->looked_ms = full ? now_ms : s->looked_ms;
}

static void check_full(struct listeners *s)
{
	uint64_t full = read_node_count(s->kernel, SN_R_LISTENER_FULL);

	if (full && !s->told_full)
		log_warn("more than %u sockets listen at once; %llu of them are not known "
			 "(listener_full)",
			 listener_max(s->kernel), (unsigned long long)full);
	s->told_full = full;
}

static void on_timer(uv_timer_t *timer)
{
	struct listeners *s = timer->data;
	uint64_t lost = read_node_count(s->kernel, SN_R_EVENT_LOST);

	if (lost != s->lost)
		read_map(s);
	s->lost = lost;
	check_full(s);
	begin_sweep(s, uv_now(timer->loop));
}

void listeners_look(struct listeners *s)
{
	s->look = true;
}

void listeners_lost(struct listeners *s)
{
	struct listeners_entry *e, *next;

	s->sweeping = false;
	cgroups_lost(&s->cgroups);
	/* Nobody would see them end. */
	HASH_ITER (hh, s->all, e, next)
		if (e->l.swept)
			take(s, e);
	sync_once(s);
}

/* --- life --------------------------------------------------------------------------------- */

int listeners_start(struct listeners *s, uv_loop_t *loop)
{
	int r = uv_timer_init(loop, &s->timer);

	if (r < 0)
		return r;
	s->timer.data = s;
	s->cgroups.evict = s->evict;
	s->cgroups.served = s->served;
	s->cgroups.named = on_named;
	s->cgroups.arg = s;
	s->lost = read_node_count(s->kernel, SN_R_EVENT_LOST);
	s->look = true;
	read_map(s);
	begin_sweep(s, uv_now(loop));
	return uv_timer_start(&s->timer, on_timer, LOOK_MS, LOOK_MS);
}

void listeners_visit(const struct listeners *s, void (*visit)(void *arg, const struct listener *l),
		     void *arg)
{
	struct listeners_entry *e, *next;

	HASH_ITER (hh, s->all, e, next)
		if (e->shown)
			visit(arg, &e->l);
}

size_t listeners_count(const struct listeners *s)
{
	struct listeners_entry *e, *next;
	size_t n = 0;

	HASH_ITER (hh, s->all, e, next)
		n += !e->l.swept;
	return n;
}

void listeners_stop(struct listeners *s)
{
	if (s->timer.loop && !uv_is_closing((uv_handle_t *)&s->timer))
		uv_close((uv_handle_t *)&s->timer, NULL);
}

void listeners_done(struct listeners *s)
{
	struct listeners_entry *e, *next;

	HASH_ITER (hh, s->all, e, next) {
		HASH_DEL(s->all, e);
		cgroups_unref(&s->cgroups, e->cgroup);
		free(e);
	}
	cgroups_done(&s->cgroups);
	free(s->served);
}
