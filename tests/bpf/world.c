/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See world.h. Before it: stages.bpf.c. After it: the tests of this ring.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bpf/world.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "model/alias.h"

#define MEMBERS 64

struct stages *world_open(const struct world_knobs *knobs)
{
	struct stages *s = stages__open();
	int r;

	assert_non_null(s);
	(void)bpf_map__set_max_entries(s->maps.sn_flows, WORLD_FLOWS);
	(void)bpf_map__set_max_entries(s->maps.sn_slots, 4096);
	(void)bpf_map__set_max_entries(s->maps.sn_services, 64);
	(void)bpf_map__set_max_entries(s->maps.sn_svc_stats, 64);
	(void)bpf_map__set_max_entries(s->maps.sn_svc_state, 64);
	(void)bpf_map__set_max_entries(s->maps.sn_windows, 64);
	(void)bpf_map__set_max_entries(s->maps.sn_backends, 64);
	(void)bpf_map__set_max_entries(s->maps.sn_health, 64);
	(void)bpf_map__set_max_entries(s->maps.sn_latency, 64);
	(void)bpf_map__set_max_entries(s->maps.sn_events, 4096);
	/* A CPU takes 128 free entries at once: so few that one has them all would evict early. */
	(void)bpf_map__set_max_entries(s->maps.sn_reverse, 4096);
	s->rodata->sn_flow_mask = WORLD_FLOWS - 1;
	if (knobs) {
		s->rodata->sn_bypass_mark = knobs->mark;
		s->rodata->sn_levels = knobs->levels;
		s->rodata->sn_kernel_too = knobs->kernel_too;
	}
	r = stages__load(s);
	if (r < 0)
		fail_msg("stages do not load: %d (this ring needs root)", r);
	return s;
}

void world_run(struct bpf_program *program, struct stage_call *call)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = call, .ctx_size_in = sizeof(*call));
	int r = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);

	if (r < 0 || opts.retval)
		fail_msg("%s: %d, returned %u", bpf_program__name(program), r, opts.retval);
}

struct sn_addr world_addr(const char *text)
{
	struct sn_addr addr = {.word_be[2] = htonl(0xffff)};

	if (strchr(text, ':'))
		assert_int_equal(inet_pton(AF_INET6, text, &addr), 1);
	else
		assert_int_equal(inet_pton(AF_INET, text, &addr.word_be[3]), 1);
	return addr;
}

struct sn_frontend world_dest(const char *text, uint16_t port, uint8_t proto)
{
	return (struct sn_frontend){
		.addr = world_addr(text), .port_be = htons(port), .proto = proto};
}

void world_put(struct bpf_map *map, uint32_t index, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &index, value, BPF_ANY), 0);
}

void world_get(struct bpf_map *map, uint32_t index, void *ret)
{
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(map), &index, ret), 0);
}

void world_service(struct stages *s, uint32_t index, const struct sn_frontend *key, uint32_t set)
{
	struct sn_service service = {.frontend = *key, .set = set, .policy = 1, .incarnation = 1};

	world_put(s->maps.sn_services, index, &service);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(s->maps.sn_frontends), key, &index, 0), 0);
}

void world_unservice(struct stages *s, const struct sn_frontend *key)
{
	(void)bpf_map_delete_elem(bpf_map__fd(s->maps.sn_frontends), key);
}

void world_backend(struct stages *s, uint32_t index, uint32_t service, uint32_t state,
		   uint16_t incarnation)
{
	struct sn_backend backend = {.port_be = htons(8080), .weight = 1};

	backend.addr = world_addr("10.0.0.0");
	backend.addr.word_be[3] = htonl(0x0a000000 + index);
	backend.service = service;
	backend.state = state;
	backend.incarnation = incarnation;
	world_put(s->maps.sn_backends, index, &backend);
}

void world_set(struct stages *s, struct world_extent at, const uint32_t *weights, uint32_t n)
{
	struct sn_set header = {
		.service = at.service, .total = n, .count = {n}, .serial = 1, .weight = 1};
	struct alias_member members[MEMBERS];
	struct sn_slot slots[MEMBERS];
	uint64_t work[MEMBERS];

	assert_true(n <= MEMBERS);
	for (uint32_t i = 0; i < n; i++) {
		members[i] = (struct alias_member){.backend = at.first + i, .weight = weights[i]};
		world_backend(s, at.first + i, at.service, SN_BACKEND_ACTIVE, 1);
	}
	if (n)
		header.uniform = (uint8_t)alias_build(members, n, at.service, slots, work);
	for (uint32_t i = 0; i < n; i++)
		world_put(s->maps.sn_slots, at.set + SN_SET_HEADER + i, &slots[i]);
	world_put(s->maps.sn_slots, at.set + 1, &header.count);
	world_put(s->maps.sn_slots, at.set, &header);
}

uint64_t world_node_count(struct stages *s, enum sn_reason reason)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values = calloc((size_t)cpus, sizeof(*values)), sum = 0;

	assert_non_null(values);
	world_get(s->maps.sn_counters, reason - SN_R_SERVICE_MAX, values);
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	free(values);
	return sum;
}

uint64_t world_service_count(struct stages *s, uint32_t service, enum sn_reason reason)
{
	struct sn_svc_stats stats;

	world_get(s->maps.sn_svc_stats, service, &stats);
	return stats.count[reason - SN_R_BACKEND_MAX];
}

struct sn_health world_health(struct stages *s, uint32_t backend)
{
	struct sn_health health;

	world_get(s->maps.sn_health, backend, &health);
	return health;
}

static void zero_all(struct bpf_map *map, size_t value_size)
{
	uint8_t *zeros = calloc(1, value_size);

	assert_non_null(zeros);
	for (uint32_t i = 0; i < bpf_map__max_entries(map); i++)
		world_put(map, i, zeros);
	free(zeros);
}

void world_reset(struct stages *s)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus();

	zero_all(s->maps.sn_health, sizeof(struct sn_health));
	zero_all(s->maps.sn_latency, sizeof(struct sn_latency));
	zero_all(s->maps.sn_svc_stats, sizeof(struct sn_svc_stats));
	zero_all(s->maps.sn_svc_state, sizeof(struct sn_svc_state));
	zero_all(s->maps.sn_windows, sizeof(struct sn_window));
	zero_all(s->maps.sn_flows, sizeof(struct sn_flow));
	zero_all(s->maps.sn_spilled, sizeof(uint64_t));
	zero_all(s->maps.sn_counters, cpus * sizeof(uint64_t));
}
