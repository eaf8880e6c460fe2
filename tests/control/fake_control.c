/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control API over a made-up daemon: the real control/ and model/ rooms, but no kernel behind
 * them. Serves schemathesis, the request fuzzer and sinewctl's tests without root. Its numbers are
 * synthetic and the same in each run. Ends on SIGTERM or SIGINT; a leak checker then speaks.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "control/control.h"
#include "control/figures.h"
#include "control/listening.h"
#include "control/synthetic.h"

struct fake {
	uv_loop_t loop;
	struct control *control;
	struct store *store;
	uv_signal_t term, interrupt;
	uv_timer_t events, ack, look;
	uv_prepare_t prepare;
	uint64_t busy_ns, turn_max_ns; /* as the daemon measures the turns of its loop */
	uint64_t events_sent;
	unsigned int per_tick;
	uint64_t ack_ms;
	bool read_only_disk;
	struct pending {
		struct pending *next;
		control_applied_fn applied;
		void *arg;
	} * pending;
};

struct options {
	const char *control, *status;
	unsigned long services, budget, events, story, ack_ms, receive_ms, answer_s, heartbeat_ms,
		pods_ms;
	bool backend_label, fail_disk;
};

/* --- struct control_ops over the store ---------------------------------------------------------
 */

static const struct store *fake_store(void *arg)
{
	return ((struct fake *)arg)->store;
}

static void acks_send(struct fake *f)
{
	struct pending *list = f->pending;

	f->pending = NULL;
	while (list) {
		struct pending *p = list;

		list = p->next;
		p->applied(p->arg, f->read_only_disk ? -EROFS : 0);
		free(p);
	}
}

static void on_ack(uv_timer_t *timer)
{
	acks_send(timer->data);
}

static int ack_later(struct fake *f, control_applied_fn applied, void *arg)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	*p = (struct pending){f->pending, applied, arg};
	f->pending = p;
	return uv_timer_start(&f->ack, on_ack, f->ack_ms, 0);
}

static int fake_apply(void *arg, const struct control_order *order, struct problems *problems,
		      struct plan *ret_plan)
{
	struct fake *f = arg;
	int r;

	if (!order->caller->admin)
		return -EPERM;
	r = store_plan(f->store, order->change, problems, ret_plan);
	if (r < 0 || order->dry_run)
		return r;
	listening_publish(f->control, ret_plan);
	store_commit(f->store, ret_plan);
	control_publish_note(f->control, "source.changed", order->change->source,
			     "applied by the fake");
	return ack_later(f, order->applied, order->applied_arg);
}

/* Workload 7 was failed by everybody's first endpoint, two seconds ago. */
static int fake_memory(void *arg, uint32_t service, uint32_t workload, struct sn_memory *ret)
{
	const struct fake *f = arg;
	struct backend_traffic b;
	size_t n;
	struct service *const *all = store_services(f->store, &n);

	if (workload != 7 || !service || service > n || !all[service - 1]->n_endpoints)
		return -ENOENT;
	(void)figures_backend_traffic(arg, all[service - 1], 0, 0, &b);
	*ret = (struct sn_memory){.failed_ns = figures_now_ns() - 2 * FIGURES_SECOND,
				  .backend = b.index,
				  .incarnation = 1};
	return 0;
}

static const struct service *fake_backend_owner(void *arg, uint32_t backend, uint16_t incarnation,
						size_t *ret_endpoint, size_t *ret_port)
{
	const struct fake *f = arg;
	size_t n, i = (backend - 1) / 8, endpoint = (backend - 1) % 8;
	struct service *const *all = store_services(f->store, &n);

	if (!backend || i >= n || endpoint >= all[i]->n_endpoints || !all[i]->n_ports)
		return NULL;
	*ret_endpoint = endpoint;
	*ret_port = 0;
	return all[i];
}

static const struct service *fake_service_owner(void *arg, uint32_t service, size_t *ret_port)
{
	const struct fake *f = arg;
	size_t n;
	struct service *const *all = store_services(f->store, &n);

	if (!service || service > n)
		return NULL;
	*ret_port = 0;
	return all[service - 1];
}

static struct sn_flow flow_make(const struct service *s, size_t i)
{
	struct sn_flow flow = {.cookie = 1000 + i,
			       .peer = s->endpoints[0].addr,
			       .orig_port_be = htons(s->ports[0].port),
			       .peer_port_be = htons(service_target(s, 0, 0)),
			       .backend = (uint32_t)(i * 8 + 1),
			       .incarnation = 1,
			       .workload = 7,
			       .state = SN_FLOW_ESTABLISHED};

