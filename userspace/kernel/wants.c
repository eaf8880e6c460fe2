/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See wants.h. After publish.c has written; wants_read() is asked twice a second, so it touches
 * what is mapped already and no more.
 */
#include "kernel/wants.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sinew/policy.h>
#include <sinew/service.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
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

unsigned int wants_read_pinned(const char *bpffs)
{
	_cleanup_close_ int fd = -1;
	unsigned int wants = 0;
	struct sn_policy p;
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/v%u/maps/sn_policies", bpffs, SN_ABI_VERSION);
	fd = bpf_obj_get(path);
	for (__u32 i = 1; fd >= 0 && bpf_map_lookup_elem(fd, &i, &p) == 0; i++)
		wants |= policy_wants(&p);
	return wants;
}

uint64_t wants_moved(const struct kernel *k)
{
	__u32 zero = 0;
	uint64_t moved = 0;

	(void)bpf_map_lookup_elem(bpf_map__fd(k->skel->maps.sn_moved), &zero, &moved);
	return moved;
}
