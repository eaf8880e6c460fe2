/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Base64 as RFC 4648 has it (section 4): what basic authentication and etcd's JSON carry bytes in.
 * Pure.
 */
#pragma once

#include <stddef.h>

#define BASE64_LENGTH(n) (((n) + 2) / 3 * 4) /* of the text for n bytes, without the NUL */

/* Padded, NUL-terminated; the caller frees it. NULL: no memory. */
char *base64_encode(const void *data, size_t n);
/* Strict: the alphabet alone, whole groups of four, no bit beside the data. The bytes, with a NUL
 * behind them that does not count; the caller frees them. -EBADMSG, -ENOMEM leave *ret untouched.
 */
int base64_decode(const char *text, size_t length, char **ret, size_t *ret_n);
