/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Outlier ejection: what an outcome does to the backend that it is blamed on. After judge and
 * account; the next pick reads the result. Time is the caller's, so that a simulation can choose
 * it.
 *
 * sn_health.ejected_until_ns is the whole state: 0 in use; in the future, ejected; in the past,
 * half-open. Whoever changes it by compare-and-swap has the say and corrects sn_svc_state.ejected.
 */
#pragma once

#include "knobs.bpf.h"
#include "maps.bpf.h"
#include "stage/account.h"
#include "stage/limit.h"
#include "stage/report.h"
#include "stage/window.h"

/* One backend of one service under one policy, as an outcome finds it. */
struct sn_judged {
	__u32 backend;
	__u32 service;
	struct sn_health *health;
	struct sn_svc_state *state;
	const struct sn_policy *policy;
	__u32 total; /* members of the service */
};

/* 0: nothing to judge by. */
static __always_inline int sn_judged_find(__u32 backend, struct sn_judged *ret)
{
	const struct sn_backend *member = sn_backend_at(backend);
	const struct sn_service *service;
	const struct sn_set *set;

	if (!member || member->state != SN_BACKEND_ACTIVE)
		return 0;
	service = sn_service_at(member->service);
	if (!service)
		return 0;
	set = (const void *)sn_slot_at(*(volatile const __u32 *)&service->set);
	if (!set || set->service != member->service)
		return 0;
	ret->backend = backend;
	ret->service = member->service;
	ret->health = sn_health_at(backend);
	ret->total = set->total;
	ret->state = sn_svc_state_at(member->service);
	ret->policy = sn_policy_at(service->policy);
	return ret->state && ret->policy && ret->health;
}

/* One more of `total` may be ejected: the rule of maxEjectionPercent, and never the last one. */
static __always_inline int sn_may_eject(__u32 ejected, __u32 held, __u32 total, __u32 percent)
{
	if ((__u64)ejected + held + 1 >= total)
		return 0;
	return !ejected || ((__u64)ejected + 1) * 100 <= (__u64)percent * total;
}

/* A healthy base time takes one ejection off the count. */
static __always_inline __u32 sn_ejections(const struct sn_health *health, __u64 base_ns, __u64 now)
{
	__u64 since = health->since_ns;
	__u64 healthy = since && now > since && base_ns ? (now - since) / base_ns : 0;

	return health->ejections > healthy ? health->ejections - (__u32)healthy : 0;
}

/* Up to a tenth more, by node and backend: nodes that saw the same failure do not come back at the
 * same moment. */
static __always_inline __u64 sn_jitter(__u64 ns, __u32 backend)
{
	__u32 h = (sn_node ^ backend) * 0x9e3779b1u;

	h ^= h >> 15;
	h *= 0x85ebca6bu;
	return ns + ns / 10 * ((h >> 16) & 1023) / 1024;
}

static __always_inline __u64 sn_ejection_ns(const struct sn_policy *policy, __u32 times,
					    __u32 backend)
{
	__u64 ns = policy->base_ns * times;

	return sn_jitter(policy->max_ns && ns > policy->max_ns ? policy->max_ns : ns, backend);
}

/* Room for one more ejected member; 0: the rule forbids it. */
SN_ONCE int sn_eject_reserve(struct sn_svc_state *state, __u32 total, __u32 percent)
{
	__u32 n, seen;

	if (!state)
		return 0;
	seen = *(volatile __u32 *)&state->ejected;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 64; i++) {
		n = seen;
		if (!sn_may_eject(n, state->held, total, percent))
			return 0;
		seen = __sync_val_compare_and_swap(&state->ejected, n, n + 1);
		if (seen == n)
			return 1;
	}
	return 0;
}

static __always_inline void sn_health_begin_anew(__u32 backend, struct sn_health *health)
{
	struct sn_window *window = sn_window_at(backend);

	health->consecutive = 0;
	health->probe = 0;
	if (!window)
		return;
	sn_window_clear(window->failed);
	sn_window_clear(window->slow);
}

static __noinline void sn_report_backend(const struct sn_judged *j, __u16 type, __u32 what,
					 __u64 now, __u64 duration_ns)
{
	struct sn_event *event = sn_event_new(type, what & 0xffff, now);
	struct sn_backend *backend;

	if (!event)
		return;
	backend = sn_backend_at(j->backend);
	event->service = j->service;
	event->backend = j->backend;
	if (backend) {
		event->peer = backend->addr;
		event->peer_port_be = backend->port_be;
		event->incarnation = backend->incarnation;
	}
	event->proto = SN_PROTO_TCP;
	event->trip = what >> 16;
	event->duration_ns = duration_ns;
	event->times = j->health->ejections;
	event->total = j->total;
	event->usable = j->total > j->state->ejected ? j->total - j->state->ejected : 0;
	bpf_ringbuf_submit(event, 0);
}

