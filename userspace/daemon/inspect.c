/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See inspect.h: below on another thread, then names and the canary by the helper, one question at
 * a time. Before doctor.c, which makes sentences of it. Must never hold the loop, nor leave the
 * canary behind.
 */
#include "daemon/inspect.h"

#include <errno.h>
#include <sinew/event.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"

#define PATIENCE_MS 1000

static void finish(struct daemon *d)
{
	if (!d->inspect.running)
		return;
	d->inspect.running = false;
	(void)uv_timer_stop(&d->inspect.patience);
	if (d->publish)
		canary_take(d->publish);
	if (d->control)
		control_inspected(d->control);
}

static void on_patience(uv_timer_t *timer)
{
	finish(timer->data);
}

static void ask_canary(struct daemon *d)
{
	struct inspect *i = &d->inspect;
	struct evict_request request = {.verb = EVICT_CANARY};

	if (canary_put(d->publish, &d->config.pool4, &i->canary_at, &i->canary_index) < 0) {
		finish(d);
		return;
	}
	request.address_be = i->canary_at.addr.word_be[3];
	request.port_be = i->canary_at.port_be;
	if (evict_send(&d->evict, &request) < 0)
		finish(d);
}

/* Owners come first, then others. 0: that one has a name, or is no program. */
static uint32_t nameless(const struct inspect *i, size_t at)
{
	const struct tc_other *other = &i->others[at - i->n_owners];

	if (at < i->n_owners)
		return i->owners[at].program;
	return other->name[0] ? 0 : other->program;
}

/* The next program without a name, and after the last one the canary. */
static void ask_next(struct daemon *d)
{
	struct inspect *i = &d->inspect;
	struct evict_request request = {.verb = EVICT_PROGRAM_NAME};

	while (i->n_named < i->n_owners + i->n_others && !nameless(i, i->n_named))
		i->n_named++;
	if (i->n_named == i->n_owners + i->n_others) {
		ask_canary(d);
		return;
	}
	request.id = nameless(i, i->n_named);
	if (evict_send(&d->evict, &request) < 0)
		finish(d);
}

static void take_name(struct inspect *i, const struct evict_answer *answer)
{
	size_t at = i->n_named++;

	if (at < i->n_owners)
		memcpy(i->names[at], answer->name, sizeof(i->names[at]));
	else
		memcpy(i->others[at - i->n_owners].name, answer->name, sizeof(answer->name));
}

void inspect_answer(struct daemon *d, const struct evict_answer *answer)
{
	struct inspect *i = &d->inspect;

	if (!i->running)
		return;
	if (answer->verb == EVICT_CANARY) {
		if (answer->r >= 0)
			i->canary = answer->connected == EHOSTUNREACH ? CANARY_TRANSLATED
								      : CANARY_MISSED;
		finish(d);
	} else if (i->n_named < i->n_owners + i->n_others &&
		   answer->id == nameless(i, i->n_named)) {
		take_name(i, answer);
		ask_next(d);
	}
}

static void on_work(uv_work_t *work)
{
	struct inspect *i = container_of(work, struct inspect, work);

	i->n_below = owner_list_below(i->cgroup, i->below, INSPECT_OWNERS);
}

static void look_at_interfaces(struct daemon *d)
{
	const struct interfaces *s = &d->interfaces;
	struct inspect *i = &d->inspect;

	i->n_others = 0;
	for (size_t at = 0, looked = 0; at < s->n && looked < INSPECT_PLACES; at++) {
		if (s->all[at].state != IFACE_CARRIES)
			continue;
		i->n_others += tc_others(&d->kernel, s->all[at].what.index, i->others + i->n_others,
					 INSPECT_OTHERS - i->n_others);
		looked++;
	}
}

static void on_looked(uv_work_t *work, int status)
{
	struct inspect *i = container_of(work, struct inspect, work);
	struct daemon *d = container_of(i, struct daemon, inspect);

	free(i->cgroup);
	i->cgroup = NULL;
	if (!i->running || d->stopping)
		return;
	i->n_owners = owner_list(&d->kernel, i->owners, INSPECT_OWNERS);
	memcpy(i->owners + i->n_owners, i->below, i->n_below * sizeof(i->below[0]));
	i->n_owners += i->n_below;
	i->n_named = 0;
	look_at_interfaces(d);
	memset(i->names, 0, sizeof(i->names));
	ask_next(d);
}

int inspect_start(struct daemon *d)
{
	struct inspect *i = &d->inspect;
	int r;

	if (i->running)
		return 1;
	if (d->stopping || i->cgroup)
		return 0; /* the other thread is still at the last one */
	i->cgroup = strdup(d->cgroup);
	if (!i->cgroup)
		return -ENOMEM;
	i->canary = CANARY_UNKNOWN;
	r = uv_queue_work(&d->loop, &i->work, on_work, on_looked);
	if (r < 0) {
		free(i->cgroup);
		i->cgroup = NULL;
		return r;
	}
	i->running = true;
	(void)uv_timer_start(&i->patience, on_patience, PATIENCE_MS, 0);
	return 1;
}

bool inspect_is_canary(const struct daemon *d, const struct sn_event *event)
{
	const struct inspect *i = &d->inspect;

	return i->canary_index && event->type == SN_EVENT_REFUSED &&
	       event->service == i->canary_index && event->orig_port_be == i->canary_at.port_be &&
	       !memcmp(&event->orig, &i->canary_at.addr, sizeof(event->orig));
}

int inspect_open(struct daemon *d)
{
	d->inspect.patience.data = d;
	return uv_timer_init(&d->loop, &d->inspect.patience);
}
