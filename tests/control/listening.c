/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See listening.h.
 */
#include "control/listening.h"

#include <string.h>

static struct cgroup_name kinds[] = {
	{8123, (char *)"/system.slice/payments.service", {.unit = "payments.service"}},
	{9001,
	 (char *)"/kubepods/burstable/pod0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab/"
		 "4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab",
	 {.container = "4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab4bf0c1ab",
	  .pod = "0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab"}},
	{9002, NULL, {}}, /* gone before it was named */
	{9003, (char *)"/odd\xff\"name", {}},
};

static struct listener listener_of(const struct registration *r)
{
	return (struct listener){.cookie = r->etag,
				 .netns = 1,
				 .since_ms = 1700000000123,
				 .addr = r->address,
				 .port = r->port,
				 .swept = r->port % 2,
				 .cgroup = &kinds[r->port % 4]};
}

void listening_visit(const struct store *store,
		     void (*visit)(void *visit_arg, const struct listener *l), void *visit_arg)
{
	size_t n;
	struct registration *const *all = store_registrations(store, &n);

	for (size_t i = 0; i < n; i++) {
		const struct listener l = listener_of(all[i]);

		visit(visit_arg, &l);
	}
}

void listening_publish(struct control *control, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_registrations; i++) {
		struct listener l;

		if (plan->registrations[i].old) {
			l = listener_of(plan->registrations[i].old);
			control_publish_listener(control, false, &l);
		}
		if (plan->registrations[i].new) {
			l = listener_of(plan->registrations[i].new);
			control_publish_listener(control, true, &l);
		}
	}
}

const struct cgroup_name *listening_cgroup(uint64_t id)
{
	for (size_t i = 0; i < 2; i++)
		if (kinds[i].id == id)
			return &kinds[i];
	return NULL;
}
