/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys of a TrafficPolicy's "spec" as a table: where each is written, what it may be, and where
 * struct policy keeps it. Codec and views go by it, so a key is one row. Pure.
 */
#pragma once

#include "model/policy.h"

/* The mappings of a "spec"; a group comes after the one that it is in. */
enum policy_group {
	POLICY_IN_SPEC,
	POLICY_IN_BALANCER,
	POLICY_IN_AFFINITY,
	POLICY_IN_LOCALITY,
	POLICY_IN_OUTLIER,
	POLICY_IN_SLOW,
	POLICY_IN_PANIC,
	POLICY_IN_HALF_OPEN,
	POLICY_IN_LIMITS,
	POLICY_IN_BUDGET,
	POLICY_IN_CONNECT,
	POLICY_IN_FAILOVER,
	POLICY_GROUPS,
};

enum policy_type {
	POLICY_DURATION,   /* ms */
	POLICY_PERCENT,    /* written as "50%" */
	POLICY_PERCENTAGE, /* the same, written as 50, because its name says percent */
	POLICY_NUMBER,
	POLICY_BOOL,
	POLICY_CHOICE,   /* index in `words` */
	POLICY_SET,      /* 1 << index in `words` */
	POLICY_SERVICES, /* struct policy.fallback: has no number */
};

struct policy_field {
	enum policy_group group;
	const char *name;
	enum policy_type type;
	uint16_t offset;          /* in struct policy */
	uint8_t bytes;            /* there */
	uint32_t flags;           /* the bits that are meant; 0: all of it */
	uint32_t scale;           /* kept = written x scale; 0: 1 */
	uint64_t min, max;        /* as written */
	bool or_zero;             /* 0 is allowed below `min`, too */
	const char *const *words; /* ends with NULL */
};

const struct policy_field *policy_field(enum policy_key key);

struct policy_group_row {
	const char *name;
	enum policy_group up;
};
const struct policy_group_row *policy_field_group(enum policy_group group);

/* As it is written: ms, percent, number, index, bits. 0 for POLICY_SERVICES. */
uint64_t policy_field_get(const struct policy *p, enum policy_key key);
/* Within the field's range, and not POLICY_SERVICES; marks nothing as given. */
void policy_field_set(struct policy *draft, enum policy_key key, uint64_t value);
