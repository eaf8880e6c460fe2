/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See view.h. Before: handlers found what is asked for. After: answer.c or a stream writes the
 * document. Reads the kernel's numbers only through struct control_ops.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "control/answer.h"
#include "control/view.h"

enum blame { BLAME_nobody, BLAME_backend, BLAME_caller };

struct reason {
	const char *label;
	enum blame blame;
	const char *help;
};

#define REASON_ROW(id, label, blame, help) [SN_R_##id] = {label, BLAME_##blame, help},
static const struct reason reasons[SN_R_MAX] = {SN_REASONS(REASON_ROW)};

const char *view_reason(unsigned int reason)
{
	return reason < SN_R_MAX ? reasons[reason].label : "unknown";
}

const char *view_reason_help(unsigned int reason)
{
	return reason < SN_R_MAX ? reasons[reason].help : "not known to this version";
}

bool view_reason_is_failure(unsigned int reason)
{
	return reason < SN_R_MAX && reasons[reason].blame == BLAME_backend;
}

const char *view_proto(uint8_t proto)
{
	return proto == SN_PROTO_UDP ? "UDP" : "TCP";
}

const char *view_state(unsigned int state)
{
	static const char *const names[] = {"gone", "active", "draining"};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

const char *view_zone(const struct service *s, size_t endpoint)
{
	uint16_t zone = s->endpoints[endpoint].zone;

	return zone && zone <= s->n_zones ? s->zones[zone - 1] : "";
}

const char *view_registry(const struct service *s, size_t endpoint)
{
	uint8_t source = s->endpoints[endpoint].source;

	return source && source <= s->n_sources ? s->sources[source - 1] : "";
}

bool view_is_suspect(const struct service *s, size_t endpoint)
{
	return s->endpoints[endpoint].flags & ENDPOINT_SUSPECT;
}

void view_add_identity(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct service *s,
		       size_t endpoint)
{
	uint64_t instance = s->endpoints[endpoint].instance;
	char text[24];

	(void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)instance);
	if (instance)
		view_add_text(doc, object, "instance", text);
	if (view_is_suspect(s, endpoint))
		(void)yyjson_mut_obj_add_bool(doc, object, "suspect", true);
}

uint64_t view_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *view_format_time(uint64_t ms, char buf[static TIME_TEXT])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	if (!gmtime_r(&seconds, &tm))
		tm = (struct tm){.tm_year = 70, .tm_mday = 1};
	n = strftime(buf, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(buf + n, TIME_TEXT - n, ".%03uZ", (unsigned int)(ms % 1000));
	return buf;
}

yyjson_mut_val *view_root(yyjson_mut_doc *doc, const char *kind)
{
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	(void)yyjson_mut_obj_add_str(doc, root, "apiVersion", API_VERSION);
	(void)yyjson_mut_obj_add_str(doc, root, "kind", kind);
	return root;
}

void view_add_text(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, const char *text)
{
	(void)yyjson_mut_obj_add_strcpy(doc, object, key, text ? text : "");
}

void view_add_address(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key,
		      const struct sn_addr *addr)
{
	char text[ADDRESS_TEXT];

	(void)yyjson_mut_obj_add_strcpy(doc, object, key, address_format(addr, text));
}

void view_add_address_port(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key,
			   const struct sn_addr *addr, uint16_t port)
{
	char text[ADDRESS_TEXT];

	(void)yyjson_mut_obj_add_strcpy(doc, object, key, address_format_port(addr, port, text));
}

void view_add_seconds(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, uint64_t ns)
{
	(void)yyjson_mut_obj_add_real(doc, object, key, (double)ns / 1e9);
}

void view_add_time(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, uint64_t ms)
{
	char text[TIME_TEXT];

	if (ms)
		(void)yyjson_mut_obj_add_strcpy(doc, object, key, view_format_time(ms, text));
}

static void identity_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *source,
			 uint64_t etag)
{
	yyjson_mut_val *metadata = yyjson_mut_obj_get(object, "metadata");
	char version[24];

	(void)snprintf(version, sizeof(version), "%016llx", (unsigned long long)etag);
	view_add_text(doc, metadata, "source", source);
	view_add_text(doc, metadata, "resourceVersion", version);
}

