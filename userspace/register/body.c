/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See body.h. Before: registrar.c has an instance. After: a writer sends it. Whatever a person put
 * into tags and meta goes along as it is; our own keys come last and win.
 */
#include "register/body.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

#include "base/base64.h"
#include "base/text.h"

#define CRITICAL_MIN_MS 60000u /* Consul takes no less */

/* The text of a document whose root is an object; frees the document. */
static char *finish(yyjson_mut_doc *doc, size_t *ret_length)
{
	char *text = doc ? yyjson_mut_write(doc, 0, ret_length) : NULL;

	yyjson_mut_doc_free(doc);
	return text;
}

static yyjson_mut_doc *begin(yyjson_mut_val **ret_root)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);

	*ret_root = doc ? yyjson_mut_obj(doc) : NULL;
	if (doc)
		yyjson_mut_doc_set_root(doc, *ret_root);
	return doc;
}

/* The meta of a person, and who registered it. */
static yyjson_mut_val *add_meta(yyjson_mut_doc *doc, yyjson_mut_val *in, const char *key,
				const struct instance *i)
{
	yyjson_mut_val *meta = yyjson_mut_obj_add_obj(doc, in, key);

	for (size_t k = 0; k < i->n_meta; k++)
		if (strcmp(i->meta[k].key, INSTANCE_NODE_KEY) != 0 &&
		    strcmp(i->meta[k].key, INSTANCE_ID_KEY) != 0)
			(void)yyjson_mut_obj_add_str(doc, meta, i->meta[k].key, i->meta[k].value);
	(void)yyjson_mut_obj_add_str(doc, meta, INSTANCE_NODE_KEY, i->node);
	return meta;
}

static void add_tags(yyjson_mut_doc *doc, yyjson_mut_val *in, const char *key,
		     const struct instance *i)
{
	yyjson_mut_val *tags = yyjson_mut_obj_add_arr(doc, in, key);

	for (size_t k = 0; k < i->n_tags; k++)
		(void)yyjson_mut_arr_add_str(doc, tags, i->tags[k]);
}

/* --- Consul ---------------------------------------------------------------------------------- */

char *body_consul(const struct instance *i, size_t *ret_length)
{
	uint64_t critical_ms = 4 * i->ttl_ms < CRITICAL_MIN_MS ? CRITICAL_MIN_MS : 4 * i->ttl_ms;
	char ttl[TEXT_DURATION], critical[TEXT_DURATION], check_id[1100];
	yyjson_mut_val *root, *check;
	yyjson_mut_doc *doc = begin(&root);

	if (!doc)
		return NULL;
	(void)snprintf(check_id, sizeof(check_id), "service:%s", i->id);
	(void)yyjson_mut_obj_add_str(doc, root, "ID", i->id);
	(void)yyjson_mut_obj_add_str(doc, root, "Name", i->service);
	(void)yyjson_mut_obj_add_str(doc, root, "Address", i->host);
	(void)yyjson_mut_obj_add_uint(doc, root, "Port", i->port);
	add_tags(doc, root, "Tags", i);
	(void)add_meta(doc, root, "Meta", i);
	check = yyjson_mut_obj_add_obj(doc, root, "Check");
	(void)yyjson_mut_obj_add_str(doc, check, "CheckID", check_id);
	(void)yyjson_mut_obj_add_str(doc, check, "Name", "listens");
	(void)yyjson_mut_obj_add_str(doc, check, "Notes",
				     "kept by sinew-agent while the socket listens");
	(void)yyjson_mut_obj_add_str(doc, check, "TTL", text_format_duration(i->ttl_ms, ttl));
	/* Else it would be critical until the first update. */
	(void)yyjson_mut_obj_add_str(doc, check, "Status", "passing");
	(void)yyjson_mut_obj_add_str(doc, check, "DeregisterCriticalServiceAfter",
				     text_format_duration(critical_ms, critical));
	return finish(doc, ret_length);
}

/* --- Eureka ---------------------------------------------------------------------------------- */

