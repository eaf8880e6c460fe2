/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consul as a registry: the catalogue tells which services there are, each is followed by itself
 * (consul_follow.c), and keys below a prefix are manifests. The first word is a snapshot, said when
 * the catalogue, all that it names and the keys were answered; later words are changes. While one
 * of the services fails for long, what is known of the others is said as changes before it. A
 * service goes when the catalogue does not name it and its own answer has no instances.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "registry/consul_state.h"

#define HEARTBEAT_MOST_MS 60000u
#define HEARTBEAT_LEAST_MS 1000u
#define KEYS_MS 60000u
#define PARTLY_MS 3000u /* then those that are known do not wait for one that fails */
#define SERVER "consul" /* what Consul's servers call themselves in the catalogue */

uint64_t consul_heartbeat_ms(const struct consul *c)
{
	uint64_t ms = c->r->config->stale_ms / 3;

	if (!ms || ms > HEARTBEAT_MOST_MS)
		return HEARTBEAT_MOST_MS;
	return ms < HEARTBEAT_LEAST_MS ? HEARTBEAT_LEAST_MS : ms;
}

/* --- what is said ----------------------------------------------------------------------------- */

void consul_say(struct consul *c, const struct consul_title *title, const struct object *now)
{
	struct object o;

	if (!c->told && !c->partly)
		return;
	if (now) {
		o = consul_book_share(now);
		registry_say_upsert(c->r, &o);
	} else {
		registry_say_remove(c->r, title->kind, title->namespace, title->name);
	}
}

static void drop_over(struct consul *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (consul_follow_is_over(c->followers[i]))
			consul_follow_end(c->followers[i]);
		else
			c->followers[n++] = c->followers[i];
	}
	c->n = n;
}

/* Nothing goes by that: what is missing may have been there before we were started. */
static void say_partly(struct consul *c, struct object *objects, size_t n)
{
	c->partly = true;
	for (size_t i = 0; i < n; i++)
		registry_say_upsert(c->r, &objects[i]);
	free(objects);
}

void consul_on_change(struct consul *c)
{
	struct object *objects;
	size_t n;

	if (c->told || !c->catalog_answered || !c->keys_answered)
		return;
	if (c->n_unanswered &&
	    (c->partly || !c->link.n_failing || uv_now(c->r->loop) - c->started_ms < PARTLY_MS))
		return;
	if (consul_book_all(c->book, &objects, &n) < 0) {
		registry_say_error(c->r, REGISTRY_GARBAGE, "", "out of memory for a snapshot");
		return;
	}
	if (c->n_unanswered) {
		say_partly(c, objects, n);
		return;
	}
	c->told = true;
	registry_say_snapshot(c->r, objects, n);
}

/* --- the catalogue ---------------------------------------------------------------------------- */

struct wanted {
	char label[64];
	const char *name;
};

static int compare_wanted(const void *x, const void *y)
{
	const struct wanted *a = x, *b = y;
	int r = strcmp(a->label, b->label);

	return r ? r : strcmp(a->name, b->name);
}

/* The servers themselves are no service of anybody's, unless somebody asks for them. */
static bool is_wanted(const struct consul *c, const char *name)
{
	if (!c->r->config->n_select)
		return strcmp(name, SERVER) != 0;
	return registry_is_selected(c->r, name);
}

/* By label, each once; of several that come to the same label the first counts. Returns how many.
 */
static size_t choose(struct consul *c, const struct consul_catalog *catalog, struct wanted *to)
{
	const char *left_out = NULL;
	size_t n = 0, kept = 0, bad = catalog->skipped;

	for (size_t i = 0; i < catalog->n; i++) {
		const char *name = catalog->names[i];

		if (!is_wanted(c, name))
			continue;
		to[n].name = name;
		if (draft_name(name, to[n].label) >= 0) {
			n++;
		} else {
			bad++;
			left_out = name;
		}
	}
	qsort(to, n, sizeof(*to), compare_wanted);
	for (size_t i = 0; i < n; i++) {
		if (kept && !strcmp(to[kept - 1].label, to[i].label)) {
			bad++;
			left_out = to[i].name;
		} else {
			to[kept++] = to[i];
		}
	}
	if (bad != c->left_out && bad)
		registry_say_skipped(
			c->r,
			"%zu services left out, \"%.60s\" among them: no label, or the "
			"same as another's",
			bad, left_out ?: "");
	c->left_out = bad;
	return kept;
}

/* Followers that are wanted, and those that are not yet over, both by label. -ENOMEM: some are
 * missing, and the next answer tries again. */
