/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs that are about this program more than about services: version, help, completion.
 */
#include <errno.h>
#include <inttypes.h>
#include <sinew/abi.h>
#include <stdio.h>

#include "base/version.h"
#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/output.h"
#include "ctl/print.h"
#include "ctl/report.h"
#include "ctl/verb.h"

/* --- version ------------------------------------------------------------------------------------
 */

static int version_data(struct ctl *c, yyjson_val *server)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *client, *other;
	yyjson_doc *answer;
	int r;

	yyjson_mut_doc_set_root(doc, root);
	client = yyjson_mut_obj_add_obj(doc, root, "client");
	(void)yyjson_mut_obj_add_str(doc, client, "version", version_text());
	(void)yyjson_mut_obj_add_str(doc, client, "revision", version_revision());
	(void)yyjson_mut_obj_add_uint(doc, client, "abi", SN_ABI_VERSION);
	if (server) {
		other = yyjson_mut_obj_add_obj(doc, root, "server");
		(void)yyjson_mut_obj_add_strcpy(doc, other, "version",
						field_text(server, "/version"));
		if (field_has(server, "/revision"))
			(void)yyjson_mut_obj_add_strcpy(doc, other, "revision",
							field_text(server, "/revision"));
		(void)yyjson_mut_obj_add_uint(doc, other, "abi", field_count(server, "/abi"));
	}
	answer = yyjson_mut_doc_imut_copy(doc, NULL);
	yyjson_mut_doc_free(doc);
	if (!answer)
		return report_error(c, -ENOMEM, "out of memory");
	r = output_value(c, yyjson_doc_get_root(answer));
	yyjson_doc_free(answer);
	return r;
}

/* "0.1.0 (dac2fee32c70, abi 1)" */
static void put_version(struct ctl *c, const char *version, const char *revision, uint64_t abi)
{
	(void)print_text(c->out, version);
	fputs(" (", c->out);
	(void)print_text(c->out, revision);
	fprintf(c->out, "%sabi %" PRIu64 ")\n", *revision ? ", " : "", abi);
}

/* A daemon that does not answer is told after the client's own version, and is the exit code. */
int verb_version_run(void *ctl)
{
	struct ctl *c = ctl;
	struct client_path path;
	yyjson_doc *doc = NULL;
	yyjson_val *server;
	int r, written = 0;

	if (!output_is_data(c)) {
		fputs("client  ", c->out);
		put_version(c, version_text(), version_revision(), SN_ABI_VERSION);
		(void)fflush(c->out);
	}
	client_path_init(&path, "/v1/status");
	r = client_get(c, &path, NULL, &doc);
	server = r < 0 ? NULL : yyjson_doc_get_root(doc);
	if (output_is_data(c)) {
		written = version_data(c, server);
	} else if (server) {
		fputs("server  ", c->out);
		put_version(c, field_text(server, "/version"), field_text(server, "/revision"),
			    field_count(server, "/abi"));
	}
	yyjson_doc_free(doc);
	return r < 0 ? r : written;
}

/* --- help and completion ------------------------------------------------------------------------
 */

int verb_help_run(void *ctl)
{
	struct ctl *c = ctl;
	const struct option_command *command;
	const char *near;

	if (c->o.man) {
		option_help_man(c->out, c->program);
		return 0;
	}
	if (c->n_operands == 0) {
		option_help_program(c->out, c->program);
		return 0;
	}
	command = option_find_command(c->program, c->operands[0]);
	if (!command) {
		near = option_suggest_command(c->program, c->operands[0]);
		c->command = NULL;
		return report_usage(c, "unknown command \"%s\"%s%s%s", c->operands[0],
				    near ? "; did you mean \"" : "", near ? near : "",
				    near ? "\"?" : "");
	}
	option_help_command(c->out, c->program, command);
	return 0;
}

int verb_completion_run(void *ctl)
{
	struct ctl *c = ctl;
	int r;

	r = option_complete(c->out, c->program, c->operands[0]);
	if (r < 0)
		return report_usage(c, "no completion for \"%s\"; there is bash, zsh and fish",
				    c->operands[0]);
	return 0;
}