yyjson_mut_val *view_service(yyjson_mut_doc *doc, const struct service *s)
{
	yyjson_mut_val *object = codec_encode_service(doc, s);

	identity_add(doc, object, s->source, s->etag);
	return object;
}

yyjson_mut_val *view_policy(yyjson_mut_doc *doc, const struct policy *p)
{
	yyjson_mut_val *object = codec_encode_policy(doc, p);

	identity_add(doc, object, p->source, p->etag);
	return object;
}

yyjson_mut_val *view_registration(yyjson_mut_doc *doc, const struct registration *r)
{
	yyjson_mut_val *object = codec_encode_registration(doc, r);

	identity_add(doc, object, r->source, r->etag);
	return object;
}

yyjson_mut_val *view_object(yyjson_mut_doc *doc, const struct object *o)
{
	return o->kind == OBJECT_SERVICE  ? view_service(doc, o->service)
	       : o->kind == OBJECT_POLICY ? view_policy(doc, o->policy)
					  : view_registration(doc, o->registration);
}

static void fallback_add(yyjson_mut_doc *doc, yyjson_mut_val *status, const struct store *store,
			 const struct policy *p)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, status, "fallback");

	for (size_t i = 0; i < p->n_fallback; i++) {
		const struct policy_fallback *f = &p->fallback[i];
		yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, list);
		bool exists = store_find_service(store, f->namespace, f->name);

		view_add_text(doc, item, "namespace", f->namespace);
		view_add_text(doc, item, "name", f->name);
		(void)yyjson_mut_obj_add_bool(doc, item, "exists", exists);
	}
}

yyjson_mut_val *view_policy_status(const struct control *c, yyjson_mut_doc *doc,
				   const struct policy *p)
{
	yyjson_mut_val *object = view_policy(doc, p), *status;

	if (!object)
		return NULL;
	status = yyjson_mut_obj_add_obj(doc, object, "status");
	(void)yyjson_mut_obj_add_val(doc, status, "effective",
				     codec_encode_policy_spec(doc, p, POLICY_EVERY_KEY));
	fallback_add(doc, status, c->ops.store(c->ops.arg), p);
	return object;
}

static void outcomes_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct traffic *t)
{
	yyjson_mut_val *map = yyjson_mut_obj_add_obj(doc, object, "outcomes");

	for (unsigned int i = 0; i < SN_R_BACKEND_MAX; i++)
		(void)yyjson_mut_obj_add_uint(doc, map, reasons[i].label, t->outcome[i]);
}

static void failed_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct traffic *t)
{
	yyjson_mut_val *map = yyjson_mut_obj_add_obj(doc, object, "failed");

	for (unsigned int i = 0; i < SN_R_BACKEND_MAX; i++)
		if (reasons[i].blame == BLAME_backend)
			(void)yyjson_mut_obj_add_uint(doc, map, reasons[i].label, t->outcome[i]);
}

static void refused_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct traffic *t)
{
	yyjson_mut_val *map = yyjson_mut_obj_add_obj(doc, object, "refused");

	for (unsigned int i = 0; i < SN_R_SERVICE_COUNT; i++)
		(void)yyjson_mut_obj_add_uint(doc, map, reasons[SN_R_BACKEND_MAX + i].label,
					      t->refused_here[i]);
}

/* Without a measured connect there is no quantile, rather than a zero. */
static void quantiles_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct traffic *t)
{
	uint64_t p50 = traffic_quantile(t, 0.5), p99 = traffic_quantile(t, 0.99);

	if (p50)
		view_add_seconds(doc, object, "p50Seconds", p50);
	if (p99)
		view_add_seconds(doc, object, "p99Seconds", p99);
}

static void counts_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct traffic *t)
{
	(void)yyjson_mut_obj_add_uint(doc, object, "attempts", t->attempts);
	(void)yyjson_mut_obj_add_uint(doc, object, "active", t->active);
	(void)yyjson_mut_obj_add_uint(doc, object, "ejections", t->ejections);
	(void)yyjson_mut_obj_add_uint(doc, object, "failedOver", t->failed_over);
	outcomes_add(doc, object, t);
}

