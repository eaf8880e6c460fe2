/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See events.h. After the programs have written; before control hands events to subscribers.
 */
#include "kernel/events.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "sinew.skel.h"

static int on_sample(void *arg, void *data, size_t size)
{
	struct kernel *k = arg;

	if (size >= sizeof(struct sn_event))
		k->on_event(k->event_arg, data);
	return --k->events_left <= 0 ? -EAGAIN : 0;
}

int events_open(struct kernel *k, events_fn on_event, void *arg, int *ret_fd)
{
	struct ring_buffer *ring =
		ring_buffer__new(bpf_map__fd(k->skel->maps.sn_events), on_sample, k, NULL);

	if (!ring)
		return -errno;
	k->on_event = on_event;
	k->event_arg = arg;
	if (k->events)
		ring_buffer__free(k->events);
	k->events = ring;
	*ret_fd = ring_buffer__epoll_fd(ring);
	return 0;
}

int events_drain(struct kernel *k, int max)
{
	int r;

	k->events_left = max;
	r = ring_buffer__consume(k->events);
	if (r == -EAGAIN)
		return max;
	return r;
}
