/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See listing.h. Before: show.c took the references. After: stream.c hands the bytes on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/listing.h"
#include "control/view.h"

static void listing_free(struct stream *s)
{
	struct listing *l = container_of(s, struct listing, stream);
	size_t first = l->n - l->n_more;

	for (size_t i = 0; i < first; i++) {
		if (l->of == OBJECT_POLICY)
			policy_unref(l->policies[i]);
		else if (l->of == OBJECT_REGISTRATION)
			registration_unref(l->registrations[i]);
		else
			service_unref(l->services[i]);
	}
	(void)object_free_list(l->more, l->n_more);
	free(l->items);
	free(l->token);
	free(l);
}

static void head_write(struct listing *l)
{
	struct bytes *out = &l->stream.out;

	bytes_format(out, "{\"apiVersion\":\"" API_VERSION "\",\"kind\":\"%s\",\"metadata\":{",
		     l->kind);
	if (l->generation)
		bytes_format(out, "\"generation\":%llu", (unsigned long long)l->generation);
	/* Names are RFC 1123 labels: nothing in a token needs escaping. */
	if (l->token)
		bytes_format(out, "\"continue\":\"%s\"", l->token);
	bytes_text(out, "},\"items\":[");
	l->begun = true;
}

/* An array is written without its brackets; an empty one writes nothing. */
static void item_write(struct listing *l, const char *text, size_t length)
{
	if (l->is_flat && length >= 2) {
		text++;
		length -= 2;
	}
	if (!length)
		return;
	if (l->any)
		bytes_text(&l->stream.out, ",");
	bytes_append(&l->stream.out, text, length);
	l->any = true;
}

static int listing_step(struct stream *s)
{
	struct listing *l = container_of(s, struct listing, stream);
	_cleanup_free_ char *text = NULL;
	yyjson_mut_doc *doc;
	size_t length;
	int r;

	if (!l->begun)
		head_write(l);
	if (l->next == l->n) {
		bytes_text(&s->out, "]}\n");
		return 1;
	}
	doc = yyjson_mut_doc_new(NULL);
	if (!doc)
		return -ENOMEM;
	r = l->render(l, doc, l->next);
	if (!l->part)
		l->next++;
	if (r >= 0)
		text = yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, &length);
	yyjson_mut_doc_free(doc);
	if (!text)
		return r < 0 ? r : -ENOMEM;
	item_write(l, text, length);
	return 0;
}

int listing_new(const char *kind, int (*render)(struct listing *l, yyjson_mut_doc *doc, size_t i),
		size_t max, struct listing **ret)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->items = calloc(max + 1, sizeof(*l->items));
	if (!l->items) {
		free(l);
		return -ENOMEM;
	}
	l->kind = kind;
	l->of = OBJECT_SERVICE;
	l->render = render;
	l->stream.step = listing_step;
	l->stream.free = listing_free;
	*ret = l;
	return 0;
}

void listing_continue(struct listing *l, const char *namespace, const char *name)
{
	if (asprintf(&l->token, "%s/%s", namespace, name) < 0) {
		l->token = NULL;
		l->stream.out.failed = true;
	}
}
