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

/* A set's members are in up to four levels of falling preference: near ones before far ones, then
 * those of fallback services. A level is left when none of it that was looked at is usable. */
#define SN_LEVELS 4

/* sn_slots: a set is its header, SN_SET_HEADER elements long, and `count[0]` slots of level 0,
 * `count[1]` of level 1, and so on. Never written again once published; a changed service gets
 * another extent. */
struct sn_set {
	__u32 service; /* the owner, so that a reader can tell a reused extent */
	__u32 serial;  /* of the publication, for explain */
	__u32 total;   /* different members; 0: no backend */
	__u8 uniform;  /* bit n: all weights of level n are equal, every slot keeps its own draw */
	__u8 pad;
	__u16 weight; /* mean over the members, at least 1 */
	__u32 count[SN_LEVELS];
};
SN_LAYOUT(struct sn_set, 32);
#define SN_SET_HEADER 2

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
_Static_assert(sizeof(struct sn_set) == SN_SET_HEADER * sizeof(struct sn_slot), "set header");

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
