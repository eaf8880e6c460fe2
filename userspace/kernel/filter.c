/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See filter.h. Beside tc.c, which must know what is not ours before it takes anything away.
 */
#include "kernel/filter.h"

#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

static void read_options(struct netlink_part left, struct filter *f)
{
	struct netlink_attribute a;
	char *id;

	while (netlink_next_attribute(&left, &a)) {
		if (a.type == TCA_BPF_ID)
			f->program = netlink_u32(&a);
		else if (a.type == TCA_BPF_NAME)
			netlink_text(&a, f->name, sizeof(f->name));
	}
	id = strstr(f->name, ":["); /* libbpf's "name:[id]" */
	if (id)
		*id = '\0';
}

bool filter_parse(const struct netlink_message *m, struct filter *ret)
{
	struct netlink_part left = m->body, options = {};
	struct netlink_attribute a;
	struct tcmsg head;

	if (m->type != RTM_NEWTFILTER || !netlink_take(&left, &head, sizeof(head)) ||
	    !head.tcm_handle)
		return false; /* without a handle: of the priority, which may hold many */
	*ret = (struct filter){.handle = head.tcm_handle,
			       .priority = (uint16_t)(head.tcm_info >> 16)};
	while (netlink_next_attribute(&left, &a)) {
		if (a.type == TCA_KIND)
			netlink_text(&a, ret->name, sizeof(ret->name));
		else if (a.type == TCA_OPTIONS)
			options = a.value;
	}
	if (!strcmp(ret->name, "bpf"))
		read_options(options, ret);
	return true;
}

struct listing {
	struct filter *filters;
	size_t n, max;
};

static int on_message(void *arg, const struct netlink_message *m)
{
	struct listing *l = arg;

	if (l->n < l->max && filter_parse(m, &l->filters[l->n]))
		l->n++;
	return 0;
}

int filter_list(uint32_t ifindex, bool egress, struct filter *ret, size_t max)
{
	const struct {
		struct nlmsghdr header;
		struct tcmsg body;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = RTM_GETTFILTER,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.body = {.tcm_family = AF_UNSPEC,
			 .tcm_ifindex = (int)ifindex,
			 .tcm_parent = TC_H_MAKE(TC_H_CLSACT,
						 egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS)},
	};
	struct listing l = {.filters = ret, .max = max};
	_cleanup_close_ int fd = netlink_open(0);
	int r = fd < 0 ? fd : netlink_dump(fd, &request, sizeof(request), on_message, &l);

	return r < 0 ? r : (int)l.n;
}
