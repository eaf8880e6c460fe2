/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See config.h. Two tables of keys, one for settings and one for a registry, say what there is; the
 * rest is reading. Before: main. After: agent.c. Must never open a credential.
 */
#include "agent/config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/config_list.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "manifest/yaml.h"
#include "model/address.h"
#include "model/limits.h"
#include "registry/registry_config.h"

#define FILE_MAX_BYTES (1u << 20)
#define STALE_LEAST_MS 2000u /* what is well is heard of at least twice as often */

enum key_type {
	KEY_TEXT,
	KEY_LABEL,
	KEY_PATH,
	KEY_PATH_OR_NONE,
	KEY_NODE,    /* of a host, or "" */
	KEY_ADDRESS, /* that can be sent to, or "" */
	_KEY_TEXTS,  /* those before it are texts */
	KEY_DURATION,
	KEY_WORD,
	KEY_BOOL,
	KEY_LIST,       /* char **, and behind it size_t */
	KEY_LIST_OR_ONE /* one text without brackets will do, too */
};

struct key {
	const char *name;
	enum key_type type;
	size_t offset;
	const char *initial; /* of settings */
	const char *const *words;
	bool reloads; /* a setting that may change while running; no text, no list */
};

static const char *const levels[] = {"error", "warning", "notice", "info", "debug", NULL};
static const char *const formats[] = {"auto", "text", "json", NULL};
static const char *const stales[] = {"keep", "drain", "fail", NULL};

#define SETTING(m) offsetof(struct agent_config, m)
static const struct key settings[] = {
	{"control.socket", KEY_PATH, SETTING(control_socket), "/run/sinew/control.sock"},
	{"agent.socket", KEY_PATH, SETTING(agent_socket), "/run/sinew-agent/agent.sock"},
	{"state.dir", KEY_PATH, SETTING(state), "/var/lib/sinew-agent"},
	{"metrics.address", KEY_TEXT, SETTING(metrics), "127.0.0.1:9464"},
	{"log.level", KEY_WORD, SETTING(log_level), "info", levels, true},
	{"log.format", KEY_WORD, SETTING(log_format), "auto", formats, true},
	{"coalesce", KEY_DURATION, SETTING(coalesce_ms), "50ms", NULL, true},
	{"dns.address", KEY_TEXT, SETTING(dns_address), ""},
	{"dns.domain", KEY_TEXT, SETTING(dns_domain), "sinew"},
	{"dns.ttl", KEY_DURATION, SETTING(dns_ttl_ms), "5s"},
	{"dns.aliases", KEY_LIST, SETTING(dns_aliases), ""},
	{"dns.forward", KEY_LIST_OR_ONE, SETTING(dns_forward), "refuse"},
	{"node.name", KEY_NODE, SETTING(node_name), ""},
	{"node.address", KEY_ADDRESS, SETTING(node_address), ""},
};

#define REGISTRY(m) offsetof(struct registry_config, m)
static const struct key keys[] = {
	{"name", KEY_LABEL, REGISTRY(name)},
	{"type", KEY_LABEL, REGISTRY(type)},
	{"address", KEY_TEXT, REGISTRY(address)},
	{"path", KEY_PATH_OR_NONE, REGISTRY(path)},
	{"prefix", KEY_TEXT, REGISTRY(prefix)},
	{"namespace", KEY_LABEL, REGISTRY(namespace)},
	{"datacenter", KEY_TEXT, REGISTRY(datacenter)},
	{"remoteNamespace", KEY_TEXT, REGISTRY(remote_namespace)},
	{"zone", KEY_LABEL, REGISTRY(zone)},
	{"tokenFile", KEY_PATH, REGISTRY(token_file)},
	{"username", KEY_TEXT, REGISTRY(username)},
	{"passwordFile", KEY_PATH, REGISTRY(password_file)},
	{"caFile", KEY_PATH, REGISTRY(tls.ca_file)},
	{"certFile", KEY_PATH, REGISTRY(tls.cert_file)},
	{"keyFile", KEY_PATH, REGISTRY(tls.key_file)},
	{"select", KEY_LIST, REGISTRY(select)},
	{"names", KEY_LIST, REGISTRY(names)},
	{"interval", KEY_DURATION, REGISTRY(interval_ms)},
	{"onStale", KEY_WORD, REGISTRY(on_stale), NULL, stales},
	{"staleAfter", KEY_DURATION, REGISTRY(stale_ms)},
	{"nodeAddress", KEY_TEXT, REGISTRY(node_address)},
	{"external", KEY_BOOL, REGISTRY(external)},
	{"pods", KEY_BOOL, REGISTRY(pods)},
	{"kubelet", KEY_TEXT, REGISTRY(kubelet)},
};

