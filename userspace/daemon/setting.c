/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See setting.h: where each value comes from. config.c says what it means. Must never act on one.
 */
#include "daemon/setting.h"

#include <errno.h>
#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

const struct setting setting_table[_SETTING_MAX] = {
	[SETTING_CONTROL_SOCKET] = {"control.socket", "SINEWD_CONTROL_SOCKET",
				    "/run/sinew/control.sock", false,
				    "unix socket of the control API"},
	[SETTING_STATUS_SOCKET] = {"status.socket", "SINEWD_STATUS_SOCKET",
				   "/run/sinew/status.sock", false,
				   "unix socket of the read-only API"},
	[SETTING_REPORT_SOCKET] = {"report.socket", "SINEWD_REPORT_SOCKET", "", false,
				   "unix socket for what applications report; empty: report.sock "
				   "beside the control socket; off: none"},
	[SETTING_BPFFS] = {"bpffs.dir", "SINEWD_BPFFS_DIR", "/sys/fs/bpf/sinew", false,
			   "folder for pinned maps and links, on a bpffs"},
	[SETTING_CGROUP] = {"cgroup.path", "SINEWD_CGROUP_PATH", "", false,
			    "cgroup v2 folder whose sockets are served; empty: the whole host"},
	[SETTING_STATE] = {"state.dir", "SINEWD_STATE_DIR", "/var/lib/sinew", false,
			   "folder for what was declared"},
	[SETTING_ALLOW] = {"services.allow", "SINEWD_SERVICES_ALLOW",
			   "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7", false,
			   "prefixes that services may claim besides the pools"},
	[SETTING_POOL4] = {"services.pool4", "SINEWD_SERVICES_POOL4", "127.128.0.0/9", false,
			   "pool for services without an address, IPv4"},
	[SETTING_POOL6] = {"services.pool6", "SINEWD_SERVICES_POOL6", "fd73:696e:6577::/64", false,
			   "the same, IPv6"},
	[SETTING_BYPASS_MARK] = {"bypass.mark", "SINEWD_BYPASS_MARK", "0", true,
				 "sockets with this SO_MARK are left alone; 0: none"},
	[SETTING_BYPASS_CGROUPS] = {"bypass.cgroups", "SINEWD_BYPASS_CGROUPS", "", true,
				    "cgroups whose sockets are left alone, with all below them"},
	[SETTING_KERNEL_SOCKETS] = {"bypass.kernelSockets", "SINEWD_BYPASS_KERNEL_SOCKETS", "true",
				    true, "leave sockets of kernel threads (NFS, SMB) alone"},
	[SETTING_DATAGRAMS_END] = {"datagrams.end", "SINEWD_DATAGRAMS_END", "auto", false,
				   "auto, iterator, diag or off: how connected datagram sockets "
				   "of a removed backend are ended"},
	[SETTING_FAILOVER_INTERFACES] = {"failover.interfaces", "SINEWD_FAILOVER_INTERFACES",
					 "auto", true,
					 "auto, off, or names of network interfaces, with * and ?, "
					 "where connects may fail over"},
	[SETTING_FAILOVER_ATTACH] = {"failover.attach", "SINEWD_FAILOVER_ATTACH", "auto", false,
				     "auto, tcx or clsact: how programs are attached to network "
				     "interfaces"},
	[SETTING_FLOWS] = {"maps.flows", "SINEWD_MAPS_FLOWS", "131072", false,
			   "sockets remembered in the table, a power of two"},
	[SETTING_NODE_NAME] = {"node.name", "SINEWD_NODE_NAME", "", false,
			       "this node, as endpoints name theirs; empty: the host's name"},
	[SETTING_NODE_ZONE] = {"node.zone", "SINEWD_NODE_ZONE", "", false,
			       "the zone that this node is in, as endpoints name theirs; empty: "
			       "none"},
	[SETTING_SERIES] = {"metrics.seriesBudget", "SINEWD_METRICS_SERIES_BUDGET", "20000", false,
			    "series of one metric before services fold into \"other\""},
	[SETTING_BACKEND_LABEL] = {"metrics.backendLabel", "SINEWD_METRICS_BACKEND_LABEL", "false",
				   false, "one series per backend"},
	[SETTING_RUN_TIME] = {"metrics.programRunTime", "SINEWD_METRICS_PROGRAM_RUN_TIME", "false",
			      false,
			      "have the kernel time its BPF programs (costs some 20 ns a run)"},
	[SETTING_LOG_LEVEL] = {"log.level", "SINEWD_LOG_LEVEL", "info", true,
			       "error, warning, notice, info or debug"},
	[SETTING_LOG_FORMAT] = {"log.format", "SINEWD_LOG_FORMAT", "auto", true,
				"auto, text or json (ECS)"},
};

