/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See select.h. Names are matched here, not by the daemon: a list is one question whatever the
 * number of names, and "no such service" can then say what there is instead.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/report.h"
#include "ctl/select.h"

#define PAGES_MAX 4096

const char *select_subject(const struct noun *n, const struct select_name *name,
			   char buf[static SELECT_SUBJECT])
{
	(void)snprintf(buf, SELECT_SUBJECT, "%s %s%s%s", n->singular, name->namespace,
		       *name->namespace ? "/" : "", name->name);
	return buf;
}

static int find_noun(struct ctl *c, const char *word, const struct noun **ret)
{
	const char *near;

	*ret = noun_find(word);
	if (*ret)
		return 0;
	near = option_suggest(word, noun_spellings);
	if (near)
		return report_usage(c, "unknown noun \"%s\"; did you mean \"%s\"?", word, near);
	return report_usage(c,
			    "unknown noun \"%s\"; nouns are services, endpoints, policies, "
			    "registries, sources, workloads, flows, registrations and listeners",
			    word);
}

/* "[namespace/]name"; names of sources hold slashes themselves. */
static int add_name(struct ctl *c, struct select *s, const char *text)
{
	const char *slash = s->noun->namespace_at ? strchr(text, '/') : NULL;
	struct select_name *name = &s->names[s->n];
	size_t before = slash ? (size_t)(slash - text) : 0;
	const char *after = slash ? slash + 1 : text;

	if (s->n >= SELECT_NAMES_MAX)
		return report_usage(c, "more than %d names", SELECT_NAMES_MAX);
	if (!*after || before >= sizeof(name->namespace) || strlen(after) >= sizeof(name->name) ||
	    (slash && before == 0))
		return report_usage(c, "\"%s\" is no name of a %s", text, s->noun->singular);
	if (slash && c->o.namespace &&
	    (strlen(c->o.namespace) != before || strncmp(c->o.namespace, text, before) != 0))
		return report_usage(c, "%s: not in namespace %s, which -n asks for", text,
				    c->o.namespace);
	(void)snprintf(name->namespace, sizeof(name->namespace), "%.*s", (int)before, text);
	if (!slash && s->noun->namespace_at && c->o.namespace)
		(void)snprintf(name->namespace, sizeof(name->namespace), "%s", c->o.namespace);
	(void)snprintf(name->name, sizeof(name->name), "%s", after);
	s->n++;
	return 0;
}

/* "service/shop/payments" as one operand, the form that -o name prints. */
static int parse_joined(struct ctl *c, const char *text, struct select *s)
{
	const char *slash = strchr(text, '/');
	char word[32];
	int r;

	if ((size_t)(slash - text) >= sizeof(word))
		return report_usage(c, "unknown noun in \"%s\"", text);
	(void)snprintf(word, sizeof(word), "%.*s", (int)(slash - text), text);
	if (!s->noun) {
		r = find_noun(c, word, &s->noun);
		if (r < 0)
			return r;
	} else if (noun_find(word) != s->noun) {
		return report_usage(c, "%s: one command is about one kind of object", text);
	}
	return add_name(c, s, slash + 1);
}

int select_parse(struct ctl *c, struct select *ret)
{
	int r = 0;

	*ret = (struct select){0};
	if (strchr(c->operands[0], '/')) {
		for (int i = 0; i < c->n_operands && r >= 0; i++) {
			if (!strchr(c->operands[i], '/'))
				return report_usage(c,
						    "%s: expected NOUN/NAMESPACE/NAME like the "
						    "first one",
						    c->operands[i]);
			r = parse_joined(c, c->operands[i], ret);
		}
		return r;
	}
	r = find_noun(c, c->operands[0], &ret->noun);
	for (int i = 1; i < c->n_operands && r >= 0; i++)
		r = add_name(c, ret, c->operands[i]);
	return r;
}

static bool is_selected(struct ctl *c, const struct select *s, yyjson_val *item, bool *seen)
{
	const char *namespace = noun_namespace(s->noun, item);
	const char *name = noun_name(s->noun, item);
	bool any = s->n == 0;

	if (s->noun->namespace_at && c->o.namespace && !c->o.all_namespaces &&
	    strcmp(c->o.namespace, namespace) != 0)
		return false;
	for (size_t i = 0; i < s->n; i++) {
		const struct select_name *want = &s->names[i];

		if (strcmp(want->name, name) != 0 ||
		    (*want->namespace && strcmp(want->namespace, namespace) != 0))
			continue;
		seen[i] = true;
		any = true;
	}
	return any;
}

