/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See input.h. Before: the command line. After: verb_apply.c and verb_delete.c.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <yyjson.h>

#include "ctl/input.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "model/limits.h"

static int add_name(struct ctl *c, struct input *in, const char *name)
{
	char *copy;

	if (in->n >= INPUT_FILES_MAX)
		return report_usage(c, "more than %d manifests", INPUT_FILES_MAX);
	copy = strdup(name);
	if (!copy)
		return report_error(c, -ENOMEM, "out of memory");
	in->names[in->n++] = copy;
	return 0;
}

static int is_manifest(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return entry->d_name[0] != '.' && dot &&
	       (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0 || strcmp(dot, ".json") == 0);
}

/* The manifests of a folder, by name; not those of folders below. */
static int add_folder(struct ctl *c, struct input *in, const char *folder)
{
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, is_manifest, alphasort);
	int r = 0;

	if (n < 0)
		return report_error(c, errno == EACCES ? -EACCES : -EIO, "%s: %s", folder,
				    strerror(errno));
	if (n == 0)
		r = report_usage(c, "%s: holds no *.yaml, *.yml or *.json", folder);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = NULL;

		if (r >= 0 &&
		    asprintf(&path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/",
			     entries[i]->d_name) < 0) {
			path = NULL;
			r = report_error(c, -ENOMEM, "out of memory");
		}
		if (r >= 0)
			r = add_name(c, in, path);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int add_argument(struct ctl *c, struct input *in, const char *name)
{
	struct stat st;

	if (strcmp(name, "-") == 0)
		return add_name(c, in, name);
	if (stat(name, &st) < 0) {
		int error = errno;

		return report_error(c, error == EACCES ? -EACCES : -EIO, "%s: %s; nothing was %s",
				    name, strerror(error), in->done);
	}
	if (S_ISDIR(st.st_mode))
		return add_folder(c, in, name);
	return add_name(c, in, name);
}

/* A whole stream, at most LIMIT_MANIFEST. -EFBIG when there is more. */
static int read_stream(FILE *f, char **ret, size_t *ret_length)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0, capacity = 0;

	for (;;) {
		size_t got;

		if (n + 1 >= capacity) {
			size_t larger = capacity ? 2 * capacity : 65536;
			char *grown = realloc(text, larger);

			if (!grown)
				return -ENOMEM;
			text = grown;
			capacity = larger;
		}
		got = fread(text + n, 1, capacity - n - 1, f);
		n += got;
		if (n > LIMIT_MANIFEST)
			return -EFBIG;
		if (got == 0)
			break;
	}
	if (ferror(f))
		return errno > 0 ? -errno : -EIO;
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	*ret_length = n;
	return 0;
}

static int read_file(const char *name, char **ret, size_t *ret_length)
{
	_cleanup_fclose_ FILE *f = NULL;

	if (strcmp(name, "-") == 0)
		return read_stream(stdin, ret, ret_length);
	f = fopen(name, "re");
	if (!f)
		return -errno;
	return read_stream(f, ret, ret_length);
}

static int parse_file(struct ctl *c, struct input *in, size_t i)
{
	const char *name = in->names[i];
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r;

	r = read_file(name, &text, &length);
	if (r == -EFBIG)
		return report_error(c, -EINVAL, "%s: a manifest may have %u MiB; nothing was %s",
				    name, LIMIT_MANIFEST >> 20, in->done);
	if (r < 0)
		return report_error(c, r == -EACCES ? -EACCES : -EIO, "%s: %s; nothing was %s",
				    name, strerror(-r), in->done);
	r = manifest_parse(strcmp(name, "-") == 0 ? "stdin" : name, text, length,
			   &in->manifests[i]);
	if (r < 0)
		return report_error(c, r == -E2BIG ? -EINVAL : -EIO, "%s: %s; nothing was %s", name,
				    strerror(-r), in->done);
	return 0;
}

static size_t count_errors(const struct input *in)
{
	size_t n = 0;

	for (size_t i = 0; i < in->n; i++)
		n += in->manifests[i].n_errors + in->manifests[i].more_errors;
	return n;
}

