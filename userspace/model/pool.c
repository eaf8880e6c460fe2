/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See pool.h. The store asks for further choices until one is free. Must stay as it is: another
 * hash would move every address at an upgrade (addresses in state files are kept, new nodes' not).
 */
#include "model/pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"

#define HOST_BITS 62 /* of a large pool, this many are used */

static uint64_t name_hash(const char *namespace, const char *name)
{
	return text_hash(name, strlen(name), text_hash(namespace, strlen(namespace), 0));
}

int pool_choose(const struct prefix *pool, const char *namespace, const char *name, uint64_t probe,
		struct sn_addr *ret)
{
	unsigned int host = 128u - pool->bits;
	uint64_t size = 1ull << (host > HOST_BITS ? HOST_BITS : host);
	uint64_t first = size > 2 ? 1 : 0, usable = size > 2 ? size - 2 : size;
	uint64_t at, words;
	struct sn_addr addr = pool->addr;

	if (probe >= usable)
		return -ENOSPC;
	at = first + (name_hash(namespace, name) % usable + probe) % usable;
	/* The host part lies within the last two words; the prefix's own bits there are kept. */
	words = (uint64_t)ntohl(addr.word_be[2]) << 32 | ntohl(addr.word_be[3]);
	words |= at;
	addr.word_be[2] = htonl((uint32_t)(words >> 32));
	addr.word_be[3] = htonl((uint32_t)words);
	*ret = addr;
	return 0;
}
