/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See condition.h. Before: struct control_ops reads what the programs wrote. After: views, events
 * and explain show it.
 */
#include "control/condition.h"

#include <time.h>

#include "base/text.h"
#include "control/view.h"

#define SECOND 1000000000ull

enum rank { RANK_ACTIVE, RANK_GONE, RANK_DRAINING, RANK_HALF_OPEN, RANK_EJECTED, RANK_HELD };

static const char *const states[] = {"active", "gone", "draining", "half_open", "ejected", "held"};

static const char *const trips[] = {
#define TRIP_LABEL(id, label, help) [SN_TRIP_##id] = (label),
	SN_TRIPS(TRIP_LABEL)};

const char *condition_trip(uint32_t trip)
{
	return trip < SN_TRIP_MAX ? trips[trip] : "unknown";
}

uint64_t condition_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

uint64_t condition_wall_ms(uint64_t ns, uint64_t now_ns)
{
	if (ns >= now_ns)
		return view_now_ms() + (ns - now_ns) / 1000000;
	return view_now_ms() - (now_ns - ns) / 1000000;
}

/* Two minutes or less are told in seconds, as policies have them. */
const char *condition_span(uint64_t ns, char buf[static CONDITION_SPAN])
{
	uint64_t ms = ns / 1000000, s = (ms + 500) / 1000;

	_Static_assert(CONDITION_SPAN >= TEXT_DURATION, "room");
	if (ns && !ms)
		(void)snprintf(buf, CONDITION_SPAN, "%lluus", (unsigned long long)ns / 1000);
	else if (ms && ms < 1000)
		(void)snprintf(buf, CONDITION_SPAN, "%llums", (unsigned long long)ms);
	else if (s <= 120)
		(void)snprintf(buf, CONDITION_SPAN, "%llus", (unsigned long long)s);
	else if (s < 3600)
		text_format_duration(s * 1000, buf);
	else
		text_format_duration((s + 30) / 60 * 60000, buf);
	return buf;
}

const char *condition_ordinal(uint32_t n, char buf[static CONDITION_SPAN])
{
	static const char *const ends[] = {"th", "st", "nd", "rd"};
	bool is_teen = n % 100 >= 11 && n % 100 <= 13;

	(void)snprintf(buf, CONDITION_SPAN, "%u%s", n,
		       n % 10 < ARRAY_SIZE(ends) && !is_teen ? ends[n % 10] : "th");
	return buf;
}

int condition_rank(const struct backend_traffic *b, uint64_t now_ns)
{
	if (b->state == SN_BACKEND_GONE)
		return RANK_GONE;
	if (backend_is_held(b, now_ns))
		return RANK_HELD;
	if (b->state == SN_BACKEND_DRAINING)
		return RANK_DRAINING;
	if (!b->ejected_until_ns)
		return RANK_ACTIVE;
	return now_ns < b->ejected_until_ns ? RANK_EJECTED : RANK_HALF_OPEN;
}

const char *condition_state(const struct backend_traffic *b, uint64_t now_ns)
{
	return states[condition_rank(b, now_ns)];
}

unsigned int condition_share(const struct backend_traffic *b, const struct condition_at *at)
{
	uint64_t slow = at->rules->slow_start_ns, age;

	if (!slow || !b->since_ns || at->now_ns >= b->since_ns + slow)
		return 100;
	age = at->now_ns > b->since_ns ? at->now_ns - b->since_ns : 0;
	/* As a pick has it (bpf/stage/grade.h): never less than a tenth. */
	return age < slow / 10 ? 10 : (unsigned int)(age * 100 / slow);
}

const char *condition_why(uint32_t trip, uint32_t reason, const struct sn_policy *rules,
			  char buf[static CONDITION_TEXT])
{
	char window[CONDITION_SPAN], slow[CONDITION_SPAN];

	condition_span(rules->bucket_ns * SN_WINDOW_BUCKETS, window);
	condition_span(rules->slow_ns, slow);
	switch (trip) {
	case SN_TRIP_CONSECUTIVE:
		(void)snprintf(buf, CONDITION_TEXT, "%u consecutive %s", rules->consecutive,
			       view_reason(reason));
		break;
	case SN_TRIP_RATIO:
		(void)snprintf(buf, CONDITION_TEXT, "%u%% or more failed within %s, last %s",
			       rules->failure_percent, window, view_reason(reason));
		break;
	case SN_TRIP_SLOW:
		(void)snprintf(buf, CONDITION_TEXT, "%u%% or more took over %s within %s",
			       rules->slow_percent, slow, window);
		break;
	case SN_TRIP_PROBE:
		(void)snprintf(buf, CONDITION_TEXT, "half-open probe %s", view_reason(reason));
		break;
	default:
		(void)snprintf(buf, CONDITION_TEXT, "%s", view_reason(reason));
	}
	return buf;
}

/* --- JSON --------------------------------------------------------------------------------- */

static uint64_t left_ns(uint64_t until_ns, uint64_t now_ns)
{
	return until_ns > now_ns ? until_ns - now_ns : 0;
}

static void until_add(yyjson_mut_doc *doc, yyjson_mut_val *o, uint64_t until_ns, uint64_t now_ns)
{
	if (until_ns == SN_FOREVER)
		return;
	view_add_time(doc, o, "until", condition_wall_ms(until_ns, now_ns));
	view_add_seconds(doc, o, "leftSeconds", left_ns(until_ns, now_ns));
}