	if (s->n_addresses)
		flow.orig = s->address[0];
	if (!strcmp(s->name, "service-00003")) { /* has gone on to the second endpoint */
		flow.backend++;
		flow.flags = SN_FLOW_MOVED;
	}
	if (!strcmp(s->name, "service-00005")) /* its backend was removed */
		flow.backend = 0;
	if (!strcmp(s->name, "service-00007")) /* a pod's */
		flow.workload = 9001;
	return flow;
}

static int fake_flows(void *arg, size_t max,
		      int (*visit)(void *visit_arg, const struct sn_flow *flow), void *visit_arg)
{
	const struct fake *f = arg;
	size_t n, seen = 0;
	struct service *const *all = store_services(f->store, &n);

	for (size_t i = 0; i < n && seen < max; i++) {
		struct sn_flow flow;

		if (!all[i]->n_endpoints || !all[i]->n_ports)
			continue;
		flow = flow_make(all[i], i);
		seen++;
		if (visit(visit_arg, &flow) < 0)
			break;
	}
	return (int)seen;
}

static int fake_explain(void *arg, struct sn_explain *e)
{
	const struct fake *f = arg;
	size_t n, port;
	struct service *const *all = store_services(f->store, &n);
	const struct service *s = store_find_frontend(f->store, &e->dest, &port);

	e->reason = SN_R_MAX;
	for (size_t i = 0; s && i < n; i++) {
		if (all[i] != s)
			continue;
		e->service = (uint32_t)i + 1;
		e->count = (uint32_t)figures_service_usable(arg, s);
		e->reason = e->count ? SN_R_CONNECTED : SN_R_NO_BACKEND;
		e->backend = e->count ? (uint32_t)(i * 8 + 1) : SN_NONE;
		e->incarnation = 1;
	}
	e->panic = s && !strncmp(s->name, FIGURES_AILING, strlen(FIGURES_AILING));
	if (s && e->mark)
		e->reason = SN_R_BYPASS_MARK;
	return 0;
}

static void fake_status(void *arg, struct control_program_facts *ret)
{
	struct fake *f = arg;

	*ret = (struct control_program_facts){.version = "0.0.0-fake",
					      .revision = "fake",
					      .abi = SN_ABI_VERSION,
					      .pid = getpid(),
					      .started_ms = 1700000000000u,
					      .attached_ms = 1700000000000u,
					      .kernel = "6.1.0-fake",
					      .cgroup = "/sys/fs/cgroup/fake",
					      .bpffs = "/sys/fs/bpf/fake",
					      .cgroup_ok = true,
					      .programs_attached = 9,
					      .programs_wanted = 9,
					      .heartbeat_age_ms = 12,
					      .loop_max_us = f->turn_max_ns / 1000};
	f->turn_max_ns = 0;
}

static void on_hold_written(void *arg, int r)
{
	control_hold_written(((struct fake *)arg)->control, r);
}

/* An endpoint of weight 1 is not in the kernel yet. */
static int fake_hold(void *arg, const struct control_hold *order)
{
	const struct service *s = order->service;
	int n = 0;

	if (!order->caller->admin)
		return -EPERM;
	if (s->endpoints[order->endpoint].weight == 1)
		return -ENOENT;
	for (size_t i = 0; i < s->n_ports; i++) {
		uint16_t target = service_target(s, order->endpoint, i);

		n += !order->port || (target ?: s->ports[i].port) == order->port;
	}
	control_publish_note(((struct fake *)arg)->control, "backend.held", s->name, order->reason);
	return ack_later(arg, on_hold_written, arg) < 0 ? -ENOMEM : n;
}

static uint64_t fake_node_count(void *arg, unsigned int reason)
{
	return reason == SN_R_EVENT_LOST ? 3 : 0;
}

static uint64_t fake_report_count(void *arg, unsigned int tell)
{
	return tell * 10;
}

static size_t fake_map_fills(void *arg, const struct map_fill **ret)
{
	static const struct map_fill maps[] = {{"sn_frontends", 120, 32768},
					       {"sn_backends", 300, 65536}};

	*ret = maps;
	return ARRAY_SIZE(maps);
}

static size_t fake_program_runs(void *arg, const struct program_run **ret)
{
	static const struct program_run runs[] = {{"sn_connect4", 1234567, 4321, true},
						  {"sn_connect6", 0, 0, true}};

	*ret = runs;
	return ARRAY_SIZE(runs);
}

static void on_looked(uv_timer_t *timer)
{
	struct fake *f = timer->data;

	if (f->control)
		control_inspected(f->control);
}

static int fake_inspect(void *arg)
{
	struct fake *f = arg;

	return uv_timer_start(&f->look, on_looked, 20, 0) < 0 ? 0 : 1;
}

