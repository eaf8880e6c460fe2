/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See wants.h. After publish.c has written; asked twice a second, so it touches what is mapped
 * already and no more.
 */
#include "kernel/wants.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sinew/policy.h>
#include <sinew/service.h>

#include "sinew.skel.h"

static bool is_mapped(const struct window *w, uint32_t index)
{
	return ((size_t)index + 1) * w->stride <= w->mapped;
}

static unsigned int policy_wants(const struct sn_policy *p)
{
	return (p->attempts ? WANTS_FAILOVER : 0) |
	       (p->connect_ns || p->attempt_ns ? WANTS_TIMEOUTS : 0);
}

unsigned int wants_read(const struct kernel *k)
{
	unsigned int wants = 0;
	uint32_t last = 0;

	for (uint32_t i = 1; is_mapped(&k->services, i); i++) {
		const struct sn_service *s = window_at(&k->services, i);

		if (!s->set || !s->policy || s->policy == last ||
		    !is_mapped(&k->policies, s->policy))
			continue;
		last = s->policy;
		wants |= policy_wants(window_at(&k->policies, last));
	}
	return wants;
}

uint64_t wants_moved(const struct kernel *k)
{
	__u32 zero = 0;
	uint64_t moved = 0;

	(void)bpf_map_lookup_elem(bpf_map__fd(k->skel->maps.sn_moved), &zero, &moved);
	return moved;
}
