/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control API's questions and changes, answered from the store and the kernel. Runs on the
 * loop's thread; the only place where a client's wish becomes a change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "daemon/daemon.h"
#include "kernel/listener.h"
#include "kernel/read.h"

/* Whoever declares by hand relies on the answer: it is given when the change is on disk. A
 * registry's agent sends its snapshot again after a restart anyway, so it is answered when the
 * kernel has it. */
#define DURABLE_SOURCE "manifest"

static uint64_t now_ms(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static const struct store *op_store(void *arg)
{
	return ((struct daemon *)arg)->store;
}

static void explain_full(const struct publish *p, struct problems *problems, int r)
{
	if (r == -ENOSPC)
		problem_add(
			problems, "",
			"the kernel map %s is full; nothing was applied (sinewctl status shows how full each is)",
			publish_full(p));
	else if (r == -EBUSY)
		problem_add(
			problems, "",
			"room in the kernel map %s is being freed; nothing was applied, try again in a second",
			publish_full(p));
	else
		problem_add(problems, "", "the kernel refused the change: %s", strerror(-r));
}

static void log_change(const struct control_caller *caller, const struct plan *plan)
{
	log_info("source %s: %zu services, %zu policies and %zu registrations changed by uid %u "
		 "pid %d",
		 plan->source, plan->n_services, plan->n_policies, plan->n_registrations,
		 caller->uid, caller->pid);
}

static void tell_change(struct daemon *d, const struct plan *plan)
{
	char name[2 * 64 + 2], text[128];

	for (size_t i = 0; i < plan->n_services && i < 100; i++) {
		const struct service *s = plan->services[i].new ?: plan->services[i].old;
		size_t n = plan->services[i].new ? s->n_endpoints : 0;

		(void)snprintf(name, sizeof(name), "%s/%s", s->namespace, s->name);
		(void)snprintf(text, sizeof(text), "by source %.64s: %zu endpoint%s", s->source, n,
			       n == 1 ? "" : "s");
		control_publish_note(d->control,
				     !plan->services[i].new  ? "service.removed"
				     : plan->services[i].old ? "service.changed"
							     : "service.added",
				     name, text);
	}
}

/* One note for each, which makes who registers look at once. */
static void tell_registrations(struct daemon *d, const struct plan *plan)
{
	char name[2 * 64 + 2], text[2 * LIMIT_LABEL_VALUE];

	for (size_t i = 0; i < plan->n_registrations && i < 100; i++) {
		const struct plan_registration *p = &plan->registrations[i];
		const struct registration *r = p->new ?: p->old;

		(void)snprintf(name, sizeof(name), "%s/%s", r->namespace, r->name);
		(void)snprintf(text, sizeof(text), "by source %.64s: %s, port %u, in registry %s",
			       r->source, r->service, r->port, r->registry);
		control_publish_note(d->control,
				     !p->new  ? "registration.removed"
				     : p->old ? "registration.changed"
					      : "registration.added",
				     name, text);
	}
}

static int op_apply(void *arg, const struct control_order *order, struct problems *problems,
		    struct plan *ret_plan)
{
	const struct change *change = order->change;
	struct daemon *d = arg;
	size_t removed = 0;
	int r;

	r = store_plan(d->store, change, problems, ret_plan);
	if (r < 0 || order->dry_run)
		return r;
	r = publish_apply(d->publish, d->store, ret_plan, &removed);
	if (r < 0) {
		explain_full(d->publish, problems, r);
		plan_done(ret_plan);
		return r;
	}
	ret_plan->changed_ms = now_ms(CLOCK_REALTIME);
	store_commit(d->store, ret_plan);
	holds_refresh(&d->holds);
	interfaces_refresh(d);
	if (removed)
		watch_sweep_soon(d);
	if (plan_size(ret_plan)) {
		log_change(order->caller, ret_plan);
		tell_change(d, ret_plan);
		tell_registrations(d, ret_plan);
	}
	if (!strcmp(change->source, DURABLE_SOURCE)) {
		persist_change(&d->persist, change->source, order->applied, order->applied_arg);
		return 0;
	}
	persist_change(&d->persist, change->source, NULL, NULL);
	order->applied(order->applied_arg, 0);
	return 0;
}

/* --- backends set aside by hand -------------------------------------------------------------- */

static void on_holds_written(void *arg, int r)
{
	struct daemon *d = arg;

	if (d->control)
		control_hold_written(d->control, r);
}

/* One sentence to the log and to whoever listens. */
static void tell_hold(struct daemon *d, const char *type, const char *object, const char *text)
{
	log_notice("%s: %s: %s", type, object, text);
	if (d->control)
		control_publish_note(d->control, type, object, text);
}

static void on_hold_ended(void *arg, const struct hold *hold, const char *why)
{
	char object[2 * LIMIT_NAME + 2], text[128], address[ADDRESS_TEXT];

	(void)snprintf(object, sizeof(object), "%s/%s", hold->namespace, hold->name);
	(void)snprintf(text, sizeof(text), "%s is not held by hand any more: %s",
		       address_format_port(&hold->addr, hold->port, address), why);
	tell_hold(arg, "backend.restored", object, text);
}

int ops_start_holds(struct daemon *d)
{
	d->holds = (struct holds){.loop = &d->loop,
				  .store = d->store,
				  .publish = d->publish,
				  .state = d->config.state,
				  .written = on_holds_written,
				  .ended = on_hold_ended,
				  .arg = d};
	return holds_start(&d->holds);
}

/* "10.0.0.5:8080 drained until restored by uid 0 pid 4711: memory leak" */
static void tell_order(struct daemon *d, const struct control_hold *o)
{
	const char *done = !o->held ? "restored" : o->held == SN_HOLD_DRAIN ? "drained" : "ejected";
	char object[2 * LIMIT_NAME + 2], text[256 + 4 * LIMIT_HOLD_REASON], until[64] = "";
	char address[ADDRESS_TEXT], duration[TEXT_DURATION];
	const struct sn_addr *addr = &o->service->endpoints[o->endpoint].addr;

	if (o->held && o->for_ms)
		(void)snprintf(until, sizeof(until), " for %s",
			       text_format_duration(o->for_ms, duration));
	else if (o->held)
		(void)snprintf(until, sizeof(until), " until restored");
	(void)snprintf(object, sizeof(object), "%s/%s", o->service->namespace, o->service->name);
	(void)snprintf(text, sizeof(text), "%s %s%s by uid %u pid %d%s%s",
		       o->port ? address_format_port(addr, o->port, address)
			       : address_format(addr, address),
		       done, until, o->caller->uid, o->caller->pid, *o->reason ? ": " : "",
		       o->reason);
	tell_hold(d, o->held ? "backend.held" : "backend.restored", object, text);
}

static int op_hold(void *arg, const struct control_hold *order)
{
	struct daemon *d = arg;
	int r = holds_order(&d->holds, order);

	if (r < 0)
		return r;
	if (order->held == SN_HOLD_DRAIN)
		watch_sweep_soon(d);
	tell_order(d, order);
	return r;
}

static int op_service_traffic(void *arg, const struct service *s, struct traffic *ret)
{
	return read_service(((struct daemon *)arg)->publish, s, ret);
}

/* What is remembered of a hold, of one of the service's own endpoints. */
static void add_hold(const struct daemon *d, const struct service *s, struct member_traffic *m)
{
	const struct hold *hold =
		m->backend.held ? holds_find(&d->holds, s, m->endpoint, m->port) : NULL;

	if (!hold)
		return;
	m->backend.held_why = *hold->reason ? hold->reason : NULL;
	m->backend.held_by = hold->by;
	m->backend.held_ms = hold->since_ms;
}

static int op_backend_traffic(void *arg, const struct service *s, size_t endpoint, size_t port,
			      struct backend_traffic *ret)
{
	struct member_traffic m = {.endpoint = endpoint, .port = port};
	struct daemon *d = arg;
	int r;

	r = read_endpoint(d->publish, s, endpoint, port, &m.backend);
	if (r < 0)
		return r;
	add_hold(d, s, &m);
	*ret = m.backend;
	return r;
}

static size_t op_service_usable(void *arg, const struct service *s)
{
	return read_usable(((struct daemon *)arg)->publish, s);
}

struct member_visit {
	const struct daemon *d;
	const struct service *asked;
	void (*visit)(void *arg, const struct member_traffic *m);
	void *arg;
};

static void on_member(void *arg, const struct member_traffic *m)
{
	const struct member_visit *v = arg;
	struct member_traffic with_hold = *m;

	if (m->owner == v->asked)
		add_hold(v->d, m->owner, &with_hold);
	v->visit(v->arg, &with_hold);
}

static int op_members(void *arg, const struct control_door *door,
		      void (*visit)(void *visit_arg, const struct member_traffic *m),
		      void *visit_arg)
{
	const struct read_door at = {door->service, door->port, door->addr};
	struct daemon *d = arg;
	struct member_visit v = {d, door->service, visit, visit_arg};

	return read_members(d->publish, &at, on_member, &v);
}

static int op_service_state(void *arg, const struct service *s, struct service_state *ret)
{
	return read_state(((struct daemon *)arg)->publish, s, ret);
}

static int op_memory(void *arg, uint32_t service, uint32_t workload, struct sn_memory *ret)
{
	return read_memory(&((struct daemon *)arg)->kernel, service, workload, ret);
}

static int op_flows(void *arg, size_t max, int (*visit)(void *arg, const struct sn_flow *flow),
		    void *visit_arg)
{
	return read_flows(&((struct daemon *)arg)->kernel, max, visit, visit_arg);
}

static const struct service *op_backend_owner(void *arg, uint32_t backend, uint16_t incarnation,
					      size_t *ret_endpoint, size_t *ret_port)
{
	return read_backend_owner(((struct daemon *)arg)->publish, backend, incarnation,
				  ret_endpoint, ret_port);
}

static const struct service *op_service_owner(void *arg, uint32_t service, size_t *ret_port)
{
	return read_service_owner(((struct daemon *)arg)->publish, service, ret_port);
}

static int op_explain(void *arg, struct sn_explain *e)
{
	return read_explain(&((struct daemon *)arg)->kernel, e);
}

static void op_status(void *arg, struct control_program_facts *ret)
{
	static struct utsname host; /* does not change while we run */
	struct daemon *d = arg;
	const struct sn_meta *meta = d->kernel.meta;

	(void)uname(&host);
	*ret = (struct control_program_facts){
		.version = version_text(),
		.revision = version_revision(),
		.abi = SN_ABI_VERSION,
		.pid = (int32_t)getpid(),
		.started_ms = d->started_ms,
		.attached_ms = now_ms(CLOCK_REALTIME) -
			       (now_ms(CLOCK_BOOTTIME) - meta->attached_ns / 1000000),
		.kernel = host.release,
		.cgroup = d->cgroup,
		.bpffs = d->config.bpffs,
		.cgroup_ok = d->kernel.cgroup_ok,
		.programs_attached = kernel_attached(&d->kernel),
		.programs_wanted = _HOOK_MAX,
		.cgroup_repairs = d->kernel.repairs,
		.heartbeat_age_ms =
			meta->heartbeat_ns ? (uv_hrtime() - meta->heartbeat_ns) / 1000000 : 0,
		.state_write_failures = d->persist.failures + d->holds.failures,
		.loop_max_us = d->turn_max_ns / 1000,
	};
	d->turn_max_ns = 0;
}

static uint64_t op_node_count(void *arg, unsigned int reason)
{
	struct daemon *d = arg;
	uint64_t count = read_node_count(&d->kernel, reason);

	return reason == SN_R_EVICTED ? count + d->ended_by_diag : count;
}

static uint64_t op_report_count(void *arg, unsigned int tell)
{
	return tell < SN_TELL_MAX ? ((struct daemon *)arg)->report.count[tell] : 0;
}

static size_t op_map_fills(void *arg, const struct map_fill **ret)
{
	struct daemon *d = arg;

	size_t n = read_map_fills(d->publish, d->fills, ARRAY_SIZE(d->fills) - 1);

	d->fills[n++] = (struct map_fill){"sn_listeners", listeners_count(&d->listeners),
					  listener_max(&d->kernel)};
	*ret = d->fills;
	return n;
}

static size_t op_program_runs(void *arg, const struct program_run **ret)
{
	struct daemon *d = arg;

	*ret = d->runs;
	return read_program_runs(&d->kernel, d->runs, ARRAY_SIZE(d->runs));
}

static size_t op_doctor(void *arg, const struct control_check **ret)
{
	struct daemon *d = arg;

	*ret = d->checks;
	return doctor_run(d);
}

static int op_inspect(void *arg)
{
	return inspect_start(arg);
}

static void op_config(void *arg,
		      void (*visit)(void *visit_arg, const char *key, const char *value,
				    const char *origin),
		      void *visit_arg)
{
	struct daemon *d = arg;

	for (int i = 0; i < _SETTING_MAX; i++)
		visit(visit_arg, setting_table[i].key, d->settings.text[i], d->settings.origin[i]);
}

static void op_workloads(void *arg, void (*visit)(void *visit_arg, const char *cgroup, uint64_t id),
			 void *visit_arg)
{
	struct daemon *d = arg;

	for (size_t i = 0; i < d->n_workloads; i++)
		visit(visit_arg, d->workloads[i].path, d->workloads[i].id);
}

static bool op_listeners(void *arg, void (*visit)(void *visit_arg, const struct listener *l),
			 void *visit_arg)
{
	struct daemon *d = arg;

	listeners_visit(&d->listeners, visit, visit_arg);
	return d->listeners.is_synced;
}

static const struct cgroup_name *op_cgroup(void *arg, uint64_t id)
{
	return cgroups_look(&((struct daemon *)arg)->listeners.cgroups, id);
}

static void on_listener(void *arg, bool is_there, const struct listener *l)
{
	struct daemon *d = arg;

	if (d->control && !d->stopping)
		control_publish_listener(d->control, is_there, l);
}

static void on_listeners_synced(void *arg)
{
	struct daemon *d = arg;

	if (d->control && !d->stopping)
		control_listeners_synced(d->control);
}

/* As paths are shown: from the mount on. One that is elsewhere has no cgroup below it that could
 * be found by a sweep. NULL: no memory. */
static char *served_cgroup(const struct daemon *d)
{
	size_t mount = strlen(d->cgroup_mount), n = strlen(d->cgroup);
	bool is_below = !strncmp(d->cgroup, d->cgroup_mount, mount);

	while (n > mount && d->cgroup[n - 1] == '/')
		n--;
	return is_below ? strndup(d->cgroup + mount, n - mount) : strdup(d->cgroup);
}

int ops_start_listeners(struct daemon *d)
{
	d->listeners = (struct listeners){.kernel = &d->kernel,
					  .evict = &d->evict,
					  .served = served_cgroup(d),
					  .changed = on_listener,
					  .synced = on_listeners_synced,
					  .arg = d,
					  .cgroups = {.mount = d->cgroup_mount}};
	if (!d->listeners.served)
		return -ENOMEM;
	return listeners_start(&d->listeners, &d->loop);
}

static void op_interfaces(void *arg,
			  void (*visit)(void *visit_arg, const struct control_interface *i),
			  void *visit_arg)
{
	struct daemon *d = arg;

	for (size_t i = 0; i < d->interfaces.n; i++) {
		const struct iface *one = &d->interfaces.all[i];
		bool carries = one->state == IFACE_CARRIES;
		const struct control_interface said = {
			.name = one->what.name,
			.index = one->what.index,
			.attached = carries ? interfaces_why(one) : "none",
			.reason = carries ? NULL : interfaces_why(one),
		};

		visit(visit_arg, &said);
	}
}

/* The answer to the caller leaves first; what there is to remove is removed at the end. */
static int op_uninstall(void *arg)
{
	struct daemon *d = arg;

	log_notice("uninstall was asked for; detaching");
	d->uninstall = true;
	/* The heartbeat's timer: nothing is looked after any more, and nobody else starts it. */
	return uv_timer_start(&d->tick, watch_on_uninstall, 100, 0);
}

void ops_init(struct daemon *d)
{
	d->ops = (struct control_ops){
		.arg = d,
		.store = op_store,
		.apply = op_apply,
		.hold = op_hold,
		.service_traffic = op_service_traffic,
		.backend_traffic = op_backend_traffic,
		.service_usable = op_service_usable,
		.service_state = op_service_state,
		.members = op_members,
		.memory = op_memory,
		.flows = op_flows,
		.backend_owner = op_backend_owner,
		.service_owner = op_service_owner,
		.explain = op_explain,
		.status = op_status,
		.node_count = op_node_count,
		.report_count = op_report_count,
		.map_fills = op_map_fills,
		.program_runs = op_program_runs,
		.inspect = op_inspect,
		.doctor = op_doctor,
		.config = op_config,
		.workloads = op_workloads,
		.listeners = op_listeners,
		.cgroup = op_cgroup,
		.interfaces = op_interfaces,
		.uninstall = op_uninstall,
	};
}
