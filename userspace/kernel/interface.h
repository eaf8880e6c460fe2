/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which network interfaces our network namespace has, and which come and go.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/netlink.h"

#define INTERFACE_NAME 16
#define INTERFACE_BYTES 32768 /* room for what one receive may bring */

struct interface {
	uint32_t index;
	uint16_t type; /* ARPHRD_* */
	char name[INTERFACE_NAME];
	char kind[INTERFACE_NAME]; /* "veth", "bridge", ...; "": a device of its own */
};

enum interface_news {
	INTERFACE_IS, /* new, changed, or as asked for */
	INTERFACE_WENT,
	INTERFACE_ALL, /* that was all that there is; no interface */
};

typedef void (*interface_fn)(void *arg, enum interface_news news, const struct interface *i);

/* What these bytes of the kernel tell. Others' messages in it are passed over. */
void interface_parse(struct netlink_part bytes, interface_fn visit, void *arg);
/* Do packets of it begin with an Ethernet header? */
bool interface_has_header(const struct interface *i);

/* A socket that does not block and hears of every change. */
int interface_open(void);
/* Asks for all there are; the answer ends with INTERFACE_ALL. */
int interface_ask(int fd);
/* Once: 0; -EAGAIN: nothing more; -ENOBUFS: news were lost, ask again. */
int interface_receive(int fd, char *buffer, interface_fn visit, void *arg);
