/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a test asks of a stage and what it gets back: the argument of every program in
 * stages.bpf.c, which answers in place.
 */
#pragma once

#include <sinew/flow.h>
#include <sinew/reason.h>
#include <sinew/service.h>

#define STAGES_HITS 64 /* counters of t_draws, by backend index */
#define STAGES_LEVELS 16

struct stage_call {
	/* asked */
	struct sn_frontend dest;
	__u32 index;
	__u64 cookie;
	__u32 mark;
	__u32 is_kernel;
	__u32 draw;
	__u32 backend;
	__s32 error;
	__u32 state;
	__u64 ns;
	__u32 reset;
	__u32 repeat;
	__u64 caller;
	__u64 blocker; /* t_spill: the cookie that holds the slot */
	/* answered */
	__s64 r;
	struct sn_flow flow;
	struct sn_reverse to;
	__u32 count;
	__u32 spilled;
	__u64 ancestor[STAGES_LEVELS];
};
