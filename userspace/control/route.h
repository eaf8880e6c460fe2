/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The routes table: what may be asked, by whom, in which form. openapi.yaml says the same to
 * people and generators; a test compares the two. Private to control/.
 */
#pragma once

#include "control/server.h"

enum route_flag {
	ROUTE_ADMIN = 1,   /* not on the status socket */
	ROUTE_BODY = 2,    /* takes a JSON body */
	ROUTE_LINES = 4,   /* answers NDJSON */
	ROUTE_METRICS = 8, /* negotiates by itself */
};

struct route {
	const char *method;
	const char *path;   /* template: "/v1/services/{namespace}/{name}" */
	unsigned int flags; /* enum route_flag */
	const char *query;  /* as for query_parse */
	int (*handle)(struct request *q);
};

const struct route *route_table(size_t *ret_n);
bool route_takes_body(const struct route *route);
/* Headers are complete: finds the route, or answers why not. < 0: cut the client. */
int route_begin(struct request *q, const char *method);
/* The request is complete: calls the handler. < 0: cut the client. */
int route_end(struct request *q);