static void endpoint_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct service *s,
			 size_t endpoint)
{
	view_add_address(doc, object, "address", &s->endpoints[endpoint].addr);
	(void)yyjson_mut_obj_add_uint(doc, object, "weight", s->endpoints[endpoint].weight);
	if (s->endpoints[endpoint].zone)
		view_add_text(doc, object, "zone", view_zone(s, endpoint));
	view_add_identity(doc, object, s, endpoint);
}

static void port_add(yyjson_mut_doc *doc, yyjson_mut_val *list, struct view_place at)
{
	const struct service_port *p = &at.service->ports[at.port];
	uint16_t target = service_target(at.service, at.endpoint, at.port);
	yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, list);

	if (*p->name)
		view_add_text(doc, item, "name", p->name);
	(void)yyjson_mut_obj_add_uint(doc, item, "port", target ? target : p->port);
	(void)yyjson_mut_obj_add_str(doc, item, "protocol", view_proto(p->proto));
}

/* What there is of a service's endpoints, counted once per endpoint. */
struct tally {
	struct condition_at at;
	uint64_t ejected, held, suspect; /* half-open ones are ejected, too */
};

/* Sum over the ports; the condition is the one that says most, and "pending" when no port is
 * published. */
static void endpoint_status_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *item,
				struct view_place place, struct tally *tally)
{
	struct backend_traffic b, shown = {};
	yyjson_mut_val *ports;
	struct traffic sum = {};
	bool any = false;

	endpoint_add(doc, item, place.service, place.endpoint);
	if (*view_registry(place.service, place.endpoint))
		view_add_text(doc, item, "source", view_registry(place.service, place.endpoint));
	ports = yyjson_mut_obj_add_arr(doc, item, "ports");
	for (; place.port < place.service->n_ports; place.port++) {
		port_add(doc, ports, place);
		if (c->ops.backend_traffic(c->ops.arg, place.service, place.endpoint, place.port,
					   &b) < 0)
			continue;
		traffic_add(&sum, &b.traffic);
		if (!any ||
		    condition_rank(&b, tally->at.now_ns) > condition_rank(&shown, tally->at.now_ns))
			shown = b;
		any = true;
	}
	if (any)
		condition_add(doc, item, &shown, &tally->at);
	else
		(void)yyjson_mut_obj_add_str(doc, item, "state", "pending");
	tally->suspect += view_is_suspect(place.service, place.endpoint);
	tally->held += any && backend_is_held(&shown, tally->at.now_ns);
	tally->ejected += any && shown.ejected_until_ns != 0;
	counts_add(doc, item, &sum);
	failed_add(doc, item, &sum);
	quantiles_add(doc, item, &sum);
}

static void limit_add(yyjson_mut_doc *doc, yyjson_mut_val *limits, const char *key, uint32_t used,
		      uint32_t limit)
{
	yyjson_mut_val *o;

	if (!limit)
		return;
	o = yyjson_mut_obj_add_obj(doc, limits, key);
	(void)yyjson_mut_obj_add_uint(doc, o, "used", used);
	(void)yyjson_mut_obj_add_uint(doc, o, "limit", limit);
}

/* Panic, and the limits that the policy sets: what is not there is not shown. */
static void load_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *status,
		     const struct service *s, const struct tally *tally)
{
	const struct sn_policy *rules = tally->at.rules;
	struct service_state state = {};
	yyjson_mut_val *o;

	(void)yyjson_mut_obj_add_uint(doc, status, "ejected", tally->ejected);
	(void)yyjson_mut_obj_add_uint(doc, status, "held", tally->held);
	(void)yyjson_mut_obj_add_uint(doc, status, "suspect", tally->suspect);
	if (c->ops.service_state(c->ops.arg, s, &state) < 0)
		return;
	if (state.panic_ns) {
		o = yyjson_mut_obj_add_obj(doc, status, "panic");
		view_add_time(doc, o, "since", condition_wall_ms(state.panic_ns, tally->at.now_ns));
		view_add_seconds(
			doc, o, "seconds",
			tally->at.now_ns > state.panic_ns ? tally->at.now_ns - state.panic_ns : 0);
	}
	if (!rules->limit_service && !rules->limit_pending && !rules->limit_backend)
		return;
	o = yyjson_mut_obj_add_obj(doc, status, "limits");
	limit_add(doc, o, "service", state.active, rules->limit_service);
	limit_add(doc, o, "pending", state.pending, rules->limit_pending);
	limit_add(doc, o, "backend", state.fullest, rules->limit_backend);
}

