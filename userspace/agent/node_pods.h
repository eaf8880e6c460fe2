/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pods of this node, whichever registry knows them.
 */
#pragma once

#include <yyjson.h>

#include "agent/agent.h"
#include "model/pod.h"
#include "registry/pods.h"

/* The pod of a cgroup's uid; registries are asked again when none knows it. `agent` is a struct
 * agent, as struct registrations_pods has it. NULL: not known (yet); borrowed. */
const struct pod *node_pods_find(void *agent, const char *uid);
/* Registrations need them, or do not any more. */
void node_pods_want(void *agent, bool wanted);

/* A registry was begun (again): it may know pods that are wanted already. */
void node_pods_on_open(const struct agent_registry *g);

/* Whether somebody wants them: a Registration or a setting. */
bool node_pods_is_wanted(const struct agent *a);
/* Whether a registry has told those that are wanted. */
bool node_pods_is_known(const struct agent *a);
/* The body of PUT /v1/pods: what those are called of which a cgroup may tell, at most LIMIT_PODS.
 * The caller frees; NULL: no memory. */
char *node_pods_encode(const struct agent *a, size_t *ret_length);

/* {"kind": "PodList", ...} as members of `root`. */
void node_pods_show(const struct agent *a, yyjson_mut_doc *doc, yyjson_mut_val *root);
/* The member "pods" of what is shown of a registry; none while nobody wants them. */
void node_pods_show_registry(const struct agent_registry *g, yyjson_mut_doc *doc,
			     yyjson_mut_val *item);
/* {"namespace", "name", "container"?} of a pod, and of that container (an id; NULL: none). */
void node_pods_add_name(const struct pod *p, const char *container, yyjson_mut_doc *doc,
			yyjson_mut_val *to);