static int follow_all(struct consul *c, const struct wanted *wanted, size_t n)
{
	struct consul_follower **next = calloc(c->n + n + 1, sizeof(*next));
	size_t i = 0, j = 0, k = 0;
	int r = next ? 0 : -ENOMEM;

	while (next && (i < n || j < c->n)) {
		struct consul_follower *f = j < c->n ? c->followers[j] : NULL;
		int at = i == n ? 1 : !f ? -1 : strcmp(wanted[i].label, f->label);

		if (at < 0) {
			f = consul_follow(c, wanted[i].label, wanted[i].name);
			r = f ? r : -ENOMEM;
			i++;
		} else {
			if (at == 0 && strcmp(f->name, wanted[i].name) != 0 &&
			    consul_follow_rename(f, wanted[i].name) < 0)
				r = -ENOMEM;
			consul_follow_named(f, at == 0);
			i += at == 0;
			j++;
		}
		if (f)
			next[k++] = f;
	}
	if (!next)
		return r;
	free(c->followers);
	c->followers = next;
	c->n = k;
	return r;
}

static int take_catalog(struct consul *c, const struct consul_catalog *catalog,
			char ret_text[static CONSUL_TEXT])
{
	const char *other = c->r->config->remote_namespace;
	_cleanup_free_ struct wanted *wanted = NULL;
	int r;

	/* There is always the server itself, so this is one who may see nothing. */
	if (!catalog->n && (!other || !*other || !strcmp(other, "default"))) {
		(void)snprintf(
			ret_text, CONSUL_TEXT,
			"the catalogue names no service, not even Consul itself: we may read "
			"none");
		return -EACCES;
	}
	wanted = calloc(catalog->n + 1, sizeof(*wanted));
	if (!wanted)
		return -ENOMEM;
	r = follow_all(c, wanted, choose(c, catalog, wanted));
	if (r < 0)
		return r;
	drop_over(c);
	c->catalog_answered = true;
	return 0;
}

static struct consul *source_of(struct consul_poll *p)
{
	return (struct consul *)p->link;
}

static int on_catalog(struct consul_poll *p, const struct fetch_result *result, bool missing,
		      char ret_text[static CONSUL_TEXT])
{
	struct consul_catalog catalog;
	char error[JSON_ERROR] = "too large";
	int r = consul_decode_catalog(result->body, result->length, &catalog, error);

	if (r < 0) {
		(void)snprintf(ret_text, CONSUL_TEXT, "catalogue: %.120s", error);
		return r;
	}
	r = take_catalog(source_of(p), &catalog, ret_text);
	consul_catalog_done(&catalog);
	return r;
}

static void ask_again(struct consul_poll *p, uint64_t block_ms)
{
	uint64_t wait = consul_pace_take(&p->pace, uv_now(p->link->r->loop));

	if (wait)
		consul_poll_later(p, wait);
	else
		consul_poll_ask(p, block_ms);
}

static void on_catalog_taken(struct consul_poll *p)
{
	struct consul *c = source_of(p);
	bool moved = p->pace.index != c->catalog_index;

	c->catalog_index = p->pace.index;
	/* An index that moved is news of some service, whichever. */
	if (moved)
		p->pace.idle = 0;
	consul_on_change(c);
	if (!p->pace.index)
		consul_follow_restart(c);
	consul_follow_sweep(c, moved);
	ask_again(p, consul_heartbeat_ms(c));
}

static void on_catalog_due(struct consul_poll *p)
{
	consul_poll_ask(p, consul_heartbeat_ms(source_of(p)));
}

static const struct consul_poll_ops catalog_ops = {
	.permission = "service_prefix \"\" { policy = \"read\" }, or select with full names",
	.take = on_catalog,
	.on_taken = on_catalog_taken,
	.on_failed = consul_poll_later,
	.on_due = on_catalog_due,
};

/* --- keys ------------------------------------------------------------------------------------- */

/* 1: it is news. */
static int set_key(struct consul *c, struct consul_title title, const struct object *o)
{
	struct object copy = o ? consul_book_share(o) : (struct object){};
	struct consul_entry entry;
	int r = consul_book_set(c->book, CONSUL_BY_KEY, &title, o ? &copy : NULL, &entry);

	if (r < 0)
		return r;
	if (entry.changed)
		consul_say(c, &title, entry.now);
	return entry.changed;
}

/* Both lists have the same order. What could not be kept is tried again with the next answer. 1: it
 * is news. */
