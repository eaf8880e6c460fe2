/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A draft's members, which have their indexes by now, to what the programs draw from: a header and
 * one table for each level. After publish.c has taken the indexes; says whether the kernel's set is
 * another one. See struct sn_set.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/entry.h"
#include "model/alias.h"
#include "model/maglev.h"

/* The set in the kernel, if it is this service's. */
static const struct sn_set *current_set(const struct publish *p, const struct draft *d)
{
	const struct sn_service *service = window_at(&p->k->services, d->entry->index);

	if (d->is_new || !service->set)
		return NULL;
	return window_at(&p->k->slots, service->set);
}

static uint32_t count_level(const struct draft *d, uint8_t level)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < d->n; i++)
		n += d->members[i].level == level && d->members[i].want.state == SN_BACKEND_ACTIVE;
	return n;
}

static bool is_hash(const struct draft *d)
{
	return draft_rules(d)->algorithm == SN_ALGORITHM_HASH;
}

/* Fills the header's counts; how many slots that makes. */
static uint32_t lay_out(const struct publish *p, const struct draft *d, struct sn_set *header)
{
	const struct sn_set *current = current_set(p, d);
	uint32_t sum = 0;

	for (uint8_t level = 0; level < SN_LEVELS; level++) {
		uint32_t n = count_level(d, level);

		if (n && is_hash(d))
			n = (uint32_t)maglev_size(n, current ? current->count[level] : 0);
		header->count[level] = n;
		sum += n;
	}
	return sum;
}

static uint16_t mean_weight(const struct draft *d)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < d->n; i++)
		sum += d->members[i].want.state == SN_BACKEND_ACTIVE ? d->members[i].want.weight
								     : 0;
	return d->n_active && sum >= d->n_active ? (uint16_t)(sum / d->n_active) : 1;
}

static int build_alias(const struct draft *d, uint8_t level, struct sn_slot *slots)
{
	_cleanup_free_ struct alias_member *members = calloc(d->n + 1, sizeof(*members));
	_cleanup_free_ uint64_t *work = calloc(d->n + 1, sizeof(*work));
	size_t n = 0;

	if (!members || !work)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->n; i++)
		if (d->members[i].level == level && d->members[i].want.state == SN_BACKEND_ACTIVE)
			members[n++] = (struct alias_member){.backend = d->members[i].backend,
							     .weight = d->members[i].want.weight};
	return alias_build(members, n, d->entry->index, slots, work);
}

static int build_maglev(const struct draft *d, uint8_t level, struct sn_slot *slots, uint32_t size)
{
	_cleanup_free_ struct maglev_member *members = calloc(d->n + 1, sizeof(*members));
	size_t n = 0;

	if (!members)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->n; i++) {
		const struct sn_backend *want = &d->members[i].want;

		if (d->members[i].level == level && want->state == SN_BACKEND_ACTIVE)
			members[n++] = (struct maglev_member){.addr = want->addr,
							      .port_be = want->port_be,
							      .weight = want->weight,
							      .backend = d->members[i].backend};
	}
	return maglev_build(members, n, d->entry->index,
			    &(struct maglev_table){.slots = slots, .size = size});
}

/* All but the serial, which each publication has its own of. */
static bool is_current(const struct sn_set *current, const struct sn_set *wanted)
{
	struct sn_set header = *wanted;

	if (!current)
		return false;
	header.serial = current->serial;
	return !memcmp(current, &header, sizeof(header)) &&
	       !memcmp(current + 1, wanted + 1,
		       (set_elements(wanted) - SN_SET_HEADER) * sizeof(struct sn_slot));
}

int draft_build_set(struct publish *p, struct draft *d)
{
	struct sn_set header = {.service = d->entry->index, .total = d->n_active};
	struct sn_slot *at;
	int r;

	header.weight = mean_weight(d);
	d->n_slots = SN_SET_HEADER + lay_out(p, d, &header);
	free(d->slots);
	d->slots = calloc(d->n_slots, sizeof(*d->slots));
	if (!d->slots)
		return -ENOMEM;
	at = d->slots + SN_SET_HEADER;
	for (uint8_t level = 0; level < SN_LEVELS; at += header.count[level++]) {
		if (!header.count[level])
			continue;
		r = is_hash(d) ? build_maglev(d, level, at, header.count[level])
			       : build_alias(d, level, at);
		if (r < 0)
			return r;
		header.uniform |= (uint8_t)(r << level);
	}
	memcpy(d->slots, &header, sizeof(header));
	d->needs_set = !is_current(current_set(p, d), (const struct sn_set *)d->slots);
	return 0;
}
