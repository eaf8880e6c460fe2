/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * explain, why: what a connect would get. The daemon asks the kernel's own selection code; here
 * names become what it understands, and its lines are printed.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/output.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/verb.h"
#include "ctl/workload.h"
#include "model/address.h"

#define DESTINATION_TEXT 256

/* "payments.shop:80" is how programs would write it; the API says "shop/payments:80". Addresses and
 * what has a slash stay as they are. */
static const char *translate(const char *text, char buf[static DESTINATION_TEXT])
{
	const char *colon = strchr(text, ':');
	size_t host = colon ? (size_t)(colon - text) : strlen(text);
	const char *dot = memchr(text, '.', host);
	struct sn_addr addr;
	uint16_t port;
	int r;

	r = address_parse_port(text, &addr, &port);
	if (r >= 0 || strchr(text, '/') || host == 0 || host > 140 || text[0] == '[')
		return text;
	if (!dot)
		(void)snprintf(buf, DESTINATION_TEXT, "default/%s", text);
	else
		(void)snprintf(buf, DESTINATION_TEXT, "%.*s/%.*s%.64s",
			       (int)(host - (size_t)(dot + 1 - text)), dot + 1, (int)(dot - text),
			       text, colon ? colon : "");
	return buf;
}

static int find_workload(struct ctl *c, const char *name, struct workload *ret)
{
	static const struct workload_roots roots = {.proc = "/proc"};
	int r;

	r = workload_find(&roots, name, ret);
	switch (r) {
	case 0:
		return 0;
	case -ESRCH:
		return report_error(c, -ENOENT, "there is no process %s", name);
	case -ENOENT:
		return report_error(c, -ENOENT,
				    "%s: no process id, no cgroup and no running systemd unit",
				    name);
	case -EEXIST:
		return report_usage(c, "%s: more than one cgroup has that name; give its path",
				    name);
	case -ENODEV:
		return report_error(c, -EIO, "cgroup v2 is not mounted here");
	default:
		return report_error(c, r == -EACCES ? r : -EIO, "%s: %s", name, strerror(-r));
	}
}

static enum print_style style_of(const char *line, yyjson_val *answer)
{
	const char *outcome = field_text(answer, "/decision/outcome");

	if (strncmp(line, "would pick", 10) == 0)
		return STYLE_GOOD;
	return strncmp(line, "refused", 7) == 0 && strcmp(outcome, "refused") == 0 ? STYLE_BAD
										   : STYLE_PLAIN;
}

static void print_lines(struct ctl *c, yyjson_val *answer)
{
	yyjson_val *lines = field_get(answer, "/lines");
	yyjson_val *line;
	size_t i, n;

	yyjson_arr_foreach (lines, i, n, line) {
		const char *text = yyjson_get_str(line);
		enum print_style style = text ? style_of(text, answer) : STYLE_PLAIN;

		print_style_on(c->out, c->colour, style);
		(void)print_text(c->out, text);
		print_style_off(c->out, c->colour, style);
		fputc('\n', c->out);
	}
}

static int ask(struct ctl *c, const char *destination, const struct workload *w, yyjson_doc **ret)
{
	char name[DESTINATION_TEXT], id[24] = "", mark[24] = "";
	struct client_path path;

	(void)snprintf(id, sizeof(id), "%" PRIu64, w->id);
	(void)snprintf(mark, sizeof(mark), "%" PRIu64, c->o.mark);
	client_path_init(&path, "/v1/explain");
	client_path_query(&path, "destination", translate(destination, name));
	client_path_query(&path, "protocol", c->o.protocol);
	client_path_query(&path, "cgroup", w->id ? id : NULL);
	client_path_query(&path, "mark", c->o.mark ? mark : NULL);
	return client_get(c, &path, NULL, ret);
}

/* The workload that was asked about, and whether the programs run on its sockets at all. */
struct subject {
	const char *name; /* NULL: nobody in particular */
	struct workload w;
	char served[4096]; /* the cgroup that sinewd is attached to */
	bool is_served;
};

static int ask_served(struct ctl *c, struct subject *s)
{
	struct client_path path;
	yyjson_doc *doc = NULL;
	size_t length;
	int r;

	client_path_init(&path, "/v1/status");
	r = client_get(c, &path, NULL, &doc);
	if (r < 0)
		return r;
	(void)snprintf(s->served, sizeof(s->served), "%s",
		       field_text(yyjson_doc_get_root(doc), "/cgroup"));
	yyjson_doc_free(doc);
	length = strlen(s->served);
	s->is_served = length == 0 || (strncmp(s->w.path, s->served, length) == 0 &&
				       (s->w.path[length] == '/' || s->w.path[length] == '\0'));
	return 0;
}

static void print_subject(struct ctl *c, const struct subject *s)
{
	(void)print_text(c->out, s->name);
	fprintf(c->out, " is cgroup %" PRIu64 " (", s->w.id);
	(void)print_text(c->out, s->w.path);
	if (s->is_served) {
		fputs(")\n", c->out);
		return;
	}
	fputs("), which is ", c->out);
	print_style_on(c->out, c->colour, STYLE_WARN);
	fputs("not served", c->out);
	print_style_off(c->out, c->colour, STYLE_WARN);
	fputs(": sinewd is attached to ", c->out);
	(void)print_text(c->out, s->served);
	fputs("; its connects are left as they are. A served workload:\n", c->out);
}

/* The daemon's answer, with who was asked about. */
static int output_answer(struct ctl *c, yyjson_val *answer, const struct subject *s)
{
	yyjson_mut_doc *copy = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_val_mut_copy(copy, answer), *o;
	yyjson_doc *doc;
	int r;

	yyjson_mut_doc_set_root(copy, root);
	if (s->name) {
		o = yyjson_mut_obj_add_obj(copy, root, "workload");
		(void)yyjson_mut_obj_add_str(copy, o, "name", s->name);
		(void)yyjson_mut_obj_add_uint(copy, o, "cgroup", s->w.id);
		(void)yyjson_mut_obj_add_str(copy, o, "path", s->w.path);
		(void)yyjson_mut_obj_add_bool(copy, o, "served", s->is_served);
	}
	doc = yyjson_mut_doc_imut_copy(copy, NULL);
	yyjson_mut_doc_free(copy);
	if (!doc)
		return report_error(c, -ENOMEM, "out of memory");
	r = output_value(c, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	return r;
}

int verb_explain_run(void *ctl)
{
	struct ctl *c = ctl;
	struct subject s = {.name = c->n_operands == 2 ? c->operands[0] : NULL};
	yyjson_doc *doc = NULL;
	int r = 0;

	if (c->o.protocol && strcasecmp(c->o.protocol, "tcp") != 0 &&
	    strcasecmp(c->o.protocol, "udp") != 0)
		return report_usage(c, "--protocol is tcp or udp, not \"%s\"", c->o.protocol);
	if (s.name)
		r = find_workload(c, s.name, &s.w);
	if (r >= 0 && s.name)
		r = ask_served(c, &s);
	if (r >= 0)
		r = ask(c, c->operands[c->n_operands - 1], &s.w, &doc);
	if (r < 0)
		return r;
	if (output_is_data(c)) {
		r = output_answer(c, yyjson_doc_get_root(doc), &s);
	} else {
		if (s.name)
			print_subject(c, &s);
		print_lines(c, yyjson_doc_get_root(doc));
	}
	yyjson_doc_free(doc);
	return r;
}
