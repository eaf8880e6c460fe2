/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See eureka_book.h. Before: eureka_apps.c. After: eureka.c. Two applications whose names become
 * the same label are two claims to one name: the first one has it until it is gone, and then the
 * next. It must never say the second one's instances under the first one's name.
 */
#include "registry/eureka_book.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/limits.h"

struct eureka_said {
	char name[LIMIT_NAME + 1];
	char *app;      /* whose it is */
	bool contested; /* another one would have it, too */
	uint64_t etag;
};

int eureka_book_init(struct eureka_book *b, const struct registry *r)
{
	*b = (struct eureka_book){.r = r};
	return draft_new(&b->draft);
}

static void forget(struct eureka_book *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->said[i].app);
	b->n = 0;
}

void eureka_book_done(struct eureka_book *b)
{
	forget(b);
	free(b->said);
	draft_free(b->draft);
}

__attribute__((format(printf, 3, 4))) static void leave_out(struct eureka_book *b, size_t n,
							    const char *format, ...)
{
	va_list args;

	b->left_out += n;
	va_start(args, format);
	(void)vsnprintf(b->left_text, sizeof(b->left_text), format, args);
	va_end(args);
}

/* Where it is, or would be. */
static size_t place(const struct eureka_book *b, const char *name, bool *ret_found)
{
	size_t from = 0, to = b->n;

	*ret_found = false;
	while (from < to) {
		size_t at = from + (to - from) / 2;
		int r = strcmp(b->said[at].name, name);

		*ret_found |= r == 0;
		if (r < 0)
			from = at + 1;
		else
			to = at;
	}
	return from;
}

static int remember(struct eureka_book *b, size_t at, const char *name, const char *app)
{
	char *copy = strdup(app);

	if (copy && b->n == b->room) {
		size_t room = b->room ? b->room * 2 : 64;
		struct eureka_said *said = realloc(b->said, room * sizeof(*said));

		if (said) {
			b->said = said;
			b->room = room;
		}
	}
	if (!copy || b->n == b->room) {
		free(copy);
		return -ENOMEM;
	}
	memmove(&b->said[at + 1], &b->said[at], (b->n - at) * sizeof(*b->said));
	b->said[at] = (struct eureka_said){.app = copy};
	(void)snprintf(b->said[at].name, sizeof(b->said[at].name), "%s", name);
	b->n++;
	return 0;
}

static void drop(struct eureka_book *b, size_t at)
{
	free(b->said[at].app);
	b->n--;
	memmove(&b->said[at], &b->said[at + 1], (b->n - at) * sizeof(*b->said));
}

static bool is_selected(const struct eureka_book *b, const char *app, const char *name)
{
	return registry_is_selected(b->r, name) || registry_is_selected(b->r, app);
}

/* 1 and the service; 0: there is none to be said. -ENOMEM. */
static int make(struct eureka_book *b, const struct eureka_instance *instances, size_t n,
		struct service **ret)
{
	const struct registry_config *config = b->r->config;
	struct eureka_wish wish = {.draft = b->draft,
				   .namespace = config->namespace ? config->namespace : "default",
				   .source = b->r->tag,
				   .zone = config->zone};
	int r = eureka_service(&wish, instances, n, ret);

	if (r == -ENODATA)
		leave_out(b, 1, "%.60s: no instance has a port", instances[0].app);
	else if (r < 0 && r != -ENOMEM)
		leave_out(b, 1, "%.60s cannot be a name", instances[0].app);
	else if (r >= 0 && wish.left_out)
		leave_out(b, wish.left_out,
			  "%.60s: %zu instances or labels without the port of the others, "
			  "or over a limit",
			  instances[0].app, wish.left_out);
	return r == -ENOMEM ? r : r >= 0;
}

/* EUREKA_UPSERT, or EUREKA_SAME as said before, of an application that may be said under its name;
 * remembers it. 0, -ENOMEM: as above. */
static int claim(struct eureka_book *b, const struct eureka_instance *instances, size_t n,
		 struct object *ret)
{
	const char *app = instances[0].app;
	char name[LIMIT_NAME + 1];
	bool found;
	size_t at;
	int r;

