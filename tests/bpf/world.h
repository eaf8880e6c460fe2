/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small world for the stages to act on: maps of their own, filled by hand, and one call per line.
 * Every function fails the running test when the kernel refuses.
 */
#pragma once

#include <sinew/flow.h>
#include <sinew/health.h>
#include <sinew/policy.h>
#include <sinew/service.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/stages.h"
#include "stages.skel.h"

#define WORLD_FLOWS 1024u
#define WORLD_SERVICE 7u
#define WORLD_SET 100u

struct world_knobs {
	uint32_t mark, levels, kernel_too;
};

struct stages *world_open(const struct world_knobs *knobs);
/* Ends the test, if the argument was refused, with the program's name. */
void world_run(struct bpf_program *program, struct stage_call *call);

/* Any address in presentation form, IPv4 as mapped. */
struct sn_addr world_addr(const char *text);
struct sn_frontend world_dest(const char *text, uint16_t port, uint8_t proto);

void world_put(struct bpf_map *map, uint32_t index, const void *value);
void world_get(struct bpf_map *map, uint32_t index, void *ret);
/* Frontend -> service index; the service's own copy of its key is written too. */
void world_service(struct stages *s, uint32_t index, const struct sn_frontend *key, uint32_t set);
void world_unservice(struct stages *s, const struct sn_frontend *key);
struct world_extent {
	uint32_t service, set, first;
};
/* Backends `first`, first+1, ... at 10.0.0.first:8080 ..., with these weights, as one set. */
void world_set(struct stages *s, struct world_extent at, const uint32_t *weights, uint32_t n);
void world_backend(struct stages *s, uint32_t index, uint32_t service, uint32_t state,
		   uint16_t incarnation);

uint64_t world_node_count(struct stages *s, enum sn_reason reason);
uint64_t world_service_count(struct stages *s, uint32_t service, enum sn_reason reason);
struct sn_health world_health(struct stages *s, uint32_t backend);
/* Writes zeros over what was counted and remembered. */
void world_reset(struct stages *s);
