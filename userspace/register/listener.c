/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See listener.h. Before: sinewd's control socket. After: match.c. Never believes half a line, and
 * never asks the kernel itself.
 */
#include "register/listener.h"

#include <errno.h>
#include <sinew/service.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/address.h"
#include "model/limits.h"

#define TEXT_MAX 4096 /* of a cgroup's path, as PATH_MAX */

/* --- one line -------------------------------------------------------------------------------- */

/* A text of 1 to `max` bytes without a NUL inside; NULL: it is none. */
static const char *text_of(yyjson_val *object, const char *key, size_t max)
{
	yyjson_val *v = yyjson_obj_get(object, key);
	const char *s = yyjson_get_str(v);

	return s && *s && yyjson_get_len(v) <= max && strlen(s) == yyjson_get_len(v) ? s : NULL;
}

static int proto_parse(const char *text, uint8_t *ret)
{
	if (!text || !strcmp(text, "tcp") || !strcmp(text, "TCP"))
		*ret = SN_PROTO_TCP;
	else if (!strcmp(text, "udp") || !strcmp(text, "UDP"))
		*ret = SN_PROTO_UDP;
	else
		return -EBADMSG;
	return 0;
}

/* One block for the texts of `from`; the cgroup's is its beginning. */
static int take_texts(struct listener *l, const struct listener *from)
{
	const char *texts[] = {from->cgroup, from->unit, from->container, from->pod};
	char **to[] = {&l->cgroup, &l->unit, &l->container, &l->pod};
	size_t bytes = 0;
	char *at;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		bytes += texts[i] ? strlen(texts[i]) + 1 : 0;
	at = malloc(bytes);
	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		size_t n = texts[i] ? strlen(texts[i]) + 1 : 0;

		*to[i] = n ? memcpy(at, texts[i], n) : NULL;
		at += n;
	}
	return 0;
}

int listener_copy(const struct listener *from, struct listener *ret)
{
	struct listener l = *from;
	int r = take_texts(&l, from);

	if (r >= 0)
		*ret = l;
	return r;
}

static int decode_listener(yyjson_val *v, struct listener *ret, char *ret_error)
{
	const char *address = text_of(v, "address", ADDRESS_TEXT);
	yyjson_val *port = yyjson_obj_get(v, "port"), *cookie = yyjson_obj_get(v, "cookie");
	const struct listener texts = {.cgroup = (char *)(text_of(v, "cgroup", TEXT_MAX) ?: ""),
				       .unit = (char *)text_of(v, "unit", TEXT_MAX),
				       .container = (char *)text_of(v, "container", TEXT_MAX),
				       .pod = (char *)text_of(v, "pod", TEXT_MAX)};
	struct listener l = {.cookie = yyjson_get_uint(cookie)};
	int r;

	if (!yyjson_is_uint(cookie) || !address || address_parse(address, &l.addr) < 0 ||
	    !yyjson_is_uint(port) || !yyjson_get_uint(port) || yyjson_get_uint(port) > UINT16_MAX ||
	    proto_parse(text_of(v, "protocol", LIMIT_NAME), &l.proto) < 0) {
		(void)snprintf(ret_error, JSON_ERROR,
			       "a listener needs a cookie, an address, a port, and tcp or udp");
		return -EBADMSG;
	}
	l.port = (uint16_t)yyjson_get_uint(port);
	r = take_texts(&l, &texts);
	if (r >= 0)
		*ret = l;
	return r;
}

int listener_decode_event(const char *line, size_t length, enum listener_event *ret_event,
			  struct listener *ret, char ret_error[static JSON_ERROR])
{
	static const char *const words[] = {"", "ADDED", "DELETED", "SYNCED"};
	enum listener_event event = LISTENER_OTHER;
	yyjson_doc *doc;
	const char *type;
	int r = json_parse(line, length, LIMIT_DEPTH, &doc, ret_error);

	if (r < 0)
		return r;
	type = text_of(yyjson_doc_get_root(doc), "type", LIMIT_NAME);
	if (!type) {
		(void)snprintf(ret_error, JSON_ERROR, "an event without a type");
		r = -EBADMSG;
	}
	for (size_t i = 1; type && i < ARRAY_SIZE(words); i++)
		if (!strcmp(type, words[i]))
			event = (enum listener_event)i;
	if (event == LISTENER_ADDED || event == LISTENER_DELETED)
		r = decode_listener(yyjson_obj_get(yyjson_doc_get_root(doc), "listener"), ret,
				    ret_error);
	yyjson_doc_free(doc);
	if (r >= 0)
		*ret_event = event;
	return r;
}

void listener_done(struct listener *l)
{
	free(l->cgroup);
	*l = (struct listener){};
}

bool listener_is_wildcard(const struct listener *l)
{
	struct sn_addr any;

	return (address_parse("0.0.0.0", &any) >= 0 && address_is_equal(&l->addr, &any)) ||
	       (address_parse("::", &any) >= 0 && address_is_equal(&l->addr, &any));
}

/* --- the set --------------------------------------------------------------------------------- */

static int compare(const struct listener *a, const struct listener *b)
{
	int r = (a->port > b->port) - (a->port < b->port);

	if (!r)
		r = (a->proto > b->proto) - (a->proto < b->proto);
	return r ? r : (a->cookie > b->cookie) - (a->cookie < b->cookie);
}

/* Where it is, or would be. */
static size_t place_of(const struct listener_table *t, const struct listener *l, bool *ret_found)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(&t->items[middle], l) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = low < t->n && compare(&t->items[low], l) == 0;
	return low;
}

static int grow(struct listener_table *t)
{
	size_t capacity = t->capacity ? 2 * t->capacity : 64;
	struct listener *grown;

	if (t->n < t->capacity)
		return 0;
	if (t->n >= LIMIT_LISTENERS)
		return -E2BIG;
	grown = reallocarray(t->items, capacity, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	t->items = grown;
	t->capacity = capacity;
	return 0;
}

int listener_table_add(struct listener_table *t, struct listener *l)
{
	bool found;
	size_t at = place_of(t, l, &found);
	int r = found ? 0 : grow(t);

	if (r < 0) {
		listener_done(l);
		return r;
	}
	if (found) {
		listener_done(&t->items[at]);
	} else {
		memmove(t->items + at + 1, t->items + at, (t->n - at) * sizeof(*t->items));
		t->n++;
	}
	t->items[at] = *l;
	*l = (struct listener){};
	return 0;
}

bool listener_table_remove(struct listener_table *t, const struct listener *l)
{
	bool found;
	size_t at = place_of(t, l, &found);

	if (!found)
		return false;
	listener_done(&t->items[at]);
	t->n--;
	memmove(t->items + at, t->items + at + 1, (t->n - at) * sizeof(*t->items));
	return true;
}

const struct listener *listener_table_find(const struct listener_table *t, uint16_t port,
					   uint8_t proto, size_t *ret_n)
{
	const struct listener first = {.port = port, .proto = proto};
	bool found;
	size_t at = place_of(t, &first, &found), n = 0;

	while (at + n < t->n && t->items[at + n].port == port && t->items[at + n].proto == proto)
		n++;
	*ret_n = n;
	return n ? t->items + at : NULL;
}

void listener_table_done(struct listener_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		listener_done(&t->items[i]);
	free(t->items);
	*t = (struct listener_table){};
}
