/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * backend: eject, restore or drain one by hand. The daemon checks and remembers; here the answer
 * becomes a sentence.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/output.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/verb.h"

struct wish {
	const char *verb, *address;
	char namespace[64];
	const char *service;
};

static int check_verb(struct ctl *c, const char *verb)
{
	static const char *const verbs[] = {"eject", "restore", "drain"};
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verb, verbs[i]))
			return 0;
	near = text_suggest(verb, verbs, ARRAY_SIZE(verbs));
	return report_usage(c, "a backend can be ejected, restored or drained, not \"%s\"%s%s%s",
			    verb, near ? "; did you mean \"" : "", near ? near : "",
			    near ? "\"?" : "");
}

static int check_options(struct ctl *c, const struct wish *w)
{
	uint64_t ms;

	if (!strcmp(w->verb, "restore") && (c->o.hold_for || c->o.reason))
		return report_usage(c, "restore takes neither --for nor --reason");
	if (c->o.hold_for && text_parse_duration(c->o.hold_for, &ms) < 0)
		return report_usage(c, "--for is a duration such as 10m, or 0, not \"%s\"",
				    c->o.hold_for);
	return 0;
}

static int parse(struct ctl *c, struct wish *w)
{
	const char *slash = strchr(c->operands[1], '/');
	const char *namespace = c->o.namespace ? c->o.namespace : "default";
	size_t n = slash ? (size_t)(slash - c->operands[1]) : strlen(namespace);

	w->verb = c->operands[0];
	w->service = slash ? slash + 1 : c->operands[1];
	w->address = c->operands[2];
	if (n >= sizeof(w->namespace) || n == 0 || !*w->service)
		return report_usage(c, "\"%s\" is no name of a service", c->operands[1]);
	(void)snprintf(w->namespace, sizeof(w->namespace), "%.*s", (int)n,
		       slash ? c->operands[1] : namespace);
	return 0;
}

/* "10.0.0.5:8080 of shop/payments ejected until 2026-01-31T12:01:07.341Z" */
static void print_hold(struct ctl *c, const struct wish *w, yyjson_val *hold)
{
	const char *held = field_text(hold, "/hold/kind");

	(void)print_text(c->out, w->address);
	fputs(" of ", c->out);
	(void)print_text(c->out, field_text(hold, "/namespace"));
	fputc('/', c->out);
	(void)print_text(c->out, field_text(hold, "/service"));
	if (!*held) {
		fputs(" restored\n", c->out);
		return;
	}
	fputs(!strcmp(held, "drain") ? " drained until " : " ejected until ", c->out);
	if (field_has(hold, "/hold/until"))
		(void)print_text(c->out, field_text(hold, "/hold/until"));
	else
		fputs("restored", c->out);
	fputc('\n', c->out);
}

static int send_wish(struct ctl *c, const struct wish *w)
{
	struct client_path path;
	struct client_change change = {.method = "POST", .path = &path};
	yyjson_doc *doc = NULL;
	int r;

	client_path_init(&path, "/v1/services");
	client_path_segment(&path, w->namespace);
	client_path_segment(&path, w->service);
	client_path_segment(&path, "endpoints");
	client_path_segment(&path, w->address);
	client_path_segment(&path, w->verb);
	client_path_query(&path, "for", c->o.hold_for);
	client_path_query(&path, "reason", c->o.reason);
	r = client_send(c, &change, &doc);
	if (r < 0)
		return r;
	if (output_is_data(c))
		r = output_value(c, yyjson_doc_get_root(doc));
	else
		print_hold(c, w, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	return r;
}

int verb_backend_run(void *ctl)
{
	struct ctl *c = ctl;
	struct wish wish = {};
	int r;

	r = check_verb(c, c->operands[0]);
	if (r >= 0)
		r = parse(c, &wish);
	if (r >= 0)
		r = check_options(c, &wish);
	return r < 0 ? r : send_wish(c, &wish);
}