static int replace_keys(struct consul *c, struct object *objects, size_t n)
{
	size_t i = 0, j = 0;
	bool news = false;
	int r = 0;

	while (r >= 0 && (i < n || j < c->n_by_key)) {
		const struct object *o = i < n ? &objects[i] : NULL,
				    *old = j < c->n_by_key ? &c->by_key[j] : NULL;
		int at = !o ? 1 : !old ? -1 : consul_words_compare(o, old);

		r = at <= 0 ? set_key(c, consul_book_title(o), o)
			    : set_key(c, consul_book_title(old), NULL);
		news |= r > 0;
		i += at <= 0;
		j += at >= 0;
	}
	if (r < 0)
		return r;
	(void)object_free_list(c->by_key, c->n_by_key);
	c->by_key = objects;
	c->n_by_key = n;
	return news;
}

static int take_keys(struct consul *c, const struct consul_keys *keys)
{
	char twice[CONSUL_WHY];
	struct object *objects;
	size_t n;
	int r = consul_words_apply(&c->words, c->r->tag, keys);

	if (r >= 0)
		r = consul_words_gather(&c->words, &objects, &n, twice);
	if (r < 0)
		return r;
	if (*c->words.why)
		registry_say_skipped(c->r, "%s", c->words.why);
	if (*twice)
		registry_say_skipped(c->r, "%s", twice);
	r = replace_keys(c, objects, n);
	if (r < 0)
		(void)object_free_list(objects, n);
	return r;
}

static int on_keys(struct consul_poll *p, const struct fetch_result *result, bool missing,
		   char ret_text[static CONSUL_TEXT])
{
	struct consul *c = source_of(p);
	struct consul_keys keys = {};
	char error[JSON_ERROR] = "too large";
	int r = 0;

	if (!missing)
		r = consul_decode_keys(result->body, result->length, &keys, error);
	if (r >= 0)
		r = take_keys(c, &keys);
	if (r < 0)
		(void)snprintf(ret_text, CONSUL_TEXT, "%.60s: %.80s", p->what, error);
	consul_keys_done(&keys);
	c->keys_answered |= r >= 0;
	return r;
}

static void on_keys_taken(struct consul_poll *p)
{
	consul_on_change(source_of(p));
	ask_again(p, KEYS_MS);
}

static void on_keys_due(struct consul_poll *p)
{
	consul_poll_ask(p, KEYS_MS);
}

static const struct consul_poll_ops keys_ops = {
	.permission = "key_prefix \"\" { policy = \"read\" } (or of its prefix alone)",
	.take = on_keys,
	.on_taken = on_keys_taken,
	.on_failed = consul_poll_later,
	.on_due = on_keys_due,
	.may_miss = true,
};

/* --- start ------------------------------------------------------------------------------------ */

static void on_back(struct consul_link *l)
{
	struct consul *c = (struct consul *)l;

	consul_follow_back(c);
	if (consul_poll_is_cut_off(&c->catalog))
		consul_poll_later(&c->catalog, 0);
	if (consul_poll_is_cut_off(&c->keys))
		consul_poll_later(&c->keys, 0);
}

/* "unix:///run/consul.sock" and "https://consul:8501/" to what fetches take. */
static int read_address(struct consul *c)
{
	const char *address = c->r->config->address;
	size_t n;

	if (!address || !*address)
		address = c->r->kind->address;
	if (!strncmp(address, "unix:///", 8)) {
		c->link.path = address + 7;
		address = "http://localhost";
	}
	n = strlen(address);
	while (n && address[n - 1] == '/')
		n--;
	if (strncmp(address, "http://", 7) != 0 && strncmp(address, "https://", 8) != 0) {
		(void)snprintf(c->r->status.text, sizeof(c->r->status.text),
			       "address is \"%.100s\", expected http://, https:// or unix:///",
			       address);
		return -EINVAL;
	}
	return asprintf(&c->link.base, "%.*s/v1/", (int)n, address) < 0 ? -ENOMEM : 0;
}

/* With full names alone there is no need to know which others there are. */
static int read_select(struct consul *c)
{
	const struct registry_config *config = c->r->config;
	char label[64];

	c->is_exact = config->n_select > 0;
	for (size_t i = 0; i < config->n_select; i++) {
		if (config->select[i][strcspn(config->select[i], "*?[\\")])
			c->is_exact = false;
		else if (draft_name(config->select[i], label) < 0) {
			(void)snprintf(c->r->status.text, sizeof(c->r->status.text),
				       "select: \"%.100s\" is no name of a service",
				       config->select[i]);
			return -EINVAL;
		}
	}
	return 0;
}

