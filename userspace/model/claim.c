/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See claim.h. Open addressing with linear probing; removal moves later elements back, so there are
 * no tombstones and the table never needs cleaning.
 */
#include "model/claim.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static size_t home_of(const struct claims *c, const struct sn_frontend *key)
{
	return text_hash(key, sizeof(*key), c->seed) & (c->capacity - 1);
}

static bool is_free(const struct claim *slot)
{
	return !slot->owner && !slot->value;
}

/* The element, or the free slot where it would be. */
static struct claim *slot_of(const struct claims *c, const struct sn_frontend *key)
{
	size_t i = home_of(c, key);

	while (!is_free(&c->slots[i]) && memcmp(&c->slots[i].key, key, sizeof(*key)))
		i = (i + 1) & (c->capacity - 1);
	return &c->slots[i];
}

void claims_done(struct claims *c)
{
	free(c->slots);
	c->slots = NULL;
	c->capacity = c->n = 0;
}

int claims_reserve(struct claims *c, size_t more)
{
	struct claims grown = {
		.capacity = c->capacity ? c->capacity : 64, .n = c->n, .seed = c->seed};

	while (grown.capacity / 3 * 2 <= c->n + more)
		grown.capacity *= 2;
	if (grown.capacity == c->capacity)
		return 0;
	grown.slots = calloc(grown.capacity, sizeof(*grown.slots));
	if (!grown.slots)
		return -ENOMEM;
	for (size_t i = 0; i < c->capacity; i++)
		if (!is_free(&c->slots[i]))
			*slot_of(&grown, &c->slots[i].key) = c->slots[i];
	free(c->slots);
	*c = grown;
	return 0;
}

const struct claim *claim_find(const struct claims *c, const struct sn_frontend *key)
{
	const struct claim *slot;

	if (!c->capacity)
		return NULL;
	slot = slot_of(c, key);
	return is_free(slot) ? NULL : slot;
}

static struct sn_frontend key_of(const struct service *s, size_t port, const struct sn_addr *addr)
{
	return (struct sn_frontend){.addr = *addr,
				    .port_be = htons(s->ports[port].port),
				    .proto = s->ports[port].proto};
}

static bool must_be_alone(const struct service *s)
{
	for (size_t i = 0; i < s->n_ports; i++)
		if (s->ports[i].port == SN_PORT_ANY)
			return true;
	return s->allocated;
}

static void enter(struct claims *c, const struct sn_frontend *key, uint32_t value,
		  struct service *owner)
{
	struct claim *slot = slot_of(c, key);

	assert(is_free(slot) && c->n < c->capacity - 1);
	*slot = (struct claim){.key = *key, .value = value, .owner = owner};
	c->n++;
}

static void leave(struct claims *c, struct claim *slot)
{
	size_t mask = c->capacity - 1, hole = (size_t)(slot - c->slots);

	for (size_t i = (hole + 1) & mask; !is_free(&c->slots[i]); i = (i + 1) & mask) {
		size_t home = home_of(c, &c->slots[i].key);

		/* It may move to the hole unless its home lies behind the hole, up to where it is.
		 */
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		c->slots[hole] = c->slots[i];
		hole = i;
	}
	c->slots[hole] = (struct claim){};
	c->n--;
}

bool claim_hold(struct claims *c, struct service *s, const struct sn_addr *addr,
		struct claim_conflict *ret)
{
	struct sn_frontend key = {.addr = *addr};
	struct claim *place = slot_of(c, &key);
	bool alone = must_be_alone(s);

	if (!is_free(place) && (alone || place->owner)) {
		*ret = (struct claim_conflict){.owner = place->owner, .alone = true};
		return false;
	}
	for (size_t i = 0; i < s->n_ports; i++) {
		struct sn_frontend port = key_of(s, i, addr);
		const struct claim *found = claim_find(c, &port);

		if (found) {
			*ret = (struct claim_conflict){.owner = found->owner, .port = i};
			return false;
		}
	}
	if (is_free(place))
		enter(c, &key, 1, alone ? s : NULL);
	else
		place->value++;
	for (size_t i = 0; i < s->n_ports; i++) {
		struct sn_frontend port = key_of(s, i, addr);

		enter(c, &port, (uint32_t)i, s);
	}
	return true;
}

void claim_release(struct claims *c, const struct service *s, const struct sn_addr *addr)
{
	struct sn_frontend key = {.addr = *addr};
	struct claim *place;

	for (size_t i = 0; i < s->n_ports; i++) {
		struct sn_frontend port = key_of(s, i, addr);
		struct claim *slot = slot_of(c, &port);

		assert(slot->owner == s);
		leave(c, slot);
	}
	place = slot_of(c, &key);
	assert(place->value);
	if (--place->value == 0) {
		place->owner = NULL;
		place->value = 1; /* leave() takes what is not free */
		leave(c, place);
	} else if (place->owner == s) {
		place->owner = NULL;
	}
}
