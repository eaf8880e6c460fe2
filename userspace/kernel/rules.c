/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sn_policies: rules are found by what they say, so that services under equal rules share an index
 * and a restart finds them again. An index is never written while a service leads to it, nor until
 * it has rested; a changed policy is another index, and one store in each service that uses it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/entry.h"

int rules_init(struct publish *p)
{
	uint32_t max = p->k->policies.entries;

	p->rules.users = calloc(max, sizeof(*p->rules.users));
	p->rules.known = calloc(max, sizeof(*p->rules.known));
	if (!p->rules.users || !p->rules.known)
		return -ENOMEM;
	return index_pool_init(&p->rules.pool, max);
}

void rules_done(struct publish *p)
{
	index_pool_done(&p->rules.pool);
	free(p->rules.users);
	free(p->rules.known);
}

static bool is_at(const struct rules *rules, uint32_t index, const struct sn_policy *want)
{
	return rules->users[index] && !memcmp(&rules->known[index], want, sizeof(*want));
}

/* The last one found is the likeliest; 0: none says that. */
static uint32_t find(const struct rules *rules, const struct sn_policy *want)
{
	uint32_t highest = index_highest(&rules->pool);

	if (is_at(rules, rules->last, want))
		return rules->last;
	for (uint32_t i = 1; i <= highest; i++)
		if (is_at(rules, i, want))
			return i;
	return SN_NONE;
}

int rules_take(struct publish *p, const struct sn_policy *want, uint64_t now_ns, uint32_t *ret)
{
	struct rules *rules = &p->rules;
	uint32_t index = find(rules, want);
	int r = 0;

	p->wanting = "sn_policies";
	if (!index)
		r = index_take(&rules->pool, 1, now_ns, &index);
	if (r >= 0)
		r = window_need(&p->k->policies, index);
	if (r < 0)
		return r;
	rules->known[index] = *want;
	rules->users[index]++;
	rules->last = *ret = index;
	return 0;
}

void rules_untake(struct publish *p, uint32_t index)
{
	if (index && !--p->rules.users[index])
		index_untake(&p->rules.pool, index, 1);
}

void rules_give(struct publish *p, uint32_t index, uint64_t now_ns)
{
	if (index && !--p->rules.users[index])
		index_give(&p->rules.pool, index, 1, now_ns);
}

void rules_write(struct publish *p, uint32_t index)
{
	struct sn_policy *at = window_at(&p->k->policies, index);

	if (memcmp(at, &p->rules.known[index], sizeof(*at)) != 0)
		*at = p->rules.known[index];
}

bool rules_terminate(const struct publish *p, const struct entry *e)
{
	const struct sn_service *s = window_at(&p->k->services, e->index);

	return p->rules.users[s->policy] && p->rules.known[s->policy].flags & SN_POLICY_TERMINATE;
}

/* What the kernel's services lead to stays where it is; one that leads nowhere gets the default. */
static int adopt_entry(struct publish *p, const struct entry *e)
{
	struct sn_service *s = window_at(&p->k->services, e->index);
	struct rules *rules = &p->rules;
	uint32_t index = s->policy;
	int r = 0;

	if (index && index < rules->pool.max && !rules->users[index]) {
		r = window_need(&p->k->policies, index);
		if (r < 0)
			return r;
		rules->known[index] = *(const struct sn_policy *)window_at(&p->k->policies, index);
		r = index_claim(&rules->pool, index, 1);
	}
	if (index && index < rules->pool.max && r >= 0)
		rules->users[index]++;
	else
		s->policy = SN_NONE;
	return 0;
}

#define RULES_FIRST 1

/* The default is where the first daemon has put it, also while no service leads there. */
static int adopt_default(struct publish *p, uint64_t now_ns)
{
	const struct sn_policy *ours = policy_default_rules();
	struct rules *rules = &p->rules;
	int r = window_need(&p->k->policies, RULES_FIRST);

	if (r < 0)
		return r;
	if (!rules->users[RULES_FIRST] &&
	    !memcmp(window_at(&p->k->policies, RULES_FIRST), ours, sizeof(*ours)) &&
	    index_claim(&rules->pool, RULES_FIRST, 1) >= 0) {
		rules->known[RULES_FIRST] = *ours;
		rules->users[RULES_FIRST] = 1;
		rules->ours = RULES_FIRST;
		return 0;
	}
	return rules_take(p, ours, now_ns, &rules->ours);
}

int rules_adopt(struct publish *p)
{
	uint64_t now_ns = publish_now_ns();
	struct entry *e, *next;
	int r = 0;

	HASH_ITER (hh, p->entries, e, next) {
		r = adopt_entry(p, e);
		if (r < 0)
			return r;
	}
	r = adopt_default(p, now_ns);
	if (r < 0)
		return r;
	rules_write(p, p->rules.ours);
	HASH_ITER (hh, p->entries, e, next) {
		struct sn_service *s = window_at(&p->k->services, e->index);

		if (s->policy)
			continue;
		p->rules.users[p->rules.ours]++;
		__atomic_store_n(&s->policy, p->rules.ours, __ATOMIC_RELEASE);
	}
	return 0;
}