static uint64_t seconds(uint64_t ms)
{
	return (ms + 999) / 1000;
}

static void add_port(yyjson_mut_doc *doc, yyjson_mut_val *in, const char *key, uint16_t port,
		     bool enabled)
{
	yyjson_mut_val *v = yyjson_mut_obj_add_obj(doc, in, key);

	(void)yyjson_mut_obj_add_uint(doc, v, "$", port);
	(void)yyjson_mut_obj_add_str(doc, v, "@enabled", enabled ? "true" : "false");
}

static void add_data_center(yyjson_mut_doc *doc, yyjson_mut_val *in)
{
	yyjson_mut_val *v = yyjson_mut_obj_add_obj(doc, in, "dataCenterInfo");

	(void)yyjson_mut_obj_add_str(doc, v, "@class",
				     "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo");
	(void)yyjson_mut_obj_add_str(doc, v, "name", "MyOwn");
}

/* It has no tags: they become one text of its metadata, as its own clients do it. */
static void add_eureka_metadata(yyjson_mut_doc *doc, yyjson_mut_val *in, const struct instance *i)
{
	yyjson_mut_val *meta = add_meta(doc, in, "metadata", i);
	struct text_buffer b = {};

	for (size_t k = 0; k < i->n_tags; k++)
		text_append_format(&b, "%s%s", k ? "," : "", i->tags[k]);
	if (b.n && !yyjson_mut_obj_get(meta, "tags"))
		(void)yyjson_mut_obj_add_strncpy(doc, meta, "tags", b.data, b.n);
	text_done(&b);
}

char *body_eureka(const struct instance *i, uint64_t now_ms, size_t *ret_length)
{
	char *app = strdup(i->service), dirty[24], *text = NULL;
	yyjson_mut_val *root, *v, *lease;
	yyjson_mut_doc *doc = begin(&root);

	if (!doc || !app)
		goto out;
	for (char *c = app; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	(void)snprintf(dirty, sizeof(dirty), "%" PRIu64, now_ms);
	v = yyjson_mut_obj_add_obj(doc, root, "instance");
	(void)yyjson_mut_obj_add_str(doc, v, "instanceId", i->id);
	(void)yyjson_mut_obj_add_str(doc, v, "app", app);
	(void)yyjson_mut_obj_add_str(doc, v, "hostName", i->host);
	(void)yyjson_mut_obj_add_str(doc, v, "ipAddr", i->host);
	(void)yyjson_mut_obj_add_str(doc, v, "vipAddress", i->service);
	(void)yyjson_mut_obj_add_str(doc, v, "secureVipAddress", i->service);
	(void)yyjson_mut_obj_add_str(doc, v, "status", "UP");
	(void)yyjson_mut_obj_add_str(doc, v, "overriddenStatus", "UNKNOWN");
	add_port(doc, v, "port", i->port, true);
	add_port(doc, v, "securePort", 443, false);
	(void)yyjson_mut_obj_add_uint(doc, v, "countryId", 1);
	add_data_center(doc, v);
	lease = yyjson_mut_obj_add_obj(doc, v, "leaseInfo");
	(void)yyjson_mut_obj_add_uint(doc, lease, "renewalIntervalInSecs", seconds(i->ttl_ms / 3));
	(void)yyjson_mut_obj_add_uint(doc, lease, "durationInSecs", seconds(i->ttl_ms));
	add_eureka_metadata(doc, v, i);
	(void)yyjson_mut_obj_add_str(doc, v, "lastDirtyTimestamp", dirty);
	(void)yyjson_mut_obj_add_str(doc, v, "lastUpdatedTimestamp", dirty);
	text = finish(doc, ret_length);
	doc = NULL;
out:
	yyjson_mut_doc_free(doc);
	free(app);
	return text;
}

/* --- etcd ------------------------------------------------------------------------------------ */

static char *etcd_value(const struct instance *i, size_t *ret_length)
{
	yyjson_mut_val *root, *meta;
	yyjson_mut_doc *doc = begin(&root);

	if (!doc)
		return NULL;
	(void)yyjson_mut_obj_add_uint(doc, root, "Op", 0);
	(void)yyjson_mut_obj_add_str(doc, root, "Addr", i->hostport);
	meta = add_meta(doc, root, "Metadata", i);
	if (i->n_tags && !yyjson_mut_obj_get(meta, "tags"))
		add_tags(doc, meta, "tags", i);
	(void)yyjson_mut_obj_add_str(doc, meta, INSTANCE_ID_KEY, i->id);
	return finish(doc, ret_length);
}

/* Takes `bytes`; adds them as base64. */
static void add_bytes(yyjson_mut_doc *doc, yyjson_mut_val *in, const char *key, char *bytes,
		      size_t n)
{
	char *text = bytes ? base64_encode(bytes, n) : NULL;

	(void)yyjson_mut_obj_add_strcpy(doc, in, key, text); /* a NULL makes no text at all */
	free(text);
	free(bytes);
}

static void add_number(yyjson_mut_doc *doc, yyjson_mut_val *in, const char *key, uint64_t n)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, n);
	(void)yyjson_mut_obj_add_strcpy(doc, in, key, text);
}

