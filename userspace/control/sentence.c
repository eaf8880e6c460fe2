/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See sentence.h. Before: event.c knows whom the event is about. After: JSON, and sinewctl prints
 * it as it is.
 */
#include "control/sentence.h"

#include <arpa/inet.h>

#include "control/view.h"

const char *sentence_type(uint16_t type)
{
	static const char *const names[] = {
		[SN_EVENT_OUTCOME] = "outcome",         [SN_EVENT_REFUSED] = "refused",
		[SN_EVENT_EVICTED] = "evicted",         [SN_EVENT_EJECTED] = "ejected",
		[SN_EVENT_RESTORED] = "restored",       [SN_EVENT_SHADOW] = "shadow",
		[SN_EVENT_FAILED_OVER] = "failed_over", [SN_EVENT_PANIC] = "panic"};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "unknown";
}

bool sentence_is_connect(uint16_t type)
{
	return type < SN_EVENT_EJECTED || type == SN_EVENT_FAILED_OVER || type > SN_EVENT_PANIC;
}

/* "(2nd time), 2 of 3 usable" */
static const char *situation(const struct sn_event *e, char buf[static SENTENCE_TEXT])
{
	char nth[CONDITION_SPAN], times[48] = "";

	if (e->times > 1)
		(void)snprintf(times, sizeof(times), " (%.31s time)",
			       condition_ordinal(e->times, nth));
	(void)snprintf(buf, SENTENCE_TEXT, "%s, %u of %u usable", times, e->usable, e->total);
	return buf;
}

static void panic_format(const struct sn_event *e, const struct sn_policy *rules, char *buf)
{
	char span[CONDITION_SPAN];

	if (e->usable >= e->total)
		(void)snprintf(buf, SENTENCE_TEXT, "panic is over after %s: ejection counts again",
			       condition_span(e->duration_ns, span));
	else
		(void)snprintf(
			buf, SENTENCE_TEXT, "panic: %u of %u usable, %s", e->usable, e->total,
			rules->flags & SN_POLICY_PANIC_NONE ? "connects are refused, but for probes"
							    : "ejection is ignored");
}

const char *sentence_format(const struct sn_event *e, const struct sn_policy *rules,
			    const char *next, char buf[static SENTENCE_TEXT])
{
	char peer[ADDRESS_TEXT], why[CONDITION_TEXT], span[CONDITION_SPAN], rest[SENTENCE_TEXT];

	address_format_port(&e->peer, ntohs(e->peer_port_be), peer);
	condition_why(e->trip, e->reason, rules, why);
	condition_span(e->duration_ns, span);
	switch (e->type) {
	case SN_EVENT_EJECTED:
		(void)snprintf(buf, SENTENCE_TEXT, "%s ejected for %s: %.100s%.60s", peer, span,
			       why, situation(e, rest));
		break;
	case SN_EVENT_SHADOW:
		(void)snprintf(buf, SENTENCE_TEXT,
			       "%s would have been ejected for %s (shadow): %.100s", peer, span,
			       why);
		break;
	case SN_EVENT_RESTORED:
		(void)snprintf(buf, SENTENCE_TEXT, "%s restored after %s, %u of %u usable", peer,
			       span, e->usable, e->total);
		break;
	case SN_EVENT_FAILED_OVER:
		(void)snprintf(buf, SENTENCE_TEXT,
			       "failed over from %s to %.60s inside connect(): %s", peer,
			       *next ? next : "another backend", view_reason(e->reason));
		break;
	case SN_EVENT_PANIC:
		panic_format(e, rules, buf);
		break;
	default:
		(void)snprintf(buf, SENTENCE_TEXT, "%s", view_reason_help(e->reason));
	}
	return buf;
}
