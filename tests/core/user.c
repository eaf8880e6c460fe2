/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See user.h.
 */
#include "core/user.h"

#include <linux/bpf.h>

#include <string.h>

#include "core/kernel.h"
#include "maps.bpf.h"
#include "stage/promise.h"
#include "stage/translate.h"

#define DOOR_CLOCK(time, seed) (core.now = (time), core.random = (seed))
#include "core/door.h"

void user_begin(void)
{
	core_resize(core_of(&sn_backends), DOOR_BACKENDS);
	core_resize(core_of(&sn_health), DOOR_BACKENDS);
	core_resize(core_of(&sn_latency), DOOR_BACKENDS);
	core_resize(core_of(&sn_windows), DOOR_BACKENDS);
	core_resize(core_of(&sn_services), 16);
	core_resize(core_of(&sn_svc_state), 16);
	core_resize(core_of(&sn_svc_stats), 16);
	core_resize(core_of(&sn_policies), 16);
	core_resize(core_of(&sn_slots), 1024);
	core_resize(core_of(&sn_flows), DOOR_FLOWS);
	core_set_flow_mask(DOOR_FLOWS - 1);
	core_reset(1);
	core.ring_bytes = 0; /* events are not compared */
}

void *user_array(const char *name)
{
	__u32 zero = 0;

#define ARRAY(map)                                                                                 \
	if (!strcmp(name, #map))                                                                   \
	return bpf_map_lookup_elem(&map, &zero)
	ARRAY(sn_backends);
	ARRAY(sn_health);
	ARRAY(sn_latency);
	ARRAY(sn_windows);
	ARRAY(sn_services);
	ARRAY(sn_svc_state);
	ARRAY(sn_svc_stats);
	ARRAY(sn_policies);
	ARRAY(sn_slots);
	ARRAY(sn_flows);
	return NULL;
}

static void take_memory(__u32 i, struct sn_memory *ret_memory, struct sn_affinity *ret_affinity)
{
	struct sn_memory_key key = {.workload = (i & 3) + 1, .service = i / 4};
	struct sn_affinity_key favourite = {.caller = (i & 3) + 1, .service = i / 4};
	struct sn_memory *memory = bpf_map_lookup_elem(&sn_memory, &key);
	struct sn_affinity *affinity = bpf_map_lookup_elem(&sn_affinity, &favourite);

	memset(ret_memory, 0, sizeof(*ret_memory));
	memset(ret_affinity, 0, sizeof(*ret_affinity));
	if (memory)
		*ret_memory = *memory;
	if (affinity)
		*ret_affinity = *affinity;
	(void)bpf_map_delete_elem(&sn_memory, &key);
	(void)bpf_map_delete_elem(&sn_affinity, &favourite);
}

void user_history(struct door_step *steps, __u32 n, struct sn_memory memory[16],
		  struct sn_affinity affinity[16])
{
	for (__u32 i = 0; i < n; i++)
		(void)door_run(&steps[i]);
	for (__u32 i = 0; i < 16; i++)
		take_memory(i, &memory[i], &affinity[i]);
}

void user_end(void)
{
	core_end();
}
