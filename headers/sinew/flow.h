/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is remembered of one socket from its connect() to its end, and what is counted on the way.
 *
 * Written by the kernel programs; user space reads. A flow lives in one direct-mapped slot
 * (cookie & mask), or in socket storage when another live socket holds that slot.
 */
#pragma once

#include <sinew/abi.h>

enum sn_flow_state {
	SN_FLOW_FREE = 0,
	SN_FLOW_PICKED = 1,     /* translated; no SYN yet */
	SN_FLOW_CONNECTING = 2, /* SYN sent */
	SN_FLOW_ESTABLISHED = 3,
	SN_FLOW_UDP_CONNECTED = 4,
	SN_FLOW_UDP_UNCONNECTED = 5,
};

#define SN_FLOW_DIRECT 0x01 /* the last datagram went to the backend by its own address */
#define SN_FLOW_MANY 0x02   /* the socket talks to several services: see sn_reverse */
#define SN_FLOW_LENT 0x04   /* the last datagram to the backend was another service's: sn_reverse */
/* The socket also sends to what is no service: an unknown source need not be a forgotten one. */
#define SN_FLOW_ELSEWHERE 0x08
/* Of TCP connections. */
#define SN_FLOW_COUNTED 0x10 /* in sn_svc_state.active */
#define SN_FLOW_PENDING 0x20 /* in sn_svc_state.pending */
#define SN_FLOW_MOVED 0x40   /* failed over: `backend` is another one than `peer` says */
#define SN_FLOW_CLAIMED 0x80 /* has an entry of sn_syns */
#define SN_FLOW_TIMED 0x01   /* TCP_USER_TIMEOUT is ours until it is established */
#define SN_FLOW_HELD 0x02    /* beside CLAIMED: who moves it has it, until its end comes */

struct sn_flow {
	__u64 cookie;
	struct sn_addr orig; /* what the application asked for */
	struct sn_addr peer; /* what it got */
	__be16 orig_port_be;
	__be16 peer_port_be;
	__u32 backend;
	__u64 start_ns;    /* CLOCK_MONOTONIC: the SYN, or the pick for datagrams */
	__u32 workload;    /* low 32 bits of the caller's cgroup id */
	__u16 incarnation; /* of the backend */
	__u8 state;        /* enum sn_flow_state */
	__u8 flags;        /* SN_FLOW_* */
};
SN_LAYOUT(struct sn_flow, 64);

/*
 * Key and value of sn_reverse: the second and further services that one unconnected datagram
 * socket talks to, both ways. (The first one lives in the flow, which cannot be crowded out.)
 */
enum sn_way {
	SN_WAY_BACK = 0,  /* key: a backend; value: what the application had asked for */
	SN_WAY_FORTH = 1, /* key: what the application asks for; value: the backend */
};

struct sn_reverse_key {
	__u64 cookie;
	struct sn_addr addr;
	__be16 port_be;
	__u16 way; /* enum sn_way */
	__u32 pad;
};
SN_LAYOUT(struct sn_reverse_key, 32);

#define SN_REVERSE_DIRECT 1 /* last sent to by its own address: replies keep it */
struct sn_reverse {
	struct sn_addr addr;
	__be16 port_be;
	__u16 incarnation; /* way forth: of the backend; way back: 0 or SN_REVERSE_DIRECT */
	__u32 backend;
};
SN_LAYOUT(struct sn_reverse, 24);

/* Value of sn_workloads, by cgroup id. */
#define SN_WORKLOAD_BYPASS 0x01
struct sn_workload {
	__u32 flags;
	__u32 pad;
};
SN_LAYOUT(struct sn_workload, 8);
