/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See refused.h. Between push.c and what it leaves out; must never leave out more than was named.
 */
#include "agent/refused.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

const char *refused_name(const struct object *o, char buf[static 136])
{
	(void)snprintf(buf, 136, "%s/%s", object_namespace(o), object_name(o));
	return buf;
}

static size_t bucket_of(enum object_kind kind, const char *name)
{
	return text_hash(name, strlen(name), kind) & (REFUSED_BUCKETS - 1);
}

/* Where its index + 1 stands, or the 0 at the end of its bucket. */
static uint32_t *find(struct refused *f, enum object_kind kind, const char *name)
{
	uint32_t *at = &f->buckets[bucket_of(kind, name)];

	while (*at) {
		struct refused_item *item = &f->items[*at - 1];

		if (item->kind == kind && !strcmp(item->name, name))
			break;
		at = &item->next;
	}
	return at;
}

bool refused_has(const struct refused *f, const struct object *o)
{
	char name[136];

	return f->n && *find((struct refused *)f, o->kind, refused_name(o, name));
}

bool refused_is_for_room(const struct refused *f, const struct object *o)
{
	char name[136];
	uint32_t at = f->n_room ? *find((struct refused *)f, o->kind, refused_name(o, name)) : 0;

	return at && f->items[at - 1].room;
}

bool refused_has_name(const struct refused *f, const struct object_name *name)
{
	char text[136];

	if (!f->n)
		return false;
	(void)snprintf(text, sizeof(text), "%s/%s", name->namespace, name->name);
	return *find((struct refused *)f, name->kind, text);
}

/* The last one takes the place of the one that goes. */
void refused_forget(struct refused *f, enum object_kind kind, const char *name)
{
	uint32_t *at = find(f, kind, name), index = *at;
	struct refused_item *last;

	if (!index)
		return;
	f->n_room -= f->items[index - 1].room;
	*at = f->items[index - 1].next;
	last = &f->items[f->n - 1];
	if (index != f->n) {
		*find(f, last->kind, last->name) = index;
		f->items[index - 1] = *last;
	}
	f->n--;
}

void refused_clear(struct refused *f)
{
	free(f->items);
	*f = (struct refused){};
}

static bool make_room(struct refused *f)
{
	size_t capacity = f->capacity ? 2 * f->capacity : 32;
	struct refused_item *grown;

	if (f->n < f->capacity)
		return true;
	if (f->n >= REFUSED_MAX)
		return false;
	grown = reallocarray(f->items, capacity, sizeof(*grown));
	if (!grown)
		return false;
	f->items = grown;
	f->capacity = capacity;
	return true;
}

static size_t add(struct refused *f, enum object_kind kind, const char *name, const char *reason)
{
	struct refused_item *item;

	if (*find(f, kind, name) || !make_room(f))
		return 0;
	item = &f->items[f->n++];
	item->next = 0;
	*find(f, kind, name) = (uint32_t)f->n;
	item->kind = kind;
	item->room = false;
	(void)snprintf(item->name, sizeof(item->name), "%s", name);
	(void)snprintf(item->reason, sizeof(item->reason), "%s", reason);
	text_make_printable(item->reason); /* it may have been cut within a character */
	return 1;
}

bool refused_add_room(struct refused *f, const struct object *o, const char *reason)
{
	char name[136];

	if (!add(f, o->kind, refused_name(o, name), reason))
		return false;
	f->items[f->n - 1].room = true;
	f->n_room++;
	return true;
}

/* From the end: what takes the place of one that goes has been looked at. */
void refused_forget_room(struct refused *f)
{
	for (size_t i = f->n; f->n_room && i > 0; i--)
		if (f->items[i - 1].room)
			refused_forget(f, f->items[i - 1].kind, f->items[i - 1].name);
}

/* "service shop/payments: its address ..." */
static size_t learn_words(struct refused *f, const char *detail)
{
	const char *word = strncmp(detail, "service ", 8) == 0  ? detail + 8
			   : strncmp(detail, "policy ", 7) == 0 ? detail + 7
								: NULL;
	const char *colon = word ? strstr(word, ": ") : NULL;
	char name[136];

	if (!colon || (size_t)(colon - word) >= sizeof(name))
		return 0;
	(void)snprintf(name, sizeof(name), "%.*s", (int)(colon - word), word);
	if (!strchr(name, '/'))
		return 0;
	return add(f, word == detail + 8 ? OBJECT_SERVICE : OBJECT_POLICY, name, colon + 2);
}

size_t refused_learn(struct refused *f, yyjson_val *problem, const char *list,
		     const struct object *sent, size_t n)
{
	yyjson_val *errors = yyjson_obj_get(problem, "errors"), *error;
	size_t skip = strlen(list), learned = 0, i, max;
	char name[136];

	if (!yyjson_is_arr(errors))
		return learn_words(f, yyjson_get_str(yyjson_obj_get(problem, "detail")) ?: "");
	yyjson_arr_foreach (errors, i, max, error) {
		const char *pointer = yyjson_get_str(yyjson_obj_get(error, "pointer")) ?: "";
		const char *detail = yyjson_get_str(yyjson_obj_get(error, "detail")) ?: "";
		bool indexed =
			strncmp(pointer, list, skip) == 0 && isdigit((unsigned char)pointer[skip]);
		size_t at = indexed ? strtoul(pointer + skip, NULL, 10) : n;

		if (at < n)
			learned += add(f, sent[at].kind, refused_name(&sent[at], name), detail);
		else
			learned += learn_words(f, detail);
	}
	return learned;
}