int setting_set(struct settings *s, enum setting_key key, const char *text, const char *origin)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(s->text[key]);
	s->text[key] = copy;
	(void)snprintf(s->origin[key], sizeof(s->origin[key]), "%s", origin);
	return 0;
}

void setting_done(struct settings *s)
{
	for (int i = 0; i < _SETTING_MAX; i++)
		free(s->text[i]);
	*s = (struct settings){};
}

const char *setting_suggest(const char *key)
{
	const char *keys[_SETTING_MAX];

	for (int i = 0; i < _SETTING_MAX; i++)
		keys[i] = setting_table[i].key;
	return text_suggest(key, keys, _SETTING_MAX);
}

static int find_key(const char *key)
{
	for (int i = 0; i < _SETTING_MAX; i++)
		if (!strcmp(setting_table[i].key, key))
			return i;
	return -ENOENT;
}

/* --- the file ------------------------------------------------------------------------------------
 */

struct place {
	const char *file;
	char text[160];
};

static const char *place_of(struct place *p, struct fy_node *node)
{
	struct fy_token *token = fy_node_get_scalar_token(node);
	const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;

	if (mark)
		(void)snprintf(p->text, sizeof(p->text), "%s:%d:%d", p->file, mark->line + 1,
			       mark->column + 1);
	else
		(void)snprintf(p->text, sizeof(p->text), "%s", p->file);
	return p->text;
}

/* A scalar, or a list of scalars joined by commas. */
static int read_value(struct fy_node *node, char *ret, size_t size)
{
	struct fy_node *item;
	void *at = NULL;
	size_t used = 0;
	int n;

	ret[0] = '\0';
	if (fy_node_is_scalar(node))
		return snprintf(ret, size, "%s", fy_node_get_scalar0(node) ?: "") < (int)size
			       ? 0
			       : -E2BIG;
	if (!fy_node_is_sequence(node))
		return -EINVAL;
	while ((item = fy_node_sequence_iterate(node, &at))) {
		if (!fy_node_is_scalar(item))
			return -EINVAL;
		n = snprintf(ret + used, size - used, "%s%s", used ? "," : "",
			     fy_node_get_scalar0(item) ?: "");
		if (n < 0 || (size_t)n >= size - used)
			return -E2BIG;
		used += (size_t)n;
	}
	return 0;
}

static void log_unknown(const char *origin, const char *key)
{
	const char *near = setting_suggest(key);

	log_err("%s: unknown setting \"%s\"; %s%s%s", origin, key,
		near ? "did you mean \"" : "sinewd(8) lists them", near ?: "", near ? "\"?" : "");
}

static int read_setting(struct settings *s, struct place *place, const char *key,
			struct fy_node *key_node, struct fy_node *value)
{
	int index = find_key(key), r;
	char text[4096];

	if (index < 0) {
		log_unknown(place_of(place, key_node), key);
		return -EINVAL;
	}
	r = read_value(value, text, sizeof(text));
	if (r < 0) {
		log_err("%s: %s must be one value or a list of values", place_of(place, key_node),
			key);
		return -EINVAL;
	}
	return setting_set(s, (enum setting_key)index, text, place_of(place, key_node));
}

/* "control: {socket: x}" and "control.socket: x" mean the same. */
static int read_mapping(struct settings *s, struct place *place, const char *prefix,
			struct fy_node *mapping)
{
	struct fy_node_pair *pair;
	void *at = NULL;
	char key[128];
	int r = 0, one;