const struct sn_policy *view_rules(const struct control *c, const struct service *s)
{
	const struct policy *p =
		store_find_policy(c->ops.store(c->ops.arg), s->namespace, s->policy);

	return p ? &p->rules : policy_default_rules();
}

static void status_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *object,
		       const struct service *s)
{
	yyjson_mut_val *status = yyjson_mut_obj_add_obj(doc, object, "status"), *list;
	struct tally tally = {.at = {view_rules(c, s), condition_now_ns()}};
	struct traffic t = {};
	char text[ADDRESS_TEXT];

	list = yyjson_mut_obj_add_arr(doc, status, "addresses");
	for (size_t i = 0; i < s->n_addresses; i++)
		(void)yyjson_mut_arr_add_strcpy(doc, list, address_format(&s->address[i], text));
	(void)yyjson_mut_obj_add_bool(doc, status, "allocated", s->allocated);
	(void)yyjson_mut_obj_add_uint(doc, status, "usable", c->ops.service_usable(c->ops.arg, s));
	if (c->ops.service_traffic(c->ops.arg, s, &t) >= 0) {
		yyjson_mut_val *traffic = yyjson_mut_obj_add_obj(doc, status, "traffic");

		counts_add(doc, traffic, &t);
		refused_add(doc, traffic, &t);
		quantiles_add(doc, traffic, &t);
	}
	list = yyjson_mut_obj_add_arr(doc, status, "endpoints");
	for (size_t i = 0; i < s->n_endpoints; i++)
		endpoint_status_add(c, doc, yyjson_mut_arr_add_obj(doc, list),
				    (struct view_place){s, i, 0}, &tally);
	load_add(c, doc, status, s, &tally);
}

yyjson_mut_val *view_service_status(const struct control *c, yyjson_mut_doc *doc,
				    const struct service *s)
{
	yyjson_mut_val *object = view_service(doc, s);

	if (object)
		status_add(c, doc, object, s);
	return object;
}

yyjson_mut_val *view_backend(const struct control *c, yyjson_mut_doc *doc, struct view_place at)
{
	const struct service_port *p = &at.service->ports[at.port];
	uint16_t target = service_target(at.service, at.endpoint, at.port);
	yyjson_mut_val *object = yyjson_mut_obj(doc);
	const char *registry = view_registry(at.service, at.endpoint);
	struct backend_traffic b = {};
	int r = c->ops.backend_traffic(c->ops.arg, at.service, at.endpoint, at.port, &b);

	view_add_text(doc, object, "namespace", at.service->namespace);
	view_add_text(doc, object, "service", at.service->name);
	view_add_text(doc, object, "source", *registry ? registry : at.service->source);
	endpoint_add(doc, object, at.service, at.endpoint);
	if (*p->name)
		view_add_text(doc, object, "portName", p->name);
	(void)yyjson_mut_obj_add_uint(doc, object, "port", target ? target : p->port);
	(void)yyjson_mut_obj_add_str(doc, object, "protocol", view_proto(p->proto));
	if (r < 0)
		(void)yyjson_mut_obj_add_str(doc, object, "state", "pending");
	else
		condition_add(
			doc, object, &b,
			&(struct condition_at){view_rules(c, at.service), condition_now_ns()});
	(void)yyjson_mut_obj_add_uint(doc, object, "index", b.index);
	(void)yyjson_mut_obj_add_uint(doc, object, "incarnation", b.incarnation);
	(void)yyjson_mut_obj_add_uint(doc, object, "consecutiveFailures", b.consecutive);
	counts_add(doc, object, &b.traffic);
	failed_add(doc, object, &b.traffic);
	quantiles_add(doc, object, &b.traffic);
	return object;
}

/* Somebody's folder: what is no UTF-8 would make the whole document unreadable. */
static void path_add(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *path)
{
	char text[2 * LIMIT_CGROUP];

	(void)snprintf(text, sizeof(text), "%s", path);
	answer_repair_text(text);
	view_add_text(doc, o, "cgroup", text);
}

