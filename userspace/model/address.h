/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses, prefixes and endpoints as text and as the contract's 16-byte form. Pure.
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_TEXT 48 /* "[v6]:65535" and NUL fit */

struct prefix {
	struct sn_addr addr;
	uint8_t bits; /* 0..128, of the 16-byte form: 10.0.0.0/8 is 104 */
};

/* Parses dotted IPv4 or RFC 4291 IPv6 (no zone, no brackets). -EINVAL otherwise; ret untouched
 * then. */
int address_parse(const char *text, struct sn_addr *ret);
/* RFC 5952 text; IPv4-mapped as dotted quad. Always NUL-terminated; returns buf. */
const char *address_format(const struct sn_addr *addr, char buf[static ADDRESS_TEXT]);
/* "a.b.c.d:port" or "[v6]:port"; port in host order. */
const char *address_format_port(const struct sn_addr *addr, uint16_t port,
				char buf[static ADDRESS_TEXT]);
/* "ADDR:PORT", "[v6]:PORT", "ADDR" (port 0). -EINVAL. */
int address_parse_port(const char *text, struct sn_addr *ret_addr, uint16_t *ret_port);
bool address_is_v4(const struct sn_addr *addr);
bool address_is_equal(const struct sn_addr *a, const struct sn_addr *b);
int prefix_parse(const char *text,
		 struct prefix *ret); /* "10.0.0.0/8", "fd00::/8", or a bare address */
const char *prefix_format(const struct prefix *p, char buf[static ADDRESS_TEXT]);
bool prefix_contains(const struct prefix *p, const struct sn_addr *addr);
/* Zero, loopback (127/8, ::1), link-local, multicast, broadcast: never a virtual address unless a
 * pool covers it (the default IPv4 pool lies in 127/8). */
bool address_is_special(const struct sn_addr *addr);
/* Something that can be sent to: not zero (0/8, ::), not multicast, not broadcast. */
bool address_is_target(const struct sn_addr *addr);