_Static_assert(REGISTRY(n_names) == REGISTRY(names) + sizeof(char **), "a list and its length");
_Static_assert(REGISTRY(n_select) == REGISTRY(select) + sizeof(char **), "a list and its length");
_Static_assert(SETTING(n_dns_aliases) == SETTING(dns_aliases) + sizeof(char **), "the same");
_Static_assert(SETTING(n_dns_forward) == SETTING(dns_forward) + sizeof(char **), "the same");

#define MESSAGE 300

static const struct key *find(const struct key *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

static const char *suggest(const struct key *table, size_t n, const char *name)
{
	const char *names[ARRAY_SIZE(keys)];

	_Static_assert(ARRAY_SIZE(settings) <= ARRAY_SIZE(keys), "the larger table");
	for (size_t i = 0; i < n; i++)
		names[i] = table[i].name;
	return text_suggest(name, names, n);
}

/* --- values --------------------------------------------------------------------------------- */

static bool is_label(const char *text)
{
	size_t n = strlen(text);

	return n && n <= LIMIT_NAME && text[0] != '-' && text[n - 1] != '-' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static bool is_node(const char *text)
{
	size_t n = strlen(text);

	return n <= LIMIT_NODE &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
		       n;
}

static int bad(char *message, const char *name, const char *text, const char *expected)
{
	(void)snprintf(message, MESSAGE, "%s is \"%.100s\", expected %s", name, text, expected);
	return -EINVAL;
}

static int set_text(void *target, const struct key *k, const char *text, char *message)
{
	char **at = (char **)((char *)target + k->offset), *copy;
	struct sn_addr addr;

	if (k->type == KEY_LABEL && !is_label(text))
		return bad(message, k->name, text, "lower-case letters, digits and inner \"-\"");
	if ((k->type == KEY_PATH || (k->type == KEY_PATH_OR_NONE && *text)) && text[0] != '/')
		return bad(message, k->name, text, "an absolute path");
	if (k->type == KEY_NODE && !is_node(text))
		return bad(message, k->name, text,
			   "a host's name: letters, digits, \"-\" and \".\"");
	if (k->type == KEY_ADDRESS && *text &&
	    (address_parse(text, &addr) < 0 || !address_is_target(&addr)))
		return bad(message, k->name, text, "an address that others can send to");
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*at);
	*at = copy;
	return 0;
}

static int set_word(void *target, const struct key *k, const char *text, char *message)
{
	char expected[120] = "one of";
	size_t used = strlen(expected);

	for (unsigned int i = 0; k->words[i]; i++) {
		if (!strcmp(k->words[i], text)) {
			*(unsigned int *)((char *)target + k->offset) = i;
			return 0;
		}
		used += (size_t)snprintf(expected + used, sizeof(expected) - used, " %s",
					 k->words[i]);
	}
	return bad(message, k->name, text, expected);
}

static int set_list(char ***at, const struct key *k, const char *text, char *message)
{
	int r = config_list_split(at, text);

	return r == -E2BIG ? bad(message, k->name, "...", "a shorter list") : r;
}

static int set_value(void *target, const struct key *k, const char *text, char *message)
{
	void *at = (char *)target + k->offset;

	switch (k->type) {
	case KEY_WORD:
		return set_word(target, k, text, message);
	case KEY_DURATION:
		return text_parse_duration(text, at) < 0
			       ? bad(message, k->name, text, "a duration such as 250ms or 30s")
			       : 0;
	case KEY_BOOL:
		*(bool *)at = !strcmp(text, "true");
		return *(bool *)at || !strcmp(text, "false")
			       ? 0
			       : bad(message, k->name, text, "true or false");
	case KEY_LIST:
	case KEY_LIST_OR_ONE:
		return set_list(at, k, text, message);
	default:
		return set_text(target, k, text, message);
	}
}

/* A scalar as it would be typed. NULL: it is none. */
static const char *scalar(yyjson_mut_val *value, char buf[static 32])
{
	if (yyjson_mut_is_str(value))
		return yyjson_mut_get_str(value);
	if (yyjson_mut_is_bool(value))
		return yyjson_mut_get_bool(value) ? "true" : "false";
	if (yyjson_mut_is_uint(value)) {
		(void)snprintf(buf, 32, "%" PRIu64, yyjson_mut_get_uint(value));
		return buf;
	}
	return NULL;
}

/* --- the file ------------------------------------------------------------------------------- */

struct reading {
	struct agent_config *config;
	struct error_list errors;
};

static const char *key_of(const struct yaml_node *node, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%.*s", (int)node->key_length, node->key);
	return buf;
}

static int read_list(struct reading *in, const struct key *k, char ***at,
		     const struct yaml_node *node)
{
	char buf[32];

	config_list_done(at);
	if (!yyjson_mut_is_arr(node->value)) {
		error_add(&in->errors, node->place, "%s must be a list of texts", k->name);
		return 0;
	}
	for (const struct yaml_node *item = node + 1; item < node + node->size;
	     item += item->size) {
		const char *text = scalar(item->value, buf);
		int r = text && *text ? config_list_add(at, text, strlen(text)) : -E2BIG;

		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			error_add(&in->errors, item->place, "%s holds up to %d texts", k->name,
				  CONFIG_LIST_MAX);
			return 0;
		}
	}
	return 0;
}

