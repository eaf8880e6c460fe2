/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One step of a history, as a test writes it and as door.h takes it.
 */
#pragma once

#include <linux/types.h>

#define DOOR_BACKENDS 32u
#define DOOR_SERVICES 3u /* indexes 1 .. 3 */
#define DOOR_FLOWS 64u
#define DOOR_STEPS 256u
#define DOOR_WORKLOADS 4u /* 1 .. 4 */

enum door_what {
	DOOR_CONNECT = 0,
	DOOR_SYN = 1,
	DOOR_ANSWER = 2,
	DOOR_END = 3,
	DOOR_PUBLISH = 4,
	DOOR_RENEW = 5,
	DOOR_HOLD = 6,
	DOOR_POLICY = 7,
};

/* Of `argument`. */
#define DOOR_UDP 1u
#define DOOR_DRY 2u
#define DOOR_RESET 4u

struct door_step {
	__u64 now;
	__u64 cookie;
	__u32 what; /* enum door_what */
	__u32 service;
	__u32 argument; /* flags; a set; a policy; held or not */
	__u32 draw;
	__u32 workload;
	__s32 error; /* sk_err */
	__u32 mask;
	__u32 backend; /* asked by RENEW and HOLD, answered by CONNECT */
	__u32 reason;  /* answered */
	__u32 grade;
	__u32 panic;
	__u32 pad;
};
