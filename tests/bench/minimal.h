/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What minimal.c writes and minimal.bpf.c reads. It must never grow what the comparison does not
 * need: it is the least that a balancer can keep.
 */
#pragma once

#include <linux/types.h>

struct minimal_key {
	__u32 addr_be;
	__u16 port_be;
	__u8 protocol;
	__u8 pad;
};

struct minimal_service {
	__u32 first; /* index of its first backend */
	__u32 count;
};

struct minimal_backend {
	__u32 addr_be;
	__u16 port_be;
	__u16 pad;
};

/* What a balancer keeps so that getpeername() and replies can be turned back. */
struct minimal_reverse_key {
	__u64 cookie;
	__u32 addr_be;
	__u16 port_be;
	__u16 pad;
};