	while ((pair = fy_node_mapping_iterate(mapping, &at))) {
		struct fy_node *key_node = fy_node_pair_key(pair),
			       *value = fy_node_pair_value(pair);
		const char *name = key_node ? fy_node_get_scalar0(key_node) : NULL;

		(void)snprintf(key, sizeof(key), "%s%s%s", prefix, *prefix ? "." : "", name ?: "");
		if (value && fy_node_is_mapping(value) && !*prefix)
			one = read_mapping(s, place, key, value);
		else
			one = value ? read_setting(s, place, key, key_node, value) : 0;
		if (one < 0)
			r = one;
	}
	return r;
}

/* Errors are collected, not printed. */
static void on_output(struct fy_diag *diag, void *user, const char *text, size_t length)
{
}

static void log_syntax(const char *file, struct fy_diag *diag)
{
	void *at = NULL;
	const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &at);

	if (e && e->msg)
		log_err("%s:%d:%d: %s", file, e->line < 1 ? 1 : e->line,
			e->column < 1 ? 1 : e->column, e->msg);
	else
		log_err("%s: this is no YAML", file);
}

/* *ret is NULL when the file holds nothing, or comments only. */
static int parse_with(struct fy_diag *diag, const char *file, struct fy_document **ret)
{
	struct fy_parse_cfg config = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG, .diag = diag};
	struct fy_parser *parser = fy_parser_create(&config);
	bool failed;

	if (!parser)
		return -ENOMEM;
	*ret = NULL;
	failed = fy_parser_set_input_file(parser, file) < 0;
	if (!failed)
		*ret = fy_parse_load_document(parser);
	failed = failed || (!*ret && fy_parser_get_stream_error(parser));
	fy_parser_destroy(parser);
	if (failed)
		log_syntax(file, diag);
	return failed ? -EINVAL : 0;
}

static int parse_file(const char *file, struct fy_document **ret)
{
	struct fy_diag_cfg config;
	struct fy_diag *diag;
	int r;

	fy_diag_cfg_default(&config);
	config.fp = NULL;
	config.output_fn = on_output;
	config.level = FYET_ERROR;
	diag = fy_diag_create(&config);
	if (!diag)
		return -ENOMEM;
	fy_diag_set_collect_errors(diag, true);
	r = parse_with(diag, file, ret);
	fy_diag_destroy(diag);
	return r;
}

/* The parser takes a NUL byte for the end, and what follows would be ignored in silence. */
static bool is_text(const char *file)
{
	_cleanup_fclose_ FILE *f = fopen(file, "re");
	char part[4096];
	size_t n;

	while (f && (n = fread(part, 1, sizeof(part), f)))
		if (memchr(part, '\0', n))
			return false;
	return true;
}

static int load_file(struct settings *s, const char *file, bool must)
{
	struct place place = {.file = file};
	struct fy_document *doc = NULL;
	struct fy_node *root;
	int r;

	if (access(file, R_OK) < 0)
		return errno == ENOENT && !must ? 0 : log_err_r(-errno, "cannot read %s", file);
	if (!is_text(file)) {
		log_err("%s: a NUL byte: this is no YAML", file);
		return -EINVAL;
	}
	r = parse_file(file, &doc);
	if (r < 0 || !doc)
		return r;
	root = fy_document_root(doc);
	root = root && fy_node_is_null(root) ? NULL : root;
	r = !root ? 0 : fy_node_is_mapping(root) ? read_mapping(s, &place, "", root) : -EINVAL;
	if (root && !fy_node_is_mapping(root))
		log_err("%s: expected settings as \"key: value\"", file);
	fy_document_destroy(doc);
	return r;
}

int setting_load(struct settings *s, const char *file, bool must)
{
	const char *value;
	int r;

	for (int i = 0; i < _SETTING_MAX; i++) {
		r = setting_set(s, (enum setting_key)i, setting_table[i].initial, "default");
		if (r < 0)
			return r;
	}
	r = load_file(s, file, must);
	if (r < 0)
		return r;
	for (int i = 0; i < _SETTING_MAX; i++) {
		value = getenv(setting_table[i].env);
		r = value ? setting_set(s, (enum setting_key)i, value, setting_table[i].env) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}
