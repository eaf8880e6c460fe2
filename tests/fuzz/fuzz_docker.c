/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as an answer of a Docker Engine or Podman: as a list, as one container, as a refusal, and
 * line by line as events. What comes out is within its bounds, and services can be made of it.
 */
#include <errno.h>

#include "fuzz/require.h"
#include "model/address.h"
#include "model/limits.h"
#include "registry/docker_service.h"

static struct draft_service *draft;

static void check_container(const struct docker_container *c)
{
	REQUIRE(c->id && *c->id && strlen(c->id) < DOCKER_ID);
	REQUIRE(c->n_networks <= DOCKER_NETWORKS && c->n_ports <= DOCKER_PORTS);
	for (size_t i = 0; i < c->n_networks; i++)
		REQUIRE(c->networks[i].name && address_is_target(&c->networks[i].addr));
	for (size_t i = 0; i < c->n_ports; i++)
		REQUIRE(c->ports[i].port && c->ports[i].proto);
}

static void make_services(const struct docker_list *l)
{
	const struct docker_container **all = calloc(l->n + 1, sizeof(*all));
	struct docker_wish wish = {.draft = draft, .tag = "docker/f", .namespace = "default"};
	struct object *objects;
	size_t n;

	REQUIRE(all);
	REQUIRE(address_parse("10.0.0.1", &wish.node) == 0);
	for (size_t i = 0; i < l->n; i++) {
		check_container(&l->items[i]);
		REQUIRE(!i || strcmp(l->items[i - 1].id, l->items[i].id) <= 0);
		REQUIRE(docker_list_find(l, l->items[i].id));
		all[i] = &l->items[i];
	}
	REQUIRE(docker_services(&wish, all, l->n, &objects, &n) == 0);
	REQUIRE(n <= l->n && strlen(wish.text) < sizeof(wish.text));
	for (size_t i = 0; i < n; i++)
		REQUIRE(objects[i].service->n_ports && *objects[i].service->name);
	(void)object_free_list(objects, n);
	free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = require_text(data, size), error[JSON_ERROR] = "", message[160];
	struct docker_list l;
	struct docker_event e;
	const char *line = text;
	int r;

	REQUIRE(draft || draft_new(&draft) == 0);
	r = docker_decode_list(text, size, &l, error);
	REQUIRE(r == 0 || (r == -EBADMSG && *error));
	if (r == 0) {
		make_services(&l);
		docker_list_done(&l);
	}
	r = docker_decode_container(text, size, &l, error);
	REQUIRE(r == 0 || (r == -EBADMSG && *error));
	if (r == 0) {
		REQUIRE(l.n == 1 && l.items->mode);
		make_services(&l);
		docker_list_done(&l);
	}
	docker_decode_message(text, size, message);
	for (size_t left = size, n; left; left -= n, line += n) {
		const char *end = memchr(line, '\n', left);

		n = end ? (size_t)(end - line) + 1 : left;
		r = docker_decode_event(line, end ? n - 1 : n, &e);
		REQUIRE(r == 0 || r == -EBADMSG);
		REQUIRE(r < 0 || strlen(e.id) < DOCKER_ID);
	}
	free(text);
	return 0;
}