static void print_errors(struct ctl *c, const struct manifest *m)
{
	for (size_t i = 0; i < m->n_errors; i++) {
		(void)print_text(c->err, m->name);
		if (m->errors[i].line > 0)
			fprintf(c->err, ":%zu:%zu", m->errors[i].line, m->errors[i].column);
		fputs(": ", c->err);
		(void)print_text(c->err, m->errors[i].message);
		fputc('\n', c->err);
	}
	if (m->more_errors > 0)
		fprintf(c->err, "%s: %zu more errors\n", m->name, m->more_errors);
}

static void write_errors(struct ctl *c, const struct input *in, const char *detail)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
	_cleanup_free_ char *text = NULL;
	yyjson_mut_val *list;

	if (root) {
		yyjson_mut_doc_set_root(doc, root);
		(void)yyjson_mut_obj_add_str(doc, root, "type", "about:blank");
		(void)yyjson_mut_obj_add_str(doc, root, "title", "the manifests have errors");
		(void)yyjson_mut_obj_add_int(doc, root, "exitCode", 2);
		(void)yyjson_mut_obj_add_str(doc, root, "detail", detail);
		list = yyjson_mut_obj_add_arr(doc, root, "errors");
		for (size_t i = 0; i < in->n; i++)
			for (size_t k = 0; k < in->manifests[i].n_errors; k++) {
				const struct manifest_error *e = &in->manifests[i].errors[k];
				yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, list);

				(void)yyjson_mut_obj_add_str(doc, item, "file",
							     in->manifests[i].name);
				(void)yyjson_mut_obj_add_uint(doc, item, "line", e->line);
				(void)yyjson_mut_obj_add_uint(doc, item, "column", e->column);
				(void)yyjson_mut_obj_add_str(doc, item, "detail", e->message);
			}
		text = yyjson_mut_write(
			doc, YYJSON_WRITE_ESCAPE_UNICODE | YYJSON_WRITE_ALLOW_INVALID_UNICODE,
			NULL);
	}
	fprintf(c->err, "%s\n", text ? text : "{\"title\":\"out of memory\"}");
	yyjson_mut_doc_free(doc);
}

static int report_errors(struct ctl *c, const struct input *in, size_t n)
{
	char detail[64];

	(void)snprintf(detail, sizeof(detail), "nothing was %s (%zu error%s)", in->done, n,
		       n == 1 ? "" : "s");
	if (c->o.format == FORMAT_JSON) {
		write_errors(c, in, detail);
		return -EINVAL;
	}
	for (size_t i = 0; i < in->n; i++)
		print_errors(c, &in->manifests[i]);
	fprintf(c->err, "%s\n", detail);
	return -EINVAL;
}

static int read_all(struct ctl *c, struct input *in)
{
	size_t n_errors;
	int r = 0;

	for (size_t i = 0; i < c->o.files.n && r >= 0; i++)
		r = add_argument(c, in, c->o.files.items[i]);
	for (size_t i = 0; i < in->n && r >= 0; i++) {
		r = parse_file(c, in, i);
		in->n_objects += r < 0 ? 0 : in->manifests[i].n;
	}
	if (r < 0)
		return r;
	n_errors = count_errors(in);
	if (n_errors > 0)
		return report_errors(c, in, n_errors);
	return 0;
}

int input_read(struct ctl *c, const char *done, struct input *ret)
{
	struct input in = {.done = done};
	int r;

	in.names = calloc(INPUT_FILES_MAX, sizeof(*in.names));
	in.manifests = calloc(INPUT_FILES_MAX, sizeof(*in.manifests));
	r = in.names && in.manifests ? read_all(c, &in) : report_error(c, -ENOMEM, "out of memory");
	if (r < 0) {
		input_done(&in);
		return r;
	}
	*ret = in;
	return 0;
}

void input_done(struct input *in)
{
	for (size_t i = 0; i < in->n; i++) {
		manifest_done(&in->manifests[i]);
		free(in->names[i]);
	}
	free(in->names);
	free(in->manifests);
	*in = (struct input){0};
}

const struct manifest *input_find(const struct input *in, size_t i, size_t *ret_at)
{
	for (size_t k = 0; k < in->n; k++) {
		if (i < in->manifests[k].n) {
			*ret_at = i;
			return &in->manifests[k];
		}
		i -= in->manifests[k].n;
	}
	return NULL;
}
