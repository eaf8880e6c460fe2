/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See doctor_agent.h. What the agent says of a registry's last error names the permission or the
 * file that is missing; it is passed on.
 */
#include "ctl/doctor_agent.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/client.h"
#include "ctl/field.h"
#include "ctl/noun.h"
#include "ctl/units.h"

#define REGISTRATIONS_TOLD 20 /* one by one, of those that are not well */
#define DEFAULT_FILE SINEW_SYSCONFDIR "/sinew/agent.yaml"

struct checks {
	struct ctl *c;
	yyjson_mut_doc *doc;
	yyjson_mut_val *items;
	const char *file; /* agent.yaml */
};

struct check {
	const char *name, *level;
	struct text_buffer text, hint;
};

static void check_add(struct checks *k, struct check *check)
{
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(k->doc, k->items);

	(void)yyjson_mut_obj_add_strcpy(k->doc, o, "name", check->name);
	(void)yyjson_mut_obj_add_strcpy(k->doc, o, "level", check->level);
	(void)yyjson_mut_obj_add_strcpy(k->doc, o, "text", check->text.n ? check->text.data : "");
	if (check->hint.n)
		(void)yyjson_mut_obj_add_strcpy(k->doc, o, "hint", check->hint.data);
	text_done(&check->text);
	text_done(&check->hint);
}

/* --- nobody answers ----------------------------------------------------------------------- */

static bool is_wanted(const struct checks *k)
{
	return k->c->o.agent_socket || access(k->file, F_OK) == 0;
}

static void no_agent_add(struct checks *k, int r)
{
	struct check check = {.name = "agent", .level = "note"};
	bool absent = r == -ENOENT || r == -ECONNREFUSED;

	if (absent && !is_wanted(k)) {
		text_append(&check.text, "sinew-agent does not run: no registry is followed");
		text_append_format(&check.hint,
				   "services come from manifests; to follow registries, name "
				   "them in %s",
				   k->file);
		check_add(k, &check);
		return;
	}
	check.level = r == -EACCES || r == -EPERM ? "warn" : "fail";
	text_append_format(&check.text, "sinew-agent does not answer at %s: %s", k->c->socket,
			   strerror(-r));
	if (r == -EACCES || r == -EPERM)
		text_append(&check.hint, "be root or in group sinew to see registries");
	else if (absent && !k->c->o.agent_socket)
		text_append_format(&check.hint,
				   "%s is there, so it should run: systemctl status sinew-agent; "
				   "registries are not followed, their services stay as they were",
				   k->file);
	else
		text_append(&check.hint, "systemctl status sinew-agent, journalctl -u sinew-agent");
	check_add(k, &check);
}

/* --- the agent itself --------------------------------------------------------------------- */

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* Whether what the registries say reaches sinewd. */
static void agent_add(struct checks *k, yyjson_val *list)
{
	size_t registries = field_length(list, "/items");
	size_t refused = field_length(list, "/daemon/refused");
	const char *error = field_text(list, "/daemon/lastError");
	yyjson_val *first = field_get(list, "/daemon/refused/0");
	struct check check = {.name = "agent", .level = "ok"};

	if (*error) {
		check.level = "fail";
		text_append_format(&check.text, "sinewd does not take what registries say: %s",
				   error);
		text_append(&check.hint, "journalctl -u sinew-agent; sinewd keeps what it has");
	} else if (!field_flag(list, "/daemon/synced")) {
		check.level = "warn";
		text_append(&check.text, "it has not told sinewd anything yet");
		text_append(&check.hint, "it waits until its registries have answered: see below");
	} else if (refused) {
		check.level = "warn";
		text_append_format(&check.text, "sinewd refused %zu object%s: %s %s: %s", refused,
				   plural(refused), field_text(first, "/kind"),
				   field_text(first, "/name"), field_text(first, "/reason"));
		text_append(&check.hint, "sinewctl get registries -o json lists all of them; the "
					 "others are in use");
	} else {
		text_append_format(&check.text,
				   "follows %zu registr%s, and sinewd has what they say",
				   registries, registries == 1 ? "y" : "ies");
	}
	check_add(k, &check);
}

/* What agent.yaml says, and is not in force: nothing, if there is nothing to say. */
static void settings_add(struct checks *k, yyjson_val *list)
{
	const char *error = field_text(list, "/settings/lastError");
	const char *fixed = field_text(list, "/settings/needRestart");
	struct check check = {.name = "settings", .level = "fail"};

	if (!*error && !*fixed)
		return;
	if (*error) {
		text_append_format(&check.text, "agent.yaml was not taken over: %s", error);
		text_append(&check.hint, "mend it, and systemctl reload sinew-agent; until then "
					 "what it said before is in force");
	} else {
		check.level = "warn";
		text_append_format(&check.text, "agent.yaml is not in force yet: %s", fixed);
		text_append(&check.hint, "these need systemctl restart sinew-agent");
	}
	check_add(k, &check);
}

