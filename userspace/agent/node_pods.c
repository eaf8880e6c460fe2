/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See node_pods.h. Before: registrations.c meets a pod's listener, or somebody wants to see. After:
 * the registries' own tables, and push_pods.c tells them to sinewd. It keeps nothing itself.
 */
#include "agent/node_pods.h"

#include "agent/push_pods.h"
#include "agent/registries.h"
#include "model/address.h"
#include "model/codec.h"
#include "model/pod_codec.h"

static struct registry *registry_at(const struct agent *a, size_t i)
{
	struct registry *r = a->registries[i]->registry;

	return r && r->pods ? r : NULL;
}

/* As the first registry says that knows it. */
static const struct pod *look_up(const struct agent *a, const char *uid)
{
	for (size_t i = 0; i < a->n_registries; i++) {
		struct registry *r = registry_at(a, i);
		const struct pod *p = r ? pods_find(r->pods, uid) : NULL;

		if (p)
			return p;
	}
	return NULL;
}

const struct pod *node_pods_find(void *agent, const char *uid)
{
	const struct agent *a = agent;
	const struct pod *p = look_up(a, uid);

	if (p)
		return p;
	for (size_t i = 0; i < a->n_registries; i++) {
		struct registry *r = registry_at(a, i);

		if (r && r->pods->wanted)
			r->kind->ask_pods(r);
	}
	return NULL;
}

void node_pods_want(void *agent, bool wanted)
{
	struct agent *a = agent;

	for (size_t i = 0; i < a->n_registries && wanted != a->pods_wanted; i++) {
		struct registry *r = registry_at(a, i);

		if (r)
			r->kind->want_pods(r, wanted || r->config->pods);
	}
	if (a->pods_wanted != wanted) {
		a->pods_wanted = wanted;
		push_pods_kick(a->push_pods);
	}
}

void node_pods_on_open(const struct agent_registry *g)
{
	if (g->registry->pods && g->agent->pods_wanted)
		g->registry->kind->want_pods(g->registry, true);
}

/* --- what sinewd is told ---------------------------------------------------------------------- */

bool node_pods_is_wanted(const struct agent *a)
{
	bool wanted = a->pods_wanted;

	for (size_t i = 0; i < a->n_registries; i++)
		wanted |= a->registries[i]->config->pods;
	return wanted;
}

bool node_pods_is_known(const struct agent *a)
{
	for (size_t i = 0; i < a->n_registries; i++) {
		const struct registry *r = registry_at(a, i);

		if (r && r->pods->wanted && r->pods->listed)
			return true;
	}
	return false;
}

/* Each uid once, and none that two pods of one registry claim. */
static size_t encode_registry(const struct agent *a, const struct pods *pods, size_t room,
			      yyjson_mut_doc *doc)
{
	yyjson_mut_val *items = yyjson_mut_obj_get(yyjson_mut_doc_get_root(doc), "items");
	size_t n = 0;

	for (size_t i = 0; i < pods->n && n < room; i++) {
		const struct pod *p = pods->items[i].pod;

		if (!identity_is_pod(p->uid) || look_up(a, p->uid) != p)
			continue;
		(void)yyjson_mut_arr_append(items, pod_codec_encode(doc, p));
		n++;
	}
	return n;
}

char *node_pods_encode(const struct agent *a, size_t *ret_length)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	size_t n = 0;
	char *text;

	yyjson_mut_doc_set_root(doc, root);
	(void)yyjson_mut_obj_add_str(doc, root, "apiVersion", CODEC_API_VERSION);
	(void)yyjson_mut_obj_add_str(doc, root, "kind", "PodList");
	(void)yyjson_mut_obj_add_arr(doc, root, "items");
	for (size_t i = 0; i < a->n_registries; i++) {
		const struct registry *r = registry_at(a, i);

		if (r)
			n += encode_registry(a, r->pods, LIMIT_PODS - n, doc);
	}
	text = yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, ret_length);
	yyjson_mut_doc_free(doc);
	return text;
}

/* --- what a person sees ----------------------------------------------------------------------- */

