/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A deterministic simulation: clients that connect, wait, give up and come again; backends that
 * answer, refuse, fall silent and return; a daemon that publishes, holds and renews meanwhile. What
 * must always hold is looked at after each step. A failing seed is named: SINEW_SEED=N runs it
 * alone. SINEW_FULL=1 runs ten times as many.
 */
#include "core/world.h"

#include <stdlib.h>

#define DOOR_CLOCK(time, seed) (core.now = (time))
#include "core/door.h"

#define BACKENDS 12u
#define CLIENTS 40u
#define EVENTS 2000u
#define MS 1000000ull

enum behaviour { ANSWERS, REFUSES, SILENT, UNREACHABLE, SLOW, BEHAVIOURS };

/* One socket, from its connect to its end. */
struct client {
	uint64_t next_ns; /* when it does something again */
	uint64_t cookie;
	uint32_t backend;
	uint16_t incarnation;
	int is_open, is_answered;
};

static struct client clients[CLIENTS];
static enum behaviour behaviours[BACKENDS];
/* What this test counts by itself, per backend. */
static struct mine {
	uint64_t admitted_ns[8];
	uint32_t admitted;
} mine[BACKENDS];
static uint64_t seed_now, cookies;
/* What came to pass, so that it is known to have been looked at. */
static struct {
	uint64_t connects, probes, panic, limited, none, ejections;
} seen;
static uint32_t members; /* as a mask of backend indexes */

static uint32_t any(uint32_t below)
{
	return core_random() % below;
}

static void wrong(const char *what, uint64_t a, uint64_t b)
{
	fail_msg("%s: %llu, %llu (SINEW_SEED=%llu)", what, (unsigned long long)a,
		 (unsigned long long)b, (unsigned long long)seed_now);
}

static struct sn_health *health_of(uint32_t i)
{
	return sn_health_at(WORLD_FIRST + i);
}

/* --- what must always hold ------------------------------------------------------------------ */

static void check_ejected(void)
{
	const struct sn_svc_state *state = sn_svc_state_at(WORLD_SERVICE);
	uint32_t ejected = 0, total = 0;

	for (uint32_t i = 0; i < BACKENDS; i++)
		if (members >> (WORLD_FIRST + i) & 1) {
			total++;
			ejected += health_of(i)->ejected_until_ns != 0;
		}
	if (state->ejected != ejected)
		wrong("ejected: said, true", state->ejected, ejected);
}

static void check_backend(uint32_t i)
{
	const struct sn_health *h = health_of(i);
	uint32_t live = 0, connecting = 0;
	uint64_t outcomes = 0;

	for (uint32_t c = 0; c < CLIENTS; c++)
		if (clients[c].is_open && clients[c].backend == WORLD_FIRST + i &&
		    clients[c].incarnation == sn_backend_at(WORLD_FIRST + i)->incarnation) {
			live++;
			connecting += !clients[c].is_answered;
		}
	for (uint32_t r = 0; r < SN_R_BACKEND_MAX; r++)
		outcomes += r == SN_R_RESET || r == SN_R_REPORTED ? 0 : h->outcome[r];
	if (h->active != live)
		wrong("active, live", h->active, live);
	if (h->attempts != outcomes + connecting)
		wrong("attempts, outcomes and in progress", h->attempts, outcomes + connecting);
	if (world_policy()->limit_backend && live > world_policy()->limit_backend)
		wrong("over the backend's limit", live, world_policy()->limit_backend);
}

static void check_limits(void)
{
	const struct sn_svc_state *state = sn_svc_state_at(WORLD_SERVICE);
	const struct sn_policy *policy = world_policy();
	uint32_t open = 0, pending = 0;

	for (uint32_t c = 0; c < CLIENTS; c++)
		if (clients[c].is_open &&
		    clients[c].incarnation == sn_backend_at(clients[c].backend)->incarnation) {
			open++;
			pending += !clients[c].is_answered;
		}
	/* A renewed backend's last flows keep what they took: never fewer are counted. */
	if (policy->limit_service && (open > policy->limit_service || state->active < open))
		wrong("open, counted of the service's limit", open, state->active);
	if (policy->limit_pending && (pending > policy->limit_pending || state->pending < pending))
		wrong("pending, counted of its limit", pending, state->pending);
}

/* An outcome may eject, but never the last usable one. */
static void check_grown(uint32_t before)
{
	const struct sn_svc_state *state = sn_svc_state_at(WORLD_SERVICE);
	uint32_t total = (uint32_t)__builtin_popcount(members);

	if (state->ejected > before && state->ejected + state->held >= total)
		wrong("none usable: ejected, held", state->ejected, state->held);
}

static void check_all(void)
{
	check_ejected();
	check_limits();
	for (uint32_t i = 0; i < BACKENDS; i++)
		check_backend(i);
}

