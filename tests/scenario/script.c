/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See script.h. Steps:
 *
 *   size FRONTENDS SERVICES SLOTS BACKENDS   max_entries of the maps; only as the first step
 *   put LINE                 declares a service (world.h has the line)
 *   drop NAME                removes one
 *   policy NAME [SPEC], drop-policy NAME     SPEC: as JSON
 *   fails ERROR STEP         the step is refused so, and no map has changed
 *   full MAP                 the last refused change found no room in it
 *   says TEXT                the last refused change said so
 *   clock MILLISECONDS       time goes on
 *   kill, start, keep        the daemon ends; comes and adopts; comes and may not remove anything
 *   expect FRONTEND [BACKEND WEIGHT]...      what a client of it gets; nothing behind it: nobody;
 *                                            "|" before each further level
 *   spread FRONTEND N                        it is a table of N places and its members' shares
 *                                            are equal to a place (consistentHash)
 *   rule FRONTEND N                          its consecutiveFailures, as the programs read it
 *   policies N                               so many indexes of sn_policies are led to
 *   absent FRONTEND
 *   frontends N              so many in all
 *   connects FRONTEND BACKEND N              the kernel counts N connects to it
 *   counted FRONTEND BACKEND N               and has counted so many
 *   active FRONTEND BACKEND N                so many connections are open
 *   eject, restore FRONTEND BACKEND         the kernel does that, and counts it
 *   hold NAME ENDPOINT PORT eject|drain|none MILLISECONDS    by hand: both by number
 *   held FRONTEND BACKEND 0|1                a pick finds it so
 *   tallied FRONTEND EJECTED HELD            what the service's numbers say
 *   miscounted FRONTEND EJECTED              damage: the number of ejected members says that
 *   tick                                     the daemon looks after its numbers
 *   removed N                backends that datagram sockets had to leave at the last change
 *   note NAME FRONTEND [BACKEND]             remembers which index that is
 *   same NAME FRONTEND [BACKEND]             it is the same, and the same incarnation
 *   reused NAME FRONTEND [BACKEND]           the index is, but it is another incarnation
 *   other NAME FRONTEND [BACKEND]            it is another index
 *   same-set, other-set, same-rules, other-rules NAME FRONTEND    so is what it leads to
 */
#include "script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "kernel/hold.h"
#include "world.h"

#define WORDS 256
#define NOTES 16

struct note {
	char name[32];
	uint32_t index, incarnation, set, rules;
};

struct script {
	struct world world;
	bool running;
	const char *name;
	unsigned int line;
	struct note notes[NOTES];
	size_t n_notes;
	char *words[WORDS];
	size_t n_words;
	char rest[4096]; /* what follows the verb */
};

#define wrong(s, ...)                                                                              \
	do {                                                                                       \
		print_error("%s:%u: ", (s)->name, (s)->line);                                      \
		fail_msg(__VA_ARGS__);                                                             \
	} while (0)

static const char *word(struct script *s, size_t i)
{
	if (i >= s->n_words)
		wrong(s, "\"%s\" needs more words", s->words[0]);
	return s->words[i];
}

static uint32_t number(struct script *s, size_t i)
{
	return (uint32_t)strtoul(word(s, i), NULL, 10);
}

static void begin(struct script *s, const struct fake_size *size)
{
	if (!s->running)
		world_init(&s->world, size);
	s->running = true;
}

static const char *said(struct script *s)
{
	return s->world.problems.n ? s->world.problems.items[0].message : "";
}

/* --- steps -------------------------------------------------------------------------------- */

static int step_size(struct script *s)
{
	const struct fake_size size = {number(s, 1), number(s, 2), number(s, 3), number(s, 4)};

	if (s->running)
		wrong(s, "size comes first");
	begin(s, &size);
	return 0;
}

static int step_put(struct script *s)
{
	return world_put(&s->world, s->rest);
}

static int step_drop(struct script *s)
{
	return world_drop(&s->world, word(s, 1));
}

static int step_policy(struct script *s)
{
	const char *spec = strchr(s->rest, ' ');

	return world_policy(&s->world, word(s, 1), spec ? spec + 1 : "{}");
}

static int step_drop_policy(struct script *s)
{
	return world_drop_policy(&s->world, word(s, 1));
}

static int step_says(struct script *s)
{
	if (!strstr(said(s), s->rest))
		wrong(s, "it said \"%s\"", said(s));
	return 0;
}

static int step_full(struct script *s)
{
	if (strcmp(publish_full(s->world.publish), word(s, 1)) != 0)
		wrong(s, "it was %s", publish_full(s->world.publish));
	return 0;
}

static int step_clock(struct script *s)
{
	fake.now_ns += (uint64_t)number(s, 1) * 1000000;
	return 0;
}

static int step_kill(struct script *s)
{
	world_kill(&s->world);
	return 0;
}

static int step_start(struct script *s)
{
	return world_start(&s->world, false);
}

static int step_keep(struct script *s)
{
	return world_start(&s->world, true);
}

