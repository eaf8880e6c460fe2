/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the pods of this host are called, as somebody told over the control socket: cgroups name
 * them by uid alone. Names for people, in memory only. Private to control/.
 */
#pragma once

#include <uv.h>

#include "model/pod.h"

/* So long they are kept when nobody tells them again. A uid is never used twice and a pod is never
 * renamed, so an old name is not a wrong one: this bounds what is kept of pods that have ended. */
#define PODLIST_MS 600000u

struct podlist {
	struct pod **items; /* by uid */
	size_t n;
	uint64_t until_ms; /* loop time */
};

/* NULL: nobody told of it; borrowed for this turn. */
const struct pod *podlist_find(const struct podlist *l, const char *uid);
/* Forgets what is too old. */
void podlist_sweep(struct podlist *l, uint64_t now_ms);
void podlist_done(struct podlist *l);
