/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See netlink.h. Before interface.c and filter.c, which know what the messages mean.
 */
#include "kernel/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#define DUMP_BYTES 32768
#define DUMP_TURNS 4096 /* datagrams of one answer */

static void skip(struct netlink_part *p, size_t n)
{
	n = NLMSG_ALIGN(n);
	n = n < p->n ? n : p->n;
	p->bytes += n;
	p->n -= n;
}

bool netlink_next_message(struct netlink_part *left, struct netlink_message *ret)
{
	struct nlmsghdr header;

	if (left->n < sizeof(header))
		return false;
	memcpy(&header, left->bytes, sizeof(header)); /* it may lie anywhere */
	if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > left->n)
		return false;
	*ret = (struct netlink_message){
		.type = header.nlmsg_type,
		.body = {left->bytes + sizeof(header), header.nlmsg_len - sizeof(header)},
	};
	skip(left, header.nlmsg_len);
	return true;
}

bool netlink_next_attribute(struct netlink_part *left, struct netlink_attribute *ret)
{
	struct nlattr header;

	if (left->n < sizeof(header))
		return false;
	memcpy(&header, left->bytes, sizeof(header));
	if (header.nla_len < sizeof(header) || header.nla_len > left->n)
		return false;
	*ret = (struct netlink_attribute){
		.type = header.nla_type & NLA_TYPE_MASK,
		.value = {left->bytes + sizeof(header), header.nla_len - sizeof(header)},
	};
	skip(left, header.nla_len);
	return true;
}

bool netlink_take(struct netlink_part *left, void *ret, size_t size)
{
	if (left->n < size)
		return false;
	memcpy(ret, left->bytes, size);
	skip(left, size);
	return true;
}

void netlink_text(const struct netlink_attribute *a, char *ret, size_t size)
{
	size_t n = strnlen(a->value.bytes, a->value.n);

	(void)snprintf(ret, size, "%.*s", (int)(n < size ? n : size - 1), a->value.bytes);
}

uint32_t netlink_u32(const struct netlink_attribute *a)
{
	uint32_t value = 0;

	if (a->value.n >= sizeof(value))
		memcpy(&value, a->value.bytes, sizeof(value));
	return value;
}

/* 1: the answer ends here. */
static int visit_all(struct netlink_part left, int (*visit)(void *, const struct netlink_message *),
		     void *arg)
{
	struct netlink_message m;
	int32_t error;
	int r = 0;

	while (r >= 0 && netlink_next_message(&left, &m)) {
		if (m.type == NLMSG_DONE)
			return 1;
		if (m.type == NLMSG_ERROR)
			return netlink_take(&m.body, &error, sizeof(error)) && error < 0 ? error
											 : 1;
		r = visit(arg, &m);
	}
	return r;
}

int netlink_dump(int fd, const void *request, size_t size,
		 int (*visit)(void *arg, const struct netlink_message *m), void *arg)
{
	_cleanup_free_ char *buffer = malloc(DUMP_BYTES);
	ssize_t n;
	int r = 0;

	if (!buffer)
		return -ENOMEM;
	if (send(fd, request, size, 0) < 0)
		return -errno;
	for (int i = 0; r == 0 && i < DUMP_TURNS; i++) {
		n = recv(fd, buffer, DUMP_BYTES, 0);
		r = n < 0 ? -errno
			  : visit_all((struct netlink_part){buffer, (size_t)n}, visit, arg);
	}
	return r < 0 ? r : 0;
}

int netlink_open(int flags)
{
	const struct timeval patience = {.tv_sec = 2};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}
