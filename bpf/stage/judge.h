/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why a connect ended: from the socket's error to a reason. Pure.
 */
#pragma once

#include <sinew/flow.h>
#include <sinew/reason.h>

/* Linux errno values, equal on x86-64 and arm64 (asm-generic/errno.h). */
#define SN_EAGAIN 11
#define SN_EACCES 13
#define SN_ENONET 64
#define SN_ENETUNREACH 101
#define SN_ECONNRESET 104
#define SN_ETIMEDOUT 110
#define SN_ECONNREFUSED 111
#define SN_EHOSTDOWN 112
#define SN_EHOSTUNREACH 113
#define SN_ENOPROTOOPT 92
#define SN_EOPNOTSUPP 95
#define SN_EPROTO 71

/* Giving up sooner is the caller's own choice (happy eyeballs, a short deadline); giving up later
 * means that the backend was silent. Linkerd's fail-fast uses the same 3 s. */
#define SN_PATIENCE_NS 3000000000ULL

/* A connect in progress ended without success; `error` is the socket's sk_err, 0: the application
 * closed it, `age_ns` after the SYN. What ICMP's codes become is in the kernel's icmp_err_convert[]
 * and tab_unreach[]: a firewall's "prohibited" is EHOSTUNREACH over IPv4 and EACCES over IPv6. */
static __always_inline __u32 sn_judge_connect(int error, __u64 age_ns)
{
	switch (error) {
	case 0:
		return age_ns >= SN_PATIENCE_NS ? SN_R_TIMEOUT : SN_R_ABORTED;
	case SN_ECONNREFUSED:
	case SN_ECONNRESET:
		return SN_R_REFUSED;
	case SN_ETIMEDOUT:
		return SN_R_TIMEOUT;
	case SN_EHOSTUNREACH:
	case SN_ENETUNREACH:
	case SN_EHOSTDOWN:
	case SN_ENOPROTOOPT:
	case SN_EPROTO:
	case SN_EACCES:
	case SN_ENONET:
	case SN_EOPNOTSUPP:
		return SN_R_UNREACHABLE;
	default:
		return SN_R_ERROR;
	}
}
