/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One application of Eureka as a service. Pure.
 *
 *   PAY with instances at ports of their own -> pay, port "http" at every number, leading to each
 *   instance's port; with a secure port at every instance -> also "https" at 443.
 */
#pragma once

#include "registry/draft.h"
#include "registry/eureka_apps.h"

struct eureka_wish {
	struct draft_service *draft; /* borrowed; of use for one at a time */
	const char *namespace, *source;
	const char *zone; /* of instances that say none; NULL: none */
	size_t left_out;  /* of the last one: usable instances without the port that most have, and
			     what did not fit */
};

/*
 * `n` > 0 instances of one application, of which the usable ones become endpoints: maybe none, and
 * the service stays. What all usable ones say in their metadata becomes labels. -EINVAL: the
 * application's name cannot be a label; -ENODATA: nobody has a port; -ENOMEM.
 */
int eureka_service(struct eureka_wish *wish, const struct eureka_instance *instances, size_t n,
		   struct service **ret);
