/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is said of etcd's keys, and a second look at what they no longer have (registry.h). Before:
 * etcd.c and etcd_watch.c keep the table. The watch says what there is, and a look only whether
 * that is so: the keys of one service are read beside it, as the cluster agrees on them now (a
 * range is linearizable unless it asks for less). If they are those of the table, the service is
 * said again. If not, a change is on its way in the watch, or it missed one: the next look tells,
 * and if it differs, too, everything is listed anew. An answer is never taken in itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "registry/etcd_watch.h"

#define LOOK_MS 5000u
#define LOOK_KEYS 1000u
#define DIFFERS_MOST 2 /* looks in a row; then the table is not believed */

/* --- what is said -------------------------------------------------------------------------------
 */

void etcd_say(struct etcd *e)
{
	const struct registry_config *config = e->r->config;
	struct etcd_change change;
	const char *text;
	size_t n;
	int r = 0;

	while ((r = etcd_table_next(e->table, &change)) > 0) {
		struct object o = {.kind = OBJECT_SERVICE, .service = change.service};

		if (change.service)
			registry_say_upsert(e->r, &o);
		else
			registry_say_remove(e->r, OBJECT_SERVICE,
					    config->namespace ? config->namespace : "default",
					    change.name);
	}
	if (r < 0)
		registry_say_error(e->r, REGISTRY_GARBAGE, "", "out of memory for a change");
	n = etcd_table_left_out(e->table, &text);
	if (n > e->left_out)
		registry_say_skipped(e->r, "%s", text);
	e->left_out = n;
}

int etcd_say_all(struct etcd *e)
{
	struct service **services;
	struct object *objects;
	size_t n;
	int r = etcd_table_all(e->table, &services, &n);

	if (r < 0)
		return r;
	objects = calloc(n + 1, sizeof(*objects));
	for (size_t i = 0; i < n; i++) {
		if (objects)
			objects[i] =
				(struct object){.kind = OBJECT_SERVICE, .service = services[i]};
		else
			service_unref(services[i]);
	}
	free(services);
	if (!objects)
		return -ENOMEM;
	e->told = true;
	e->look.all = false;
	registry_say_snapshot(e->r, objects, n);
	return 0;
}

/* --- a second look ------------------------------------------------------------------------------
 */

static bool is_watching(const struct etcd *e)
{
	return e->watching && e->fetch && e->created && e->told;
}

/* The list takes the watch's place for a moment; what it has is then said as a whole. */
static void look_at_all(struct etcd *e)
{
	e->look.differs = 0;
	e->look.all = true;
	etcd_watch_stop(e);
	etcd_forget_list(e);
	etcd_begin(e);
}

static void on_looked(void *arg, const struct fetch_result *result)
{
	struct etcd *e = arg;
	char text[JSON_ERROR];
	struct etcd_range range;
	bool same;

	e->look.fetch = NULL;
	if (registry_error_of(result) != REGISTRY_OK || !is_watching(e) ||
	    etcd_decode_range(result->body, result->length, &range, text) < 0)
		return;
	same = range.header.cluster == e->header.cluster && !range.more &&
	       etcd_table_is_same(e->table, e->look.name, range.kvs, range.n);
	etcd_range_done(&range);
	if (same) {
		e->look.differs = 0;
		etcd_table_again(e->table, e->look.name);
		etcd_say(e);
	} else if (++e->look.differs >= DIFFERS_MOST) {
		look_at_all(e);
	}
}

/* From "PREFIX/SERVICE/" to before "PREFIX/SERVICE0". NULL: no memory. */
static char *make_body(const struct etcd *e, const char *owner)
{
	_cleanup_free_ char *key = NULL, *from = NULL, *to = NULL;
	struct text_buffer b = {};
	int n = asprintf(&key, "%s%s/", e->prefix, owner);

	if (n < 0) {
		key = NULL;
		return NULL;
	}
	from = base64_encode(key, (size_t)n);
	key[n - 1] = '/' + 1;
	to = base64_encode(key, (size_t)n);
	if (!from || !to)
		return NULL;
	text_append_format(&b, "{\"key\":\"%s\",\"range_end\":\"%s\",\"limit\":\"%u\"}", from, to,
			   LOOK_KEYS);
	return text_take(&b);
}

int etcd_look(struct registry *r, const char *namespace, const char *name)
{
	struct etcd *e = r->source;
	struct fetch_request request = {.timeout_ms = LOOK_MS, .on_done = on_looked, .arg = e};
	const char *owner = name ? etcd_table_owner(e->table, name) : NULL;

	if (e->look.fetch || !is_watching(e))
		return -EAGAIN;
	if (!owner) {
		look_at_all(e);
		return 0;
	}
	(void)snprintf(e->look.name, sizeof(e->look.name), "%s", name);
	return etcd_post(e, &request, "/v3/kv/range", make_body(e, owner), &e->look.fetch);
}
