/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What etcd's JSON gateway answers (etcd 3.4 and newer, /v3/...): ranges, lines of a watch, tokens,
 * refusals; and an endpoint as gRPC naming writes it. Numbers are texts there, zeros are absent,
 * keys and values are base64. Pure.
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "model/limits.h"

struct etcd_header {
	uint64_t cluster, revision, term;
};

struct etcd_kv {
	char *key; /* any bytes; owned, as value; a NUL behind each does not count */
	char *value;
	size_t key_length, value_length;
	uint64_t revision; /* of its last change */
	bool deleted;      /* of a watch */
};

/* Why not; code is gRPC's, 0: none was told. */
struct etcd_refusal {
	unsigned int code;
	char text[160];
};

struct etcd_range {
	struct etcd_header header;
	struct etcd_kv *kvs; /* owned */
	size_t n;
	uint64_t count; /* of all keys in the range */
	bool more;      /* there are some after the last one here */
};

struct etcd_notice {
	struct etcd_header header;
	struct etcd_kv *kvs; /* owned; in the order in which they happened */
	size_t n;
	bool created, cancelled;
	bool is_part;       /* the rest of the same change follows */
	uint64_t compacted; /* cancelled: what we asked for is forgotten; from here on not */
	struct etcd_refusal refusal; /* of a cancelled one, or of the stream's end */
	bool has_refusal;
};

/* 0; -EBADMSG with a sentence; -E2BIG: over LIMIT_ANSWER or LIMIT_FOUND_ENDPOINTS; -ENOMEM. *ret is
 * only written on success. (etcd, api/etcdserverpb/rpc.proto) */
int etcd_decode_range(const char *text, size_t length, struct etcd_range *ret,
		      char ret_error[static JSON_ERROR]);
/* One line: {"result": ...} or {"error": ...}. */
int etcd_decode_notice(const char *text, size_t length, struct etcd_notice *ret,
		       char ret_error[static JSON_ERROR]);
/* Of /v3/auth/authenticate; the caller forgets it. */
int etcd_decode_token(const char *text, size_t length, char **ret,
		      char ret_error[static JSON_ERROR]);
/* Whatever it is, something becomes of it. */
void etcd_decode_refusal(const char *text, size_t length, struct etcd_refusal *ret);
void etcd_range_done(struct etcd_range *r);
void etcd_notice_done(struct etcd_notice *n);

struct etcd_endpoint {
	struct sn_addr addr;
	uint16_t port;             /* host order; 0: none was said, the one that was asked for */
	uint16_t weight;           /* Metadata.weight; 0: draining; 100 when it says nothing */
	char zone[LIMIT_NAME + 1]; /* Metadata.zone; "": none */
};

/* {"Op": 0, "Addr": "10.0.0.1:80", "Metadata": ...}: -EBADMSG: not so, or Addr is a name, or no
 * address to send to. (etcd, client/v3/naming/endpoints) */
int etcd_decode_endpoint(const char *text, size_t length, struct etcd_endpoint *ret);