static int read_key(struct reading *in, void *target, const struct key *k,
		    const struct yaml_node *node)
{
	char message[MESSAGE] = "", buf[32];
	const char *text = scalar(node->value, buf);
	int r;

	if (k->type == KEY_LIST || (k->type == KEY_LIST_OR_ONE && !text))
		return read_list(in, k, (void *)((char *)target + k->offset), node);
	if (!text) {
		error_add(&in->errors, node->place, "%s must be one value", k->name);
		return 0;
	}
	r = set_value(target, k, text, message);
	if (r == -EINVAL)
		error_add(&in->errors, node->place, "%s", message);
	return r == -ENOMEM ? r : 0;
}

static void add_unknown(struct reading *in, const struct yaml_node *node, const char *name,
			const char *near)
{
	error_add(&in->errors, node->key_place, "unknown key \"%.60s\"%s%s%s", name,
		  near ? "; did you mean \"" : "", near ?: "", near ? "\"?" : "");
}

/* An address is logged and shown. */
static bool holds_credentials(const char *address)
{
	const char *host = address ? strstr(address, "://") : NULL;

	return host && memchr(host + 3, '@', strcspn(host + 3, "/?#"));
}

static void check_registry(struct reading *in, const struct yaml_node *node)
{
	struct agent_config *c = in->config;
	struct registry_config *r = &c->registries[c->n_registries];

	if (!r->type || !r->name)
		error_add(&in->errors, node->place, "a registry needs a name and a type");
	else if (!registry_kind_find(r->type))
		error_add(&in->errors, yaml_find(node, "/type")->place,
			  "\"%s\" is no type of a registry", r->type);
	if (holds_credentials(r->address) || holds_credentials(r->kubelet))
		error_add(&in->errors,
			  yaml_find(node, holds_credentials(r->address) ? "/address" : "/kubelet")
				  ->place,
			  "credentials do not belong into an address: give tokenFile, or username "
			  "and passwordFile");
	if (r->stale_ms < STALE_LEAST_MS)
		error_add(&in->errors, yaml_find(node, "/staleAfter")->place,
			  "staleAfter must be at least 2s");
	if (!r->tls.cert_file != !r->tls.key_file)
		error_add(&in->errors, node->place, "certFile and keyFile go together");
	for (size_t i = 0; r->name && i < c->n_registries; i++)
		if (c->registries[i].name && !strcmp(c->registries[i].name, r->name))
			error_add(&in->errors, yaml_find(node, "/name")->place,
				  "there is a registry \"%s\" already", r->name);
}

static int read_registry(struct reading *in, const struct yaml_node *node)
{
	struct agent_config *c = in->config;
	struct registry_config *target = &c->registries[c->n_registries];
	char name[64];
	int r = 0;

	if (!yyjson_mut_is_obj(node->value)) {
		error_add(&in->errors, node->place, "a registry is written {name: ..., type: ...}");
		return 0;
	}
	*target = (struct registry_config){.stale_ms = 60000};
	for (const struct yaml_node *at = node + 1; r >= 0 && at < node + node->size;
	     at += at->size) {
		const struct key *k = find(keys, ARRAY_SIZE(keys), key_of(at, name, sizeof(name)));

		if (k)
			r = read_key(in, target, k, at);
		else
			add_unknown(in, at, name, suggest(keys, ARRAY_SIZE(keys), name));
	}
	check_registry(in, node);
	c->n_registries++;
	return r;
}

