/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as an answer of a Kubernetes API server: as a list of each kind, as a refusal, as what it
 * offers, line by line as a watch, and as the answer of a credential plugin. What comes out is
 * within its bounds, and its texts end.
 */
#include <errno.h>

#include "fuzz/require.h"
#include "model/limits.h"
#include "registry/kubernetes_decode.h"
#include "registry/kubernetes_plugin.h"

static void check_pod(const struct pod *p)
{
	size_t bytes = 0;

	REQUIRE(*p->uid && strlen(p->uid) <= IDENTITY_POD);
	REQUIRE(*p->name && strlen(p->name) <= LIMIT_NODE);
	REQUIRE(*p->namespace && strlen(p->namespace) <= LIMIT_NAME);
	REQUIRE(p->n_labels <= LIMIT_LABELS && p->n_addresses <= LIMIT_ADDRESSES);
	REQUIRE(p->n_containers <= LIMIT_POD_CONTAINERS);
	for (size_t i = 0; i < p->n_labels; i++)
		bytes += strlen(p->labels[i].key) + strlen(p->labels[i].value);
	REQUIRE(bytes <= LIMIT_POD_TEXT);
	for (size_t i = 0; i < p->n_containers; i++) {
		REQUIRE(strlen(p->containers[i].id) == IDENTITY_CONTAINER);
		REQUIRE(pod_find_container(p, p->containers[i].id) != NULL);
		REQUIRE(strlen(p->containers[i].name) <= LIMIT_NAME);
	}
}

static void check_object(const struct kubernetes_object *o)
{
	REQUIRE((o->kind == KUBERNETES_POD) == (o->pod != NULL));
	if (o->pod)
		check_pod(o->pod);
	REQUIRE(*kubernetes_text(o, o->name));
	REQUIRE(strlen(kubernetes_text(o, o->name)) <= KUBERNETES_NAME);
	REQUIRE(o->kind == KUBERNETES_NODE || *kubernetes_text(o, o->namespace));
	REQUIRE(o->n_ports <= LIMIT_PORTS && o->n_endpoints <= LIMIT_ENDPOINTS);
	REQUIRE(o->n_labels <= LIMIT_LABELS && o->n_addresses <= LIMIT_ADDRESSES);
	for (size_t i = 0; i < o->n_ports; i++)
		REQUIRE(strlen(kubernetes_text(o, o->ports[i].name)) <= LIMIT_NAME);
	for (size_t i = 0; i < o->n_endpoints; i++) {
		REQUIRE(strlen(kubernetes_text(o, o->endpoints[i].zone)) <= LIMIT_NAME);
		REQUIRE(strlen(kubernetes_text(o, o->endpoints[i].node)) <= LIMIT_NODE);
		REQUIRE(strlen(kubernetes_text(o, o->endpoints[i].instance)) <= LIMIT_INSTANCE_ID);
		REQUIRE(strlen(kubernetes_text(o, o->endpoints[i].hint)) <= LIMIT_NAME);
	}
}

static void check_list(const char *text, size_t size, enum kubernetes_kind kind)
{
	struct kubernetes_list list;
	int r = kubernetes_decode_list(text, size, kind, &list);

	REQUIRE(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	REQUIRE(*list.version);
	for (size_t i = 0; i < list.n_items; i++)
		check_object(list.items[i]);
	kubernetes_list_done(&list);
}

static void check_pods(const char *text, size_t size)
{
	struct kubernetes_list list;
	int r = kubernetes_decode_pods(text, size, &list);

	REQUIRE(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	for (size_t i = 0; i < list.n_items; i++)
		check_object(list.items[i]);
	kubernetes_list_done(&list);
}

static void check_identity(const char *text, size_t size, enum kubernetes_kind kind)
{
	struct kubernetes_identity identity;
	int r = kubernetes_decode_identity(text, size, kind, &identity);

	REQUIRE(r == 0 || r == -EBADMSG);
}

static void check_event(const char *line, size_t size, enum kubernetes_kind kind)
{
	struct kubernetes_event e;
	int r = kubernetes_decode_event(line, size, kind, &e);

	REQUIRE(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	REQUIRE(e.type == KUBERNETES_ERROR || *e.version);
	if (e.object)
		check_object(e.object);
	kubernetes_object_free(e.object);
}

static void check_offers(const char *text, size_t size)
{
	struct kubernetes_release release = {};
	const char *version = NULL;
	int r = kubernetes_decode_release(text, size, &release);

	REQUIRE(r == 0 || r == -EBADMSG);
	REQUIRE(release.major <= 9999 && release.minor <= 9999);
	r = kubernetes_decode_group(text, size, &version);
	REQUIRE(r == 0 || r == -EBADMSG);
}

static void check_credential(const char *text, size_t size)
{
	struct kubernetes_credential c;
	char why[200];
	int r = kubernetes_credential_decode(text, size, "client.authentication.k8s.io/v1", &c,
					     why);

	REQUIRE(r == 0 || r == -EBADMSG);
	REQUIRE(strlen(why) < sizeof(why) && (r == 0) == !*why);
	if (r < 0)
		return;
	REQUIRE(c.token || c.cert);
	REQUIRE(!c.cert == !c.key);
	kubernetes_credential_done(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = require_text(data, size);
	struct kubernetes_refusal refusal;

	check_offers(text, size);
	check_credential(text, size);
	check_pods(text, size);
	kubernetes_decode_refusal(text, size, &refusal);
	REQUIRE(refusal.code < 1000 && refusal.retry_after_s <= 60);
	for (int kind = 0; kind < _KUBERNETES_KIND_MAX; kind++) {
		const char *line = text;

		check_list(text, size, (enum kubernetes_kind)kind);
		check_identity(text, size, (enum kubernetes_kind)kind);
		for (size_t left = size, n; left; left -= n, line += n) {
			const char *end = memchr(line, '\n', left);

			n = end ? (size_t)(end - line) + 1 : left;
			check_event(line, end ? n - 1 : n, (enum kubernetes_kind)kind);
		}
	}
	free(text);
	return 0;
}
