/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The forms of names in paths, queries and headers. Pure. Private to control/.
 */
#pragma once

#include <stdbool.h>

/* An RFC 1123 label, as namespaces and names are. */
bool name_is_label(const char *text);
/* "*", or entity tags with commas between (RFC 9110 §8.8.3). */
bool name_is_tags(const char *text);
