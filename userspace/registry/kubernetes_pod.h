/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Pod of the Kubernetes API out of its JSON, as far as a workload is told by it; for
 * kubernetes_object.c alone. Pure.
 */
#pragma once

#include <yyjson.h>

#include "model/pod.h"

/* -EINVAL: it has no name, no namespace or no uid that a cgroup could have; -ENOMEM. */
int kubernetes_pod_read(yyjson_val *root, struct pod **ret);
