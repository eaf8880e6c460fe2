/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See figures.h. Before: fake_control.c is asked. Never draws by chance.
 */
#include "control/figures.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

/* The same name has the same traffic in each run. */
static uint64_t name_hash(const char *namespace, const char *name)
{
	uint64_t h = 1469598103934665603u;

	for (const char *p = namespace; *p; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	for (const char *p = name; *p; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	return h >> 32;
}

uint64_t figures_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * FIGURES_SECOND + (uint64_t)now.tv_nsec;
}

static void health_make(const struct service *s, size_t endpoint, struct backend_traffic *b)
{
	uint64_t now = figures_now_ns();

	if (strncmp(s->name, FIGURES_AILING, strlen(FIGURES_AILING)) != 0)
		return;
	b->traffic.ejections = 7 * endpoint;
	b->traffic.failed_over = endpoint;
	b->ewma_us = 40;
	switch (endpoint) {
	case 1:
	case 2: /* ejected, half-open */
		b->ejected_ns = now - 40 * FIGURES_SECOND;
		b->ejected_until_ns =
			endpoint == 1 ? now + 21 * FIGURES_SECOND : now - 2 * FIGURES_SECOND;
		b->ejections = 2;
		b->trip = endpoint == 1 ? SN_TRIP_CONSECUTIVE : SN_TRIP_PROBE;
		b->reason = SN_R_REFUSED;
		break;
	case 3:
		b->held = SN_HOLD_EJECT;
		b->held_until_ns = now + 600 * FIGURES_SECOND;
		b->held_why = "new disk";
		break;
	case 4:
		b->held = SN_HOLD_DRAIN;
		b->held_until_ns = SN_FOREVER;
		break;
	case 5:
		b->since_ns = now - 5 * FIGURES_SECOND;
		b->shadow_until_ns = now + 9 * FIGURES_SECOND;
		break;
	}
}

int figures_backend_traffic(void *arg, const struct service *s, size_t endpoint, size_t port,
			    struct backend_traffic *ret)
{
	uint64_t seed = name_hash(s->namespace, s->name) + endpoint * 7 + port;
	struct backend_traffic b = {
		.index = (uint32_t)(seed % 60000 + 1),
		.incarnation = 1,
		.state = s->endpoints[endpoint].weight ? SN_BACKEND_ACTIVE : SN_BACKEND_DRAINING,
	};

	b.traffic.outcome[SN_R_CONNECTED] = seed % 1000;
	b.traffic.outcome[SN_R_REFUSED] = seed % 7;
	b.traffic.active = (uint32_t)(seed % 5);
	b.traffic.attempts = seed % 1000 + seed % 7;
	b.traffic.latency[6] = seed % 1000 - seed % 1000 / 100;
	b.traffic.latency[12] = seed % 1000 / 100;
	b.traffic.connect_ns = seed % 1000 * 24000;
	health_make(s, endpoint, &b);
	*ret = b;
	return 0;
}

int figures_service_traffic(void *arg, const struct service *s, struct traffic *ret)
{
	struct traffic sum = {};

	for (size_t e = 0; e < s->n_endpoints; e++) {
		for (size_t p = 0; p < s->n_ports; p++) {
			struct backend_traffic b;

			(void)figures_backend_traffic(arg, s, e, p, &b);
			traffic_add(&sum, &b.traffic);
		}
	}
	sum.refused_here[SN_R_FAILED_OVER - SN_R_BACKEND_MAX] = sum.failed_over;
	sum.refused_here[SN_R_FAILOVER_MISSED - SN_R_BACKEND_MAX] = sum.failed_over ? 4 : 0;
	sum.refused_here[SN_R_RETRY_BUDGET - SN_R_BACKEND_MAX] = sum.failed_over ? 3 : 0;
	sum.refused_here[0] = s->n_endpoints ? 0 : name_hash(s->namespace, s->name) % 9;
	*ret = sum;
	return 0;
}

size_t figures_service_usable(void *arg, const struct service *s)
{
	uint64_t now = figures_now_ns();
	size_t n = 0;

	for (size_t i = 0; i < s->n_endpoints; i++) {
		struct backend_traffic b;

		(void)figures_backend_traffic(arg, s, i, 0, &b);
		n += backend_is_usable(&b, now);
	}
	return n;
}

/* An ailing service has its last endpoint in level 1. */
int figures_members(void *arg, const struct control_door *door,
		    void (*visit)(void *visit_arg, const struct member_traffic *m), void *visit_arg)
{
	const struct service *s = door->service;
	bool ails = strncmp(s->name, FIGURES_AILING, strlen(FIGURES_AILING)) == 0;

	for (size_t i = 0; i < s->n_endpoints; i++) {
		struct member_traffic m = {.owner = s, .endpoint = i, .port = door->port};

		(void)figures_backend_traffic(arg, s, i, door->port, &m.backend);
		m.backend.level = ails && i == s->n_endpoints - 1;
		visit(visit_arg, &m);
	}
	return 0;
}

int figures_service_state(void *arg, const struct service *s, struct service_state *ret)
{
	uint64_t now = figures_now_ns();
	struct service_state state = {};

	for (size_t i = 0; i < s->n_endpoints; i++) {
		struct backend_traffic b;

		(void)figures_backend_traffic(arg, s, i, 0, &b);
		state.ejected += b.ejected_until_ns != 0;
		state.held += backend_is_held(&b, now);
	}
	if (!strncmp(s->name, FIGURES_AILING, strlen(FIGURES_AILING))) {
		state.active = 12;
		state.pending = 3;
		state.fullest = 5;
		state.panic_ns = now - 90 * FIGURES_SECOND;
	}
	*ret = state;
	return 0;
}

static void story_tell(struct control *c, const struct sn_event *event)
{
	struct sn_event e = *event;

	e.time_ns = figures_now_ns();
	e.proto = SN_PROTO_TCP;
	e.incarnation = 1;
	if (e.backend) {
		e.peer.word_be[2] = htonl(0xffff);
		e.peer.word_be[3] = htonl(0x0a000001);
		e.peer_port_be = htons(8080);
	}
	control_publish_event(c, &e);
}

void figures_story(struct control *c, uint32_t service)
{
	uint32_t first = (service - 1) * 8 + 1;
	const struct sn_event events[] = {
		{.type = SN_EVENT_SHADOW,
		 .backend = first,
		 .reason = SN_R_REFUSED,
		 .trip = SN_TRIP_RATIO,
		 .duration_ns = 31 * FIGURES_SECOND,
		 .usable = 3,
		 .total = 3},
		{.type = SN_EVENT_EJECTED,
		 .backend = first,
		 .reason = SN_R_REFUSED,
		 .trip = SN_TRIP_CONSECUTIVE,
		 .duration_ns = 60 * FIGURES_SECOND,
		 .times = 2,
		 .usable = 2,
		 .total = 3},
		{.type = SN_EVENT_FAILED_OVER,
		 .backend = first,
		 .reason = SN_R_REFUSED,
		 .cookie = 77,
		 .workload = 7,
		 .next = first + 1},
		{.type = SN_EVENT_PANIC,
		 .service = service,
		 .reason = SN_R_PANIC,
		 .usable = 1,
		 .total = 3},
		{.type = SN_EVENT_PANIC,
		 .service = service,
		 .reason = SN_R_PANIC,
		 .duration_ns = 42 * FIGURES_SECOND,
		 .usable = 3,
		 .total = 3},
		{.type = SN_EVENT_RESTORED,
		 .backend = first,
		 .reason = SN_R_CONNECTED,
		 .duration_ns = 60 * FIGURES_SECOND,
		 .times = 2,
		 .usable = 3,
		 .total = 3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		story_tell(c, &events[i]);
}
