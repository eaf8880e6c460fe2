/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The whole decision for one destination, from resolve to pick: what the connect and the sendmsg
 * doors share, and what explain asks. Counts refusals; remembers nothing.
 */
#pragma once

#include "stage/account.h"
#include "stage/admit.h"
#include "stage/judge.h"
#include "stage/pick.h"
#include "stage/report.h"
#include "stage/resolve.h"

#define SN_NOT_OURS SN_R_MAX

struct sn_choice {
	struct sn_service *service; /* NULL: not a service address */
	__u32 index;                /* of the service */
	struct sn_pick pick;
};

static __always_inline __u32 sn_choose_backend(struct sn_choice *choice)
{
	return sn_pick(choice->service, choice->index, bpf_get_prandom_u32(), &choice->pick);
}

/* Books a destination that gets no backend. 0: the socket passes untouched; else a negative errno
 * for the caller. */
static __always_inline int sn_decline(const struct sn_frontend *dest, __u32 index, __u32 reason)
{
	sn_count_service(index, reason);
	if (reason != SN_R_NO_BACKEND)
		return 0;
	sn_report_refused(dest, index, reason);
	return -SN_EHOSTUNREACH;
}

static __always_inline __be16 sn_pick_port(const struct sn_pick *pick,
					   const struct sn_frontend *dest)
{
	return pick->backend->port_be ?: dest->port_be;
}