/* One level from word i on; the index of the word behind it. */
static size_t append_expected(struct script *s, struct text_buffer *b, size_t i)
{
	size_t end = i;
	double total = 0;

	for (; end < s->n_words && strcmp(word(s, end), "|") != 0; end += 2)
		total += number(s, end + 1);
	if (end == i)
		text_append(b, " nobody");
	for (; i < end; i += 2)
		text_append_format(b, " %s %.2f%%", word(s, i),
				   world_percent(number(s, i + 1), total));
	return end;
}

static int step_expect(struct script *s)
{
	_cleanup_free_ char *line = world_line(word(s, 1));
	struct text_buffer b = {};

	text_append_format(&b, "%s%s ->", word(s, 1), strchr(word(s, 1), '/') ? "" : "/TCP");
	for (size_t i = 2; i <= s->n_words; i++) {
		if (i > 2)
			text_append(&b, " |");
		i = append_expected(s, &b, i);
	}
	if (strcmp(line, b.data) != 0)
		wrong(s, "found \"%s\"", line);
	text_done(&b);
	return 0;
}

static int step_absent(struct script *s)
{
	_cleanup_free_ char *line = world_line(word(s, 1));

	if (*line)
		wrong(s, "found \"%s\"", line);
	return 0;
}

static int step_frontends(struct script *s)
{
	if (fake.n_frontends != number(s, 1))
		wrong(s, "found %u", fake.n_frontends);
	return 0;
}

static uint32_t backend(struct script *s, size_t i)
{
	uint32_t index = world_backend(word(s, i), word(s, i + 1));

	if (!index)
		wrong(s, "%s has no backend %s", word(s, i), word(s, i + 1));
	return index;
}

static int step_connects(struct script *s)
{
	struct sn_health *h = fake_health(backend(s, 1));

	h->attempts += number(s, 3);
	h->outcome[SN_R_CONNECTED] += number(s, 3);
	return 0;
}

static int step_active(struct script *s)
{
	fake_health(backend(s, 1))->active = number(s, 3);
	return 0;
}

static int step_counted(struct script *s)
{
	uint64_t attempts = fake_health(backend(s, 1))->attempts;

	if (attempts != number(s, 3))
		wrong(s, "it counted %llu", (unsigned long long)attempts);
	return 0;
}

static int step_eject(struct script *s)
{
	uint32_t index = backend(s, 1);

	fake_state(fake_backend(index)->service)->ejected++;
	fake_state(fake_backend(index)->service)->failed_ns = fake.now_ns;
	fake_health(index)->ejected_until_ns = fake.now_ns + 30000000000ull;
	return 0;
}

static int step_restore(struct script *s)
{
	uint32_t index = backend(s, 1);

	fake_state(fake_backend(index)->service)->ejected--;
	fake_health(index)->ejected_until_ns = 0;
	return 0;
}

static int step_hold(struct script *s)
{
	const struct service *of = store_find_service(s->world.store, "default", word(s, 1));
	struct hold_place at = {of, number(s, 2), number(s, 3)};
	enum sn_hold hold = !strcmp(word(s, 4), "eject")   ? SN_HOLD_EJECT
			    : !strcmp(word(s, 4), "drain") ? SN_HOLD_DRAIN
							   : SN_HOLD_NONE;

	if (!of)
		wrong(s, "there is no service %s", word(s, 1));
	if (number(s, 3) >= of->n_ports)
		wrong(s, "it has no such port");
	return hold_set(s->world.publish, at, hold, fake.now_ns + (uint64_t)number(s, 5) * 1000000);
}

static int step_held(struct script *s)
{
	const struct sn_health *h = fake_health(backend(s, 1));

	if ((h->held && fake.now_ns < h->held_until_ns) != number(s, 3))
		wrong(s, "held is %u until %llu", h->held, (unsigned long long)h->held_until_ns);
	return 0;
}

static struct sn_svc_state *state_of(struct script *s)
{
	struct sn_frontend key = world_key(word(s, 1));

	return fake_state(fake_find(&key));
}

static int step_tallied(struct script *s)
{
	const struct sn_svc_state *state = state_of(s);

	if (state->ejected != number(s, 2) || state->held != number(s, 3))
		wrong(s, "%u are counted as ejected, %u as held", state->ejected, state->held);
	return 0;
}

static int step_miscounted(struct script *s)
{
	state_of(s)->ejected = number(s, 2);
	return 0;
}

static int step_tick(struct script *s)
{
	publish_tick(s->world.publish);
	return 0;
}

static int step_removed(struct script *s)
{
	if (s->world.removed != number(s, 1))
		wrong(s, "%zu were", s->world.removed);
	return 0;
}

/* --- notes -------------------------------------------------------------------------------- */

/* The service's index, or the backend's when one is named. */
static struct note look(struct script *s)
{
	struct sn_frontend key = world_key(word(s, 2));
	struct note n = {.index = fake_find(&key)};

