/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Services, sets, policies and backends written straight into the maps of core/kernel.h, and the
 * stages over them. After knobs and maps; each test program includes it once.
 */
#pragma once

#include <linux/bpf.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "core/kernel.h"
#include "maps.bpf.h"
#include "model/alias.h"
#include "stage/promise.h"
#include "stage/translate.h"

#define WORLD_SERVICE 3u
#define WORLD_SET 100u
#define WORLD_FIRST 8u
#define WORLD_POLICY 1u
#define WORLD_MOST 64u
#define SECOND 1000000000ull

static inline struct sn_policy *world_policy(void)
{
	return sn_policy_at(WORLD_POLICY);
}

/* Everything empty, and a policy of the defaults. */
static inline void world_begin(uint64_t seed)
{
	core_resize(core_of(&sn_backends), 128);
	core_resize(core_of(&sn_health), 128);
	core_resize(core_of(&sn_latency), 128);
	core_resize(core_of(&sn_windows), 128);
	core_resize(core_of(&sn_services), 16);
	core_resize(core_of(&sn_svc_state), 16);
	core_resize(core_of(&sn_svc_stats), 16);
	core_resize(core_of(&sn_policies), 16);
	core_resize(core_of(&sn_slots), 1024);
	core_resize(core_of(&sn_flows), 1024);
	core_resize(core_of(&sn_syns), 16);
	core_reset(seed);
	*world_policy() = (struct sn_policy){.algorithm = SN_ALGORITHM_P2C,
					     .consecutive = 5,
					     .bucket_ns = SECOND,
					     .min_volume = 20,
					     .failure_percent = 50,
					     .base_ns = 30 * SECOND,
					     .max_ns = 300 * SECOND,
					     .max_ejection_percent = 10,
					     .enforcing_percent = 100,
					     .panic_percent = 50,
					     .probes = 1,
					     .budget_percent = 20,
					     .budget_per_second = 10,
					     .budget_ns = 10 * SECOND,
					     .negative_ns = 10 * SECOND};
}

static inline struct sn_addr world_addr(uint32_t n)
{
	return (struct sn_addr){.word_be = {0, 0, bpf_htonl(0xffff), bpf_htonl(n)}};
}

static inline struct sn_frontend world_frontend(uint32_t service, uint8_t proto)
{
	return (struct sn_frontend){
		.addr = world_addr(0x0a600000 + service), .port_be = bpf_htons(80), .proto = proto};
}

static inline void world_service(uint32_t service, uint32_t set, uint8_t proto)
{
	struct sn_frontend key = world_frontend(service, proto);
	struct sn_service *s = sn_service_at(service);

	s->frontend = key;
	s->set = set;
	s->policy = WORLD_POLICY;
	s->incarnation = 1;
	assert_int_equal(bpf_map_update_elem(&sn_frontends, &key, &service, BPF_ANY), 0);
}

/* One set: backends first, first+1, ... of these weights, dealt to levels of these sizes. */
struct world_set {
	uint32_t service, at, first;
	const uint32_t *weights; /* NULL: 1 each */
	uint32_t count[SN_LEVELS];
};

static inline void world_member_write(const struct world_set *w, uint32_t i, uint32_t weight)
{
	struct sn_backend *b = sn_backend_at(w->first + i);

	b->addr = world_addr(0x0a000000 + w->first + i);
	b->port_be = bpf_htons(8080);
	b->weight = (uint16_t)weight;
	b->service = w->service;
	b->state = SN_BACKEND_ACTIVE;
	b->incarnation = b->incarnation ? b->incarnation : 1;
}

