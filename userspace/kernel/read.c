/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See read.h. After publish.c; before control and exporters, which never see a map.
 */
#include "kernel/read.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/entry.h"
#include "sinew.skel.h"

void read_backend(const struct kernel *k, uint32_t backend, struct traffic *ret)
{
	const struct sn_health *h = window_at(&k->health, backend);
	const struct sn_latency *l = window_at(&k->latency, backend);

	memset(ret, 0, sizeof(*ret));
	ret->attempts = h->attempts;
	ret->active = h->active;
	ret->connect_ns = h->connect_ns;
	ret->ejections = h->ejected_total;
	ret->failed_over = h->failed_over;
	memcpy(ret->outcome, h->outcome, sizeof(ret->outcome));
	memcpy(ret->latency, l->bucket, sizeof(ret->latency));
}

static const struct entry *find_entry(const struct publish *p, const struct service *s,
				      size_t address, size_t port)
{
	struct sn_frontend key = {.addr = s->address[address],
				  .port_be = htons(s->ports[port].port),
				  .proto = s->ports[port].proto};

	return entry_find(p, &key);
}

static void read_member(const struct publish *p, uint32_t backend, struct backend_traffic *ret)
{
	const struct sn_backend *b = window_at(&p->k->backends, backend);
	const struct sn_health *h = window_at(&p->k->health, backend);

	*ret = (struct backend_traffic){.index = backend,
					.incarnation = b->incarnation,
					.state = b->state,
					.last_failure_ns = h->last_failure_ns,
					.consecutive = h->consecutive,
					.ejected_until_ns = h->ejected_until_ns,
					.ejected_ns = h->ejected_ns,
					.held_until_ns = h->held_until_ns,
					.since_ns = h->since_ns,
					.shadow_until_ns = h->shadow_until_ns,
					.held = h->held,
					.ejections = h->ejections,
					.trip = h->trip,
					.reason = h->reason,
					.ewma_us = h->ewma_us,
					.cost = h->cost,
					.cost_ns = h->cost_ns};
	read_backend(p->k, backend, &ret->traffic);
}

int read_endpoint(const struct publish *p, const struct service *s, size_t endpoint, size_t port,
		  struct backend_traffic *ret)
{
	for (size_t a = 0; a < s->n_addresses; a++) {
		const struct entry *e = find_entry(p, s, a, port);

		for (uint32_t i = 0; e && i < e->n_members; i++) {
			if (!member_is_own(&e->members[i], endpoint))
				continue;
			read_member(p, e->members[i].backend, ret);
			ret->level = e->members[i].level;
			return 0;
		}
	}
	return -ENOENT;
}

/* Of a fallback's backend: whose endpoint it is, which is not who was asked for. */
static const struct service *member_owner(const struct entry *e, const struct member *m,
					  size_t *ret_endpoint, size_t *ret_port)
{
	const struct service *s = m->via ? e->via[m->via - 1] : e->owner;

	*ret_endpoint = m->endpoint;
	*ret_port = m->via ? (size_t)draft_fallback_port(s, &e->owner->ports[e->port]) : e->port;
	return s;
}

int read_members(const struct publish *p, const struct read_door *door,
		 void (*visit)(void *arg, const struct member_traffic *m), void *arg)
{
	const struct service_port *port = &door->service->ports[door->port];
	const struct sn_frontend key = {
		.addr = door->addr, .port_be = htons(port->port), .proto = port->proto};
	const struct entry *e = entry_find(p, &key);
	struct member_traffic m;

	if (!e || !e->owner)
		return -ENOENT;
	for (uint32_t i = 0; i < e->n_members; i++) {
		m.owner = member_owner(e, &e->members[i], &m.endpoint, &m.port);
		read_member(p, e->members[i].backend, &m.backend);
		m.backend.level = e->members[i].level;
		visit(arg, &m);
	}
	return 0;
}

static void add_entry(const struct publish *p, const struct entry *e, struct traffic *sum)
{
	const struct sn_svc_stats *stats = window_at(&p->k->svc_stats, e->index);
	struct traffic t;

	for (uint32_t i = 0; i < e->n_members; i++) {
		read_backend(p->k, e->members[i].backend, &t);
		traffic_add(sum, &t);
	}
	for (uint32_t i = 0; i < e->n_former; i++) {
		read_backend(p->k, e->former[i], &t);
		traffic_add(sum, &t);
	}
	if (e->past)
		traffic_add(sum, e->past);
	for (size_t i = 0; i < SN_R_SERVICE_COUNT; i++)
		sum->refused_here[i] += stats->count[i];
}

