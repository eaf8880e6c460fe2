/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the kernel programs and user space: version, limits, address form.
 *
 * Everything below headers/ is read by both sides, so it holds fixed-width integers only, no
 * implicit padding, no pointers. Changing any layout changes SN_ABI_VERSION; tests/check/abi.sh
 * compares a digest of the layouts so that it cannot be forgotten.
 *
 * Names: a field that holds network byte order ends in _be; everything else is host order.
 */
#pragma once

#include <linux/types.h>

#define SN_ABI_VERSION 3u
#define SN_MAGIC 0x53494e45u /* "SINE" */

/* Compile-time size check; a struct that grows by accident breaks pinned maps. */
#define SN_LAYOUT(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " is not " #bytes)

/* Index 0 of services, backends and slots means "none", so a zeroed word is never a reference. */
#define SN_NONE 0u

/*
 * One form for every address: 16 bytes, IPv4 as ::ffff:a.b.c.d. Both families share one key and
 * one code path behind the two doors of each hook.
 */
struct sn_addr {
	__be32 word_be[4];
};
SN_LAYOUT(struct sn_addr, 16);
