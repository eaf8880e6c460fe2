/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decision core as the kernel runs it, with time and chance given: for comparison with what
 * user space makes of the same histories, and for many CPUs at once. Must decide nothing itself.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "core/step.h"

__u64 door_now, door_random;

static inline __u32 door_draw(void)
{
	__u64 z = door_random += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

#define bpf_ktime_get_ns() (door_now)
#define bpf_get_prandom_u32() door_draw()
#define DOOR_CLOCK(now, seed) (door_now = (now), door_random = (seed))

#include "maps.bpf.h"
#include "stage/promise.h"
#include "stage/translate.h"

#include "core/door.h"

struct door_step door_steps[DOOR_STEPS];
__u32 door_n;
/* What is in the hash tables when a history has ended; by service and workload. */
struct sn_memory door_memory[16];
struct sn_affinity door_affinity[16];

static long step_once(__u32 i, void *context)
{
	if (i < DOOR_STEPS)
		door_run(&door_steps[i & (DOOR_STEPS - 1)]);
	return 0;
}

/* Copies what is remembered, and forgets it. */
static __always_inline void take_memory(__u32 i)
{
	struct sn_memory_key key = {.workload = (i & 3) + 1, .service = i / 4};
	struct sn_affinity_key favourite = {.caller = (i & 3) + 1, .service = i / 4};
	struct sn_memory *memory = bpf_map_lookup_elem(&sn_memory, &key);
	struct sn_affinity *affinity = bpf_map_lookup_elem(&sn_affinity, &favourite);

	__builtin_memset(&door_memory[i & 15], 0, sizeof(*memory));
	__builtin_memset(&door_affinity[i & 15], 0, sizeof(*affinity));
	if (memory)
		door_memory[i & 15] = *memory;
	if (affinity)
		door_affinity[i & 15] = *affinity;
	bpf_map_delete_elem(&sn_memory, &key);
	bpf_map_delete_elem(&sn_affinity, &favourite);
}

static long take_once(__u32 i, void *context)
{
	take_memory(i);
	return 0;
}

SEC("syscall")
int t_history(void *ctx)
{
	bpf_loop(door_n, step_once, NULL, 0);
	bpf_loop(16, take_once, NULL, 0);
	return 0;
}

/* --- many CPUs at once: one call of one stage, the clock being the caller's ------------------- */

/* Who is first waits a little for another CPU, so that the two decide at the same moment. */
__u32 door_arrived;

static long wait_once(__u32 i, void *context)
{
	return *(volatile __u32 *)&door_arrived >= 2;
}

SEC("syscall")
int t_choose(struct door_step *step)
{
	struct sn_ask ask = {};
	struct sn_pick pick = {};

	ask.now = step->now;
	ask.draw = step->draw;
	ask.workload = step->workload;
	ask.caller = step->workload;
	ask.service = step->service;
	ask.policy = step->argument;
	ask.proto = SN_PROTO_TCP;
	__sync_fetch_and_add(&door_arrived, 1);
	bpf_loop(1 << 16, wait_once, NULL, 0);
	step->reason = sn_choose(&ask, &pick);
	step->backend = pick.index;
	step->grade = pick.grade;
	step->mask = pick.taken;
	return 0;
}

/* An outcome; `error`: the reason. */
SEC("syscall")
int t_outcome(struct door_step *step)
{
	struct sn_health *health = sn_health_at(step->backend);
	struct sn_flow flow = {};

	flow.backend = step->backend;
	flow.workload = step->workload;
	flow.incarnation = 1;
	flow.start_ns = step->now;
	if (health && step->error)
		sn_outcome_failed(&flow, health, step->error, step->now);
	else if (health)
		sn_outcome_connected(step->backend, health, step->argument, step->now);
	return 0;
}

SEC("syscall")
int t_give(struct door_step *step)
{
	struct sn_health *health = sn_health_at(step->backend);

	sn_service_give(step->service, step->mask);
	if (health)
		__sync_fetch_and_add(&health->active, -1);
	return 0;
}

char _license[] SEC("license") = "GPL";
