/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How failures are told: one line (or one per fault) on stderr, or problem JSON there with
 * -o json. Whoever reports returns < 0, and nobody reports the same failure again.
 */
#pragma once

#include "ctl/ctl.h"

/* One sentence; returns r (see ctl_exit_code for what r may be). */
__attribute__((format(printf, 3, 4))) int report_error(const struct ctl *c, int r,
						       const char *format, ...);
/* A mistake in the command line; with where to read on. Returns -EINVAL. */
__attribute__((format(printf, 2, 3))) int report_usage(const struct ctl *c, const char *format,
						       ...);
/* An answer that is no success; `subject` names what was asked for ("service shop/payments", NULL:
 * the answer says it). Returns what its status means. */
int report_response(const struct ctl *c, const struct http_response *response, const char *subject);
/* What an HTTP status that is no success means; see ctl_exit_code. */
int report_status_error(unsigned int status);
/* A remark on stderr that is no failure; silent with -o json. */
__attribute__((format(printf, 2, 3))) void report_note(const struct ctl *c, const char *format,
						       ...);