/* The rule of admission: at most `probes` in any base time, but for those that were not sent. */
static void check_admission(uint32_t i, const struct door_step *step)
{
	const struct sn_policy *policy = world_policy();
	struct mine *m = &mine[i];
	uint32_t recent = 0;

	if (step->grade != SN_GRADE_PROBE || !policy->probes)
		return;
	for (uint32_t k = 0; k < 8; k++)
		recent += m->admitted_ns[k] && core.now - m->admitted_ns[k] < policy->base_ns - MS;
	/* An interval begins with its first one: two may meet within one base time. */
	if (recent + 1 > 2u * policy->probes)
		wrong("admissions within a base time", recent + 1, policy->probes);
	m->admitted_ns[m->admitted++ % 8] = core.now;
}

/* --- clients -------------------------------------------------------------------------------- */

static void client_end(struct client *c, int error)
{
	struct door_step step = {
		.now = core.now, .cookie = c->cookie, .what = DOOR_END, .error = error};

	(void)door_run(&step);
	c->is_open = 0;
	c->next_ns = core.now + (1 + any(100)) * MS;
}

static void client_connect(struct client *c)
{
	uint32_t spell = any(50);
	uint64_t until[BACKENDS];
	struct door_step step = {.now = core.now,
				 .cookie = ++cookies,
				 .what = DOOR_CONNECT,
				 .service = WORLD_SERVICE,
				 .draw = core_random(),
				 .workload = 1 + any(4)};

	for (uint32_t i = 0; i < BACKENDS; i++)
		until[i] = health_of(i)->ejected_until_ns;
	(void)door_run(&step);
	c->next_ns = core.now + (1 + any(1000)) * MS;
	seen.connects += step.reason == SN_R_CONNECTED;
	seen.probes += step.grade == SN_GRADE_PROBE;
	seen.panic += step.panic;
	seen.limited += step.reason == SN_R_LIMITED;
	seen.none += step.reason == SN_R_NO_BACKEND;
	if (step.reason != SN_R_CONNECTED)
		return;
	*c = (struct client){.cookie = step.cookie,
			     .backend = step.backend,
			     .incarnation = sn_backend_at(step.backend)->incarnation,
			     .is_open = 1};
	if (!(members >> step.backend & 1))
		wrong("picked what is no member", step.backend, members);
	if (sn_is_held(sn_health_at(step.backend), core.now))
		wrong("picked what is held", step.backend, 0);
	if (core.now < until[step.backend - WORLD_FIRST] && !step.panic)
		wrong("picked what is ejected", step.backend, until[step.backend - WORLD_FIRST]);
	if (until[step.backend - WORLD_FIRST])
		check_admission(step.backend - WORLD_FIRST, &step);
	c->next_ns = core.now + 10000;
	if (spell || step.panic)
		return;
	/* No route: it ends before its SYN, and an admission is given back. */
	client_end(c, 0);
	if (step.grade == SN_GRADE_PROBE && mine[step.backend - WORLD_FIRST].admitted)
		mine[step.backend - WORLD_FIRST]
			.admitted_ns[--mine[step.backend - WORLD_FIRST].admitted % 8] = 0;
}

static void client_answer(struct client *c)
{
	struct door_step step = {.now = core.now, .cookie = c->cookie, .what = DOOR_ANSWER};

	(void)door_run(&step);
	c->is_answered = 1;
	c->next_ns = core.now + any(2000) * MS;
}

/* The SYN leaves, and it is known already when what will come of it. */
static void client_syn(struct client *c)
{
	struct door_step step = {.now = core.now, .cookie = c->cookie, .what = DOOR_SYN};

	(void)door_run(&step);
	switch (behaviours[c->backend - WORLD_FIRST]) {
	case SLOW:
		c->next_ns = core.now + (50 + any(100)) * MS;
		break;
	case SILENT: /* the caller gives up soon, or the kernel late */
		c->next_ns =
			core.now + (any(3) ? (500 + any(2000)) * MS : 3000 * MS + any(60000) * MS);
		break;
	default:
		c->next_ns = core.now + 20000 + any(1000000);
	}
}

static void client_outcome(struct client *c)
{
	switch (behaviours[c->backend - WORLD_FIRST]) {
	case REFUSES:
		client_end(c, 111);
		break;
	case UNREACHABLE:
		client_end(c, 113);
		break;
	case SILENT:
		client_end(c, any(2) ? 110 : 0);
		break;
	default:
		client_answer(c);
	}
}

static void client_step(struct client *c)
{
	struct sn_flow *flow = c->is_open ? sn_flow_find(c->cookie, NULL) : NULL;

	if (!c->is_open)
		client_connect(c);
	else if (!flow)
		wrong("a flow is lost", c->cookie, c->backend);
	else if (c->is_answered)
		client_end(c, any(20) ? 0 : 104);
	else if (flow->state == SN_FLOW_PICKED)
		client_syn(c);
	else
		client_outcome(c);
}

/* --- the daemon, and the backends' fate ----------------------------------------------------- */