/* --- registries --------------------------------------------------------------------------- */

/* What a person must mend, other than what passes by itself. */
static bool is_ours(const char *reason)
{
	static const char *const reasons[] = {"unauthorized", "forbidden", "tls", "missing",
					      "config"};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (strcmp(reason, reasons[i]) == 0)
			return true;
	return false;
}

static const char *level_of(yyjson_val *item)
{
	const char *state = field_text(item, "/state");

	if (strcmp(state, "stale") == 0 || strcmp(state, "failed") == 0)
		return "fail";
	if (field_has(item, "/lastError"))
		return is_ours(field_text(item, "/lastError/reason")) ? "fail" : "warn";
	if (strcmp(state, "ok") != 0 || field_count(item, "/suspect") ||
	    field_count(item, "/refused"))
		return "warn";
	return "ok";
}

/* What it suffers from, the gravest first; nothing when it is well. */
static void trouble_append(struct check *check, yyjson_val *item)
{
	uint64_t suspect = field_count(item, "/suspect"), refused = field_count(item, "/refused");
	const char *hint = field_text(item, "/lastError/hint");

	if (field_has(item, "/lastError"))
		text_append_format(&check->text, "%s: %s; ", field_text(item, "/lastError/reason"),
				   field_text(item, "/lastError/text"));
	else if (suspect)
		text_append_format(&check->text, "%llu endpoint%s suspect, ",
				   (unsigned long long)suspect, suspect == 1 ? " is" : "s are");
	else if (refused)
		text_append_format(&check->text, "%llu object%s did not fit, ",
				   (unsigned long long)refused, plural(refused));
	if (*hint)
		text_append(&check->hint, hint);
	else if (!field_has(item, "/lastError") && suspect)
		text_append_format(&check->hint,
				   "it no longer names them; if it is right: sinewctl confirm "
				   "registry %s",
				   field_text(item, "/name"));
}

static void registry_add(struct checks *k, yyjson_val *item)
{
	struct check check = {.name = "registry", .level = level_of(item)};

	text_append_format(&check.text, "%s/%s: ", field_text(item, "/type"),
			   field_text(item, "/name"));
	if (strcmp(field_text(item, "/state"), "stale") == 0)
		text_append(&check.text, "stale, ");
	trouble_append(&check, item);
	noun_registry_kept(&check.text, item, (uint64_t)time(NULL) * 1000);
	check_add(k, &check);
}

/* Only of one whose pods somebody wants: "pods" is not there otherwise. */
static void pods_add(struct checks *k, yyjson_val *item)
{
	uint64_t n = field_count(item, "/pods/known");
	struct check check = {.name = "pods", .level = "ok"};

	if (!field_has(item, "/pods"))
		return;
	text_append_format(&check.text, "%s/%s: ", field_text(item, "/type"),
			   field_text(item, "/name"));
	if (field_has(item, "/pods/lastError")) {
		check.level = is_ours(field_text(item, "/pods/lastError/reason")) ? "fail" : "warn";
		text_append_format(&check.text, "%s: %s; Registrations by pod wait, ",
				   field_text(item, "/pods/lastError/reason"),
				   field_text(item, "/pods/lastError/text"));
		text_append(&check.hint, field_text(item, "/pods/lastError/hint"));
	} else if (!field_flag(item, "/pods/synced")) {
		check.level = "warn";
		text_append(&check.text, "not told yet, ");
	} else if (!n) {
		check.level = "warn";
		text_append(&check.hint, "the agent's environment says by NODE_NAME what this node "
					 "is called in the cluster, if not as the host");
	}
	text_append_format(&check.text, "%llu pod%s of node %s known", (unsigned long long)n,
			   plural(n), field_text(item, "/pods/node"));
	check_add(k, &check);
}

static void answer_add(struct checks *k, const struct http_response *response)
{
	yyjson_doc *doc = yyjson_read(response->body, response->length, 0);
	yyjson_val *list = yyjson_doc_get_root(doc), *items = field_get(list, "/items"), *item;
	struct check check = {.name = "agent", .level = "fail"};
	size_t i, n;

	if (response->status == 200 && yyjson_is_arr(items)) {
		agent_add(k, list);
		settings_add(k, list);
		yyjson_arr_foreach (items, i, n, item) {
			registry_add(k, item);
			pods_add(k, item);
		}
	} else {
		text_append_format(&check.text, "%s: whoever answers there is no sinew-agent",
				   k->c->socket);
		check_add(k, &check);
	}
	yyjson_doc_free(doc);
}

