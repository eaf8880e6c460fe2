/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A question about one connect, and the answer as it grows. Private to control/.
 */
#pragma once

#include "control/view.h"

struct question {
	struct sn_explain e;
	struct condition_at at;
	const struct service *service; /* NULL: nobody owns the destination */
	size_t port;
	const struct service *picked; /* whose endpoint the kernel chose */
	size_t picked_endpoint, picked_port;
	yyjson_mut_doc *doc;
	yyjson_mut_val *root, *lines;
};

__attribute__((format(printf, 2, 3))) void explain_line(struct question *k, const char *format,
							...);
/* candidate.c: adds "candidates", and a line for each that was looked at. */
void candidate_explain(const struct control *c, struct question *k);
