/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a Docker Engine, or a Podman that speaks its API, says of containers and of what happens to
 * them. Pure: bytes in, plain data out, bounded. What a container is worth is docker_service.h's.
 * (moby api/swagger.yaml 1.40 and later; Podman 4)
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

#define DOCKER_ID 128      /* bytes of a container's id, NUL included */
#define DOCKER_NETWORKS 32 /* networks of one container */
#define DOCKER_PORTS 64    /* ports that one container exposes */
#define DOCKER_CONTAINERS 65536

enum docker_label {
	DOCKER_ENABLE,   /* sinew.enable */
	DOCKER_SERVICE,  /* sinew.service */
	DOCKER_SPACE,    /* sinew.namespace */
	DOCKER_PORT,     /* sinew.port */
	DOCKER_PROTOCOL, /* sinew.protocol */
	DOCKER_WEIGHT,   /* sinew.weight */
	DOCKER_ZONE,     /* sinew.zone */
	DOCKER_POLICY,   /* sinew.policy */
	DOCKER_NETWORK,  /* sinew.network */
	DOCKER_COMPOSE,  /* com.docker.compose.service */
	_DOCKER_LABEL_MAX
};

struct docker_network {
	const char *name;
	struct sn_addr addr; /* IPv4 if it has one, else IPv6 */
};

struct docker_port {
	uint16_t port; /* host order */
	uint8_t proto;
};

/* Texts are the document's; NULL: not said. */
struct docker_container {
	const char *id, *name, *state; /* state: "running", "paused", ... */
	const char *mode; /* "host", "none", "container:ID", or a network; NULL: ask by its id */
	bool unwell;      /* its health check failed, or has not passed yet */
	const char *labels[_DOCKER_LABEL_MAX];
	struct docker_network networks[DOCKER_NETWORKS]; /* those with an address, by name */
	size_t n_networks;
	struct docker_port ports[DOCKER_PORTS]; /* each once */
	size_t n_ports;
};

struct docker_list {
	yyjson_doc *doc;
	struct docker_container *items; /* by id */
	size_t n;
	size_t skipped; /* without an id */
};

/* GET containers/json. 0; -EBADMSG with a sentence: no such answer; -E2BIG: over LIMIT_ANSWER or
 * DOCKER_CONTAINERS; -ENOMEM. *ret is only written on success. */
int docker_decode_list(const char *text, size_t length, struct docker_list *ret,
		       char ret_error[static JSON_ERROR]);
/* GET containers/ID/json, as a list of one. The same errors. */
int docker_decode_container(const char *text, size_t length, struct docker_list *ret,
			    char ret_error[static JSON_ERROR]);
void docker_list_done(struct docker_list *l);
/* NULL: no such id. */
const struct docker_container *docker_list_find(const struct docker_list *l, const char *id);

struct docker_event {
	bool matters; /* it may change what a container is worth */
	bool died;    /* the container runs no more, whatever a list says yet */
	bool started;
	char id[DOCKER_ID]; /* the container's; "": none */
	uint64_t time_ns;   /* the engine's clock; 0: not said */
};

/* One line of GET events. -EBADMSG, -ENOMEM. */
int docker_decode_event(const char *line, size_t length, struct docker_event *ret);
/* The "message" of an answer that is no 2xx, cut to fit; "": it has none. */
void docker_decode_message(const char *text, size_t length, char ret[static 160]);
