/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon without its edges: JSON -> codec -> store -> plan -> kernel/publish -> the maps of
 * fake_kernel.h, and the maps read back as the programs read them. It can be killed and started
 * again over the same maps. Before: a test or a script. Never looks into publishing's own memory.
 */
#pragma once

#include "base/text.h"
#include "fake_kernel.h"
#include "kernel/publish.h"
#include "model/problem.h"
#include "model/store.h"

struct world {
	struct kernel kernel;
	struct publish *publish;  /* NULL: no daemon runs */
	struct store *store;      /* what was declared: it is on disk, so it survives a kill */
	struct problems problems; /* of the last change */
	size_t removed;           /* backends that the last change took away */
};

/* Empty maps of that size and a daemon over them. */
void world_init(struct world *w, const struct fake_size *size);
void world_done(struct world *w);
/* The daemon ends between two changes; maps and declarations stay. */
void world_kill(struct world *w);
/* The next one comes: adopts, and brings the maps to what is declared. As publish_adopt. */
int world_start(struct world *w, bool keep);

/*
 * A service in one line:  NAME ADDRESS PORT[,PORT] [@POLICY] [ENDPOINT]...
 *   ADDRESS   10.0.0.1, or fd00::1, or both with a comma; - to get one from the pool
 *   PORT      80, 53/UDP, 80>8080 (targetPort); several are named p0, p1 ...
 *   ENDPOINT  ADDRESS[=PORT][*WEIGHT][@ZONE[/NODE]][!INSTANCE[@SOURCE]][?]
 *             =8080/9090 names a port for p0, p1 ... each; !7 is an instance; ?: suspect.
 *             The world's node is "here" in zone "near".
 * as the JSON that a client would send. The caller frees it.
 */
char *world_service_json(const char *line);
char *world_policy_json(const char *name, const char *spec); /* spec: JSON */

/* One change, planned, published and committed as the daemon does it; errors as theirs. */
int world_apply(struct world *w, const struct change *change);
int world_put(struct world *w, const char *line);  /* a service line */
int world_drop(struct world *w, const char *name); /* a service's name */
/* Declares a TrafficPolicy; `spec` is JSON. */
int world_policy(struct world *w, const char *name, const char *spec);
int world_drop_policy(struct world *w, const char *name);

/*
 * What clients can reach, one line for each frontend, sorted:
 *   10.0.0.1:80/TCP -> 10.1.0.1:8080 33.33% 10.1.0.2:8080 66.67% | 10.2.0.1:80 100.00%
 * Shares are what a draw gives in one level; "|" is before the next one. Something that a program
 * would have to call torn, or a backend that is gone, is said in its place with the word TORN.
 */
char *world_text(void);
/* As shares are written: draws are exact to 2^-32 of a member, so ties must not decide a digit. */
double world_percent(double part, double whole);
/* The line of one frontend, "10.0.0.1:80" or "10.0.0.1:53/UDP"; "" when there is none. */
char *world_line(const char *frontend);
struct sn_frontend world_key(const char *frontend);
/* The index in sn_backends behind a frontend; 0: it has none such. */
uint32_t world_backend(const char *frontend, const char *backend);
