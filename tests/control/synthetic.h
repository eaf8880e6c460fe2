/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Made-up services of source "synthetic", the same in each run: 0 to 3 endpoints, the third one
 * draining, ten namespaces, a label.
 */
#pragma once

#include "model/store.h"

int synthetic_put(struct store *store, unsigned long services);
