/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See instance.h. Before: match.c. After: registrar.c keeps it, body.c writes it. An id says all
 * that makes an instance another one, so that a change of anything else is an update.
 */
#include "register/instance.h"

#include <errno.h>
#include <sinew/service.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/address.h"
#include "model/block.h"
#include "model/limits.h"

#define ID_MAX (2 * LIMIT_NODE + ADDRESS_TEXT + 16)

const char *instance_prefix(const char *node, char *buf, size_t size)
{
	(void)snprintf(buf, size, "sinew:%s:", node);
	return buf;
}

static size_t bytes_of(const struct instance *i)
{
	size_t bytes = sizeof(*i) + i->n_tags * sizeof(*i->tags) + label_bytes(i->meta, i->n_meta);

	for (size_t k = 0; k < i->n_tags; k++)
		bytes += block_text_bytes(i->tags[k]);
	return bytes + block_text_bytes(i->id) + block_text_bytes(i->service) +
	       block_text_bytes(i->node) + block_text_bytes(i->host) +
	       block_text_bytes(i->hostport) + block_text_bytes(i->owner);
}

static void fill(struct instance *i, struct block *b)
{
	i->tags = block_take(b, i->tags, i->n_tags * sizeof(*i->tags));
	i->meta = block_take(b, i->meta, i->n_meta * sizeof(*i->meta));
	label_take_text(b, i->meta, i->n_meta);
	for (size_t k = 0; k < i->n_tags; k++)
		i->tags[k] = block_take_text(b, i->tags[k]);
	i->id = block_take_text(b, i->id);
	i->service = block_take_text(b, i->service);
	i->node = block_take_text(b, i->node);
	i->host = block_take_text(b, i->host);
	i->hostport = block_take_text(b, i->hostport);
	i->owner = block_take_text(b, i->owner);
}

static uint64_t hash_of(const struct instance *i)
{
	uint64_t hash = block_hash_text(block_hash_text(1, i->id), i->owner);

	hash = block_hash_number(hash, i->ttl_ms);
	hash = block_hash_number(hash, i->n_tags);
	for (size_t k = 0; k < i->n_tags; k++)
		hash = block_hash_text(hash, i->tags[k]);
	hash = label_hash(hash, i->meta, i->n_meta);
	return hash ? hash : 1;
}

int instance_new(const struct registration *r, const struct sn_addr *addr, const char *node,
		 struct instance **ret)
{
	char id[ID_MAX], host[ADDRESS_TEXT], hostport[ADDRESS_TEXT], owner[2 * LIMIT_NAME + 2];
	struct instance draft = {.refs = 1,
				 .id = id,
				 .service = r->service,
				 .node = (char *)node,
				 .host = host,
				 .hostport = hostport,
				 .owner = owner,
				 .port = r->port,
				 .tags = r->tags,
				 .n_tags = r->n_tags,
				 .meta = r->meta,
				 .n_meta = r->n_meta,
				 .ttl_ms = r->ttl_ms},
			*i;
	struct block b;

	(void)address_format(addr, host);
	(void)address_format_port(addr, r->port, hostport);
	(void)snprintf(id, sizeof(id), "sinew:%.253s:%.253s:%s%s", node, r->service, hostport,
		       r->proto == SN_PROTO_UDP ? ":udp" : "");
	(void)snprintf(owner, sizeof(owner), "%.63s/%.63s", r->namespace, r->name);
	i = malloc(bytes_of(&draft));
	if (!i)
		return -ENOMEM;
	*i = draft;
	b.next = (char *)(i + 1);
	fill(i, &b);
	i->hash = hash_of(i);
	*ret = i;
	return 0;
}

struct instance *instance_ref(struct instance *i)
{
	i->refs++;
	return i;
}

struct instance *instance_unref(struct instance *i)
{
	if (i && !--i->refs)
		free(i);
	return NULL;
}