/* Copies the selected items of one page to the list's end; `seen` marks the names that were met. */
static int take_page(struct ctl *c, const struct select *s, yyjson_mut_doc *list, yyjson_val *page,
		     bool *seen)
{
	yyjson_mut_val *items = yyjson_mut_obj_get(yyjson_mut_doc_get_root(list), "items");
	yyjson_val *source = yyjson_obj_get(page, "items");
	yyjson_val *item;
	size_t i, n;

	if (!yyjson_is_arr(source))
		return report_error(c, -EIO, "%s: the answer is no list of %s", c->socket,
				    s->noun->name);
	yyjson_arr_foreach (source, i, n, item) {
		yyjson_mut_val *copy;

		if (!is_selected(c, s, item, seen))
			continue;
		copy = yyjson_val_mut_copy(list, item);
		if (!copy || !yyjson_mut_arr_append(items, copy))
			return report_error(c, -ENOMEM, "out of memory");
	}
	return 0;
}

/* The list's frame: everything of the first page but its items and its place in the whole. */
static yyjson_mut_doc *new_list(yyjson_val *page)
{
	yyjson_mut_doc *list = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = list ? yyjson_mut_obj(list) : NULL;
	yyjson_val *key, *value;
	size_t i, n;

	if (!root)
		return NULL;
	yyjson_mut_doc_set_root(list, root);
	if (!yyjson_is_obj(page))
		return list; /* take_page tells it */
	yyjson_obj_foreach (page, i, n, key, value) {
		yyjson_mut_val *name = yyjson_val_mut_copy(list, key);
		yyjson_mut_val *copy = yyjson_equals_str(key, "items")
					       ? yyjson_mut_arr(list)
					       : yyjson_val_mut_copy(list, value);

		(void)yyjson_mut_obj_add(root, name, copy);
	}
	(void)yyjson_mut_obj_remove_key(yyjson_mut_obj_get(root, "metadata"), "continue");
	return list;
}

static void page_path(struct ctl *c, const struct select *s, const char *next,
		      struct client_path *ret)
{
	char limit[24];

	client_path_init(ret, s->noun->path);
	if (s->noun->namespace_at && c->o.namespace && !c->o.all_namespaces)
		client_path_query(ret, "namespace", c->o.namespace);
	if (s->noun == &noun_flow) {
		(void)snprintf(limit, sizeof(limit), "%" PRIu64, c->o.limit);
		client_path_query(ret, "limit", limit);
	}
	client_path_query(ret, "continue", *next ? next : NULL);
}

/* All pages into one mutable list. */
static int fetch_pages(struct ctl *c, const struct select *s, yyjson_mut_doc **ret, bool *seen)
{
	struct client_path path;
	char next[512] = "", last[512];
	int r = 0;

	for (size_t i = 0; r >= 0; i++) {
		yyjson_doc *doc = NULL;
		yyjson_val *root;

		(void)snprintf(last, sizeof(last), "%s", next);

		page_path(c, s, next, &path);
		r = client_get(c, &path, NULL, &doc);
		if (r < 0)
			return r;
		root = yyjson_doc_get_root(doc);
		if (!*ret)
			*ret = new_list(root);
		r = *ret ? take_page(c, s, *ret, root, seen)
			 : report_error(c, -ENOMEM, "out of memory");
		(void)snprintf(next, sizeof(next), "%s", field_text(root, "/metadata/continue"));
		yyjson_doc_free(doc);
		if (!*next)
			break;
		if (r >= 0 && (i == PAGES_MAX || strcmp(next, last) == 0))
			r = report_error(c, -EIO, "%s: the list's pages come to no end", c->socket);
	}
	return r;
}

static int check_seen(struct ctl *c, const struct select *s, const bool *seen)
{
	char subject[SELECT_SUBJECT];
	int r = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!seen[i])
			r = report_error(c, -ENOENT, "there is no %s",
					 select_subject(s->noun, &s->names[i], subject));
	return r;
}

int select_fetch(struct ctl *c, const struct select *s, yyjson_doc **ret)
{
	bool seen[SELECT_NAMES_MAX] = {false};
	yyjson_mut_doc *list = NULL;
	yyjson_doc *doc = NULL;
	int r;

	client_turn(c, s->noun->peer);
	r = fetch_pages(c, s, &list, seen);
	if (r >= 0)
		r = check_seen(c, s, seen);
	if (r >= 0) {
		doc = yyjson_mut_doc_imut_copy(list, NULL);
		if (!doc)
			r = report_error(c, -ENOMEM, "out of memory");
	}
	yyjson_mut_doc_free(list);
	if (r < 0)
		return r;
	*ret = doc;
	return 0;
}

int select_fetch_one(struct ctl *c, const struct select *s, const struct select_name *name,
		     yyjson_doc **ret)
{
	struct client_path path;
	char subject[SELECT_SUBJECT];

	client_path_init(&path, s->noun->path);
	if (s->noun->namespace_at)
		client_path_segment(&path, name->namespace);
	client_path_segment(&path, name->name);
	return client_get(c, &path, select_subject(s->noun, name, subject), ret);
}
