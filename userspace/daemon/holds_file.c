/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See holds.h: records to JSON and back. Pure. What a person may have changed in the file is
 * checked like what a client sends; an entry that makes no sense is left out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "daemon/holds.h"

static const char *const kinds[] = {
	[SN_HOLD_NONE] = "none", [SN_HOLD_EJECT] = "eject", [SN_HOLD_DRAIN] = "drain"};

static void encode_one(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct hold *h)
{
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);
	char address[ADDRESS_TEXT];

	(void)yyjson_mut_obj_add_str(doc, o, "namespace", h->namespace);
	(void)yyjson_mut_obj_add_str(doc, o, "service", h->name);
	(void)yyjson_mut_obj_add_strcpy(doc, o, "address", address_format(&h->addr, address));
	(void)yyjson_mut_obj_add_uint(doc, o, "port", h->port);
	(void)yyjson_mut_obj_add_str(doc, o, "held", kinds[h->held]);
	(void)yyjson_mut_obj_add_uint(doc, o, "sinceMs", h->since_ms);
	(void)yyjson_mut_obj_add_uint(doc, o, "untilMs", h->until_ms);
	(void)yyjson_mut_obj_add_str(doc, o, "reason", h->reason);
	(void)yyjson_mut_obj_add_str(doc, o, "by", h->by);
}

char *holds_encode(const struct hold_list *list, size_t *ret_length)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root, *items;
	char *text = NULL;

	if (!doc)
		return NULL;
	root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, root);
	items = yyjson_mut_obj_add_arr(doc, root, "holds");
	for (size_t i = 0; i < list->n; i++)
		encode_one(doc, items, &list->items[i]);
	if (yyjson_mut_arr_size(items) == list->n)
		text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, ret_length);
	yyjson_mut_doc_free(doc);
	return text;
}

static bool copy(char *to, size_t size, yyjson_val *o, const char *key)
{
	const char *text = yyjson_get_str(yyjson_obj_get(o, key));

	return text && (size_t)snprintf(to, size, "%s", text) < size;
}

static bool decode_one(yyjson_val *o, struct hold *ret)
{
	const char *address = yyjson_get_str(yyjson_obj_get(o, "address"));
	const char *held = yyjson_get_str(yyjson_obj_get(o, "held"));
	uint64_t port = yyjson_get_uint(yyjson_obj_get(o, "port"));

	*ret = (struct hold){.port = (uint16_t)port,
			     .since_ms = yyjson_get_uint(yyjson_obj_get(o, "sinceMs")),
			     .until_ms = yyjson_get_uint(yyjson_obj_get(o, "untilMs"))};
	if (!address || address_parse(address, &ret->addr) < 0 || !held || port > UINT16_MAX)
		return false;
	if (strcmp(held, kinds[SN_HOLD_EJECT]) != 0 && strcmp(held, kinds[SN_HOLD_DRAIN]) != 0)
		return false;
	ret->held = strcmp(held, kinds[SN_HOLD_EJECT]) == 0 ? SN_HOLD_EJECT : SN_HOLD_DRAIN;
	return copy(ret->namespace, sizeof(ret->namespace), o, "namespace") &&
	       copy(ret->name, sizeof(ret->name), o, "service") &&
	       copy(ret->reason, sizeof(ret->reason), o, "reason") &&
	       copy(ret->by, sizeof(ret->by), o, "by");
}

static int decode_items(yyjson_val *items, struct hold_list *ret)
{
	struct hold_list list = {};
	yyjson_val *item;
	size_t i, max;

	if (!yyjson_is_arr(items))
		return -EINVAL;
	list.items = calloc(yyjson_arr_size(items) + 1, sizeof(*list.items));
	if (!list.items)
		return -ENOMEM;
	yyjson_arr_foreach (items, i, max, item)
		if (list.n < LIMIT_HOLDS && decode_one(item, &list.items[list.n]))
			list.n++;
	*ret = list;
	return 0;
}

int holds_decode(const char *text, size_t length, struct hold_list *ret)
{
	yyjson_doc *doc = yyjson_read(text, length, 0);
	int r;

	if (!doc)
		return -EINVAL;
	r = decode_items(yyjson_obj_get(yyjson_doc_get_root(doc), "holds"), ret);
	yyjson_doc_free(doc);
	return r;
}
