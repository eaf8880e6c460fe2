/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The backend that a caller had before, for as long as it can be had. Around pick. Only policies
 * that ask for it come here, so that others pay for no lookup.
 */
#pragma once

#include "maps.bpf.h"
#include "stage/account.h"
#include "stage/grade.h"
#include "stage/pick.h"

/* 1: the caller's former backend, in *ret. One that left the service, drains, is ejected or full is
 * none, nor is any when panic refuses traffic: the pick goes on, and what it finds is remembered
 * instead. */
SN_ONCE int sn_affinity_recall(const struct sn_ask *ask, struct sn_pick *ret)
{
	struct sn_affinity_key key = {};
	const struct sn_svc_state *state;
	const struct sn_backend *backend;
	const struct sn_policy *policy;
	struct sn_affinity *known;

	if (!ask || !ret)
		return 0;
	state = sn_svc_state_at(ask->service);
	policy = sn_policy_at(ask->policy);
	if (!state || !policy || (state->panic_ns && policy->flags & SN_POLICY_PANIC_NONE))
		return 0;
	key.caller = ask->caller;
	key.service = ask->service;
	known = bpf_map_lookup_elem(&sn_affinity, &key);
	if (!known || ask->now >= known->until_ns)
		return 0;
	ret->index = known->backend;
	backend = sn_backend_at(known->backend);
	if (!backend || backend->incarnation != known->incarnation ||
	    backend->state != SN_BACKEND_ACTIVE)
		return 0;
	ret->grade = SN_CANDIDATE_GRADE(sn_weigh(ask, known->backend, 0));
	return ret->grade >= SN_GRADE_SLOW;
}

/* Each use begins the time anew; within a sixteenth of it the entry is left alone. */
SN_ONCE int sn_affinity_keep(const struct sn_ask *ask, __u32 index, __u64 ns)
{
	struct sn_affinity_key key = {};
	struct sn_affinity fresh = {};
	const struct sn_backend *backend = sn_backend_at(index);
	struct sn_affinity *known;

	if (!ask || !backend)
		return 0;
	key.caller = ask->caller;
	key.service = ask->service;
	fresh.until_ns = ask->now + ns;
	fresh.backend = index;
	fresh.incarnation = backend->incarnation;
	known = bpf_map_lookup_elem(&sn_affinity, &key);
	if (known && known->backend == index && known->incarnation == fresh.incarnation &&
	    known->until_ns > ask->now && fresh.until_ns - known->until_ns < ns / 16)
		return 1;
	if (bpf_map_update_elem(&sn_affinity, &key, &fresh, BPF_ANY))
		sn_count_node(SN_R_MEMORY_FULL);
	return 1;
}
