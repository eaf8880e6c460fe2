/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See holds.h. Before: control/backend.c asks. After: kernel/hold.c and the programs. The file is
 * written on another thread; a hold without a record (killed between the two) still ends by itself
 * and is shown without a reason.
 */
#include "daemon/holds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "daemon/statefile.h"
#include "kernel/hold.h"
#include "kernel/read.h"
#include "model/limits.h"

#define MS 1000000u

static uint64_t now_of(clockid_t clock, uint64_t unit_ns)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * (1000000000u / unit_ns) + (uint64_t)t.tv_nsec / unit_ns;
}

static uint16_t port_of(const struct service *s, size_t endpoint, size_t port)
{
	uint16_t target = service_target(s, endpoint, port);

	return target ? target : s->ports[port].port;
}

/* --- the file ----------------------------------------------------------------------------- */

static void schedule(struct holds *h);

static void on_work(uv_work_t *work)
{
	struct holds *h = container_of(work, struct holds, work);

	h->r = statefile_replace(h->state, "holds", h->text, h->length);
}

static void on_worked(uv_work_t *work, int status)
{
	struct holds *h = container_of(work, struct holds, work);

	h->writing = false;
	free(TAKE_PTR(h->text));
	if (h->r < 0 && !h->failing)
		(void)log_err_r(h->r,
				"cannot write which backends are held by hand below %s; it is "
				"in effect, but a reboot would forget it",
				h->state);
	h->failing = h->r < 0;
	h->failures += h->failing;
	if (h->dirty)
		schedule(h);
	else if (h->written)
		h->written(h->arg, h->r);
	h->dirty = h->dirty || h->r < 0; /* the next tick tries again */
}

static int make_text(struct holds *h)
{
	h->text = NULL;
	h->length = 0;
	if (!h->list.n)
		return 0; /* the file goes */
	h->text = holds_encode(&h->list, &h->length);
	return h->text ? 0 : -ENOMEM;
}

static void schedule(struct holds *h)
{
	h->dirty = true;
	if (h->writing)
		return;
	if (make_text(h) < 0 || uv_queue_work(h->loop, &h->work, on_work, on_worked) < 0) {
		free(TAKE_PTR(h->text));
		h->failures++;
		if (h->written)
			h->written(h->arg, -ENOMEM);
		return;
	}
	h->dirty = false;
	h->writing = true;
}

/* --- records ------------------------------------------------------------------------------ */

static struct hold *find(const struct holds *h, const struct service *s, const struct sn_addr *addr,
			 uint16_t port)
{
	for (size_t i = 0; i < h->list.n; i++) {
		struct hold *one = &h->list.items[i];

		if (one->port == port && address_is_equal(&one->addr, addr) &&
		    !strcmp(one->name, s->name) && !strcmp(one->namespace, s->namespace))
			return one;
	}
	return NULL;
}

const struct hold *holds_find(const struct holds *h, const struct service *s, size_t endpoint,
			      size_t port)
{
	return h->list.n ? find(h, s, &s->endpoints[endpoint].addr, port_of(s, endpoint, port))
			 : NULL;
}

static struct hold *add(struct holds *h)
{
	struct hold *items = realloc(h->list.items, (h->list.n + 1) * sizeof(*items));

	if (!items)
		return NULL;
	h->list.items = items;
	return &items[h->list.n++];
}

static void drop(struct holds *h, size_t i)
{
	h->list.items[i] = h->list.items[--h->list.n];
}

static void record_fill(struct hold *hold, const struct control_hold *o, uint16_t port)
{
	uint64_t now = now_of(CLOCK_REALTIME, MS);

	*hold = (struct hold){.addr = o->service->endpoints[o->endpoint].addr,
			      .port = port,
			      .held = o->held,
			      .since_ms = now,
			      .until_ms = o->for_ms ? now + o->for_ms : 0};
	(void)snprintf(hold->namespace, sizeof(hold->namespace), "%s", o->service->namespace);
	(void)snprintf(hold->name, sizeof(hold->name), "%s", o->service->name);
	(void)snprintf(hold->reason, sizeof(hold->reason), "%s", o->reason);
	(void)snprintf(hold->by, sizeof(hold->by), "uid %u pid %d", o->caller->uid, o->caller->pid);
}

static int record(struct holds *h, const struct control_hold *o, uint16_t port)
{
	struct hold *hold = find(h, o->service, &o->service->endpoints[o->endpoint].addr, port);

	if (o->held == SN_HOLD_NONE) {
		if (hold)
			drop(h, (size_t)(hold - h->list.items));
		return 0;
	}
	hold = hold ?: add(h);
	if (!hold)
		return -ENOMEM;
	record_fill(hold, o, port);
	return 0;
}

/* --- orders ------------------------------------------------------------------------------- */

static uint64_t until_ns(uint64_t for_ms)
{
	return for_ms ? now_of(CLOCK_MONOTONIC, 1) + for_ms * MS : SN_FOREVER;
}

