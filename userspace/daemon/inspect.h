/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the doctor wants to know and no single turn of the loop can tell: programs of other owners
 * below our cgroup, their names, and whether a connect from in there is really translated.
 */
#pragma once

#include <uv.h>

#include "kernel/canary.h"
#include "kernel/evict.h"
#include "kernel/owner.h"
#include "kernel/tc.h"

#define INSPECT_OWNERS 32
#define INSPECT_OTHERS 16 /* programs beside ours at interfaces */
#define INSPECT_PLACES 32 /* interfaces that are looked at for them */

struct daemon;

struct inspect {
	bool running;
	uv_work_t work;
	uv_timer_t patience; /* an inspection that takes longer ends with what it has */
	char *cgroup;        /* for the other thread */
	struct owner below[INSPECT_OWNERS];
	size_t n_below;
	struct owner owners[INSPECT_OWNERS * 2]; /* on our cgroup or above, then those below */
	char names[INSPECT_OWNERS * 2][16];      /* "": not known */
	struct tc_other others[INSPECT_OTHERS];
	size_t n_owners, n_others;
	size_t n_named; /* owners, then others, whose names are known or asked for */
	enum { CANARY_UNKNOWN, CANARY_TRANSLATED, CANARY_MISSED } canary;
	struct sn_frontend canary_at;
	uint32_t canary_index; /* in sn_services; 0: never was one */
};

int inspect_open(struct daemon *d);
/* Begins, or joins the one that runs; control_inspected() tells when it is over. */
int inspect_start(struct daemon *d);
/* The helper's answer to a question of ours. */
void inspect_answer(struct daemon *d, const struct evict_answer *answer);
/* A connect to the canary is nobody's event. */
bool inspect_is_canary(const struct daemon *d, const struct sn_event *event);
