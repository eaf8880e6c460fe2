/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps about what the programs count, and about what is set by hand. See script.c.
 */
#include "script_state.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/hold.h"

uint32_t script_backend(struct script *s, size_t i)
{
	uint32_t index = world_backend(script_word(s, i), script_word(s, i + 1));

	if (!index)
		wrong(s, "%s has no backend %s", script_word(s, i), script_word(s, i + 1));
	return index;
}

static int step_connects(struct script *s)
{
	struct sn_health *h = fake_health(script_backend(s, 1));

	h->attempts += script_number(s, 3);
	h->outcome[SN_R_CONNECTED] += script_number(s, 3);
	return 0;
}

static int step_active(struct script *s)
{
	fake_health(script_backend(s, 1))->active = script_number(s, 3);
	return 0;
}

static int step_counted(struct script *s)
{
	uint64_t attempts = fake_health(script_backend(s, 1))->attempts;

	if (attempts != script_number(s, 3))
		wrong(s, "it counted %llu", (unsigned long long)attempts);
	return 0;
}

static int step_failures(struct script *s)
{
	fake_window(script_backend(s, 1))->failed[3] = script_number(s, 3);
	return 0;
}

static int step_failed(struct script *s)
{
	uint64_t failed = fake_window(script_backend(s, 1))->failed[3];

	if (failed != script_number(s, 3))
		wrong(s, "its window has %llu", (unsigned long long)failed);
	return 0;
}

static int step_eject(struct script *s)
{
	uint32_t index = script_backend(s, 1);

	fake_state(fake_backend(index)->service)->ejected++;
	fake_state(fake_backend(index)->service)->failed_ns = fake.now_ns;
	fake_health(index)->ejected_until_ns = fake.now_ns + 30000000000ull;
	return 0;
}

static int step_restore(struct script *s)
{
	uint32_t index = script_backend(s, 1);

	fake_state(fake_backend(index)->service)->ejected--;
	fake_health(index)->ejected_until_ns = 0;
	return 0;
}

static int step_hold(struct script *s)
{
	const struct service *of = store_find_service(s->world.store, "default", script_word(s, 1));
	struct hold_place at = {of, script_number(s, 2), script_number(s, 3)};
	enum sn_hold hold = !strcmp(script_word(s, 4), "eject")   ? SN_HOLD_EJECT
			    : !strcmp(script_word(s, 4), "drain") ? SN_HOLD_DRAIN
								  : SN_HOLD_NONE;

	if (!of)
		wrong(s, "there is no service %s", script_word(s, 1));
	if (script_number(s, 3) >= of->n_ports)
		wrong(s, "it has no such port");
	return hold_set(s->world.publish, at, hold,
			fake.now_ns + (uint64_t)script_number(s, 5) * 1000000);
}

static int step_held(struct script *s)
{
	const struct sn_health *h = fake_health(script_backend(s, 1));

	if ((h->held && fake.now_ns < h->held_until_ns) != script_number(s, 3))
		wrong(s, "held is %u until %llu", h->held, (unsigned long long)h->held_until_ns);
	return 0;
}

static struct sn_svc_state *state_of(struct script *s)
{
	struct sn_frontend key = world_key(script_word(s, 1));

	return fake_state(fake_find(&key));
}

static int step_tallied(struct script *s)
{
	const struct sn_svc_state *state = state_of(s);

	if (state->ejected != script_number(s, 2) || state->held != script_number(s, 3))
		wrong(s, "%u are counted as ejected, %u as held", state->ejected, state->held);
	return 0;
}

static int step_miscounted(struct script *s)
{
	state_of(s)->ejected = script_number(s, 2);
	return 0;
}

static int step_tick(struct script *s)
{
	publish_tick(s->world.publish);
	return 0;
}

const struct script_verb script_health_verbs[] = {
	{"connects", step_connects},
	{"active", step_active},
	{"counted", step_counted},
	{"failures", step_failures},
	{"failed", step_failed},
	{"eject", step_eject},
	{"restore", step_restore},
	{"hold", step_hold},
	{"held", step_held},
	{"tallied", step_tallied},
	{"miscounted", step_miscounted},
	{"tick", step_tick},
	{},
};
