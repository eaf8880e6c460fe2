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
 *   failures, failed FRONTEND BACKEND N     its window counts so; and does
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
#include "script_state.h"

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
#include "world.h"

const char *script_word(struct script *s, size_t i)
{
	if (i >= s->n_words)
		wrong(s, "\"%s\" needs more words", s->words[0]);
	return s->words[i];
}

uint32_t script_number(struct script *s, size_t i)
{
	return (uint32_t)strtoul(script_word(s, i), NULL, 10);
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
	const struct fake_size size = {script_number(s, 1), script_number(s, 2),
				       script_number(s, 3), script_number(s, 4)};

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
	return world_drop(&s->world, script_word(s, 1));
}

static int step_policy(struct script *s)
{
	const char *spec = strchr(s->rest, ' ');

	return world_policy(&s->world, script_word(s, 1), spec ? spec + 1 : "{}");
}

static int step_drop_policy(struct script *s)
{
	return world_drop_policy(&s->world, script_word(s, 1));
}

static int step_says(struct script *s)
{
	if (!strstr(said(s), s->rest))
		wrong(s, "it said \"%s\"", said(s));
	return 0;
}

static int step_full(struct script *s)
{
	if (strcmp(publish_full(s->world.publish), script_word(s, 1)) != 0)
		wrong(s, "it was %s", publish_full(s->world.publish));
	return 0;
}

static int step_clock(struct script *s)
{
	fake.now_ns += (uint64_t)script_number(s, 1) * 1000000;
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

	for (; end < s->n_words && strcmp(script_word(s, end), "|") != 0; end += 2)
		total += script_number(s, end + 1);
	if (end == i)
		text_append(b, " nobody");
	for (; i < end; i += 2)
		text_append_format(b, " %s %.2f%%", script_word(s, i),
				   world_percent(script_number(s, i + 1), total));
	return end;
}

static int step_expect(struct script *s)
{
	_cleanup_free_ char *line = world_line(script_word(s, 1));
	struct text_buffer b = {};

	text_append_format(&b, "%s%s ->", script_word(s, 1),
			   strchr(script_word(s, 1), '/') ? "" : "/TCP");
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
	_cleanup_free_ char *line = world_line(script_word(s, 1));

	if (*line)
		wrong(s, "found \"%s\"", line);
	return 0;
}

static int step_frontends(struct script *s)
{
	if (fake.n_frontends != script_number(s, 1))
		wrong(s, "found %u", fake.n_frontends);
	return 0;
}

static int step_removed(struct script *s)
{
	if (s->world.removed != script_number(s, 1))
		wrong(s, "%zu were", s->world.removed);
	return 0;
}

/* --- running ------------------------------------------------------------------------------ */

static const struct script_verb verbs[] = {
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
	{"removed", step_removed},
	{},
};

static const struct script_verb *const tables[] = {verbs, script_health_verbs, script_note_verbs};

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
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct script_verb *verb = tables[t]; verb->name; verb++)
			if (!strcmp(verb->name, s->words[0]))
				return verb->run(s);
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
