/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a backend is, in one state, in JSON and in words: in use, ejected, half-open, held by hand.
 * Times of the kernel (CLOCK_MONOTONIC) become the wall's and "left" here, both by one reading of
 * that clock. Pure but for the clock of the wall. Private to control/.
 */
#pragma once

#include <sinew/policy.h>
#include <yyjson.h>

#include "model/traffic.h"

#define CONDITION_TEXT 200

/* What a backend is judged by, and when. */
struct condition_at {
	const struct sn_policy *rules;
	uint64_t now_ns; /* CLOCK_MONOTONIC */
};

uint64_t condition_now_ns(void); /* CLOCK_MONOTONIC, as the programs read it */
/* CLOCK_REALTIME in ms at a moment of CLOCK_MONOTONIC, past or to come. */
uint64_t condition_wall_ms(uint64_t ns, uint64_t now_ns);

/* "active", "ejected", "half_open", "held", "draining", "gone". */
const char *condition_state(const struct backend_traffic *b, uint64_t now_ns);
/* Which of two says more: an endpoint with several ports shows the greater. */
int condition_rank(const struct backend_traffic *b, uint64_t now_ns);
/* Adds "state", "usable", "ejections", "failedOver", and what there is of "ejection", "hold",
 * "slowStartPercent", "shadowUntil", "connectSeconds". */
/* Its "hold", by hand. */
void condition_add_hold(yyjson_mut_doc *doc, yyjson_mut_val *object,
			const struct backend_traffic *b, uint64_t now_ns);
void condition_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct backend_traffic *b,
		   const struct condition_at *at);
/* The share of a backend that starts slowly, in percent; 100: all of it. */
unsigned int condition_share(const struct backend_traffic *b, const struct condition_at *at);
/* "consecutive": the label of an enum sn_trip. */
const char *condition_trip(uint32_t trip);
/* "5 consecutive refused": why an ejection tripped. Returns buf. */
const char *condition_why(uint32_t trip, uint32_t reason, const struct sn_policy *rules,
			  char buf[static CONDITION_TEXT]);
/* "usable", "ejected, 21s left: 5 consecutive refused (2nd time)". Returns buf. */
const char *condition_text(const struct backend_traffic *b, const struct condition_at *at,
			   char buf[static CONDITION_TEXT]);
/* "21s", "1m30s", "450ms": as exact as a person needs. Returns buf. */
#define CONDITION_SPAN 32
const char *condition_span(uint64_t ns, char buf[static CONDITION_SPAN]);
/* "2nd". Returns buf. */
const char *condition_ordinal(uint32_t n, char buf[static CONDITION_SPAN]);