	(void)snprintf(n.name, sizeof(n.name), "%s", word(s, 1));
	n.set = fake_service(n.index)->set;
	n.rules = fake_service(n.index)->policy;
	n.incarnation = fake_service(n.index)->incarnation;
	if (s->n_words > 3) {
		n.index = backend(s, 2);
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
		if (!strcmp(s->notes[i].name, word(s, 1)))
			return &s->notes[i];
	wrong(s, "nothing was noted as %s", word(s, 1));
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
	struct sn_frontend key = world_key(word(s, 1));
	const struct sn_policy *policy = fake_policy(fake_service(fake_find(&key))->policy);

	if (policy->consecutive != number(s, 2))
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
	if (n != number(s, 1))
		wrong(s, "there are %u", n);
	return 0;
}

static int step_spread(struct script *s)
{
	struct sn_frontend key = world_key(word(s, 1));
	uint32_t service = fake_find(&key), set = fake_service(service)->set, n, least, most;
	uint32_t counts[64] = {};
	const struct sn_set *header = (const struct sn_set *)fake_slot(set);

	n = header->count[0];
	if (n != number(s, 2))
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

/* --- running ------------------------------------------------------------------------------ */

static const struct verb {
	const char *name;
	int (*run)(struct script *s);
} verbs[] = {
	{"size", step_size},
	{"put", step_put},
	{"drop", step_drop},
	{"policy", step_policy},
	{"drop-policy", step_drop_policy},
	{"says", step_says},
	{"full", step_full},
	{"clock", step_clock},
	{"kill", step_kill},
	{"start", step_start},
	{"keep", step_keep},
	{"expect", step_expect},
	{"absent", step_absent},
	{"frontends", step_frontends},
	{"connects", step_connects},
	{"active", step_active},
	{"counted", step_counted},
	{"eject", step_eject},
	{"restore", step_restore},
	{"hold", step_hold},
	{"held", step_held},
	{"tallied", step_tallied},
	{"miscounted", step_miscounted},
	{"tick", step_tick},
	{"removed", step_removed},
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
};

static int run_step(struct script *s, const char *text)
{
	static char copy[sizeof(s->rest)];
	char *state = NULL;
	const char *space = strchr(text, ' ');

	(void)snprintf(copy, sizeof(copy), "%s", text);
	(void)snprintf(s->rest, sizeof(s->rest), "%s", space ? space + 1 : "");
	s->n_words = 0;
	for (char *w = strtok_r(copy, " ", &state); w && s->n_words < WORDS;
	     w = strtok_r(NULL, " ", &state))
		s->words[s->n_words++] = w;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i].name, s->words[0]))
			return verbs[i].run(s);
	wrong(s, "\"%s\" is no step", s->words[0]);
	return -EINVAL;
}

static int error_number(struct script *s, const char *name)
{
	static const struct {
		const char *name;
		int error;
	} errors[] = {{"ENOSPC", ENOSPC}, {"EBUSY", EBUSY},   {"EINVAL", EINVAL},
		      {"ENOENT", ENOENT}, {"EEXIST", EEXIST}, {"E2BIG", E2BIG}};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (!strcmp(errors[i].name, name))
			return errors[i].error;
	wrong(s, "%s is no error", name);
	return 0;
}

/* "fails ERROR STEP": refused, and every map as it was. */
static void run_refused(struct script *s, const char *text)
{
	char name[16];
	_cleanup_free_ struct fake_copy *before = calloc(1, fake_copy_size());
	_cleanup_free_ struct fake_copy *after = calloc(1, fake_copy_size());
	int r, length = 0;

	assert_non_null(before);
	assert_non_null(after);
	if (sscanf(text, "fails %15s %n", name, &length) != 1)
		wrong(s, "fails ERROR STEP");
	fake_save(before);
	r = run_step(s, text + length);
	fake_save(after);
	if (r != -error_number(s, name))
		wrong(s, "it came to %d (%s)", r, said(s));
	if (memcmp(before, after, fake_copy_size()) != 0)
		wrong(s, "it was refused, and changed a map");
}

static void run_line(struct script *s, char *text)
{
	static const struct fake_size size = {64, 64, 256, 64};
	char *end = strchr(text, '#');
	int r;

	if (end)
		*end = '\0';
	for (end = text + strlen(text); end > text && end[-1] == ' ';)
		*--end = '\0';
	if (!*text)
		return;
	if (strncmp(text, "size ", 5) != 0)
		begin(s, &size);
	if (!strncmp(text, "fails ", 6)) {
		run_refused(s, text);
		return;
	}
	r = run_step(s, text);
	if (r < 0)
		wrong(s, "\"%s\" came to %d (%s)", text, r, said(s));
}

void script_run(const char *name, char *text)
{
	struct script s = {.name = name};
	char *next = text;

	while (next) {
		char *line = strsep(&next, "\n");

		s.line++;
		run_line(&s, line);
	}
	assert_true(s.running);
	world_done(&s.world);
}