/* --- registrations ------------------------------------------------------------------------- */

/* What a registry says to all that is written there; "": nothing is wrong with it. */
static const char *error_of(yyjson_val *list, const char *registry)
{
	yyjson_val *item;
	size_t i, n;

	yyjson_arr_foreach (field_get(list, "/registries"), i, n, item)
		if (strcmp(field_text(item, "/name"), registry) == 0)
			return field_text(item, "/lastError");
	return "";
}

static const char *instance_error(yyjson_val *registration)
{
	yyjson_val *item;
	size_t i, n;

	yyjson_arr_foreach (field_get(registration, "/instances"), i, n, item)
		if (field_has(item, "/lastError"))
			return field_text(item, "/lastError");
	return "";
}

static void writing_add(struct checks *k, yyjson_val *registry)
{
	bool fails = field_has(registry, "/lastError");
	struct check check = {.name = "registration", .level = fails ? "fail" : "warn"};

	if (!fails && !field_has(registry, "/listError"))
		return;
	text_append_format(&check.text, "%s: %s", field_text(registry, "/name"),
			   field_text(registry, fails ? "/lastError" : "/listError"));
	text_append(&check.hint, fails ? "it is tried again; what is registered there stays until "
					 "its lease ends"
				       : "what a killed agent leaves there is only gone when its "
					 "lease ends");
	check_add(k, &check);
}

/* Whether it was told; one that its registry stands in the way of is not. */
static bool registration_add(struct checks *k, yyjson_val *list, yyjson_val *item)
{
	const char *state = field_text(item, "/state");
	bool failing = strcmp(state, "failing") == 0;
	struct check check = {.name = "registration", .level = failing ? "fail" : "warn"};

	if (*error_of(list, field_text(item, "/registry")) ||
	    (!failing && (!field_has(item, "/reason") || strcmp(state, "no_listener") == 0)))
		return false;
	text_append_format(&check.text, "%s/%s in %s: %s", field_text(item, "/namespace"),
			   field_text(item, "/name"), field_text(item, "/registry"),
			   failing ? instance_error(item) : field_text(item, "/reason"));
	check_add(k, &check);
	return true;
}

/* Those that are well in one line. */
static void registrations_add(struct checks *k, yyjson_val *list)
{
	yyjson_val *items = field_get(list, "/items"), *item;
	size_t i, n, registered = 0, told = 0;
	struct check check = {.name = "registration", .level = "ok"};

	if (!yyjson_arr_size(items))
		return;
	yyjson_arr_foreach (field_get(list, "/registries"), i, n, item)
		writing_add(k, item);
	yyjson_arr_foreach (items, i, n, item) {
		registered += strcmp(field_text(item, "/state"), "registered") == 0;
		if (told < REGISTRATIONS_TOLD)
			told += registration_add(k, list, item);
	}
	text_append_format(&check.text, "%zu of %zu %s registered", registered, n,
			   registered == 1 ? "is" : "are");
	check_add(k, &check);
}

/* Of an agent that knows none of it, nothing is told. */
static void ask_registrations(struct checks *k)
{
	struct http_response response = {0};
	struct client_path path;
	yyjson_doc *doc = NULL;

	client_path_init(&path, "/v1/registrations");
	if (client_try(k->c, &path, &response) >= 0 && response.status == 200)
		doc = yyjson_read(response.body, response.length, 0);
	if (strcmp(field_text(yyjson_doc_get_root(doc), "/kind"), "RegistrationStatusList") == 0)
		registrations_add(k, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	http_response_done(&response);
}

void doctor_agent_add(struct ctl *c, yyjson_mut_doc *doc, yyjson_mut_val *items)
{
	const char *file = getenv("SINEW_AGENT_CONFIG");
	struct checks k = {
		.c = c, .doc = doc, .items = items, .file = file && *file ? file : DEFAULT_FILE};
	struct http_response response = {0};
	struct client_path path;
	int r;

	client_turn(c, PEER_AGENT);
	client_path_init(&path, "/v1/registries");
	r = client_try(c, &path, &response);
	if (r < 0)
		no_agent_add(&k, r);
	else
		answer_add(&k, &response);
	http_response_done(&response);
	if (r >= 0)
		ask_registrations(&k);
}