static int read_registries(struct reading *in, const struct yaml_node *node)
{
	int r = 0;

	if (!yyjson_mut_is_arr(node->value)) {
		error_add(&in->errors, node->place, "registries must be a list");
		return 0;
	}
	for (const struct yaml_node *item = node + 1; r >= 0 && item < node + node->size;
	     item += item->size) {
		if (in->config->n_registries >= LIMIT_REGISTRIES) {
			error_add(&in->errors, item->place, "more than %d registries",
				  LIMIT_REGISTRIES);
			return 0;
		}
		r = read_registry(in, item);
	}
	return r;
}

/* "control: {socket: x}" and "control.socket: x" mean the same. */
static int read_setting(struct reading *in, const char *prefix, const struct yaml_node *node)
{
	char name[64], whole[130];
	const struct key *k;

	(void)snprintf(whole, sizeof(whole), "%s%s%s", prefix, *prefix ? "." : "",
		       key_of(node, name, sizeof(name)));
	k = find(settings, ARRAY_SIZE(settings), whole);
	if (k)
		return read_key(in, in->config, k, node);
	add_unknown(in, node, whole,
		    suggest(settings, ARRAY_SIZE(settings), whole)
			    ?: text_suggest(whole, (const char *const[]){"registries"}, 1));
	return 0;
}

static int read_group(struct reading *in, const struct yaml_node *node)
{
	char prefix[64];
	int r = 0;

	(void)key_of(node, prefix, sizeof(prefix));
	for (const struct yaml_node *at = node + 1; r >= 0 && at < node + node->size;
	     at += at->size)
		r = read_setting(in, prefix, at);
	return r;
}

static int read_root(struct reading *in, const struct yaml_node *root)
{
	char name[64];
	int r = 0;

	if (yyjson_mut_is_null(root->value))
		return 0;
	if (!yyjson_mut_is_obj(root->value)) {
		error_add(&in->errors, root->place, "expected settings as \"key: value\"");
		return 0;
	}
	for (const struct yaml_node *at = root + 1; r >= 0 && at < root + root->size;
	     at += at->size) {
		if (!strcmp(key_of(at, name, sizeof(name)), "registries"))
			r = read_registries(in, at);
		else if (yyjson_mut_is_obj(at->value))
			r = read_group(in, at);
		else
			r = read_setting(in, "", at);
	}
	return r;
}

static int read_text(struct reading *in, const char *text, size_t length, yyjson_mut_doc *doc)
{
	_cleanup_(yaml_closep) struct yaml *y = NULL;
	const struct yaml_node *root;
	int r = yaml_open(text, length, doc, &in->errors, &y);

	if (r >= 0)
		r = yaml_next(y, &root);
	if (r > 0)
		r = read_root(in, root);
	if (r >= 0 && yaml_next(y, &root) > 0)
		error_add(&in->errors, root->place, "a second document: settings are one");
	return r == -EBADMSG ? 0 : r;
}

static int tell(const char *file, struct error_list *errors, char *ret_error)
{
	error_sort(errors);
	if (errors->n)
		(void)snprintf(ret_error, AGENT_CONFIG_ERROR, "%.250s:%zu:%zu: %.200s", file,
			       errors->items[0].line, errors->items[0].column,
			       errors->items[0].message);
	for (size_t i = 0; i < errors->n; i++)
		log_err("%s:%zu:%zu: %s", file, errors->items[i].line, errors->items[i].column,
			errors->items[i].message);
	if (errors->more)
		log_err("%s: %zu more errors", file, errors->more);
	return errors->no_memory ? -ENOMEM : errors->n ? -EINVAL : 0;
}

static int slurp(const char *file, char **ret, size_t *ret_length)
{
	_cleanup_fclose_ FILE *f = fopen(file, "re");
	_cleanup_free_ char *text = malloc(FILE_MAX_BYTES + 1);

	if (!f)
		return -errno;
	if (!text)
		return -ENOMEM;
	*ret_length = fread(text, 1, FILE_MAX_BYTES + 1, f);
	if (ferror(f))
		return -EISDIR; /* what fopen opens and fread does not read */
	if (*ret_length > FILE_MAX_BYTES)
		return -E2BIG;
	if (memchr(text, '\0', *ret_length))
		return -EBADMSG;
	*ret = TAKE_PTR(text);
	return 0;
}

