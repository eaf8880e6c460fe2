/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What pods are called, as JSON, between sinew-agent and sinewd. No part of a manifest.
 */
#pragma once

#include <yyjson.h>

#include "model/pod.h"
#include "model/problem.h"

/*
 * Decodes a list of {"namespace", "name", "uid", "containers": [{"name", "id"}]}. 0 and an array by
 * uid, each once, for pod_free_list, of pods without labels and addresses; -EINVAL with problems
 * whose pointers begin with /items; -ENOMEM.
 */
int pod_codec_decode(yyjson_val *items, struct problems *problems, struct pod ***ret,
		     size_t *ret_n);
/* One of them; texts are borrowed. */
yyjson_mut_val *pod_codec_encode(yyjson_mut_doc *doc, const struct pod *p);