static void init_polls(struct consul *c, char *catalog, char *keys)
{
	consul_poll_init(&c->catalog, &c->link, &catalog_ops, "catalogue", catalog);
	consul_poll_init(&c->keys, &c->link, &keys_ops, c->keys_what, keys);
	(void)uv_timer_init(c->r->loop, &c->sweep);
	c->sweep.data = c;
	c->n_handles = 3;
}

static int make_parts(struct consul *c)
{
	const char *prefix = c->r->config->prefix ?: "";
	char *keys = NULL, *catalog;
	int r = draft_new(&c->draft);

	if (r >= 0)
		r = consul_book_new(&c->book);
	if (r < 0)
		return r;
	prefix += strspn(prefix, "/");
	c->keys_answered = !*prefix;
	catalog = strdup("catalog/services");
	if (*prefix) {
		keys = consul_poll_target("kv/", prefix, "?recurse=true");
		if (asprintf(&c->keys_what, "keys of %.80s", prefix) < 0)
			c->keys_what = NULL;
	}
	if (!catalog || (*prefix && (!keys || !c->keys_what))) {
		free(catalog);
		free(keys);
		return -ENOMEM;
	}
	init_polls(c, catalog, keys);
	return 0;
}

static void done(struct consul *c)
{
	(void)draft_free(c->draft);
	(void)consul_book_free(c->book);
	consul_words_done(&c->words);
	(void)object_free_list(c->by_key, c->n_by_key);
	free(c->followers);
	free(c->keys_what);
	free(c->link.base);
	free(c);
}

/* The selected services as if a catalogue had named them. */
static int follow_selected(struct consul *c)
{
	struct consul_catalog all = {.names = c->r->config->select, .n = c->r->config->n_select};
	_cleanup_free_ struct wanted *wanted = calloc(all.n + 1, sizeof(*wanted));
	int r = wanted ? follow_all(c, wanted, choose(c, &all, wanted)) : -ENOMEM;

	c->catalog_answered = true;
	if (r >= 0)
		consul_follow_sweep(c, true);
	return r;
}

/* A quarter of what may be open: other registries, clients and files need some, too. */
static size_t long_limit(void)
{
	struct rlimit files;
	size_t n = CONSUL_LONG;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 4 < n)
		n = files.rlim_cur / 4;
	return n > CONSUL_LONG_LEAST ? n : CONSUL_LONG_LEAST;
}

static int start(struct registry *r)
{
	struct consul *c = calloc(1, sizeof(*c));
	int e;

	if (!c)
		return -ENOMEM;
	c->r = c->link.r = r;
	c->link.on_back = on_back;
	c->long_most = c->long_limit = long_limit();
	c->started_ms = uv_now(r->loop);
	TAILQ_INIT(&c->rest);
	TAILQ_INIT(&c->queue);
	e = read_address(c);
	if (e >= 0)
		e = read_select(c);
	if (e >= 0)
		e = make_parts(c);
	if (e < 0) {
		done(c);
		return e;
	}
	r->source = c;
	if (!c->keys_answered)
		consul_poll_ask(&c->keys, 0);
	if (!c->is_exact)
		consul_poll_ask(&c->catalog, 0);
	else if (follow_selected(c) < 0)
		registry_say_error(r, REGISTRY_GARBAGE, "", "out of memory");
	return 0;
}

/* --- end -------------------------------------------------------------------------------------- */

void consul_on_closed(struct consul *c)
{
	struct registry *r = c->r;

	if (--c->n_handles || !c->stopping)
		return;
	done(c);
	registry_stopped(r);
}

static void on_closed_poll(uv_handle_t *handle)
{
	consul_on_closed(source_of(handle->data));
}

static void on_closed_sweep(uv_handle_t *handle)
{
	consul_on_closed(handle->data);
}

static void stop(struct registry *r)
{
	struct consul *c = r->source;

	c->stopping = true;
	for (size_t i = 0; i < c->n; i++)
		consul_follow_end(c->followers[i]);
	c->n = 0;
	consul_poll_stop(&c->catalog);
	consul_poll_stop(&c->keys);
	uv_close((uv_handle_t *)&c->catalog.timer, on_closed_poll);
	uv_close((uv_handle_t *)&c->keys.timer, on_closed_poll);
	uv_close((uv_handle_t *)&c->sweep, on_closed_sweep);
}

const struct registry_kind registry_consul = {
	.type = "consul",
	.address = "http://127.0.0.1:8500",
	.start = start,
	.stop = stop,
};