int read_service(const struct publish *p, const struct service *s, struct traffic *ret)
{
	const struct entry *e;

	memset(ret, 0, sizeof(*ret));
	for (size_t a = 0; a < s->n_addresses; a++)
		for (size_t i = 0; i < s->n_ports; i++) {
			e = find_entry(p, s, a, i);
			if (e)
				add_entry(p, e, ret);
		}
	return 0;
}

/* Only what the question needs: status asks it of every backend. */
static bool is_usable(const struct publish *p, const struct member *m, uint64_t now_ns)
{
	const struct sn_health *h = window_at(&p->k->health, m->backend);
	const struct sn_backend *b = window_at(&p->k->backends, m->backend);
	struct backend_traffic t;

	t.state = b->state;
	t.level = m->level;
	t.ejected_until_ns = h->ejected_until_ns;
	t.held = h->held;
	t.held_until_ns = h->held_until_ns;
	return backend_is_usable(&t, now_ns);
}

static void mark_usable(const struct publish *p, const struct entry *e, uint64_t now_ns,
			bool *usable, size_t n)
{
	for (uint32_t i = 0; i < e->n_members; i++) {
		const struct member *m = &e->members[i];

		if (!m->via && m->endpoint < n && !usable[m->endpoint])
			usable[m->endpoint] = is_usable(p, m, now_ns);
	}
}

size_t read_usable(const struct publish *p, const struct service *s)
{
	_cleanup_free_ bool *usable = calloc(s->n_endpoints + 1, sizeof(*usable));
	uint64_t now_ns = publish_now_ns();
	const struct entry *e;
	size_t sum = 0;

	if (!usable)
		return 0;
	for (size_t a = 0; a < s->n_addresses; a++)
		for (size_t i = 0; i < s->n_ports; i++) {
			e = find_entry(p, s, a, i);
			if (e)
				mark_usable(p, e, now_ns, usable, s->n_endpoints);
		}
	for (size_t i = 0; i < s->n_endpoints; i++)
		sum += usable[i];
	return sum;
}

static void add_state(const struct publish *p, const struct entry *e, struct service_state *sum)
{
	const struct sn_svc_state *state = window_at(&p->k->svc_state, e->index);

	sum->ejected += state->ejected;
	sum->held += state->held;
	sum->active = state->active > sum->active ? state->active : sum->active;
	sum->pending = state->pending > sum->pending ? state->pending : sum->pending;
	for (uint32_t i = 0; i < e->n_members; i++) {
		const struct sn_health *h = window_at(&p->k->health, e->members[i].backend);

		sum->fullest = h->active > sum->fullest ? h->active : sum->fullest;
	}
	if (state->panic_ns && (!sum->panic_ns || state->panic_ns < sum->panic_ns))
		sum->panic_ns = state->panic_ns;
}

int read_state(const struct publish *p, const struct service *s, struct service_state *ret)
{
	const struct entry *e;

	memset(ret, 0, sizeof(*ret));
	for (size_t a = 0; a < s->n_addresses; a++)
		for (size_t i = 0; i < s->n_ports; i++) {
			e = find_entry(p, s, a, i);
			if (e)
				add_state(p, e, ret);
		}
	return 0;
}

int read_memory(const struct kernel *k, uint32_t service, uint32_t workload, struct sn_memory *ret)
{
	const struct sn_memory_key key = {.workload = workload, .service = service};

	if (bpf_map_lookup_elem(bpf_map__fd(k->skel->maps.sn_memory), &key, ret) < 0)
		return -errno;
	return 0;
}