/* `what`: reason, and why it trips << 16. From in use, or from half-open when the probe failed. */
static __always_inline void sn_eject(const struct sn_judged *j, __u64 from, __u32 what, __u64 now)
{
	__u32 times =
		from ? j->health->ejections : sn_ejections(j->health, j->policy->base_ns, now);
	__u64 ns = sn_ejection_ns(j->policy, times + 1, j->backend);

	if (!from && !sn_eject_reserve(j->state, j->total, j->policy->max_ejection_percent)) {
		sn_count_service(j->service, SN_R_SPARED);
		return;
	}
	if (__sync_val_compare_and_swap(&j->health->ejected_until_ns, from, now + ns) != from) {
		if (!from)
			sn_limit_give(&j->state->ejected);
		return;
	}
	j->health->ejections = times + 1 > 0xffff ? 0xffff : times + 1;
	j->health->ejected_ns = now;
	j->health->trip = what >> 16;
	j->health->reason = what & 0xff;
	__sync_fetch_and_add(&j->health->ejected_total, 1);
	sn_health_begin_anew(j->backend, j->health);
	sn_report_backend(j, SN_EVENT_EJECTED, what, now, ns);
}

/* Only tells, once per time that the ejection would have lasted. */
static __always_inline void sn_eject_shadow(const struct sn_judged *j, __u32 what, __u64 now)
{
	__u64 until = j->health->shadow_until_ns, ns;

	if (now < until)
		return;
	if (!sn_may_eject(j->state->ejected, j->state->held, j->total,
			  j->policy->max_ejection_percent)) {
		sn_count_service(j->service, SN_R_SPARED);
		return;
	}
	ns = sn_ejection_ns(j->policy, 1, j->backend);
	if (__sync_val_compare_and_swap(&j->health->shadow_until_ns, until, now + ns) == until)
		sn_report_backend(j, SN_EVENT_SHADOW, what, now, ns);
}

/* With a share of trips enforced one draw decides for as long as the ejection would have lasted: if
 * each further failure drew anew, a share would soon be all. Who is ejected already has been drawn.
 */
static __always_inline int sn_is_shadow(const struct sn_judged *j, __u64 until, __u64 now)
{
	if (j->policy->flags & SN_POLICY_SHADOW)
		return 1;
	if (until || j->policy->enforcing_percent >= 100)
		return 0;
	return now < j->health->shadow_until_ns ||
	       bpf_get_prandom_u32() % 100 >= j->policy->enforcing_percent;
}

/* Acts on a trip; `what`: the reason of the last failure, and enum sn_trip << 16. */
SN_ONCE int sn_trip(__u32 backend, __u32 what, __u64 now)
{
	struct sn_judged judged = {};
	__u64 until;

	if (!sn_judged_find(backend, &judged))
		return 0;
	until = *(volatile __u64 *)&judged.health->ejected_until_ns;
	if (until ? what >> 16 != SN_TRIP_PROBE || now < until : what >> 16 == SN_TRIP_PROBE)
		return 0;
	if (sn_is_shadow(&judged, until, now))
		sn_eject_shadow(&judged, what, now);
	else
		sn_eject(&judged, until, what, now);
	return 1;
}

/* The half-open probe succeeded: from now on it is in use again. */
static __always_inline void sn_restore(const struct sn_judged *j, __u64 until, __u64 now)
{
	if (__sync_val_compare_and_swap(&j->health->ejected_until_ns, until, 0) != until)
		return;
	sn_limit_give(&j->state->ejected);
	j->health->since_ns = now;
	sn_health_begin_anew(j->backend, j->health);
	sn_report_backend(j, SN_EVENT_RESTORED, SN_R_CONNECTED, now, now - j->health->ejected_ns);
}

/* A datagram has no answer that could be waited for: a half-open backend that gets one is in use.
 */
SN_ONCE int sn_revive(__u32 backend, __u64 now)
{
	struct sn_judged judged = {};
	__u64 until;

	if (!sn_judged_find(backend, &judged))
		return 0;
	until = *(volatile __u64 *)&judged.health->ejected_until_ns;
	if (until && now >= until)
		sn_restore(&judged, until, now);
	return 1;
}
