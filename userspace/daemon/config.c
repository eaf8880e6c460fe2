/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See setting.h: what the settings' texts mean. After setting.c; before everything that is set.
 */
#include <errno.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/setting.h"
#include "model/limits.h"

static int bad(const struct settings *s, enum setting_key key, const char *expected)
{
	log_err("%s: %s is \"%s\", expected %s", s->origin[key], setting_table[key].key,
		s->text[key], expected);
	return -EINVAL;
}

static int parse_bool(const struct settings *s, enum setting_key key, bool *ret)
{
	if (!strcmp(s->text[key], "true"))
		*ret = true;
	else if (!strcmp(s->text[key], "false"))
		*ret = false;
	else
		return bad(s, key, "true or false");
	return 0;
}

static int parse_number(const struct settings *s, enum setting_key key, uint64_t max, uint64_t *ret)
{
	const char *text = s->text[key];
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || !*text || *end || text[0] == '-' || value > max)
		return bad(s, key, "a number in range");
	*ret = value;
	return 0;
}

static int parse_path(const struct settings *s, enum setting_key key, const char **ret)
{
	if (s->text[key][0] != '/')
		return bad(s, key, "an absolute path");
	*ret = s->text[key];
	return 0;
}

static int parse_word(const struct settings *s, enum setting_key key, const char *const *words,
		      unsigned int *ret)
{
	for (unsigned int i = 0; words[i]; i++)
		if (!strcmp(s->text[key], words[i])) {
			*ret = i;
			return 0;
		}
	return bad(s, key, setting_table[key].help);
}

