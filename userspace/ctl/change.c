/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See change.h. A difference compares the sections of two objects line by line, without regard to
 * order: the order of endpoints means nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/change.h"
#include "ctl/field.h"
#include "ctl/output.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "model/codec.h"

#define LINES_MAX 50 /* objects told one by one, unless -o wide asks for all */

const char *change_noun(const char *kind)
{
	enum object_kind known = object_kind_find(kind);

	return known ? object_kind_noun(known) : kind;
}

/* --- sentences ----------------------------------------------------------------------------------
 */

static void put_subject(struct ctl *c, yyjson_val *change)
{
	(void)print_text(c->out, change_noun(field_text(change, "/kind")));
	fputc(c->o.format == FORMAT_NAME ? '/' : ' ', c->out);
	(void)print_text(c->out, field_text(change, "/namespace"));
	fputc('/', c->out);
	(void)print_text(c->out, field_text(change, "/name"));
}

static const char *done_word(const char *action)
{
	if (strcmp(action, "create") == 0)
		return "created";
	if (strcmp(action, "update") == 0)
		return "changed";
	return strcmp(action, "delete") == 0 ? "deleted" : action;
}

static void put_lines(struct ctl *c, yyjson_val *result, bool dry_run)
{
	yyjson_val *changes = field_get(result, "/changes");
	yyjson_val *change;
	size_t i, n;

	yyjson_arr_foreach (changes, i, n, change) {
		if (i >= LINES_MAX && c->o.format == FORMAT_TABLE)
			break;
		put_subject(c, change);
		fputs(dry_run ? " would be " : " ", c->out);
		(void)print_text(c->out, done_word(field_text(change, "/action")));
		fputc('\n', c->out);
	}
	if (n > LINES_MAX && c->o.format == FORMAT_TABLE)
		fprintf(c->out, "... and %zu more (-o wide shows all)\n", n - LINES_MAX);
}

static void put_names(struct ctl *c, yyjson_val *result)
{
	yyjson_val *changes = field_get(result, "/changes");
	yyjson_val *change;
	size_t i, n;

	yyjson_arr_foreach (changes, i, n, change) {
		put_subject(c, change);
		fputc('\n', c->out);
	}
}

/* "2 created, 1 changed, 211 unchanged" */
static void put_sum(struct ctl *c, yyjson_val *result, bool dry_run)
{
	static const struct {
		const char *pointer, *done, *planned;
	} parts[] = {{"/created", "created", "would be created"},
		     {"/changed", "changed", "would change"},
		     {"/deleted", "deleted", "would be deleted"}};
	size_t shown = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		uint64_t n = field_count(result, parts[i].pointer);

		if (n > 0)
			fprintf(c->out, "%s%" PRIu64 " %s", shown++ ? ", " : "", n,
				dry_run ? parts[i].planned : parts[i].done);
	}
	if (shown == 0)
		fputs(dry_run ? "nothing would change" : "nothing changed", c->out);
	fprintf(c->out, ", %" PRIu64 " unchanged\n", field_count(result, "/unchanged"));
}

/* --- differences --------------------------------------------------------------------------------
 */

/* "10.0.1.7:8080 weight 100 zone a" of an endpoint, "80/TCP http" of a port, else compact JSON. */
static void format_entry(FILE *f, const char *section, yyjson_val *entry)
{
	_cleanup_free_ char *text = NULL;
	bool six = strchr(field_text(entry, "/address"), ':') != NULL;

	if (yyjson_is_str(entry)) {
		fputs(yyjson_get_str(entry), f);
	} else if (strcmp(section, "endpoints") == 0 && !field_has(entry, "/ports")) {
		fprintf(f, six && field_has(entry, "/port") ? "[%s]" : "%s",
			field_text(entry, "/address"));
		if (field_has(entry, "/port"))
			fprintf(f, ":%" PRIu64, field_count(entry, "/port"));
		fprintf(f, " weight %" PRIu64,
			field_has(entry, "/weight") ? field_count(entry, "/weight") : 100);
		if (field_has(entry, "/zone"))
			fprintf(f, " zone %s", field_text(entry, "/zone"));
	} else if (strcmp(section, "ports") == 0 && field_has(entry, "/port")) {
		fprintf(f, "%" PRIu64 "/%s%s%s", field_count(entry, "/port"),
			field_has(entry, "/protocol") ? field_text(entry, "/protocol") : "TCP",
			field_has(entry, "/name") ? " " : "", field_text(entry, "/name"));
	} else {
		text = yyjson_val_write(entry, 0, NULL);
		fputs(text ? text : "?", f);
	}
}

/* The lines of one section of one object. */
struct lines {
	char **items;
	size_t n;
	bool *met; /* has an equal in the other object */
};

static void lines_done(struct lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
	free(l->met);
}

static bool lines_add(struct lines *l, const char *section, const char *key, yyjson_val *value)
{
	size_t size;
	FILE *f = open_memstream(&l->items[l->n], &size);

	if (!f)
		return false;
	if (key)
		fprintf(f, "%s: ", key);
	format_entry(f, section, value);
	if (fclose(f) != 0)
		return false;
	l->n++;
	return true;
}

