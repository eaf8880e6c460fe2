/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a backend is, in the few words that fit a cell: "ok", "ejected 21s left (2nd time)". Reads
 * what the API says of it, and passes on what it does not know.
 */
#pragma once

#include <yyjson.h>

#include "ctl/print.h"

#define STATE_WORDS 96

/* Returns buf. */
const char *state_words(yyjson_val *backend, char buf[static STATE_WORDS]);
/* "5 consecutive refused", what a person said of a hold; "": nothing. */
const char *state_why(yyjson_val *backend);
enum print_style state_style(yyjson_val *backend);
