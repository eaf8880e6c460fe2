/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See canary.h. Published like any service; a daemon that is killed meanwhile leaves an entry that
 * the next one removes, as nobody declares it.
 */
#include "kernel/canary.h"

#include <arpa/inet.h>
#include <errno.h>

#include "kernel/entry.h"

#define CANARY_PORT 9 /* discard */

static int make(const struct sn_frontend *key, struct service **ret)
{
	struct service_port port = {.name = (char *)"", .port = CANARY_PORT, .proto = key->proto};
	const struct service draft = {
		.namespace = (char *)"sinew",
		.name = (char *)"canary",
		.source = (char *)"sinewd",
		.policy = (char *)"default",
		.address = {key->addr},
		.n_addresses = 1,
		.ports = &port,
		.n_ports = 1,
	};

	return service_new(&draft, ret);
}

static int apply(struct publish *p, struct service *old, struct service *new)
{
	struct plan_service one = {.old = old, .new = new};
	const struct plan plan = {.services = &one, .n_services = 1};
	size_t removed;

	return publish_apply(p, NULL, &plan, &removed);
}

int canary_put(struct publish *p, const struct prefix *pool4, struct sn_frontend *ret,
	       uint32_t *ret_index)
{
	struct sn_frontend key = {
		.addr = pool4->addr, .port_be = htons(CANARY_PORT), .proto = SN_PROTO_UDP};
	const struct entry *e;
	int r;

	/* Not the very last: in 127.0.0.0/8 that is a broadcast address. */
	key.addr.word_be[3] |= htonl(~0u >> (pool4->bits - 96));
	key.addr.word_be[3] &= ~htonl(1);
	e = entry_find(p, &key);
	if (p->canary || (e && e->owner))
		return -EADDRINUSE;
	r = make(&key, &p->canary);
	if (r < 0)
		return r;
	r = apply(p, NULL, p->canary);
	e = entry_find(p, &key);
	if (r < 0 || !e) {
		p->canary = service_unref(p->canary);
		return r < 0 ? r : -ENOENT;
	}
	*ret = key;
	*ret_index = e->index;
	return 0;
}

void canary_take(struct publish *p)
{
	if (!p->canary)
		return;
	(void)apply(p, p->canary, NULL);
	p->canary = service_unref(p->canary);
}