static size_t fake_doctor(void *arg, const struct control_check **ret)
{
	static const struct control_check checks[] = {
		{"kernel", CHECK_OK, "this is a fake", ""},
		{"order", CHECK_WARN, "another program translates before us", "see sinewd(8)"},
		{"cgroup", CHECK_FAIL, "there is no cgroup", "start the real daemon"},
	};

	*ret = checks;
	return ARRAY_SIZE(checks);
}

static void fake_config(void *arg,
			void (*visit)(void *visit_arg, const char *key, const char *value,
				      const char *origin),
			void *visit_arg)
{
	visit(visit_arg, "state-dir", "/var/lib/sinew", "default");
	visit(visit_arg, "log-level", "debug", "flag");
}

static void fake_interfaces(void *arg,
			    void (*visit)(void *visit_arg, const struct control_interface *i),
			    void *visit_arg)
{
	visit(visit_arg, &(struct control_interface){.name = "lo", .index = 1, .attached = "tcx"});
	visit(visit_arg, &(struct control_interface){.name = "tun0",
						     .index = 2,
						     .attached = "none",
						     .reason = "no link-layer header"});
}

static void fake_workloads(void *arg,
			   void (*visit)(void *visit_arg, const char *cgroup, uint64_t id),
			   void *visit_arg)
{
	visit(visit_arg, "/sys/fs/cgroup/legacy.slice", 8123);
}

static bool fake_listeners(void *arg, void (*visit)(void *visit_arg, const struct listener *l),
			   void *visit_arg)
{
	listening_visit(((struct fake *)arg)->store, visit, visit_arg);
	return true;
}

static const struct cgroup_name *fake_cgroup(void *arg, uint64_t id)
{
	return listening_cgroup(id);
}

/* A fuzzer finds this verb; the fake stays. */
static int fake_uninstall(void *arg)
{
	return 0;
}

/* --- life --------------------------------------------------------------------------------- */

static void on_events(uv_timer_t *timer)
{
	struct fake *f = timer->data;
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	for (unsigned int i = 0; i < f->per_tick; i++) {
		struct sn_event e = {.time_ns = (uint64_t)now.tv_sec * 1000000000u +
						(uint64_t)now.tv_nsec,
				     .cookie = f->events_sent,
				     .backend = (uint32_t)(f->events_sent % 64 + 1),
				     .incarnation = 1,
				     .latency_ns = 24000,
				     .type = SN_EVENT_OUTCOME,
				     .reason = (uint16_t)(f->events_sent % SN_R_BACKEND_MAX),
				     .proto = SN_PROTO_TCP};

		e.orig.word_be[2] = e.peer.word_be[2] = htonl(0xffff);
		e.orig.word_be[3] = htonl(0x7f800001);
		e.peer.word_be[3] = htonl(0x0a000001);
		control_publish_event(f->control, &e);
		f->events_sent++;
	}
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct fake *f = prepare->data;
	uint64_t busy = uv_hrtime() - uv_metrics_idle_time(&f->loop), turn = busy - f->busy_ns;

	if (f->busy_ns && turn > f->turn_max_ns)
		f->turn_max_ns = turn;
	f->busy_ns = busy;
}

static void on_closed(void *arg)
{
	struct fake *f = arg;

	uv_close((uv_handle_t *)&f->prepare, NULL);
	uv_close((uv_handle_t *)&f->term, NULL);
	uv_close((uv_handle_t *)&f->interrupt, NULL);
	uv_close((uv_handle_t *)&f->events, NULL);
	uv_close((uv_handle_t *)&f->ack, NULL);
	uv_close((uv_handle_t *)&f->look, NULL);
}

static void on_signal(uv_signal_t *handle, int signal)
{
	struct fake *f = handle->data;
	struct control *c = TAKE_PTR(f->control);

	if (!c)
		return;
	(void)uv_timer_stop(&f->events);
	control_close(c, on_closed, f);
	/* As in the daemon: what is not durable yet is acknowledged to nobody. */
	acks_send(f);
}

static int fake_watch(struct fake *f, const struct options *o)
{
	(void)uv_signal_init(&f->loop, &f->term);
	(void)uv_signal_init(&f->loop, &f->interrupt);
	(void)uv_timer_init(&f->loop, &f->events);
	(void)uv_timer_init(&f->loop, &f->ack);
	(void)uv_timer_init(&f->loop, &f->look);
	(void)uv_prepare_init(&f->loop, &f->prepare);
	f->term.data = f->interrupt.data = f->events.data = f->ack.data = f->look.data = f;
	f->prepare.data = f;
	if (uv_loop_configure(&f->loop, UV_METRICS_IDLE_TIME) < 0 ||
	    uv_prepare_start(&f->prepare, on_prepare) < 0)
		return -EIO;
	if (uv_signal_start(&f->term, on_signal, SIGTERM) < 0 ||
	    uv_signal_start(&f->interrupt, on_signal, SIGINT) < 0)
		return -EIO;
	f->per_tick = (unsigned int)(o->events / 10);
	f->ack_ms = o->ack_ms;
	f->read_only_disk = o->fail_disk;
	return f->per_tick ? uv_timer_start(&f->events, on_events, 100, 100) : 0;
}

