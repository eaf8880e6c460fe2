/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a destination to a set of backends: frontend -> service -> set -> backend.
 *
 * A service here is one (address, port, protocol) that clients connect to. A Service of a
 * manifest with two ports and two address families is four of them.
 *
 * Published by user space, read by every hook. `set` and `policy` are single words: publishing
 * a change is one store, and a reader sees the old set or the new one, never a mixture.
 */
#pragma once

#include <sinew/abi.h>

#define SN_PROTO_TCP 6
#define SN_PROTO_UDP 17

/* Any-port services of pool addresses are stored under port 0. */
#define SN_PORT_ANY 0

/* Key of sn_frontends. */
struct sn_frontend {
	struct sn_addr addr;
	__be16 port_be;
	__u8 proto; /* SN_PROTO_* */
	__u8 scope; /* 0; room for per-workload views */
};
SN_LAYOUT(struct sn_frontend, 20);

/* Value of sn_services. `frontend` repeats the key so that a reader can tell a reused index. */
struct sn_service {
	struct sn_frontend frontend;
	__u32 set;         /* index of the set's header in sn_slots; SN_NONE: not a service */
	__u32 policy;      /* index in sn_policies */
	__u32 incarnation; /* +1 each time the index is given to another service */
};
SN_LAYOUT(struct sn_service, 32);

/* sn_slots: a set is one header element followed by `count` members. Never written again once
 * published; a changed service gets another extent. */
struct sn_set {
	__u32 service; /* the owner, so that a reader can tell a reused extent */
	__u32 count;   /* usable members that follow; 0: no backend */
	__u32 uniform; /* 1: all weights equal, every member keeps its own draw */
	__u32 serial;  /* of the publication, for explain */
};
SN_LAYOUT(struct sn_set, 16);

/*
 * One member by Walker's alias method: a draw lands on a member uniformly, keeps `backend` when a
 * second draw of 32 bits is <= `cut`, else takes `alias`. Exact weights, constant time.
 * (A. J. Walker, "An efficient method for generating discrete random variables", 1977.)
 */
struct sn_slot {
	__u32 backend;
	__u32 alias;
	__u32 cut;
	__u32 service; /* the owner again: checked on every read */
};
SN_LAYOUT(struct sn_slot, 16);

enum sn_backend_state {
	SN_BACKEND_GONE = 0, /* removed: new picks, kept flows and sockets must leave it */
	SN_BACKEND_ACTIVE = 1,
	SN_BACKEND_DRAINING = 2, /* weight 0: keeps TCP connections, datagram sockets leave it */
};

/* Value of sn_backends. */
struct sn_backend {
	struct sn_addr addr;
	__be16 port_be; /* 0: keep the port that the client asked for */
	__u16 weight;
	__u32 service;
	__u32 state;       /* enum sn_backend_state */
	__u16 zone;        /* index in user space's table of zones, 0: none */
	__u16 incarnation; /* +1 each time the index is given to another backend */
};
SN_LAYOUT(struct sn_backend, 32);

enum sn_algorithm {
	SN_ALGORITHM_RANDOM = 0, /* a draw in proportion to the weights */
};

/* Value of sn_policies; immutable per index. */
struct sn_policy {
	__u32 algorithm; /* enum sn_algorithm */
	__u32 pad;
};
SN_LAYOUT(struct sn_policy, 8);
