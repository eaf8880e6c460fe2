/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TrafficPolicies out of labelled ConfigMaps: each value of their data is a manifest, as sinewctl
 * takes it. And out of Services that say how they are balanced, and name no policy: "ClientIP" is
 * affinity by address, internalTrafficPolicy "Local" prefers this node; but unlike with kube-proxy
 * a backend elsewhere is better than none. Pure; says only what changed.
 *
 * A ConfigMap speaks for its own namespace alone: who may write there may not shape others. Of two
 * that give the same policy the one whose name comes first has it. A value with an error in it
 * changes nothing: what it said before stays.
 */
#pragma once

#include "registry/kubernetes_join.h"

struct kubernetes_policies;

/* The policy of a service: what its label names, or what is made of its spec. False: it has none of
 * its own, and that of its namespace is for it. `ret` holds LIMIT_NAME + 1 bytes. */
bool kubernetes_policy_of(const struct kubernetes_object *o, char ret[static 64]);

/* `tag` is borrowed: the source of the policies. */
int kubernetes_policies_new(const char *tag, struct kubernetes_policies **ret);
struct kubernetes_policies *kubernetes_policies_free(struct kubernetes_policies *p);
DEFINE_CLEANUP(struct kubernetes_policies *, kubernetes_policies_free);

/* Reads the ConfigMaps of `j`. The number of values and policies that were left out, ret_text (""
 * without any) about the last of them; -ENOMEM leaves what was. */
int kubernetes_policies_read(struct kubernetes_policies *p, const struct kubernetes_join *j,
			     char ret_text[static KUBERNETES_TEXT]);

struct kubernetes_policy_change {
	struct policy *policy;        /* owned by the caller; NULL: it is gone */
	char namespace[64], name[64]; /* of one that is gone */
};
/* 1: *ret is what was not told yet; 0: all is told. */
int kubernetes_policies_next(struct kubernetes_policies *p, struct kubernetes_policy_change *ret);
/* How many there are; kubernetes_policies_take() fills an array of so many, and all is told then.
 */
size_t kubernetes_policies_count(const struct kubernetes_policies *p);
void kubernetes_policies_take(struct kubernetes_policies *p, struct object *ret);
