/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who a cgroup is: the path that systemd, container engines and the kubelet make, taken apart. Pure
 * and bounded. The outermost decides: below the first unit or container everything is named by
 * those who live there, and whoever may make a cgroup could call it payments.service.
 */
#pragma once

#include <stdbool.h>

#include "model/limits.h"

#define IDENTITY_CONTAINER 64 /* hex digits of a container's id */
#define IDENTITY_POD 36       /* bytes of a pod's uid */

struct identity { /* "": there is none */
	char unit[LIMIT_UNIT + 1];
	char container[IDENTITY_CONTAINER + 1];
	char pod[IDENTITY_POD + 1];
};

/*
 * Of a path from the cgroup mount on ("/system.slice/payments.service"). Known are:
 *   systemd: units .service and .scope below slices (systemd.unit(5))
 *   engines with systemd: docker-ID.scope, libpod-ID.scope, cri-containerd-ID.scope,
 *     crio-ID.scope, nerdctl-ID.scope
 *   engines by themselves: /docker/ID, /libpod_parent/libpod-ID; in a pod ID or crio-ID
 *   the kubelet: kubepods[-burstable|-besteffort]-podUID.slice, /kubepods/[.../]podUID
 * Anything else has no identity. Whatever the bytes, ret is filled with texts that end.
 */
void identity_parse(const char *path, struct identity *ret);
/* Whether a pod's cgroup could say this uid: a UUID, or 32 hex digits, in lower case. */
bool identity_is_pod(const char *uid);
bool identity_is_equal(const struct identity *a, const struct identity *b);