/* Splits at commas; calls add for each item that is not empty. */
static int parse_list(const struct settings *s, enum setting_key key, struct config *c,
		      int (*add)(struct config *c, const char *item))
{
	_cleanup_free_ char *copy = strdup(s->text[key]);
	char *state = NULL, *item;
	int r;

	if (!copy)
		return -ENOMEM;
	for (item = strtok_r(copy, ", ", &state); item; item = strtok_r(NULL, ", ", &state)) {
		r = add(c, item);
		if (r == -EINVAL)
			return bad(s, key, setting_table[key].help);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_allow(struct config *c, const char *item)
{
	struct prefix *grown = realloc(c->allow, (c->n_allow + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	c->allow = grown;
	if (prefix_parse(item, &c->allow[c->n_allow]) < 0)
		return -EINVAL;
	c->n_allow++;
	return 0;
}

static int add_cgroup(struct config *c, const char *item)
{
	char **grown = realloc(c->bypass_cgroups, (c->n_bypass_cgroups + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	c->bypass_cgroups = grown;
	if (item[0] != '/')
		return -EINVAL;
	c->bypass_cgroups[c->n_bypass_cgroups] = strdup(item);
	if (!c->bypass_cgroups[c->n_bypass_cgroups])
		return -ENOMEM;
	c->n_bypass_cgroups++;
	return 0;
}

#define INTERFACE_TEXT 15 /* IFNAMSIZ - 1 */

static int add_interface(struct config *c, const char *item)
{
	char **grown = realloc(c->failover, (c->n_failover + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	c->failover = grown;
	if (strchr(item, '/') || strlen(item) > INTERFACE_TEXT || !strcmp(item, "auto") ||
	    !strcmp(item, "off"))
		return -EINVAL;
	c->failover[c->n_failover] = strdup(item);
	if (!c->failover[c->n_failover])
		return -ENOMEM;
	c->n_failover++;
	return 0;
}

static int parse_failover(const struct settings *s, struct config *c)
{
	static const char *const hows[] = {"auto", "tcx", "clsact", NULL};
	const char *interfaces = s->text[SETTING_FAILOVER_INTERFACES];
	int r = parse_word(s, SETTING_FAILOVER_ATTACH, hows, &c->failover_attach);

	if (r < 0)
		return r;
	c->failover_off = !strcmp(interfaces, "off");
	if (c->failover_off || !strcmp(interfaces, "auto"))
		return 0;
	r = parse_list(s, SETTING_FAILOVER_INTERFACES, c, add_interface);
	if (r >= 0 && !c->n_failover)
		return bad(s, SETTING_FAILOVER_INTERFACES,
			   setting_table[SETTING_FAILOVER_INTERFACES].help);
	return r;
}

/* Beside the control socket, unless somebody says otherwise. */
static int parse_report(const struct settings *s, struct config *c)
{
	const char *text = s->text[SETTING_REPORT_SOCKET], *path = "";
	size_t folder = (size_t)(strrchr(c->control_socket, '/') - c->control_socket);
	int r = 0;

	if (!*text)
		return asprintf(&c->report_socket, "%.*s/report.sock", (int)folder,
				c->control_socket) < 0
			       ? -ENOMEM
			       : 0;
	if (strcmp(text, "off") != 0)
		r = parse_path(s, SETTING_REPORT_SOCKET, &path);
	if (r < 0)
		return r;
	c->report_socket = strdup(path);
	return c->report_socket ? 0 : -ENOMEM;
}

static int parse_paths(const struct settings *s, struct config *c)
{
	int r = parse_path(s, SETTING_CONTROL_SOCKET, &c->control_socket);

	if (r >= 0)
		r = parse_path(s, SETTING_STATUS_SOCKET, &c->status_socket);
	if (r >= 0)
		r = parse_path(s, SETTING_BPFFS, &c->bpffs);
	if (r >= 0)
		r = parse_path(s, SETTING_STATE, &c->state);
	if (r >= 0)
		r = parse_report(s, c);
	if (r >= 0 && *s->text[SETTING_CGROUP]) /* empty: the host's cgroup v2 mount */
		r = parse_path(s, SETTING_CGROUP, &c->cgroup);
	return r;
}

static int parse_services(const struct settings *s, struct config *c)
{
	int r = parse_list(s, SETTING_ALLOW, c, add_allow);

	if (r < 0)
		return r;
	if (prefix_parse(s->text[SETTING_POOL4], &c->pool4) < 0 || c->pool4.bits < 96 ||
	    c->pool4.bits > 126 || !address_is_v4(&c->pool4.addr))
		return bad(s, SETTING_POOL4, "an IPv4 prefix of at most 30 bits");
	if (prefix_parse(s->text[SETTING_POOL6], &c->pool6) < 0 || c->pool6.bits > 64 ||
	    address_is_v4(&c->pool6.addr))
		return bad(s, SETTING_POOL6, "an IPv6 prefix of at most 64 bits");
	return parse_list(s, SETTING_BYPASS_CGROUPS, c, add_cgroup);
}

static int parse_numbers(const struct settings *s, struct config *c)
{
	uint64_t mark, flows;
	int r = parse_number(s, SETTING_BYPASS_MARK, UINT32_MAX, &mark);

	if (r >= 0)
		r = parse_number(s, SETTING_FLOWS, 1u << 24, &flows);
	if (r >= 0)
		r = parse_number(s, SETTING_SERIES, 10000000, &c->series);
	if (r < 0)
		return r;
	if (flows < 1024 || (flows & (flows - 1)))
		return bad(s, SETTING_FLOWS, "a power of two from 1024 to 16777216");
	c->bypass_mark = (uint32_t)mark;
	c->flows = (uint32_t)flows;
	return 0;
}

/* As endpoints name their nodes and zones: RFC 1123 labels, for a node with dots between. */
static bool is_place(const char *text, size_t max, const char *inner)
{
	size_t n = strlen(text);

	if (!n || n > max || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strchr("-.", text[i]) && (!strchr(inner, text[i]) || !i || i + 1 == n ||
					      text[i + 1] == '.' || text[i - 1] == '.'))
			return false;
	return true;
}

/* Whatever the host is called, it can be served: a name that no endpoint can have is near none. */
static int host_name(char **ret)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) < 0)
		return -errno;
	for (char *c = name; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	*ret = strdup(*name ? name : "localhost");
	return *ret ? 0 : -ENOMEM;
}

static int parse_node(const struct settings *s, struct config *c)
{
	const char *name = s->text[SETTING_NODE_NAME];

	c->zone = s->text[SETTING_NODE_ZONE];
	if (*c->zone && !is_place(c->zone, LIMIT_NAME, "-"))
		return bad(s, SETTING_NODE_ZONE,
			   "lower-case letters, digits and inner \"-\", or nothing");
	if (!*name)
		return host_name(&c->node);
	if (!is_place(name, LIMIT_NODE, "-."))
		return bad(
			s, SETTING_NODE_NAME,
			"lower-case letters, digits and inner \"-\", with single dots between, or nothing");
	c->node = strdup(name);
	return c->node ? 0 : -ENOMEM;
}

static int parse_switches(const struct settings *s, struct config *c)
{
	static const char *const levels[] = {"error", "warning", "notice", "info", "debug", NULL};
	static const char *const formats[] = {"auto", "text", "json", NULL};
	static const char *const ends[] = {"auto", "iterator", "diag", "off", NULL};
	unsigned int level, format;
	int r = parse_bool(s, SETTING_BACKEND_LABEL, &c->backend_label);

	if (r >= 0)
		r = parse_bool(s, SETTING_RUN_TIME, &c->run_time);
	if (r >= 0)
		r = parse_bool(s, SETTING_KERNEL_SOCKETS, &c->kernel_sockets);
	if (r >= 0)
		r = parse_word(s, SETTING_LOG_LEVEL, levels, &level);
	if (r >= 0)
		r = parse_word(s, SETTING_DATAGRAMS_END, ends, &c->datagrams_end);
	if (r >= 0)
		r = parse_word(s, SETTING_LOG_FORMAT, formats, &format);
	if (r < 0)
		return r;
	c->log_level = LOG_ERROR + level;
	c->log_format = (enum log_format)format;
	return 0;
}

int config_parse(const struct settings *s, struct config *ret)
{
	struct config c = {};
	int r = parse_paths(s, &c);

	if (r >= 0)
		r = parse_services(s, &c);
	if (r >= 0)
		r = parse_numbers(s, &c);
	if (r >= 0)
		r = parse_node(s, &c);
	if (r >= 0)
		r = parse_switches(s, &c);
	if (r >= 0)
		r = parse_failover(s, &c);
	if (r < 0) {
		config_done(&c);
		return r;
	}
	*ret = c;
	return 0;
}

void config_done(struct config *c)
{
	for (size_t i = 0; i < c->n_bypass_cgroups; i++)
		free(c->bypass_cgroups[i]);
	free(c->bypass_cgroups);
	for (size_t i = 0; i < c->n_failover; i++)
		free(c->failover[i]);
	free(c->failover);
	free(c->allow);
	free(c->report_socket);
	free(c->node);
	*c = (struct config){};
}

int config_find_cgroup2(char **ret)
{
	FILE *mounts = setmntent("/proc/mounts", "re");
	struct mntent *entry;
	char *found = NULL;

	if (!mounts)
		return -errno;
	while (!found && (entry = getmntent(mounts)))
		if (!strcmp(entry->mnt_type, "cgroup2"))
			found = strdup(entry->mnt_dir);
	(void)endmntent(mounts);
	if (!found)
		return -ENOENT;
	*ret = found;
	return 0;
}
