/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See address.h. Before: the codec and the settings. After: the store and the kernel's keys. Never
 * asks the system anything: no names, no interfaces.
 */
#include "model/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED 0xffffu /* word 2 of ::ffff:a.b.c.d */
#define V4_BITS 96     /* of the 16-byte form before an IPv4 address */

int address_parse(const char *text, struct sn_addr *ret)
{
	struct sn_addr addr = {};

	if (strchr(text, ':'))
		return inet_pton(AF_INET6, text, &addr) == 1 ? (*ret = addr, 0) : -EINVAL;
	addr.word_be[2] = htonl(MAPPED);
	if (inet_pton(AF_INET, text, &addr.word_be[3]) != 1)
		return -EINVAL;
	*ret = addr;
	return 0;
}

bool address_is_v4(const struct sn_addr *addr)
{
	return !addr->word_be[0] && !addr->word_be[1] && addr->word_be[2] == htonl(MAPPED);
}

bool address_is_equal(const struct sn_addr *a, const struct sn_addr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

const char *address_format(const struct sn_addr *addr, char buf[static ADDRESS_TEXT])
{
	if (address_is_v4(addr))
		(void)inet_ntop(AF_INET, &addr->word_be[3], buf, ADDRESS_TEXT);
	else
		(void)inet_ntop(AF_INET6, addr, buf, ADDRESS_TEXT);
	return buf;
}

const char *address_format_port(const struct sn_addr *addr, uint16_t port,
				char buf[static ADDRESS_TEXT])
{
	char text[ADDRESS_TEXT];

	(void)address_format(addr, text);
	/* An address takes at most 45 bytes only in forms that inet_ntop does not write: 39 and 8
	 * fit. */
	if (address_is_v4(addr))
		(void)snprintf(buf, ADDRESS_TEXT, "%.15s:%u", text, port);
	else
		(void)snprintf(buf, ADDRESS_TEXT, "[%.39s]:%u", text, port);
	return buf;
}

/* A decimal number without sign or leading zeros, at most `max`. */
static int parse_number(const char *text, unsigned int max, unsigned int *ret)
{
	unsigned int value = 0;

	if (!*text || (*text == '0' && text[1]))
		return -EINVAL;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		value = value * 10 + (unsigned int)(*p - '0');
		if (value > max)
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

/* The first `n` bytes of text as an address. */
static int parse_part(const char *text, size_t n, struct sn_addr *ret)
{
	char part[ADDRESS_TEXT];

	if (n >= sizeof(part))
		return -EINVAL;
	memcpy(part, text, n);
	part[n] = '\0';
	return address_parse(part, ret);
}

int address_parse_port(const char *text, struct sn_addr *ret_addr, uint16_t *ret_port)
{
	const char *end, *port = NULL;
	struct sn_addr addr;
	unsigned int number = 0;

	if (*text == '[') {
		end = strchr(text++, ']');
		if (!end || (end[1] && end[1] != ':') || !memchr(text, ':', (size_t)(end - text)))
			return -EINVAL;
		port = end[1] ? end + 2 : NULL;
	} else {
		end = strchr(text, ':');
		if (end && !strchr(end + 1, ':'))
			port = end + 1;
		else
			end = text + strlen(text);
	}
	if (parse_part(text, (size_t)(end - text), &addr) < 0)
		return -EINVAL;
	if (port && parse_number(port, UINT16_MAX, &number) < 0)
		return -EINVAL;
	*ret_addr = addr;
	*ret_port = (uint16_t)number;
	return 0;
}

static void mask_host(struct prefix *p)
{
	uint8_t *bytes = (uint8_t *)&p->addr;

	for (unsigned int i = p->bits; i < 128; i++)
		bytes[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
}

static bool prefix_is_v4(const struct prefix *p)
{
	return p->bits >= V4_BITS && address_is_v4(&p->addr);
}

int prefix_parse(const char *text, struct prefix *ret)
{
	const char *slash = strchr(text, '/');
	struct prefix p = {.bits = 128};
	unsigned int bits, most;

	if (parse_part(text, slash ? (size_t)(slash - text) : strlen(text), &p.addr) < 0)
		return -EINVAL;
	if (slash) {
		/* Written in dotted form it counts 32 bits, whatever the 16-byte form looks like.
		 */
		most = strchr(text, ':') ? 128 : 32;
		if (parse_number(slash + 1, most, &bits) < 0)
			return -EINVAL;
		p.bits = (uint8_t)(bits + 128 - most);
	}
	mask_host(&p);
	*ret = p;
	return 0;
}

const char *prefix_format(const struct prefix *p, char buf[static ADDRESS_TEXT])
{
	char text[ADDRESS_TEXT];
	unsigned int bits = prefix_is_v4(p) ? p->bits - V4_BITS : p->bits;

	(void)snprintf(buf, ADDRESS_TEXT, "%.43s/%u", address_format(&p->addr, text), bits);
	return buf;
}

/* ::/0 is every IPv6 address and no IPv4 address, although their 16-byte forms lie below it. */
bool prefix_contains(const struct prefix *p, const struct sn_addr *addr)
{
	const uint8_t *a = (const uint8_t *)&p->addr, *b = (const uint8_t *)addr;
	unsigned int whole = p->bits / 8, rest = p->bits % 8;

	if (prefix_is_v4(p) != address_is_v4(addr))
		return false;
	return !memcmp(a, b, whole) && (!rest || !((a[whole] ^ b[whole]) >> (8 - rest)));
}

static bool v4_is_special(uint32_t a)
{
	return a >> 24 == 0 || a >> 24 == 127 || a >> 16 == 0xa9fe || a >> 28 == 0xe ||
	       a == 0xffffffffu;
}

bool address_is_special(const struct sn_addr *addr)
{
	uint32_t first = ntohl(addr->word_be[0]);

	if (address_is_v4(addr))
		return v4_is_special(ntohl(addr->word_be[3]));
	if (!addr->word_be[0] && !addr->word_be[1] && !addr->word_be[2])
		return ntohl(addr->word_be[3]) <= 1;
	return first >> 24 == 0xff || first >> 22 == 0x3fa; /* ff00::/8, fe80::/10 */
}

bool address_is_target(const struct sn_addr *addr)
{
	uint32_t a = ntohl(addr->word_be[3]);

	if (address_is_v4(addr))
		return a >> 24 != 0 && a >> 28 != 0xe && a != 0xffffffffu;
	return ntohl(addr->word_be[0]) >> 24 != 0xff &&
	       (addr->word_be[0] || addr->word_be[1] || addr->word_be[2] || addr->word_be[3]);
}
