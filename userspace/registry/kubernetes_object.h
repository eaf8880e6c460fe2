/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One object of the Kubernetes API out of its JSON; for kubernetes_decode.c alone. Pure.
 */
#pragma once

#include <yyjson.h>

#include "registry/kubernetes_decode.h"

/* -EINVAL: it has no name, or no namespace where there must be one; -ENOMEM. */
int kubernetes_object_read(yyjson_val *root, enum kubernetes_kind kind,
			   struct kubernetes_object **ret);
