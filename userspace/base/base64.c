/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See base64.h. For whoever speaks HTTP. It must never read past what it was given, nor accept two
 * texts for the same bytes.
 */
#include "base/base64.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *data, size_t n)
{
	const unsigned char *from = data;
	char *text = malloc(BASE64_LENGTH(n) + 1), *to = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		uint32_t bits = (uint32_t)from[i] << 16;

		if (left > 1)
			bits |= (uint32_t)from[i + 1] << 8;
		if (left > 2)
			bits |= from[i + 2];
		*to++ = alphabet[bits >> 18];
		*to++ = alphabet[bits >> 12 & 63];
		*to++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
		*to++ = left > 2 ? alphabet[bits & 63] : '=';
	}
	*to = '\0';
	return text;
}

/* 0..63; 64: no digit. */
static uint32_t digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint32_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint32_t)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (uint32_t)(c - '0') + 52;
	return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Four digits, of which the last `padding` are not there. False: they are none. */
static bool decode_group(const char *text, size_t padding, char *to)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < 4 - padding; i++) {
		uint32_t d = digit(text[i]);

		if (d == 64)
			return false;
		bits |= d << (18 - 6 * i);
	}
	if (padding && (bits & (padding == 1 ? 0xff : 0xffff)))
		return false;
	for (size_t i = 0; i < 3 - padding; i++)
		to[i] = (char)(bits >> (16 - 8 * i));
	return true;
}

int base64_decode(const char *text, size_t length, char **ret, size_t *ret_n)
{
	size_t padding = 0, n = length / 4 * 3;
	char *data;

	if (length % 4)
		return -EBADMSG;
	while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
		padding++;
	data = malloc(n + 1);
	if (!data)
		return -ENOMEM;
	for (size_t i = 0; i < length; i += 4) {
		size_t missing = i + 4 == length ? padding : 0;

		if (!decode_group(text + i, missing, data + i / 4 * 3)) {
			free(data);
			return -EBADMSG;
		}
	}
	data[n - padding] = '\0';
	*ret = data;
	*ret_n = n - padding;
	return 0;
}