static void pod_add(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *o,
		    const struct identity *who)
{
	const struct pod *p = podlist_find(&c->pods, who->pod);
	const char *container = p ? pod_find_container(p, who->container) : NULL;

	view_add_text(doc, o, "pod", who->pod);
	if (!p)
		return;
	view_add_text(doc, o, "podNamespace", p->namespace);
	view_add_text(doc, o, "podName", p->name);
	if (container)
		view_add_text(doc, o, "containerName", container);
}

void view_identity(const struct control *c, yyjson_mut_doc *doc, yyjson_mut_val *o,
		   const struct cgroup_name *name)
{
	if (name->path)
		path_add(doc, o, name->path);
	if (name->identity.unit[0])
		view_add_text(doc, o, "unit", name->identity.unit);
	if (name->identity.container[0])
		view_add_text(doc, o, "container", name->identity.container);
	if (name->identity.pod[0])
		pod_add(c, doc, o, &name->identity);
}

static const char *flow_state(uint8_t state)
{
	static const char *const names[] = {"free",        "picked",        "connecting",
					    "established", "udp_connected", "udp_unconnected"};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

static uint8_t flow_proto(uint8_t state)
{
	return state < SN_FLOW_UDP_CONNECTED ? SN_PROTO_TCP : SN_PROTO_UDP;
}

/* Of a connect that went on: where its packets go, while the socket has the first backend. */
static void wire_add(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct sn_flow *flow,
		     struct view_place at)
{
	uint16_t target = service_target(at.service, at.endpoint, at.port);

	if (at.service->ports[at.port].proto == SN_PROTO_TCP && flow->flags & SN_FLOW_MOVED)
		view_add_address_port(doc, object, "wire", &at.service->endpoints[at.endpoint].addr,
				      target ? target : ntohs(flow->orig_port_be));
}

const struct service *view_asked(const struct control *c, const struct sn_flow *flow,
				 const struct service *owner, size_t port)
{
	struct sn_frontend asked = {.addr = flow->orig, .port_be = flow->orig_port_be};
	const struct service *s;

	for (size_t i = 0; owner && i < owner->n_addresses; i++)
		if (address_is_equal(&owner->address[i], &flow->orig))
			return owner;
	asked.proto = owner ? owner->ports[port].proto : flow_proto(flow->state);
	s = store_find_frontend(c->ops.store(c->ops.arg), &asked, &port);
	return s ?: owner;
}

yyjson_mut_val *view_flow(const struct control *c, yyjson_mut_doc *doc, const struct sn_flow *flow)
{
	yyjson_mut_val *object = yyjson_mut_obj(doc);
	size_t endpoint, port = 0;
	const struct service *s = c->ops.backend_owner(c->ops.arg, flow->backend, flow->incarnation,
						       &endpoint, &port);
	const struct service *asked = view_asked(c, flow, s, port);
	uint64_t now_ns = condition_now_ns();
	const struct cgroup_name *name;

	if (asked) {
		view_add_text(doc, object, "namespace", asked->namespace);
		view_add_text(doc, object, "service", asked->name);
	}
	(void)yyjson_mut_obj_add_str(doc, object, "protocol", view_proto(flow_proto(flow->state)));
	(void)yyjson_mut_obj_add_uint(doc, object, "cookie", flow->cookie);
	view_add_address_port(doc, object, "destination", &flow->orig, ntohs(flow->orig_port_be));
	view_add_address_port(doc, object, "backend", &flow->peer, ntohs(flow->peer_port_be));
	if (s)
		wire_add(doc, object, flow, (struct view_place){s, endpoint, port});
	(void)yyjson_mut_obj_add_str(doc, object, "state", flow_state(flow->state));
	view_add_seconds(doc, object, "ageSeconds",
			 now_ns > flow->start_ns ? now_ns - flow->start_ns : 0);
	(void)yyjson_mut_obj_add_uint(doc, object, "workload", flow->workload);
	name = c->ops.cgroup(c->ops.arg, flow->workload);
	if (name)
		view_identity(c, doc, object, name);
	return object;
}
