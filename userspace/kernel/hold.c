/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See hold.h. After publish.c has given the backends their numbers; the programs' grade.h reads
 * what is written here. An ejection is the programs' own word: it is taken back by the same
 * compare-and-swap that they use.
 */
#include "kernel/hold.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "kernel/entry.h"
#include "sinew.skel.h"

struct wish {
	enum sn_hold held;
	uint64_t until_ns;
};

static struct entry *find(const struct publish *p, const struct service *s, size_t address,
			  size_t port)
{
	const struct sn_frontend key = {.addr = s->address[address],
					.port_be = htons(s->ports[port].port),
					.proto = s->ports[port].proto};

	return entry_find(p, &key);
}

/* Its number; 0: not published there. */
static uint32_t find_backend(const struct entry *e, size_t endpoint)
{
	for (uint32_t i = 0; e && i < e->n_members; i++)
		if (member_is_own(&e->members[i], endpoint))
			return e->members[i].backend;
	return SN_NONE;
}

/* The time before the word that makes it count, and the other way round. */
static void set(struct publish *p, struct entry *e, uint32_t backend, const struct wish *want)
{
	struct sn_health *h = window_at(&p->k->health, backend);

	if (want->held == SN_HOLD_NONE)
		__atomic_store_n(&h->held, SN_HOLD_NONE, __ATOMIC_RELEASE);
	__atomic_store_n(&h->held_until_ns, want->until_ns, __ATOMIC_RELEASE);
	__atomic_store_n(&h->held, want->held, __ATOMIC_RELEASE);
}

/* Never below 0, as sn_limit_give(). */
static void give(uint32_t *counter)
{
	uint32_t seen = __atomic_load_n(counter, __ATOMIC_RELAXED);

	while (seen && !__atomic_compare_exchange_n(counter, &seen, seen - 1, false,
						    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		;
}

static void restore(struct publish *p, struct entry *e, uint32_t backend, const struct wish *want)
{
	struct sn_svc_state *state = window_at(&p->k->svc_state, e->index);
	struct sn_health *h = window_at(&p->k->health, backend);
	__u64 until = __atomic_load_n(&h->ejected_until_ns, __ATOMIC_RELAXED);
	const struct sn_window nothing = {};

	set(p, e, backend, want);
	h->consecutive = 0;
	h->told = 0;
	h->probe = 0;
	(void)bpf_map_update_elem(bpf_map__fd(p->k->skel->maps.sn_windows), &backend, &nothing, 0);
	/* Half-open may become ejected again meanwhile: then that one is taken back. */
	while (until && !__atomic_compare_exchange_n(&h->ejected_until_ns, &until, 0, false,
						     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		;
	if (!until)
		return;
	h->since_ns = publish_now_ns();
	give(&state->ejected);
}

static int each(struct publish *p, struct hold_place at, const struct wish *want,
		void (*act)(struct publish *p, struct entry *e, uint32_t backend,
			    const struct wish *want))
{
	int n = 0;

	for (size_t a = 0; a < at.service->n_addresses; a++) {
		struct entry *e = find(p, at.service, a, at.port);
		uint32_t backend = find_backend(e, at.endpoint);

		if (!backend)
			continue;
		act(p, e, backend, want);
		publish_recount(p, e);
		n++;
	}
	return n ? n : -ENOENT;
}

int hold_set(struct publish *p, struct hold_place at, enum sn_hold held, uint64_t until_ns)
{
	const struct wish want = {.held = held, .until_ns = held ? until_ns : 0};

	return each(p, at, &want, set);
}

int hold_restore(struct publish *p, struct hold_place at)
{
	const struct wish want = {};

	return each(p, at, &want, restore);
}