	if (draft_name(app, name) >= 0 && !is_selected(b, app, name))
		return 0;
	*ret = (struct object){.kind = OBJECT_SERVICE};
	r = make(b, instances, n, &ret->service);
	if (r <= 0)
		return r;
	at = place(b, ret->service->name, &found);
	r = 0;
	if (found && strcmp(b->said[at].app, app) != 0) {
		b->said[at].contested = true;
		leave_out(b, 1, "%.60s and %.60s would have the same name", app, b->said[at].app);
	} else {
		r = found ? 0 : remember(b, at, ret->service->name, app);
		if (r >= 0 && b->said[at].etag != ret->service->etag) {
			b->said[at].etag = ret->service->etag;
			return EUREKA_UPSERT;
		}
		if (r >= 0)
			r = EUREKA_SAME;
	}
	object_done(ret);
	return r;
}

int eureka_book_all(struct eureka_book *b, const struct eureka_apps *a, struct object **ret,
		    size_t *ret_n)
{
	size_t n_apps = 0, n = 0;
	struct object *objects;
	int r = 0;

	for (size_t i = 0; i < a->n; i++)
		n_apps += !i || strcmp(a->instances[i - 1].app, a->instances[i].app) != 0;
	objects = calloc(n_apps + 1, sizeof(*objects));
	if (!objects)
		return -ENOMEM;
	forget(b);
	b->left_out = 0;
	for (size_t i = 0, many = 0; r >= 0 && i < a->n; i += many) {
		size_t first;

		many = eureka_apps_find(a, a->instances[i].app, &first);
		r = claim(b, &a->instances[i], many, &objects[n]);
		n += r == EUREKA_UPSERT;
	}
	if (r < 0) {
		object_free_list(objects, n);
		forget(b);
		return r;
	}
	*ret = objects;
	*ret_n = n;
	return 0;
}

/* The first other application that can have this name, which `app` had. As claim() says. */
static int bequeath(struct eureka_book *b, const struct eureka_apps *a, const char *app,
		    const char *name, struct object *ret)
{
	char other[LIMIT_NAME + 1];
	size_t first;
	bool found;
	int r = 0;

	for (size_t i = 0, n; r == 0 && i < a->n; i += n) {
		n = eureka_apps_find(a, a->instances[i].app, &first);
		if (strcmp(a->instances[i].app, app) != 0 &&
		    draft_name(a->instances[i].app, other) >= 0 && !strcmp(other, name))
			r = claim(b, &a->instances[i], n, ret);
	}
	if (r > 0) /* and there may be a third */
		b->said[place(b, name, &found)].contested = true;
	return r;
}

int eureka_book_app(struct eureka_book *b, const struct eureka_apps *a, const char *app,
		    struct object *ret, char ret_name[static LIMIT_NAME + 1])
{
	char name[LIMIT_NAME + 1];
	size_t first, n = eureka_apps_find(a, app, &first), at;
	bool found, contested;
	int r = n ? claim(b, &a->instances[first], n, ret) : 0;

	if (r)
		return r == EUREKA_SAME ? 0 : r;
	if (draft_name(app, name) < 0)
		return 0;
	at = place(b, name, &found);
	if (!found || strcmp(b->said[at].app, app) != 0)
		return 0;
	contested = b->said[at].contested;
	drop(b, at);
	r = contested ? bequeath(b, a, app, name, ret) : 0;
	if (r)
		return r;
	memcpy(ret_name, name, sizeof(name));
	return EUREKA_REMOVE;
}

int eureka_book_again(struct eureka_book *b, const struct eureka_apps *a, const char *name,
		      struct object *ret)
{
	size_t left_out = b->left_out, first, n, at;
	bool found;
	int r;

	at = place(b, name, &found);
	if (!found)
		return EUREKA_REMOVE;
	n = eureka_apps_find(a, b->said[at].app, &first);
	*ret = (struct object){.kind = OBJECT_SERVICE};
	r = n ? make(b, &a->instances[first], n, &ret->service) : 0;
	b->left_out = left_out; /* counted when it was said first */
	return r > 0 ? EUREKA_UPSERT : r;
}
