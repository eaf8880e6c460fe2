/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See registrations.h: what a person is told about Registrations. Before: show.c and metrics.c ask.
 * Only reads.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/node_pods.h"
#include "agent/registrations_state.h"
#include "model/codec.h"
#include "model/limits.h"

/* Instances of one Registration, or (NULL) those that nobody wants any more. */
struct telling {
	const struct registrations *s;
	const char *owner;
	yyjson_mut_doc *doc;
	yyjson_mut_val *list;
	bool failing, pending;
	size_t n;
};

static void add_instance(struct telling *t, const struct registrar_item *item)
{
	yyjson_mut_val *v = yyjson_mut_arr_add_obj(t->doc, t->list);
	char time[TEXT_TIME];

	(void)yyjson_mut_obj_add_strcpy(t->doc, v, "id", item->id);
	(void)yyjson_mut_obj_add_strcpy(t->doc, v, "registry", item->registry);
	if (item->wanted)
		(void)yyjson_mut_obj_add_strcpy(t->doc, v, "address", item->wanted->hostport);
	(void)yyjson_mut_obj_add_str(t->doc, v, "state", record_state_name(item->state));
	(void)yyjson_mut_obj_add_strcpy(t->doc, v, "since", text_format_time(item->since_ms, time));
	if (*item->text)
		(void)yyjson_mut_obj_add_strcpy(t->doc, v, "lastError", item->text);
}

static void on_item(void *arg, const struct registrar_item *item)
{
	struct telling *t = arg;
	const char *owner = item->wanted ? item->wanted->owner : NULL;

	if (t->owner ? !owner || strcmp(owner, t->owner) != 0 : owner != NULL)
		return;
	add_instance(t, item);
	t->n++;
	t->failing |= item->state == RECORD_FAILING;
	t->pending |= item->state == RECORD_PENDING;
}

/* One word, the worst of what there is, and a sentence. */
static const char *state_of(const struct telling *t, enum match_reason reason)
{
	if (reason != MATCH_OK)
		return match_reason_name(reason);
	return t->failing ? "failing" : t->pending || !t->n ? "pending" : "registered";
}

/* Who of the pods that listen at the port is meant, by name. */
static void add_pods(const struct registrations *s, const struct registration *r,
		     yyjson_mut_doc *doc, yyjson_mut_val *to)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, to, "pods");
	const struct listener *l;
	size_t n;

	l = listener_table_find(listeners_table(s->listeners), r->port, r->proto, &n);
	for (size_t i = 0; i < n; i++) {
		const struct pod *p = l[i].pod ? s->pods.find(s->pods.arg, l[i].pod) : NULL;

		if (p && match_pod(r, p, l[i].container) > 0)
			node_pods_add_name(p, l[i].container, doc,
					   yyjson_mut_arr_add_obj(doc, list));
	}
}

static void add_registration(const struct registrations *s, size_t i, yyjson_mut_doc *doc,
			     yyjson_mut_val *items)
{
	const struct registration *r = s->list[i];
	enum match_reason reason = i < s->match.n_reasons ? s->match.reasons[i] : MATCH_QUIET;
	yyjson_mut_val *v = yyjson_mut_arr_add_obj(doc, items), *list = yyjson_mut_arr(doc);
	char owner[200];
	struct telling t = {.s = s, .owner = owner, .doc = doc, .list = list};

	(void)snprintf(owner, sizeof(owner), "%s/%s", r->namespace, r->name);
	registrar_visit(s->registrar, on_item, &t);
	(void)yyjson_mut_obj_add_strcpy(doc, v, "namespace", r->namespace);
	(void)yyjson_mut_obj_add_strcpy(doc, v, "name", r->name);
	(void)yyjson_mut_obj_add_strcpy(doc, v, "service", r->service);
	(void)yyjson_mut_obj_add_strcpy(doc, v, "registry", r->registry);
	(void)yyjson_mut_obj_add_uint(doc, v, "port", r->port);
	(void)yyjson_mut_obj_add_str(doc, v, "state", state_of(&t, reason));
	if (reason != MATCH_OK)
		(void)yyjson_mut_obj_add_str(doc, v, "reason", match_reason_text(reason));
	if (r->by == REGISTRATION_BY_POD)
		add_pods(s, r, doc, v);
	(void)yyjson_mut_obj_add_val(doc, v, "instances", list);
}

