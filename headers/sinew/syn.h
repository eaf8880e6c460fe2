/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One connect in its SYN phase that may go on to another backend, and afterwards the translation of
 * the connection that did. The socket keeps the address of the backend that it was given first
 * (`first`); the wire has the one that it got in the end (`now`).
 *
 * sn_syns is an array of buckets of SN_SYN_WAYS entries, found by a hash of the client's address
 * and port, so that a packet of either direction finds its entry in one place. An entry is claimed
 * by changing `cookie` from 0.
 */
#pragma once

#include <sinew/abi.h>
#include <sinew/policy.h>

#define SN_SYN_WAYS 4
#define SN_SYN_MAX 100 /* bytes of IP and TCP headers */

enum sn_syn_state {
	SN_SYN_FREE = 0,
	SN_SYN_CLAIMED = 1, /* by the socket; its SYN was not seen on an interface yet */
	SN_SYN_SAVED = 2,   /* seen and kept; what answers it is looked at */
	SN_SYN_MOVED = 3,   /* went on: every packet is translated */
	SN_SYN_CLOSED = 4,  /* the socket has gone; translated until closed_ns + 2 MSL */
	SN_SYN_BUSY = 5,    /* somebody is changing it */
	/* Answered by a backend: nothing is sent anew from here on, only translated. */
	SN_SYN_ANSWERED = 6,
};

/* Where the client is, seen from the interface at which the SYN was kept. */
enum sn_syn_side {
	SN_SIDE_LOCAL = 0,  /* a socket of this network namespace: its SYN leaves by egress */
	SN_SIDE_BEHIND = 1, /* behind the interface, as a container is: its SYN enters by ingress */
};

struct sn_syn {
	__u64 cookie; /* of the socket; SN_SYN_GONE when it has none any more; 0: free */
	struct sn_addr client;
	struct sn_addr first;
	struct sn_addr now;
	__be16 client_port_be;
	__be16 first_port_be;
	__be16 now_port_be;
	__u8 state; /* enum sn_syn_state */
	__u8 side;  /* enum sn_syn_side */
	__u32 ifindex;
	__be32 isn_be;
	__u32 service;
	__u32 workload;
	__u64 sent_ns;   /* the last SYN */
	__u64 closed_ns; /* CLOCK_MONOTONIC */
	__u32 tried[SN_TRIES];
	__u8 n_tried;
	__u8 moves;   /* how often it went on; 0: `now` is `first` */
	__u16 length; /* of `headers` that is in use */
	__u8 headers[SN_SYN_MAX];
};
SN_LAYOUT(struct sn_syn, 216);

#define SN_SYN_GONE (~0ULL)