static void publish(void)
{
	struct world_set w = {WORLD_SERVICE, 0, WORLD_FIRST, NULL, {0}};
	struct door_step step = {.now = core.now, .what = DOOR_PUBLISH, .service = WORLD_SERVICE};
	uint32_t n = 1 + any(BACKENDS);

	w.at = WORLD_SET + 64 * any(4);
	w.count[0] = any(2) ? n : n / 2;
	w.count[1] = n - w.count[0];
	for (uint32_t i = 0; i < n; i++)
		step.mask |= 1u << (WORLD_FIRST + i);
	world_publish(&w);
	step.argument = w.at;
	(void)door_run(&step);
	members = step.mask;
}

static void daemon_step(void)
{
	struct door_step step = {.now = core.now, .backend = WORLD_FIRST + any(BACKENDS)};
	uint32_t what = any(10);

	if (what < 3) {
		publish();
		return;
	}
	if (what < 9) {
		behaviours[any(BACKENDS)] = any(3) ? any(BEHAVIOURS) : ANSWERS;
		return;
	}
	step.what = any(4) ? DOOR_HOLD : DOOR_RENEW;
	step.argument = !any(3);
	(void)door_run(&step);
	if (step.what == DOOR_RENEW)
		memset(&mine[step.backend - WORLD_FIRST], 0, sizeof(*mine));
}

static void policy_any(void)
{
	struct sn_policy *p = world_policy();

	p->algorithm = (uint8_t)any(4);
	p->consecutive = any(6);
	p->base_ns = (1 + any(20)) * SECOND / 10;
	p->max_ns = p->base_ns * (1 + any(10));
	p->max_ejection_percent = (uint8_t)any(101);
	p->panic_percent = (uint8_t)any(101);
	p->probes = (uint8_t)(1 + any(3));
	p->flags = any(2) ? SN_POLICY_PANIC_NONE : 0;
	p->flags |= any(2) ? SN_POLICY_BUDGET_ENFORCE : 0;
	p->limit_service = any(5) ? 0 : 1 + any(30);
	p->limit_backend = any(4) ? 0 : 1 + any(8);
	p->limit_pending = any(5) ? 0 : 1 + any(10);
	p->affinity = (uint8_t)any(2);
	p->affinity_ns = any(30) * SECOND;
	p->slow_start_ns = any(3) ? 0 : any(30) * SECOND;
	p->slow_ns = any(2) * 40 * MS;
	p->slow_percent = 50;
}

/* The next client whose time has come. */
static struct client *client_next(void)
{
	struct client *next = &clients[0];

	for (uint32_t c = 1; c < CLIENTS; c++)
		if (clients[c].next_ns < next->next_ns)
			next = &clients[c];
	return next;
}

static void simulate(uint64_t seed)
{
	struct client *next;
	uint32_t ejected;

	seed_now = seed;
	core.random = seed * 2654435761u;
	memset(clients, 0, sizeof(clients));
	memset(behaviours, 0, sizeof(behaviours));
	memset(mine, 0, sizeof(mine));
	policy_any();
	world_service(WORLD_SERVICE, WORLD_SET, SN_PROTO_TCP);
	publish();
	for (uint32_t event = 0; event < EVENTS; event++) {
		next = client_next();
		core.now = next->next_ns > core.now ? next->next_ns : core.now;
		ejected = sn_svc_state_at(WORLD_SERVICE)->ejected;
		client_step(next);
		check_grown(ejected);
		if (!any(12))
			daemon_step();
		check_all();
		core_forget_events();
	}
	/* Everybody goes: nothing is left behind. */
	for (uint32_t c = 0; c < CLIENTS; c++)
		if (clients[c].is_open)
			client_end(&clients[c], 0);
	check_all();
	for (uint32_t i = 0; i < BACKENDS; i++) {
		assert_int_equal(health_of(i)->active, 0);
		seen.ejections += health_of(i)->ejected_total;
	}
}

static int begin(void **state)
{
	world_begin(1);
	/* More than one seed has connects: nobody's slot is another's. */
	core_resize(core_of(&sn_flows), 4096);
	core_set_flow_mask(4095);
	cookies = 0;
	return 0;
}

static void test_what_must_always_hold_does_after_each_step(void **state)
{
	const char *full = getenv("SINEW_FULL"), *alone = getenv("SINEW_SEED");
	uint64_t n = full && *full == '1' ? 10000 : 1000;

	for (uint64_t seed = 1; seed <= n && !alone; seed++) {
		begin(NULL);
		simulate(seed);
	}
	if (alone)
		simulate(strtoull(alone, NULL, 10));
	print_message("# %llu connects, %llu probes, %llu in panic, %llu limited, %llu without a "
		      "backend, %llu ejections\n",
		      (unsigned long long)seen.connects, (unsigned long long)seen.probes,
		      (unsigned long long)seen.panic, (unsigned long long)seen.limited,
		      (unsigned long long)seen.none, (unsigned long long)seen.ejections);
	assert_true(alone || (seen.connects > 100 * n && seen.probes > n && seen.panic > n &&
			      seen.limited > n && seen.none > n && seen.ejections > n));
}

static int end(void **state)
{
	core_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_what_must_always_hold_does_after_each_step, begin),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