static int order_port(struct holds *h, const struct control_hold *o, size_t port, uint64_t until)
{
	const struct hold_place at = {o->service, o->endpoint, port};
	int r = o->held ? hold_set(h->publish, at, o->held, until) : hold_restore(h->publish, at);

	return r < 0 ? r : record(h, o, port_of(o->service, o->endpoint, port));
}

static int order_ports(struct holds *h, const struct control_hold *o)
{
	uint64_t until = until_ns(o->for_ms);
	int n = 0, r;

	for (size_t i = 0; i < o->service->n_ports; i++) {
		if (o->port && port_of(o->service, o->endpoint, i) != o->port)
			continue;
		r = order_port(h, o, i, until);
		if (r < 0 && r != -ENOENT)
			return r;
		n += r >= 0;
	}
	return n ? n : -ENOENT;
}

int holds_order(struct holds *h, const struct control_hold *o)
{
	int r;

	if (o->held && h->list.n + o->service->n_ports > LIMIT_HOLDS)
		return -ENOSPC;
	r = order_ports(h, o);
	if (r >= 0)
		schedule(h);
	return r;
}

/* --- their end ---------------------------------------------------------------------------- */

static const struct service *owner_of(const struct holds *h, const struct hold *hold,
				      size_t *ret_endpoint)
{
	const struct service *s = store_find_service(h->store, hold->namespace, hold->name);

	for (size_t i = 0; s && i < s->n_endpoints; i++)
		if (address_is_equal(&s->endpoints[i].addr, &hold->addr)) {
			*ret_endpoint = i;
			return s;
		}
	return NULL;
}

/* Calls act for each of the service's ports that the record is about; how many said yes. */
static int each_port(const struct holds *h, const struct hold *hold,
		     int (*act)(const struct holds *h, const struct hold *hold,
				struct hold_place at))
{
	size_t endpoint = 0;
	const struct service *s = owner_of(h, hold, &endpoint);
	int n = 0;

	for (size_t i = 0; s && i < s->n_ports; i++)
		if (port_of(s, endpoint, i) == hold->port)
			n += act(h, hold, (struct hold_place){s, endpoint, i});
	return n;
}

static int is_held(const struct holds *h, const struct hold *hold, struct hold_place at)
{
	struct backend_traffic b;

	return read_endpoint(h->publish, at.service, at.endpoint, at.port, &b) >= 0 &&
	       backend_is_held(&b, now_of(CLOCK_MONOTONIC, 1));
}

/* What the kernel still holds keeps the time that it has there. */
static int hold_again(const struct holds *h, const struct hold *hold, struct hold_place at)
{
	uint64_t now = now_of(CLOCK_REALTIME, MS), left = 0;

	if (is_held(h, hold, at))
		return 1;
	if (hold->until_ms && hold->until_ms <= now)
		return 0;
	if (hold->until_ms)
		left = hold->until_ms - now;
	return hold_set(h->publish, at, hold->held, until_ns(left)) >= 0;
}

/* Two clocks, of which one stands still in suspend and one is set: a second is none. */
#define CLOCKS_APART_MS 1000

static const char *why_ended(const struct holds *h, const struct hold *hold)
{
	uint64_t now = now_of(CLOCK_REALTIME, MS);
	size_t endpoint;

	if (!owner_of(h, hold, &endpoint))
		return "the backend is gone";
	if (!hold->until_ms || hold->until_ms > now + CLOCKS_APART_MS)
		return "another instance is at its address";
	return "its time is over";
}

void holds_tick(struct holds *h)
{
	bool changed = h->dirty;

	for (size_t i = h->list.n; i-- > 0;) {
		struct hold hold = h->list.items[i];

		if (each_port(h, &hold, is_held))
			continue;
		drop(h, i);
		changed = true;
		if (h->ended)
			h->ended(h->arg, &hold, why_ended(h, &hold));
	}
	if (changed)
		schedule(h);
}

void holds_refresh(struct holds *h)
{
	if (!h->list.n)
		return;
	holds_tick(h);
	for (size_t i = 0; i < h->list.n; i++)
		(void)each_port(h, &h->list.items[i], hold_again);
}

/* --- begin and end of the daemon ---------------------------------------------------------- */

static int load(struct holds *h)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	size_t length;
	int r;

	if (asprintf(&path, "%s/holds.json", h->state) < 0)
		return -ENOMEM;
	r = file_read(path, LIMIT_STATE, &text, &length, NULL);
	if (r == -ENOENT)
		return 0;
	if (r >= 0)
		r = holds_decode(text, length, &h->list);
	if (r >= 0 || r == -ENOMEM)
		return r;
	(void)log_warn_r(
		r, "%s cannot be used: why backends are held by hand is not known any more", path);
	return 0;
}

int holds_start(struct holds *h)
{
	int r = load(h);

	/* What has ended meanwhile is told and forgotten by the first tick. */
	for (size_t i = 0; r >= 0 && i < h->list.n; i++)
		(void)each_port(h, &h->list.items[i], hold_again);
	return r;
}

void holds_done(struct holds *h)
{
	if (h->dirty && h->state && make_text(h) >= 0)
		(void)statefile_replace(h->state, "holds", h->text, h->length);
	free(h->text);
	free(h->list.items);
	*h = (struct holds){};
}
