/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What comes from a netlink socket, taken apart: messages, and attributes within them. Pure; knows
 * no message of its own. Nothing outside the given bytes is read, whatever lengths they claim.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct netlink_part { /* bytes of somebody's buffer */
	const char *bytes;
	size_t n;
};

struct netlink_message {
	uint16_t type;
	struct netlink_part body; /* after the header */
};

struct netlink_attribute {
	uint16_t type; /* without NLA_F_NESTED and NLA_F_NET_BYTEORDER */
	struct netlink_part value;
};

/* Takes the next one off the front; false: no whole one is left. */
bool netlink_next_message(struct netlink_part *left, struct netlink_message *ret);
bool netlink_next_attribute(struct netlink_part *left, struct netlink_attribute *ret);
/* The fixed part in front of the attributes, taken off; false: it is not all there. */
bool netlink_take(struct netlink_part *left, void *ret, size_t size);
/* An attribute's text, cut to fit, and always ended. */
void netlink_text(const struct netlink_attribute *a, char *ret, size_t size);
uint32_t netlink_u32(const struct netlink_attribute *a); /* 0 if it is too short */
/* Sends; then the messages of the answer go to `visit` until one says that it was the last, the
 * visitor returns < 0, or something fails. A message NLMSG_ERROR with an error is returned as such.
 * The socket must block, with a timeout. */
int netlink_dump(int fd, const void *request, size_t size,
		 int (*visit)(void *arg, const struct netlink_message *m), void *arg);
/* A socket of NETLINK_ROUTE, close-on-exec. */
int netlink_open(int flags);
