/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registries as a test scripts them, a merge, and a client that is told only changes. Services are
 * written "NAME:PORT[=VIP] ADDRESS[:PORT][*WEIGHT]...", several with "; " between them; "policy
 * NAME[ N]" is a policy (N: its outlier detection's consecutive failures). What the client has
 * reads the same way, with @REGISTRY and, of suspects, ? behind an endpoint.
 */
#pragma once

#include "registry/merge.h"

struct say {
	struct merge *m;
	uint64_t now_ms;
	struct object *has; /* the client's, by kind and name */
	size_t n_has;
	bool urgent; /* of the last take */
	size_t told; /* upserts and deletes of it */
};

void say_init(struct say *s);
void say_done(struct say *s);

/* Registries are numbers, "a", "b", "c" by name; time passes first. */
int say_snapshot(struct say *s, uint64_t after_ms, unsigned int source, const char *text);
void say_upsert(struct say *s, uint64_t after_ms, unsigned int source, const char *text);
void say_remove(struct say *s, uint64_t after_ms, unsigned int source, const char *name);
/* Takes the change to the client, and all that it has then; good until the next call. */
const char *say_view(struct say *s);
/* The objects of such a text. */
size_t say_parse(const char *text, const char *tag, struct object **ret);