static void add_daemon(const struct registrations *s, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	const struct listeners_status *status = listeners_status(s->listeners);
	yyjson_mut_val *v = yyjson_mut_obj_add_obj(doc, root, "daemon");
	const char *error = *status->error ? status->error : s->error;

	(void)yyjson_mut_obj_add_bool(doc, v, "synced", status->connected && s->known);
	(void)yyjson_mut_obj_add_uint(doc, v, "listeners", listeners_table(s->listeners)->n);
	if (*error)
		(void)yyjson_mut_obj_add_strcpy(doc, v, "lastError", error);
}

static void add_registries(const struct registrations *s, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "registries");

	for (unsigned int i = 0; i < LIMIT_REGISTRIES; i++) {
		const char *name = registrar_name(s->registrar, i);
		const char *failure = registrar_failure(s->registrar, i);
		int writable = name ? registrar_find(s->registrar, name) : -ENOENT;
		yyjson_mut_val *v = name ? yyjson_mut_arr_add_obj(doc, list) : NULL;

		if (!name)
			continue;
		(void)yyjson_mut_obj_add_str(doc, v, "name", name);
		(void)yyjson_mut_obj_add_bool(doc, v, "writable", writable >= 0);
		if (*failure)
			(void)yyjson_mut_obj_add_strcpy(doc, v, "lastError", failure);
		failure = registrar_list_failure(s->registrar, i);
		if (*failure)
			(void)yyjson_mut_obj_add_strcpy(doc, v, "listError", failure);
	}
}

void registrations_show(const struct registrations *s, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	struct telling others = {.s = s, .doc = doc};
	yyjson_mut_val *items;

	(void)yyjson_mut_obj_add_str(doc, root, "apiVersion", CODEC_API_VERSION);
	(void)yyjson_mut_obj_add_str(doc, root, "kind", "RegistrationStatusList");
	items = yyjson_mut_obj_add_arr(doc, root, "items");
	for (size_t i = 0; i < s->n; i++)
		add_registration(s, i, doc, items);
	others.list = yyjson_mut_obj_add_arr(doc, root, "others");
	registrar_visit(s->registrar, on_item, &others);
	add_registries(s, doc, root);
	add_daemon(s, doc, root);
}

static void append_head(struct text_buffer *b, const char *name, const char *help)
{
	text_append_format(b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

void registrations_metrics(const struct registrations *s, struct text_buffer *b)
{
	const char *name = "sinew_agent_registrations";

	append_head(b, name, "Instances of this node in a registry, by state.");
	for (unsigned int i = 0; i < LIMIT_REGISTRIES; i++) {
		const char *registry = registrar_name(s->registrar, i);
		size_t counts[_RECORD_STATE_MAX];

		if (!registry || registrar_find(s->registrar, registry) < 0)
			continue;
		registrar_count(s->registrar, i, counts);
		for (int state = 0; state < _RECORD_STATE_MAX; state++)
			text_append_format(b, "%s{registry=\"%s\",state=\"%s\"} %zu\n", name,
					   registry, record_state_name((enum record_state)state),
					   counts[state]);
	}
	name = "sinew_agent_listeners";
	append_head(b, name, "Listening sockets of this host that sinewd tells.");
	text_append_format(b, "%s %zu\n", name, listeners_table(s->listeners)->n);
	name = "sinew_agent_listeners_synced";
	append_head(b, name, "Whether sinewd tells them now.");
	text_append_format(b, "%s %d\n", name, listeners_status(s->listeners)->connected);
}