static int fake_run(struct fake *f, const struct options *o)
{
	struct control_ops ops = {
		.arg = f,
		.store = fake_store,
		.apply = fake_apply,
		.hold = fake_hold,
		.service_traffic = figures_service_traffic,
		.backend_traffic = figures_backend_traffic,
		.service_usable = figures_service_usable,
		.service_state = figures_service_state,
		.members = figures_members,
		.memory = fake_memory,
		.flows = fake_flows,
		.backend_owner = fake_backend_owner,
		.service_owner = fake_service_owner,
		.explain = fake_explain,
		.status = fake_status,
		.node_count = fake_node_count,
		.report_count = fake_report_count,
		.map_fills = fake_map_fills,
		.program_runs = fake_program_runs,
		.inspect = fake_inspect,
		.doctor = fake_doctor,
		.config = fake_config,
		.workloads = fake_workloads,
		.interfaces = fake_interfaces,
		.listeners = fake_listeners,
		.cgroup = fake_cgroup,
		.uninstall = fake_uninstall,
	};
	struct control_config config = {.control_path = o->control,
					.status_path = o->status,
					.series_budget = o->budget,
					.backend_label = o->backend_label,
					.receive_ms = (uint32_t)o->receive_ms,
					.answer_s = (uint32_t)o->answer_s,
					.heartbeat_ms = (uint32_t)o->heartbeat_ms,
					.pods_ms = (uint32_t)o->pods_ms};
	struct store_config pools = {};
	int r;

	(void)prefix_parse("127.128.0.0/9", &pools.pool4);
	(void)prefix_parse("fd73:696e:6577::/64", &pools.pool6);
	r = store_new(&pools, &f->store);
	if (r >= 0)
		r = synthetic_put(f->store, o->services);
	if (r >= 0)
		r = uv_loop_init(&f->loop);
	if (r >= 0)
		r = fake_watch(f, o);
	if (r >= 0)
		r = control_new(&f->loop, &config, &ops, &f->control);
	if (r < 0)
		return r;
	if (o->story)
		figures_story(f->control, (uint32_t)o->story);
	(void)printf("ready\n");
	(void)fflush(stdout);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	r = uv_loop_close(&f->loop);
	store_free(f->store);
	return r;
}

static int options_parse(int argc, char **argv, struct options *ret)
{
	struct options o = {.services = 20, .budget = 100000, .ack_ms = 1};
	const struct {
		const char *name;
		unsigned long *number;
	} numbers[] = {{"services", &o.services}, {"budget", &o.budget},
		       {"events", &o.events},     {"story", &o.story},
		       {"ack-ms", &o.ack_ms},     {"receive-ms", &o.receive_ms},
		       {"answer-s", &o.answer_s}, {"heartbeat-ms", &o.heartbeat_ms},
		       {"pods-ms", &o.pods_ms}};
	struct option table[ARRAY_SIZE(numbers) + 5] = {{"control", required_argument, NULL, 'c'},
							{"status", required_argument, NULL, 's'},
							{"backend-label", no_argument, NULL, 'l'},
							{"fail-disk", no_argument, NULL, 'f'}};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		table[4 + i] = (struct option){numbers[i].name, required_argument, NULL, 'n'};
	for (int c, at = 0; (c = getopt_long(argc, argv, "", table, &at)) != -1;) {
		if (c == 'c')
			o.control = optarg;
		else if (c == 's')
			o.status = optarg;
		else if (c == 'n')
			*numbers[at - 4].number = strtoul(optarg, NULL, 10);
		else if (c == 'l')
			o.backend_label = true;
		else if (c == 'f')
			o.fail_disk = true;
		else
			return -EINVAL;
	}
	if (!o.control || !o.status)
		return -EINVAL;
	*ret = o;
	return 0;
}

int main(int argc, char **argv)
{
	static struct fake fake;
	struct options o;
	int r;

	log_init("fake_control", LOG_INFO, LOG_FORMAT_TEXT);
	r = options_parse(argc, argv, &o);
	if (r < 0) {
		(void)fprintf(
			stderr,
			"usage: fake_control --control PATH --status PATH [--services N] "
			"[--budget N] [--events PER_FIGURES_SECOND] [--ack-ms N] [--receive-ms N] "
			"[--answer-s N] [--heartbeat-ms N] [--pods-ms N] [--backend-label] [--fail-disk]\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	r = fake_run(&fake, &o);
	if (r < 0)
		(void)fprintf(stderr, "fake_control: %s\n", strerror(-r));
	return r < 0 ? 1 : 0;
}