static int init(struct agent_config *c)
{
	char message[MESSAGE];
	int r = 0;

	*c = (struct agent_config){};
	c->registries = calloc(LIMIT_REGISTRIES, sizeof(*c->registries));
	if (!c->registries)
		return -ENOMEM;
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(settings); i++)
		r = set_value(c, &settings[i], settings[i].initial, message);
	return r;
}

static int load(const char *file, bool must, struct agent_config *c, char *ret_error)
{
	struct reading in = {.config = c};
	_cleanup_free_ char *text = NULL;
	yyjson_mut_doc *doc;
	size_t length = 0;
	int r = slurp(file, &text, &length), told;

	if (r == -ENOENT && !must)
		return 0;
	if (r < 0) {
		(void)snprintf(ret_error, AGENT_CONFIG_ERROR, "%.200s: %s", file, strerror(-r));
		return log_err_r(r, "cannot read %s", file);
	}
	doc = yyjson_mut_doc_new(NULL);
	if (!doc)
		return -ENOMEM;
	r = read_text(&in, text, length, doc);
	error_clamp(&in.errors, text, length);
	told = tell(file, &in.errors, ret_error);
	error_list_done(&in.errors);
	yyjson_mut_doc_free(doc);
	return r < 0 ? r : told;
}

int agent_config_load(const char *file, bool must, struct agent_config *ret,
		      char ret_error[static AGENT_CONFIG_ERROR])
{
	struct agent_config c;
	int r = init(&c);

	(void)snprintf(ret_error, AGENT_CONFIG_ERROR, "no memory");
	if (r >= 0)
		r = load(file, must, &c, ret_error);
	if (r < 0) {
		agent_config_done(&c);
		return r;
	}
	*ret = c;
	return 0;
}

int agent_config_set(struct agent_config *c, const char *assignment, const char *origin)
{
	const char *equals = strchr(assignment, '=');
	char name[64], message[MESSAGE] = "";
	const struct key *k = NULL;
	const char *near;
	int r;

	(void)snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - assignment) : 63,
		       assignment);
	if (equals)
		k = find(settings, ARRAY_SIZE(settings), name);
	if (!k) {
		near = suggest(settings, ARRAY_SIZE(settings), name);
		log_err("%s %s: expected KEY=VALUE with a setting of agent.yaml(5)%s%s%s", origin,
			assignment, near ? "; did you mean \"" : "", near ?: "", near ? "\"?" : "");
		return -EINVAL;
	}
	r = set_value(c, k, equals + 1, message);
	if (r == -EINVAL)
		log_err("%s: %s", origin, message);
	return r;
}

static bool is_same(const struct key *k, const struct agent_config *a, const struct agent_config *b)
{
	const void *x = (const char *)a + k->offset, *y = (const char *)b + k->offset;

	if (k->type < _KEY_TEXTS)
		return !strcmp(*(char *const *)x, *(char *const *)y);
	if (k->type >= KEY_LIST)
		return config_list_is_equal(x, y);
	return !memcmp(x, y, k->type == KEY_DURATION ? sizeof(uint64_t) : sizeof(unsigned int));
}

void agent_config_list_fixed(const struct agent_config *a, const struct agent_config *b, char *ret,
			     size_t size)
{
	size_t n = 0;

	*ret = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(settings) && n < size; i++)
		if (!settings[i].reloads && !is_same(&settings[i], a, b))
			n += (size_t)snprintf(ret + n, size - n, "%s%s", n ? ", " : "",
					      settings[i].name);
}

void agent_config_done(struct agent_config *c)
{
	for (size_t i = 0; i < c->n_registries; i++)
		registry_config_done(&c->registries[i]);
	free(c->registries);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (settings[i].type < _KEY_TEXTS)
			free(*(char **)((char *)c + settings[i].offset));
		else if (settings[i].type >= KEY_LIST)
			config_list_done((void *)((char *)c + settings[i].offset));
	*c = (struct agent_config){};
}

enum log_level agent_config_level(const struct agent_config *c)
{
	return (enum log_level)(LOG_ERROR + c->log_level);
}