static bool lines_init(struct lines *l, const char *section, yyjson_val *value)
{
	size_t room = value && yyjson_is_ctn(value) ? unsafe_yyjson_get_len(value) : 1;
	yyjson_val *key, *item;
	size_t i, n;
	bool ok = true;

	*l = (struct lines){.items = calloc(room + 1, sizeof(*l->items)),
			    .met = calloc(room + 1, sizeof(*l->met))};
	if (!l->items || !l->met)
		return false;
	if (yyjson_is_arr(value)) {
		yyjson_arr_foreach (value, i, n, item)
			ok = ok && lines_add(l, section, NULL, item);
	} else if (yyjson_is_obj(value)) {
		yyjson_obj_foreach (value, i, n, key, item)
			ok = ok && lines_add(l, section, yyjson_get_str(key), item);
	} else if (value && !yyjson_is_null(value)) {
		ok = lines_add(l, section, NULL, value);
	}
	return ok;
}

/* Pairs equal lines, each once. Sections are short, or long and mostly equal in the same order. */
static void lines_match(struct lines *a, struct lines *b)
{
	size_t from = 0;

	for (size_t i = 0; i < a->n; i++) {
		for (size_t k = 0; k < b->n; k++) {
			size_t at = (from + k) % b->n;

			if (b->met[at] || strcmp(a->items[i], b->items[at]) != 0)
				continue;
			a->met[i] = b->met[at] = true;
			from = at + 1;
			break;
		}
	}
}

static size_t lines_left(const struct lines *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += !l->met[i];
	return n;
}

static void put_left(struct ctl *c, const struct lines *l, char sign)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->met[i])
			continue;
		print_style_on(c->out, c->colour, sign == '+' ? STYLE_GOOD : STYLE_BAD);
		fprintf(c->out, "  %c   ", sign);
		(void)print_text(c->out, l->items[i]);
		print_style_off(c->out, c->colour, STYLE_GOOD);
		fputc('\n', c->out);
	}
}

static int diff_section(struct ctl *c, const char *section, yyjson_val *old, yyjson_val *new)
{
	struct lines a = {0}, b = {0};
	int r = -ENOMEM;

	if (lines_init(&a, section, old) && lines_init(&b, section, new)) {
		lines_match(&a, &b);
		if (lines_left(&a) + lines_left(&b) > 0) {
			fputs("    ", c->out);
			(void)print_text(c->out, section);
			fputs(":\n", c->out);
			put_left(c, &a, '-');
			put_left(c, &b, '+');
		}
		r = 0;
	}
	lines_done(&a);
	lines_done(&b);
	return r < 0 ? report_error(c, r, "out of memory") : 0;
}

/* The sections of `all`, compared with those of `other`. `news`: all is the new object; otherwise
 * only what the other has not is shown. */
static int diff_side(struct ctl *c, yyjson_val *all, yyjson_val *other, bool news)
{
	yyjson_val *key, *value, *twin;
	size_t i, n;
	int r = 0;

	if (!yyjson_is_obj(all))
		return 0;
	yyjson_obj_foreach (all, i, n, key, value) {
		twin = other ? yyjson_obj_get(other, yyjson_get_str(key)) : NULL;
		if (r >= 0 && news)
			r = diff_section(c, yyjson_get_str(key), twin, value);
		else if (r >= 0 && !twin)
			r = diff_section(c, yyjson_get_str(key), value, NULL);
	}
	return r;
}

static int diff_sections(struct ctl *c, yyjson_val *old, yyjson_val *new)
{
	int r = diff_side(c, new, old, true);

	return r < 0 ? r : diff_side(c, old, new, false);
}

static int diff_object(struct ctl *c, yyjson_val *change)
{
	yyjson_val *old = field_get(change, "/old"), *new = field_get(change, "/new");
	int r;

	old = yyjson_is_null(old) ? NULL : old;
	new = yyjson_is_null(new) ? NULL : new;
	print_style_on(c->out, c->colour, STYLE_BOLD);
	fputs(!old ? "+ " : !new ? "- " : "~ ", c->out);
	put_subject(c, change);
	print_style_off(c->out, c->colour, STYLE_BOLD);
	fputc('\n', c->out);
	r = diff_section(c, "labels", field_get(old, "/metadata/labels"),
			 field_get(new, "/metadata/labels"));
	if (r < 0)
		return r;
	return diff_sections(c, field_get(old, "/spec"), field_get(new, "/spec"));
}

static int put_diff(struct ctl *c, yyjson_val *result)
{
	yyjson_val *changes = field_get(result, "/changes");
	yyjson_val *change;
	size_t i, n;
	int r = 0;

	yyjson_arr_foreach (changes, i, n, change) {
		if (r >= 0)
			r = diff_object(c, change);
	}
	return r;
}

int change_print(struct ctl *c, yyjson_val *result, bool dry_run)
{
	int r = 0;

	if (output_is_data(c))
		return output_value(c, result);
	if (c->o.format == FORMAT_NAME) {
		put_names(c, result);
		return 0;
	}
	if (c->o.format == FORMAT_DIFF)
		r = put_diff(c, result);
	else
		put_lines(c, result, dry_run);
	if (r < 0)
		return r;
	put_sum(c, result, dry_run);
	return 0;
}
