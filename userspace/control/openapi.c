/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serves openapi.yaml as JSON. Before: the build turned the one into the other.
 */
#include "control/answer.h"
#include "control/handler.h"

static const unsigned char document[] = {
#include "openapi.inc"
};

int openapi_get(struct request *q)
{
	return answer_static(q, TYPE_JSON, document, sizeof(document) - 1);
}
