/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers as a person reads them: with a unit, short, and never more exact than they are. Pure.
 */
#pragma once

#include <stdint.h>

#define UNITS_TEXT 32

/* "7", "812", "12.4k", "3.1M". */
const char *units_short(double n, char buf[static UNITS_TEXT]);
/* "188,310". */
const char *units_grouped(uint64_t n, char buf[static UNITS_TEXT]);
/* A duration in seconds: "850ns", "22us", "1.5ms", "3.2s", "12m"; "-" when not above 0. */
const char *units_seconds(double s, char buf[static UNITS_TEXT]);
/* How long something lasts or how old it is, two units at most: "4s", "3m10s", "3d2h", "41d". */
const char *units_age(uint64_t ms, char buf[static UNITS_TEXT]);
/* A part of a whole: "0.1%", "100%"; "-" of nothing; "<0.1%" when not quite 0. */
const char *units_percent(double part, double whole, char buf[static UNITS_TEXT]);
/* "4.1MiB". */
const char *units_bytes(uint64_t n, char buf[static UNITS_TEXT]);
/* RFC 3339 ("2026-01-31T12:01:07.341Z", or with an offset) to ms since the epoch. -EINVAL. */
int units_parse_time(const char *text, uint64_t *ret_ms);