static void ejection_add(yyjson_mut_doc *doc, yyjson_mut_val *object,
			 const struct backend_traffic *b, const struct condition_at *at)
{
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, object, "ejection");
	char text[CONDITION_TEXT];

	view_add_time(doc, o, "since", condition_wall_ms(b->ejected_ns, at->now_ns));
	until_add(doc, o, b->ejected_until_ns, at->now_ns);
	(void)yyjson_mut_obj_add_uint(doc, o, "times", b->ejections);
	(void)yyjson_mut_obj_add_str(doc, o, "trip", condition_trip(b->trip));
	(void)yyjson_mut_obj_add_str(doc, o, "reason", view_reason(b->reason));
	view_add_text(doc, o, "why", condition_why(b->trip, b->reason, at->rules, text));
}

static const char *hold_name(uint32_t held)
{
	return held == SN_HOLD_DRAIN ? "drain" : "eject";
}

void condition_add_hold(yyjson_mut_doc *doc, yyjson_mut_val *object,
			const struct backend_traffic *b, uint64_t now_ns)
{
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, object, "hold");

	(void)yyjson_mut_obj_add_str(doc, o, "kind", hold_name(b->held));
	view_add_time(doc, o, "since", b->held_ms);
	until_add(doc, o, b->held_until_ns, now_ns);
	if (b->held_why && *b->held_why)
		view_add_text(doc, o, "why", b->held_why);
	if (b->held_by)
		view_add_text(doc, o, "by", b->held_by);
}

void condition_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct backend_traffic *b,
		   const struct condition_at *at)
{
	unsigned int share = condition_share(b, at);

	(void)yyjson_mut_obj_add_str(doc, object, "state", condition_state(b, at->now_ns));
	(void)yyjson_mut_obj_add_bool(doc, object, "usable", backend_is_usable(b, at->now_ns));
	(void)yyjson_mut_obj_add_uint(doc, object, "level", b->level);
	if (b->ejected_until_ns)
		ejection_add(doc, object, b, at);
	if (backend_is_held(b, at->now_ns))
		condition_add_hold(doc, object, b, at->now_ns);
	if (share < 100)
		(void)yyjson_mut_obj_add_uint(doc, object, "slowStartPercent", share);
	if (b->shadow_until_ns > at->now_ns)
		view_add_time(doc, object, "shadowUntil",
			      condition_wall_ms(b->shadow_until_ns, at->now_ns));
	if (b->ewma_us)
		view_add_seconds(doc, object, "connectSeconds", (uint64_t)b->ewma_us * 1000);
}

/* --- words -------------------------------------------------------------------------------- */

static void ejection_text(const struct backend_traffic *b, const struct condition_at *at, char *buf)
{
	char why[CONDITION_TEXT], left[CONDITION_SPAN], times[CONDITION_SPAN], nth[40] = "";

	condition_why(b->trip, b->reason, at->rules, why);
	if (b->ejections > 1)
		(void)snprintf(nth, sizeof(nth), " (%.20s time)",
			       condition_ordinal(b->ejections, times));
	if (at->now_ns < b->ejected_until_ns)
		(void)snprintf(buf, CONDITION_TEXT, "ejected, %s left: %.120s%s",
			       condition_span(b->ejected_until_ns - at->now_ns, left), why, nth);
	else
		(void)snprintf(buf, CONDITION_TEXT, "half-open, the next connect tells: %.120s%s",
			       why, nth);
}

static void hold_text(const struct backend_traffic *b, const struct condition_at *at, char *buf)
{
	char left[CONDITION_SPAN], until[64] = ", until it is restored";

	if (b->held_until_ns != SN_FOREVER)
		(void)snprintf(until, sizeof(until), ", %s left",
			       condition_span(b->held_until_ns - at->now_ns, left));
	(void)snprintf(buf, CONDITION_TEXT, "%s by hand%s%s%.100s",
		       b->held == SN_HOLD_DRAIN ? "drained" : "ejected", until,
		       b->held_why && *b->held_why ? ": " : "", b->held_why ? b->held_why : "");
}

const char *condition_text(const struct backend_traffic *b, const struct condition_at *at,
			   char buf[static CONDITION_TEXT])
{
	unsigned int share = condition_share(b, at);

	switch (condition_rank(b, at->now_ns)) {
	case RANK_HELD:
		hold_text(b, at, buf);
		break;
	case RANK_EJECTED:
	case RANK_HALF_OPEN:
		ejection_text(b, at, buf);
		break;
	case RANK_DRAINING:
		(void)snprintf(buf, CONDITION_TEXT, "draining: weight 0");
		break;
	case RANK_GONE:
		(void)snprintf(buf, CONDITION_TEXT, "removed");
		break;
	default:
		if (b->level >= SN_LEVELS)
			(void)snprintf(buf, CONDITION_TEXT, "too far away for its policy");
		else if (share < 100)
			(void)snprintf(buf, CONDITION_TEXT, "usable, slow start %u%%", share);
		else
			(void)snprintf(buf, CONDITION_TEXT, "usable");
	}
	return buf;
}
