/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The codec's parts among themselves: one decoder per kind, called with the metadata that all kinds
 * share. Only the codec's files include this.
 */
#pragma once

#include "model/codec.h"
#include "model/codec_read.h"
#include "model/limits.h"

struct codec_labels {
	struct label items[LIMIT_LABELS]; /* sorted by key */
	size_t n;
};

struct codec_metadata {
	const char *namespace, *name;
	struct codec_labels labels;
};

/* A mapping of names to short texts. 0 or -EINVAL with problems. */
int codec_read_labels(struct codec *c, const struct json_at *at, yyjson_val *json,
		      struct codec_labels *ret);

/* Each reads a "spec" and makes the object. 0; -EINVAL with problems; -ENOMEM. */
int codec_service_decode(struct codec *c, const struct json_at *at, yyjson_val *spec,
			 struct codec_metadata *metadata, struct service **ret);
int codec_policy_decode(struct codec *c, const struct json_at *at, yyjson_val *spec,
			struct codec_metadata *metadata, struct policy **ret);
int codec_registration_decode(struct codec *c, const struct json_at *at, yyjson_val *spec,
			      struct codec_metadata *metadata, struct registration **ret);
