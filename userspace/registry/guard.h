/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a registry is believed when endpoints go away. Pure: numbers in, verdicts out; it knows
 * neither services nor clocks.
 *
 * The rule, for each registry and service:
 *
 * Held. When within hold_window_ms more than hold_percent of the endpoints go, or when none is
 * left, those that go with this word are held: they stay, as suspects, which are picked last. What
 * went earlier in the window counts, but does not come back. Fewer go at once. An endpoint with
 * weight 0 has not gone.
 *
 * What is held ends in one of four ways:
 *   back       the registry names it again;
 *   confirmed  another word about the service, GUARD_CONFIRM_MS later or more, says the same.
 *              Identical words count: a registry that is asked twice has answered twice;
 *   settled    nothing more is said, since some registries tell a deletion once. It is believed
 *              when the registry is heard from GUARD_SETTLE_MS or more after the last hold of
 *              the service, and is sane;
 *   by hand    an operator says so.
 *
 * Asked. Nobody waits for another word that few registries say of themselves: as soon as it could
 * confirm, the source is told to look a second time (registry.h), and what it sees is a word as any
 * other. Again while that brings nothing, ever more seldom; of what could not confirm, nobody asks.
 *
 * Returned. One that was away (nobody there, no sense in its answers) may have lost what it knew,
 * and gets it back as services say anew that they are there: with their next heartbeat. So does one
 * that was dark or blank, see below, and names them again. For GUARD_RETURN_MS after that nothing
 * is confirmed and nothing settles, however small the registry.
 *
 * A service is emptied when nothing but suspects is left of it. From how many are, at once, of
 * those that have endpoints:
 *   sane       one is emptied, or at most GUARD_SANE_PERCENT of them;
 *   dark       more than one, and more than hold_percent of them, until it is sane again: it lost
 *              its data and may be getting it back piece by piece. None of its words confirms;
 *   blank      its last snapshot named no service at all. That confirms nothing and settles
 *              nothing.
 * What was emptied and then let go by a word still counts for GUARD_SETTLE_MS while another one is
 * emptied: a registry that loses everything bit by bit, each bit said twice, would never be dark.
 *
 * So a registry that lost everything is waited for, however often it repeats itself, and until it
 * has nearly everything back. If it is right, an operator has to say so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_CONFIRM_MS 1000
#define GUARD_SETTLE_MS 30000
#define GUARD_RETURN_MS                                                                            \
	90000 /* three heartbeats of Eureka; Consul's agents tell all each minute                  \
	       */
#define GUARD_SANE_PERCENT 20
#define GUARD_PASSES 8

struct guard_settings {
	unsigned int hold_percent;
	uint64_t hold_window_ms;
};

/*
 * Endpoints of one service that one registry took away and that was believed; by time. When there
 * is no room for another, the two nearest to each other count as one, as early as the earlier: as
 * late as the later, those of a service that shrinks steadily would never leave the window.
 */
struct guard {
	uint64_t at_ms[GUARD_PASSES];
	uint32_t n[GUARD_PASSES];
	unsigned int used;
};

/* Writes down so many more; how many there were within the window. */
void guard_note(struct guard *g, size_t n, uint64_t window_ms, uint64_t now_ms);
size_t guard_count(const struct guard *g, uint64_t window_ms, uint64_t now_ms);

/* What a word does to a service. */
struct guard_loss {
	size_t before; /* that it had, those held before included */
	size_t held;   /* held before, and still not named */
	size_t gone;   /* named before, and no longer */
	size_t left;   /* named now */
};

/* Whether those that have gone are held. If not, they are written down. */
bool guard_holds(struct guard *g, const struct guard_settings *settings,
		 const struct guard_loss *loss, uint64_t now_ms);
/* Whether one held since then is confirmed by a word of now that misses it, too. */
bool guard_is_confirmed(uint64_t held_ms, uint64_t now_ms);
/* When the registry should be asked about a service whose last hold was then, after so many
 * questions, the last of them at asked_ms. */
uint64_t guard_ask_ms(uint64_t held_ms, unsigned int asked, uint64_t asked_ms);
/* Whether a service whose last hold was then has settled, by when its registry was last heard. */
bool guard_is_settled(uint64_t held_ms, uint64_t contact_ms);

/* Whether what a registry takes back counts, that was back then from being away; 0: it never was.
 */
bool guard_is_back(uint64_t back_ms, uint64_t now_ms);

/* Of a registry with so many services that have endpoints, so many of which are emptied. */
bool guard_is_sane(size_t services, size_t emptied);
bool guard_is_dark(const struct guard_settings *settings, bool was_dark, size_t services,
		   size_t emptied);
