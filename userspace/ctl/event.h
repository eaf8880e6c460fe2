/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One event of the daemon's stream as a sentence, for events and describe.
 */
#pragma once

#include <yyjson.h>

#include "ctl/ctl.h"

/* "12:01:07.341  shop/payments 10.96.0.10:80/TCP -> 10.0.1.6:8080 refused after 1.1ms (cgroup 42)"
 * and a line end; without the service's name where it goes without saying. */
void event_print(struct ctl *c, yyjson_val *event, bool names_service);