const struct service *read_backend_owner(const struct publish *p, uint32_t backend,
					 uint16_t incarnation, size_t *ret_endpoint,
					 size_t *ret_port)
{
	const struct sn_backend *b;
	const struct entry *e;

	if (!backend || backend >= p->k->backends.entries ||
	    p->k->backends.stride * (backend + 1) > p->k->backends.mapped)
		return NULL;
	b = window_at(&p->k->backends, backend);
	if ((incarnation && b->incarnation != incarnation) || b->service >= p->k->services.entries)
		return NULL;
	e = p->by_index[b->service];
	for (uint32_t i = 0; e && i < e->n_members; i++)
		if (e->members[i].backend == backend && e->owner)
			return member_owner(e, &e->members[i], ret_endpoint, ret_port);
	return NULL;
}

const struct service *read_service_owner(const struct publish *p, uint32_t service,
					 size_t *ret_port)
{
	const struct entry *e = service < p->k->services.entries ? p->by_index[service] : NULL;

	if (!e)
		return NULL;
	*ret_port = e->port;
	return e->owner;
}

#define FLOW_BATCH 1024

int read_flows(const struct kernel *k, size_t max,
	       int (*visit)(void *arg, const struct sn_flow *flow), void *arg)
{
	_cleanup_free_ struct sn_flow *flows = calloc(FLOW_BATCH, sizeof(*flows));
	_cleanup_free_ uint32_t *keys = calloc(FLOW_BATCH, sizeof(*keys));
	int fd = bpf_map__fd(k->skel->maps.sn_flows);
	uint32_t at = 0;
	int seen = 0, r = 0;
	__u32 n;

	if (!flows || !keys)
		return -ENOMEM;
	while (!r && (size_t)seen < max) {
		n = FLOW_BATCH;
		r = bpf_map_lookup_batch(fd, at ? &at : NULL, &at, keys, flows, &n, NULL) < 0
			    ? -errno
			    : 0;
		if (r < 0 && r != -ENOENT)
			return r;
		for (__u32 i = 0; i < n && (size_t)seen < max; i++) {
			if (!flows[i].cookie || !flows[i].state)
				continue;
			seen++;
			if (visit(arg, &flows[i]) < 0)
				return seen;
		}
	}
	return seen;
}

uint64_t read_node_count(const struct kernel *k, unsigned int reason)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *values = NULL;
	__u32 key = reason - SN_R_SERVICE_MAX;
	uint64_t sum = 0;

	if (cpus <= 0 || reason < SN_R_SERVICE_MAX || reason >= SN_R_MAX)
		return 0;
	values = calloc((size_t)cpus, sizeof(*values));
	if (!values ||
	    bpf_map_lookup_elem(bpf_map__fd(k->skel->maps.sn_counters), &key, values) < 0)
		return 0;
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	return sum;
}

size_t read_map_fills(const struct publish *p, struct map_fill *ret, size_t max)
{
	const struct kernel *k = p->k;
	const struct map_fill all[] = {
		{"sn_frontends", HASH_COUNT(p->entries),
		 bpf_map__max_entries(k->skel->maps.sn_frontends)},
		{"sn_services", p->services.used + p->services.retired, p->services.max - 1},
		{"sn_backends", p->backends.used + p->backends.retired, p->backends.max - 1},
		{"sn_policies", p->rules.pool.used + p->rules.pool.retired, p->rules.pool.max - 1},
		{"sn_slots", p->slots.used + p->slots.retired, p->slots.max - 1},
	};
	size_t n = ARRAY_SIZE(all) < max ? ARRAY_SIZE(all) : max;

	memcpy(ret, all, n * sizeof(*ret));
	return n;
}

size_t read_program_runs(const struct kernel *k, struct program_run *ret, size_t max)
{
	size_t n = 0;

	for (int hook = 0; hook < _HOOK_MAX && n < max; hook++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(k->skel->obj, kernel_hook_name(hook));
		struct bpf_prog_info info = {};
		__u32 length = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length) < 0)
			continue;
		ret[n++] = (struct program_run){.name = kernel_hook_name(hook),
						.run_ns = info.run_time_ns,
						.runs = info.run_cnt,
						.attached = k->cgroup_ok};
	}
	return n;
}

int read_explain(const struct kernel *k, struct sn_explain *e)
{
	/* A syscall program's result comes back in its argument; the kernel refuses a ctx_out. */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = e, .ctx_size_in = sizeof(*e));

	if (bpf_prog_test_run_opts(bpf_program__fd(k->skel->progs.sn_explain), &opts) < 0)
		return -errno;
	return 0;
}
