/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See interface.h. Before tc.c attaches to one. Must never change an interface.
 */
#include "kernel/interface.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void read_kind(struct netlink_part left, struct interface *i)
{
	struct netlink_attribute a;

	while (netlink_next_attribute(&left, &a))
		if (a.type == IFLA_INFO_KIND)
			netlink_text(&a, i->kind, sizeof(i->kind));
}

/* False: it is about no interface. A bridge tells of its ports by messages of AF_BRIDGE: a
 * "deleted" one has left the bridge, no more. */
static bool read_link(struct netlink_part left, struct interface *i)
{
	struct netlink_attribute a;
	struct ifinfomsg head;

	if (!netlink_take(&left, &head, sizeof(head)) || head.ifi_family != AF_UNSPEC ||
	    head.ifi_index <= 0)
		return false;
	*i = (struct interface){.index = (uint32_t)head.ifi_index, .type = head.ifi_type};
	while (netlink_next_attribute(&left, &a)) {
		if (a.type == IFLA_IFNAME)
			netlink_text(&a, i->name, sizeof(i->name));
		else if (a.type == IFLA_LINKINFO)
			read_kind(a.value, i);
	}
	return true;
}

void interface_parse(struct netlink_part bytes, interface_fn visit, void *arg)
{
	struct netlink_message m;
	struct interface i;

	while (netlink_next_message(&bytes, &m)) {
		if (m.type == NLMSG_DONE)
			visit(arg, INTERFACE_ALL, NULL);
		else if ((m.type == RTM_NEWLINK || m.type == RTM_DELLINK) && read_link(m.body, &i))
			visit(arg, m.type == RTM_NEWLINK ? INTERFACE_IS : INTERFACE_WENT, &i);
	}
}

bool interface_has_header(const struct interface *i)
{
	return i->type == ARPHRD_ETHER || i->type == ARPHRD_LOOPBACK;
}

int interface_open(void)
{
	const struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = netlink_open(SOCK_NONBLOCK), r;

	if (fd < 0)
		return fd;
	if (bind(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	return fd;
}

int interface_ask(int fd)
{
	const struct {
		struct nlmsghdr header;
		struct ifinfomsg body;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = RTM_GETLINK,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.body = {.ifi_family = AF_UNSPEC},
	};

	return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

int interface_receive(int fd, char *buffer, interface_fn visit, void *arg)
{
	struct sockaddr_nl from = {};
	socklen_t length = sizeof(from);
	ssize_t n = recvfrom(fd, buffer, INTERFACE_BYTES, 0, (struct sockaddr *)&from, &length);

	if (n < 0)
		return -errno;
	if (from.nl_pid == 0) /* the kernel; nobody else is listened to */
		interface_parse((struct netlink_part){buffer, (size_t)n}, visit, arg);
	return 0;
}
