/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a Kubernetes API server says, as plain data: lists, watch events and refusals. Pure: bytes
 * in, objects out, bounded. It joins nothing; see kubernetes_join.h.
 */
#pragma once

#include <sinew/abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "model/pod.h"

#define KUBERNETES_NAME 253      /* bytes of an object's name */
#define KUBERNETES_VERSION 64    /* bytes of a resource version, NUL included */
#define KUBERNETES_CONTINUE 4096 /* bytes of a continue token, NUL included */
#define KUBERNETES_TEXT 160
#define KUBERNETES_OUTSIDE 4       /* external addresses of a family of one Service */
#define KUBERNETES_DATA (1u << 20) /* bytes of a ConfigMap's value, as the API limits it */
#define KUBERNETES_POLICY                                                                          \
	"sinew.dev/policy" /* label: of a ConfigMap with policies (any value), of                  \
			      a Service that names one */

enum kubernetes_kind {
	KUBERNETES_SERVICE,
	KUBERNETES_SLICE,
	KUBERNETES_NODE,
	KUBERNETES_CONFIGMAP, /* those that hold policies */
	KUBERNETES_POD,       /* those of this node, while somebody wants them */
	_KUBERNETES_KIND_MAX
};

/* Texts are offsets in the object's `text`; 0 is "". */
struct kubernetes_port {
	uint32_t name;
	uint16_t port;      /* host order; 0: null, so the one asked for */
	uint16_t node_port; /* service: the same at each node; 0: none */
	uint8_t proto;      /* SN_PROTO_*; 0: another one, of no use here */
};

struct kubernetes_endpoint {
	struct sn_addr addr;
	uint32_t zone, node, instance;
	uint32_t hint; /* the zone that it is meant for, where controllers spread load */
	bool draining; /* still serves what it has, takes nothing new */
};

struct kubernetes_label {
	uint32_t key, value;
};

/* A Service, EndpointSlice, Node, ConfigMap or Pod; what a kind has not is 0. */
struct kubernetes_object {
	enum kubernetes_kind kind;
	uint32_t namespace, name;
	uint32_t service;    /* slice: whose it is; "": nobody's */
	uint32_t zone;       /* node */
	uint32_t policy;     /* service: of what name; "": it says none */
	uint32_t affinity_s; /* service: how long a client keeps its backend; 0: it does not */
	bool local;          /* service: its backends on this node come first */
	uint64_t uid;        /* a hash of it; 0: it has none */
	uint64_t version;    /* as a number; 0: it is none */
	uint64_t revision;   /* of uid and version; 0: it has none */
	bool external;       /* service: a name elsewhere (type ExternalName) */
	bool unusable;       /* slice: of names, not of addresses */
	struct sn_addr addresses[2]; /* service: cluster addresses, one a family; none: headless;
					node: its own */
	size_t n_addresses;
	struct sn_addr *outside; /* service: external addresses */
	size_t n_outside;
	struct kubernetes_port *ports;
	size_t n_ports;
	struct kubernetes_endpoint *endpoints; /* those that take or have connections */
	size_t n_endpoints;
	struct kubernetes_label *labels; /* service: its own, and what of its spec reads as one;
					    ConfigMap: its data */
	size_t n_labels;
	struct pod *pod; /* all else that a pod is told by; owned, never NULL of one */
	size_t left_out; /* ports, endpoints and labels over a limit, or no target */
	char *text;
	size_t n_text; /* bytes of it */
};

static inline const char *kubernetes_text(const struct kubernetes_object *o, uint32_t at)
{
	return o->text + at;
}

/* Whether a policy is to be made of what the service says of balancing; see kubernetes_policy.h. */
static inline bool kubernetes_is_balanced(const struct kubernetes_object *o)
{
	return !o->policy && (o->affinity_s || o->local);
}

struct kubernetes_object *kubernetes_object_free(struct kubernetes_object *o); /* returns NULL */
DEFINE_CLEANUP(struct kubernetes_object *, kubernetes_object_free);

struct kubernetes_list {
	struct kubernetes_object **items; /* owned; take one by setting it to NULL */
	size_t n_items;
	char version[KUBERNETES_VERSION];
	char next[KUBERNETES_CONTINUE]; /* ""; the last page */
	size_t skipped;
	char skipped_text[KUBERNETES_TEXT];
};

/* One page of a list. -EBADMSG: it is not a whole list of that kind; -ENOMEM. Nothing to free
 * then. */
int kubernetes_decode_list(const char *text, size_t length, enum kubernetes_kind kind,
			   struct kubernetes_list *ret);
/* The same of what a kubelet says of its pods, which has no version. */
int kubernetes_decode_pods(const char *text, size_t length, struct kubernetes_list *ret);
void kubernetes_list_done(struct kubernetes_list *l);

struct kubernetes_refusal {
	unsigned int code;          /* of the Status; 0: it says none */
	unsigned int retry_after_s; /* 0: it says none */
	bool is_unknown;            /* the version that was asked for is none of this server's */
	char text[KUBERNETES_TEXT];
};

struct kubernetes_event {
	enum kubernetes_event_type {
		KUBERNETES_ADDED,
		KUBERNETES_MODIFIED,
		KUBERNETES_DELETED,
		KUBERNETES_BOOKMARK,
		KUBERNETES_ERROR
	} type;
	char version[KUBERNETES_VERSION];  /* not of an error */
	bool is_whole;                     /* bookmark: all that was there before the watch came */
	struct kubernetes_object *object;  /* owned; NULL: bookmark, error, or one of no use */
	struct kubernetes_refusal refusal; /* of an error; text alone of one of no use */
};

/* One line of a watch. -EBADMSG, -ENOMEM; nothing to free then. */
int kubernetes_decode_event(const char *text, size_t length, enum kubernetes_kind kind,
			    struct kubernetes_event *ret);
/* What a server is. -EBADMSG: it does not say. */
struct kubernetes_release {
	unsigned int major, minor;
};
int kubernetes_decode_release(const char *text, size_t length, struct kubernetes_release *ret);
/* The best version of a group that it serves and we know, of its APIGroup: "v1"; NULL: none.
 * -EBADMSG: it is no APIGroup. */
int kubernetes_decode_group(const char *text, size_t length, const char **ret);
/* Which object, and which state of it, an answer shows: uid and version as in an object. -EBADMSG:
 * it is none of that kind. */
struct kubernetes_identity {
	uint64_t uid, version;
};
int kubernetes_decode_identity(const char *text, size_t length, enum kubernetes_kind kind,
			       struct kubernetes_identity *ret);
/* The Status in the body of an answer that is no 2xx; anything else leaves *ret empty. */
void kubernetes_decode_refusal(const char *text, size_t length, struct kubernetes_refusal *ret);
