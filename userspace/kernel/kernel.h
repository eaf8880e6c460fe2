/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The door to the only room that sees libbpf: programs, maps, links and pins of one instance.
 *
 *   kernel_open    lock, probe, load (reusing pinned maps), attach or swap, pin
 *   publish.h      desired services -> maps
 *   read.h         maps -> numbers
 *   evict.h        end stale datagram sockets, in a helper process
 *   tc.h           programs at network interfaces; interface.h: which there are
 *   kernel_close   lets go; programs, maps and links stay: traffic must not notice
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/window.h"
#include "model/address.h"
#include "model/traffic.h"

struct kernel_config {
	const char *bpffs;    /* folder for pins, on a bpffs; made if missing */
	const char *cgroup;   /* cgroup v2 folder to attach to */
	uint32_t flows;       /* entries of sn_flows, a power of two */
	uint32_t bypass_mark; /* 0: off */
	uint32_t levels;      /* depths at which workloads are set to bypass, as a bit mask */
	const char *node;     /* this node's name; kept by reference */
	const char *zone;     /* where it is; "": nobody said */
	bool kernel_too;      /* translate for sockets of kernel threads */
	bool failover;        /* load the programs for interfaces; connects may fail over */
	bool timeouts;        /* some policy bounds connects: the kernel asks for each SYN */
	unsigned int tc_how;  /* enum tc_how */
	struct prefix pool4, pool6;
};

struct sinew_bpf;
struct bpf_link;
struct ring_buffer;

enum kernel_hook {
	HOOK_CONNECT4,
	HOOK_CONNECT6,
	HOOK_SENDMSG4,
	HOOK_SENDMSG6,
	HOOK_RECVMSG4,
	HOOK_RECVMSG6,
	HOOK_GETPEERNAME4,
	HOOK_GETPEERNAME6,
	HOOK_RELEASE,
	HOOK_SOCKOPS,
	_HOOK_MAX
};

struct kernel {
	struct sinew_bpf *skel;
	struct bpf_link *links[_HOOK_MAX];
	int lock_fd; /* flock on the pin folder for as long as we live */
	/* iterators that end stale datagram sockets, and TCP connections; -1: kernel lacks them */
	int evict_link_fd, evict_tcp_fd;
	char *pin_dir; /* <bpffs>/v<ABI> */
	char *cgroup;
	const char *node, *zone; /* as configured */
	bool took_over;          /* maps were there already */
	bool cgroup_ok;
	char trouble[400];    /* what the last failure to attach or to pin was, as a sentence; "" */
	unsigned int repairs; /* times the links were made anew because their cgroup had gone */
	uint32_t flow_entries;
	unsigned int tc_how; /* enum tc_how, and never TC_AUTO once that is known */
	struct window services, slots, backends, policies, health, latency, svc_stats, svc_state;
	struct sn_meta *meta;
	struct ring_buffer *events; /* events.h */
	void (*on_event)(void *arg, const struct sn_event *event);
	void *event_arg;
	int events_left; /* records that this turn may still hand out */
};

/* The pid of the instance that holds the pin folder is in *ret_pid when -EBUSY is returned.
 * -EPROTO: another ABI's maps are there (its number in *ret_pid). */
int kernel_open(struct kernel *k, const struct kernel_config *config, int *ret_pid);
/* Loads the programs anew with other knobs and swaps them in; maps and links stay. */
int kernel_reload(struct kernel *k, const struct kernel_config *config);
void kernel_close(struct kernel *k);

/* Are the links still attached to the configured cgroup? Makes them anew if not. Returns 1 if it
 * did, 0 if all was well, < 0 if it could not (the cgroup's folder is missing, say). */
int kernel_repair(struct kernel *k);
/* Pins again what somebody removed below the pin folder; how many. */
int kernel_repin(struct kernel *k);
unsigned int kernel_attached(const struct kernel *k);
const char *kernel_hook_name(enum kernel_hook hook);

/* Has the kernel time the programs of the whole host while this process lives. -EPERM. */
int kernel_time_programs(void);

/* Removes every pin of every ABI below bpffs, and with it every link. Needs the lock to be free. */
int kernel_uninstall(const char *bpffs, int *ret_pid);
