/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps that remember where something was, and look at what is there. See script.c.
 */
#include "script_state.h"

#include <stdio.h>
#include <string.h>

/* The service's index, or the backend's when one is named. */
static struct note look(struct script *s)
{
	struct sn_frontend key = world_key(script_word(s, 2));
	struct note n = {.index = fake_find(&key)};

	(void)snprintf(n.name, sizeof(n.name), "%s", script_word(s, 1));
	n.set = fake_service(n.index)->set;
	n.rules = fake_service(n.index)->policy;
	n.incarnation = fake_service(n.index)->incarnation;
	if (s->n_words > 3) {
		n.index = script_backend(s, 2);
		n.incarnation = fake_backend(n.index)->incarnation;
	}
	return n;
}

static int step_note(struct script *s)
{
	if (s->n_notes == NOTES)
		wrong(s, "too many notes");
	s->notes[s->n_notes++] = look(s);
	return 0;
}

static const struct note *recall(struct script *s)
{
	for (size_t i = s->n_notes; i-- > 0;)
		if (!strcmp(s->notes[i].name, script_word(s, 1)))
			return &s->notes[i];
	wrong(s, "nothing was noted as %s", script_word(s, 1));
	return NULL;
}

static void compare(struct script *s, bool same_index, bool same_incarnation)
{
	const struct note *then = recall(s);
	struct note now = look(s);

	if ((then->index == now.index) != same_index ||
	    (same_index && (then->incarnation == now.incarnation) != same_incarnation))
		wrong(s, "then %u of incarnation %u, now %u of %u", then->index, then->incarnation,
		      now.index, now.incarnation);
}

static int step_same(struct script *s)
{
	compare(s, true, true);
	return 0;
}

static int step_reused(struct script *s)
{
	compare(s, true, false);
	return 0;
}

static int step_other(struct script *s)
{
	compare(s, false, false);
	return 0;
}

/* The extent in sn_slots: same-set, other-set. */
static int step_same_set(struct script *s)
{
	if (recall(s)->set != look(s).set)
		wrong(s, "then extent %u, now %u", recall(s)->set, look(s).set);
	return 0;
}

static int step_other_set(struct script *s)
{
	if (recall(s)->set == look(s).set)
		wrong(s, "it is still extent %u", look(s).set);
	return 0;
}

static int step_same_rules(struct script *s)
{
	if (recall(s)->rules != look(s).rules)
		wrong(s, "then %u, now %u", recall(s)->rules, look(s).rules);
	return 0;
}

static int step_other_rules(struct script *s)
{
	if (recall(s)->rules == look(s).rules)
		wrong(s, "it is still %u", look(s).rules);
	return 0;
}

static int step_rule(struct script *s)
{
	struct sn_frontend key = world_key(script_word(s, 1));
	const struct sn_policy *policy = fake_policy(fake_service(fake_find(&key))->policy);

	if (policy->consecutive != script_number(s, 2))
		wrong(s, "it is %u", policy->consecutive);
	return 0;
}

static int step_policies(struct script *s)
{
	uint32_t n = 0;
	uint64_t seen = 0; /* a bit for each index */

	for (uint32_t i = 0; i < fake.n_frontends; i++)
		seen |= 1ull << (fake_service(fake.frontends[i].value)->policy & 63);
	for (; seen; seen &= seen - 1)
		n++;
	if (n != script_number(s, 1))
		wrong(s, "there are %u", n);
	return 0;
}

static int step_spread(struct script *s)
{
	struct sn_frontend key = world_key(script_word(s, 1));
	uint32_t service = fake_find(&key), set = fake_service(service)->set, n, least, most;
	uint32_t counts[64] = {};
	const struct sn_set *header = (const struct sn_set *)fake_slot(set);

	n = header->count[0];
	if (n != script_number(s, 2))
		wrong(s, "it has %u places", n);
	for (uint32_t i = 0; i < n; i++)
		counts[fake_slot(set + SN_SET_HEADER + i)->backend & 63]++;
	least = n;
	most = 0;
	for (uint32_t i = 0; i < 64; i++) {
		least = counts[i] && counts[i] < least ? counts[i] : least;
		most = counts[i] > most ? counts[i] : most;
	}
	if (most > least + 1)
		wrong(s, "one has %u places, one has %u", least, most);
	return 0;
}

const struct script_verb script_note_verbs[] = {
	{"note", step_note},
	{"same", step_same},
	{"reused", step_reused},
	{"other", step_other},
	{"same-set", step_same_set},
	{"other-set", step_other_set},
	{"same-rules", step_same_rules},
	{"other-rules", step_other_rules},
	{"rule", step_rule},
	{"policies", step_policies},
	{"spread", step_spread},
	{},
};
