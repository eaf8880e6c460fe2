/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See listener.h. Before: bpf/stage/listen.h. After: daemon/listeners.c keeps what is known.
 */
#include "kernel/listener.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "sinew.skel.h"

static int map_fd(const struct kernel *k)
{
	return bpf_map__fd(k->skel->maps.sn_listeners);
}

int listener_find(const struct kernel *k, uint64_t cookie, struct sn_listener *ret)
{
	return bpf_map_lookup_elem(map_fd(k), &cookie, ret) < 0 ? -errno : 0;
}

/* Key by key: an entry that goes while its successor is looked for begins the walk anew, which is
 * bounded by the map's size. Taken together first, so that the visitor may take entries out. */
int listener_visit(const struct kernel *k,
		   void (*visit)(void *arg, uint64_t cookie, const struct sn_listener *l),
		   void *arg)
{
	uint32_t max = listener_max(k), n = 0;
	_cleanup_free_ uint64_t *keys = calloc(max + 1, sizeof(*keys));
	struct sn_listener l;

	if (!keys)
		return -ENOMEM;
	while (n < max && bpf_map_get_next_key(map_fd(k), n ? &keys[n - 1] : NULL, &keys[n]) >= 0)
		n++;
	for (uint32_t i = 0; i < n; i++)
		if (bpf_map_lookup_elem(map_fd(k), &keys[i], &l) >= 0)
			visit(arg, keys[i], &l);
	return 0;
}

void listener_forget(const struct kernel *k, uint64_t cookie)
{
	(void)bpf_map_delete_elem(map_fd(k), &cookie);
}

uint32_t listener_max(const struct kernel *k)
{
	return bpf_map__max_entries(k->skel->maps.sn_listeners);
}