static inline void world_publish(const struct world_set *w)
{
	struct alias_member members[WORLD_MOST];
	struct sn_set *header = (void *)sn_slot_at(w->at);
	uint64_t work[WORLD_MOST], sum = 0;
	uint32_t n = 0;

	memset(header, 0, sizeof(*header));
	for (uint32_t level = 0; level < SN_LEVELS; level++) {
		for (uint32_t i = 0; i < w->count[level]; i++) {
			uint32_t weight = w->weights ? w->weights[n + i] : 1;

			members[i].backend = w->first + n + i;
			members[i].weight = weight;
			sum += weight;
			world_member_write(w, n + i, weight);
		}
		if (w->count[level] && alias_build(members, w->count[level], w->service,
						   sn_slot_at(w->at + SN_SET_HEADER + n), work))
			header->uniform |= (uint8_t)(1u << level);
		n += w->count[level];
	}
	header->service = w->service;
	header->serial = 1;
	header->total = n;
	header->weight = n && sum / n ? (uint16_t)(sum / n) : 1;
	memcpy(header->count, w->count, sizeof(header->count));
}

/* A service of n equal backends in one level. */
static inline void world_simple(uint32_t n, const uint32_t *weights)
{
	world_service(WORLD_SERVICE, WORLD_SET, SN_PROTO_TCP);
	world_publish(&(struct world_set){WORLD_SERVICE, WORLD_SET, WORLD_FIRST, weights, {n}});
}

static inline struct sn_ask world_ask(void)
{
	return (struct sn_ask){.now = core.now,
			       .caller = 77,
			       .service = WORLD_SERVICE,
			       .policy = WORLD_POLICY,
			       .workload = 77,
			       .draw = core_random(),
			       .proto = SN_PROTO_TCP};
}

/* A pick, booked by nobody. */
static inline int world_pick(struct sn_pick *ret)
{
	struct sn_ask ask = world_ask();

	*ret = (struct sn_pick){0};
	return sn_choose(&ask, ret);
}

static inline void world_fail(uint32_t backend, uint32_t reason)
{
	struct sn_flow flow = {.backend = backend,
			       .workload = 77,
			       .start_ns = core.now,
			       .incarnation = sn_backend_at(backend)->incarnation};

	sn_outcome_failed(&flow, sn_health_at(backend), reason, core.now);
}

static inline void world_succeed(uint32_t backend, uint64_t ns)
{
	sn_outcome_connected(backend, sn_health_at(backend), ns, core.now);
}

/* --- picks by the thousand ------------------------------------------------------------------ */

#define WORLD_DRAWS 60000u
static unsigned world_hits[128] __attribute__((unused)); /* by member */

static inline void world_eject(uint32_t member)
{
	sn_health_at(WORLD_FIRST + member)->ejected_until_ns = core.now + 30 * SECOND;
	sn_svc_state_at(WORLD_SERVICE)->ejected++;
}

static inline void world_hold(uint32_t member)
{
	sn_health_at(WORLD_FIRST + member)->held = SN_HOLD_EJECT;
	sn_health_at(WORLD_FIRST + member)->held_until_ns = SN_FOREVER;
	sn_svc_state_at(WORLD_SERVICE)->held++;
}

/* The member that a pick gives; -1: none. */
static inline int world_member(void)
{
	struct sn_pick pick;

	return world_pick(&pick) == SN_R_CONNECTED ? (int)(pick.index - WORLD_FIRST) : -1;
}

static inline void world_draw(unsigned n)
{
	int got;

	memset(world_hits, 0, sizeof(world_hits));
	for (unsigned i = 0; i < n; i++) {
		got = world_member();
		assert_in_range(got, 0, 127);
		world_hits[got]++;
	}
}

/* Five standard deviations of a binomial. */
static inline void world_expect_share(unsigned i, double share)
{
	double bound = 5 * sqrt(WORLD_DRAWS * share * (1 - share)) + 1;

	if (fabs(world_hits[i] - WORLD_DRAWS * share) > bound)
		fail_msg("member %u: %u of %u, expected %.0f +- %.0f", i, world_hits[i],
			 WORLD_DRAWS, WORLD_DRAWS * share, bound);
}
