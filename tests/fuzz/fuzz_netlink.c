/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel says of interfaces and filters. It is trusted, but its lengths are not believed.
 */
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/require.h"
#include "kernel/filter.h"
#include "kernel/interface.h"

static void on_interface(void *arg, enum interface_news news, const struct interface *i)
{
	REQUIRE((news == INTERFACE_ALL) == !i);
	if (!i)
		return;
	REQUIRE(i->index && i->index <= INT32_MAX);
	REQUIRE(memchr(i->name, '\0', sizeof(i->name)) && memchr(i->kind, '\0', sizeof(i->kind)));
	(void)interface_has_header(i);
}

static void check_filters(struct netlink_part left)
{
	struct netlink_message m;
	struct filter f;

	while (netlink_next_message(&left, &m)) {
		if (!filter_parse(&m, &f))
			continue;
		REQUIRE(m.type == RTM_NEWTFILTER && f.handle);
		REQUIRE(memchr(f.name, '\0', sizeof(f.name)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);

	REQUIRE(copy);
	/* At its end, so that a byte too far is seen; and at an odd address. */
	memcpy(copy + 1, data, size);
	interface_parse((struct netlink_part){copy + 1, size}, on_interface, NULL);
	check_filters((struct netlink_part){copy + 1, size});
	free(copy);
	return 0;
}