static void add_labels(yyjson_mut_doc *doc, yyjson_mut_val *to, const struct pod *p)
{
	yyjson_mut_val *labels = yyjson_mut_obj_add_obj(doc, to, "labels");

	for (size_t i = 0; i < p->n_labels; i++)
		(void)yyjson_mut_obj_add_str(doc, labels, p->labels[i].key, p->labels[i].value);
	if (p->is_partial)
		(void)yyjson_mut_obj_add_bool(doc, to, "partial", true);
}

static void add_containers(yyjson_mut_doc *doc, yyjson_mut_val *to, const struct pod *p)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, to, "containers");

	for (size_t i = 0; i < p->n_containers; i++) {
		yyjson_mut_val *one = yyjson_mut_arr_add_obj(doc, list);

		(void)yyjson_mut_obj_add_str(doc, one, "name", p->containers[i].name);
		(void)yyjson_mut_obj_add_str(doc, one, "id", p->containers[i].id);
	}
}

static void add_addresses(yyjson_mut_doc *doc, yyjson_mut_val *to, const struct pod *p)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, to, "addresses");
	char text[ADDRESS_TEXT];

	for (size_t i = 0; i < p->n_addresses; i++)
		(void)yyjson_mut_arr_add_strcpy(doc, list, address_format(&p->addresses[i], text));
}

static void add_pod(yyjson_mut_doc *doc, yyjson_mut_val *items, const struct agent_registry *g,
		    const struct pods_item *item)
{
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, items);

	(void)yyjson_mut_obj_add_str(doc, o, "namespace", item->pod->namespace);
	(void)yyjson_mut_obj_add_str(doc, o, "name", item->pod->name);
	(void)yyjson_mut_obj_add_str(doc, o, "uid", item->pod->uid);
	(void)yyjson_mut_obj_add_str(doc, o, "registry", g->config->name);
	add_labels(doc, o, item->pod);
	add_containers(doc, o, item->pod);
	add_addresses(doc, o, item->pod);
	if (item->missed_ms)
		(void)yyjson_mut_obj_add_bool(doc, o, "missing", true);
}

void node_pods_show(const struct agent *a, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	yyjson_mut_val *items;

	(void)yyjson_mut_obj_add_str(doc, root, "apiVersion", CODEC_API_VERSION);
	(void)yyjson_mut_obj_add_str(doc, root, "kind", "PodList");
	items = yyjson_mut_obj_add_arr(doc, root, "items");
	for (size_t i = 0; i < a->n_registries; i++) {
		const struct registry *r = registry_at(a, i);

		for (size_t k = 0; r && k < r->pods->n; k++)
			add_pod(doc, items, a->registries[i], &r->pods->items[k]);
	}
}

void node_pods_show_registry(const struct agent_registry *g, yyjson_mut_doc *doc,
			     yyjson_mut_val *item)
{
	const struct pods *p = g->registry ? g->registry->pods : NULL;
	yyjson_mut_val *o, *error;

	if (!p || !p->wanted)
		return;
	o = yyjson_mut_obj_add_obj(doc, item, "pods");
	(void)yyjson_mut_obj_add_bool(doc, o, "synced", p->listed && p->error == REGISTRY_OK);
	(void)yyjson_mut_obj_add_uint(doc, o, "known", p->n);
	(void)yyjson_mut_obj_add_str(doc, o, "node", p->node);
	if (p->error == REGISTRY_OK)
		return;
	error = yyjson_mut_obj_add_obj(doc, o, "lastError");
	(void)yyjson_mut_obj_add_str(doc, error, "reason", registry_error_name(p->error));
	(void)yyjson_mut_obj_add_str(doc, error, "text", p->text);
	if (*p->hint)
		(void)yyjson_mut_obj_add_str(doc, error, "hint", p->hint);
}

void node_pods_add_name(const struct pod *p, const char *container, yyjson_mut_doc *doc,
			yyjson_mut_val *to)
{
	const char *name = container ? pod_find_container(p, container) : NULL;

	(void)yyjson_mut_obj_add_strcpy(doc, to, "namespace", p->namespace);
	(void)yyjson_mut_obj_add_strcpy(doc, to, "name", p->name);
	if (name)
		(void)yyjson_mut_obj_add_strcpy(doc, to, "container", name);
}
