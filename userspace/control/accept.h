/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Content negotiation (RFC 9110 §12.5.1). Pure.
 */
#pragma once

/* Quality, in thousandths, that an Accept header gives to "type/subtype"; the most specific range
 * counts. NULL accepts everything: 1000. 0: not acceptable. */
int accept_quality(const char *header, const char *type);