/* Of a document that was made in several steps: whole, or not at all. */
static char *finish_whole(yyjson_mut_doc *doc, yyjson_mut_val *root, size_t members,
			  size_t *ret_length)
{
	if (yyjson_mut_obj_size(root) == members)
		return finish(doc, ret_length);
	yyjson_mut_doc_free(doc);
	return NULL;
}

char *body_etcd_put(const struct instance *i, const char *prefix, uint64_t lease,
		    size_t *ret_length)
{
	yyjson_mut_val *root;
	yyjson_mut_doc *doc = begin(&root);
	char *key = NULL, *value;
	size_t n = 0;
	int key_n;

	if (!doc)
		return NULL;
	key_n = asprintf(&key, "%s%s/%s", prefix, i->service, i->hostport);
	add_bytes(doc, root, "key", key_n < 0 ? NULL : key, key_n < 0 ? 0 : (size_t)key_n);
	value = etcd_value(i, &n);
	add_bytes(doc, root, "value", value, n);
	add_number(doc, root, "lease", lease);
	return finish_whole(doc, root, 3, ret_length);
}

char *body_etcd_grant(uint64_t ttl_ms, size_t *ret_length)
{
	yyjson_mut_val *root;
	yyjson_mut_doc *doc = begin(&root);

	if (!doc)
		return NULL;
	add_number(doc, root, "TTL", seconds(ttl_ms));
	return finish_whole(doc, root, 1, ret_length);
}

char *body_etcd_lease(uint64_t lease, size_t *ret_length)
{
	yyjson_mut_val *root;
	yyjson_mut_doc *doc = begin(&root);

	if (!doc)
		return NULL;
	add_number(doc, root, "ID", lease);
	return finish_whole(doc, root, 1, ret_length);
}

char *body_etcd_range(const char *prefix, size_t limit, size_t *ret_length)
{
	size_t n = strlen(prefix) ?: 1; /* the whole range goes from one NUL to another */
	yyjson_mut_val *root;
	yyjson_mut_doc *doc = begin(&root);
	char *from, *to;

	if (!doc)
		return NULL;
	from = strdup(prefix);
	to = strdup(prefix);
	if (to && *to)
		to[n - 1]++; /* the byte after '/' */
	add_bytes(doc, root, "key", from, n);
	add_bytes(doc, root, "range_end", to, n);
	add_number(doc, root, "limit", limit);
	return finish_whole(doc, root, 3, ret_length);
}

char *body_etcd_login(const char *user, const char *password, size_t *ret_length)
{
	yyjson_mut_val *root;
	yyjson_mut_doc *doc = begin(&root);

	if (!doc)
		return NULL;
	(void)yyjson_mut_obj_add_str(doc, root, "name", user);
	(void)yyjson_mut_obj_add_str(doc, root, "password", password);
	return finish_whole(doc, root, 2, ret_length);
}
