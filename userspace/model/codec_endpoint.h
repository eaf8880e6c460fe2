/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The endpoints of a Service's "spec". Only the codec's files include this.
 */
#pragma once

#include "model/codec_object.h"

/* A service while it is read; its texts belong to the document, its arrays to the decoder. */
struct codec_service {
	struct service s;
	uint16_t target[LIMIT_PORTS]; /* of each port, for endpoints that do not say; 0: as asked */
	bool any_family;              /* endpoints may be of families that have no address (yet) */
	bool bad_ports;               /* some were refused: endpoints are not blamed for it */
};

int codec_read_address(struct codec *c, const struct json_at *at, yyjson_val *json,
		       struct sn_addr *ret);

/*
 * Reads the list (NULL: none) into d->s, whose arrays then lie in *ret_scratch, for the caller to
 * free. 0; -EINVAL with problems; -ENOMEM.
 */
int codec_endpoint_decode(struct codec *c, const struct json_at *up, yyjson_val *json,
			  struct codec_service *d, void **ret_scratch);
